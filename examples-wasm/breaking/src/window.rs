use std::time::Duration;

/// When a fault is on; it ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) not_before: Option<Duration>,
    pub(crate) not_after: Option<Duration>,
}

impl Window {
    pub(crate) fn is_bounded(self) -> bool {
        self.not_before.is_some() || self.not_after.is_some()
    }

    pub(crate) fn holds(self, now: Duration) -> bool {
        self.not_before.is_none_or(|it| it <= now) && self.not_after.is_none_or(|it| now < it)
    }
}

/// `2026-12-01T12:00:00Z`: since 1970. UTC alone, so that nobody has to know where a node stands.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    read(text).ok_or_else(|| format!("{text:?}: write a time in UTC, such as \"2026-12-01T12:00:00Z\""))
}

fn read(text: &str) -> Option<Duration> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |month: u64| match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(is_leap),
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=days_of(month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap_years = |year: u64| year / 4 - year / 100 + year / 400;
    let days = (year - 1970) * 365 + leap_years(year - 1) - leap_years(1969);
    let days = days + (1..month).map(days_of).sum::<u64>() + day - 1;
    Some(Duration::from_secs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

/// Exactly so many digits each.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    let mut parts = text.split(between);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_what_the_calendar_says() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-25T11:38:44Z", 1_795_606_724),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(time(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in [
            "",
            "2026-12-01",
            "2026-12-01T12:00:00",
            "2026-12-01T12:00:00+01:00",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-1T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-12-01T12:00:00.5Z",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_over_when_its_time_is() {
        let at = |text: &str| time(text).unwrap();
        let window = Window {
            not_before: Some(at("2026-12-01T00:00:00Z")),
            not_after: Some(at("2026-12-02T00:00:00Z")),
        };
        for (now, holds) in
            [("2026-11-30T23:59:59Z", false), ("2026-12-01T00:00:00Z", true), ("2026-12-02T00:00:00Z", false)]
        {
            assert_eq!(window.holds(at(now)), holds, "{now}");
        }
        assert!(Window::default().holds(Duration::ZERO) && !Window::default().is_bounded());
    }
}
