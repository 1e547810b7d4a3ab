use super::{Action, Script, Term};
use std::time::Duration;

/// Where a script stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// `CNI_COMMAND`.
    pub(crate) verb: &'a str,
    /// After the plugin, or before.
    pub(crate) after: bool,
    /// Is there more than verdicts?
    pub(crate) chaos: bool,
}

/// More is written by a program, for no good.
const LONGEST: usize = 4096;
const MOST_TERMS: usize = 64;

/// Reads a script. The error says at which column of it, and what to write.
pub(crate) fn parse(text: &str, place: Place<'_>) -> Result<Script, String> {
    if text.len() > LONGEST {
        return Err(format!("{} bytes, and {LONGEST} are allowed", text.len()));
    }
    let mut reader = Reader { text, at: 0 };
    let mut terms = Vec::new();
    loop {
        reader.skip_spaces();
        let from = reader.at;
        let term = reader.term(place).map_err(|wrong| {
            let column = text[..from.max(reader.at.min(text.len()))].chars().count() + 1;
            format!("column {column}: {wrong}")
        })?;
        terms.push(term);
        reader.skip_spaces();
        if reader.rest().is_empty() {
            break;
        }
        if !reader.takes("->") {
            let column = text[..reader.at].chars().count() + 1;
            return Err(format!("column {column}: {:?}: write `->` between terms", brief(reader.rest(), 20)));
        }
        if terms.len() == MOST_TERMS {
            return Err(format!("more than {MOST_TERMS} terms"));
        }
    }
    Ok(Script(terms))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn takes(&mut self, word: &str) -> bool {
        let takes = self.rest().starts_with(word);
        self.at += if takes { word.len() } else { 0 };
        takes
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|char| !fits(char)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// `every(3):5%2*error(oops)`
    fn term(&mut self, place: Place<'_>) -> Result<Term, String> {
        let mut term = Term { every: None, per_million: None, count: None, action: Action::Off };
        if self.takes("every(") {
            let number = self.take_while(|it| it.is_ascii_digit());
            term.every = Some(number.parse().ok().filter(|it| *it > 0).ok_or_else(|| {
                format!("every({number}: write how many attempts, such as `every(3):error`")
            })?);
            if !self.takes("):") {
                return Err("write `every(3):`, and then what happens".into());
            }
            self.skip_spaces();
        }
        while self.rest().starts_with(|it: char| it.is_ascii_digit() || it == '.') {
            let number = self.take_while(|it| it.is_ascii_digit() || it == '.');
            let twice =
                |sign: char| format!("{number}{sign}: `{sign}` stands there already: keep one of them");
            if self.takes("%") {
                if term.per_million.is_some() {
                    return Err(twice('%'));
                }
                term.per_million = Some(per_million(number)?);
            } else if self.takes("*") {
                if term.count.is_some() {
                    return Err(twice('*'));
                }
                let count = number.parse().map_err(|_| format!("{number}*: write a whole number"))?;
                term.count = Some(count);
            } else {
                return Err(format!(
                    "{number}: write `{number}*` for how many times, or `{number}%` for how often"
                ));
            }
            self.skip_spaces();
        }
        if self.rest().starts_with("every(") {
            return Err("write `every(…):` first, in front of `*` and `%`".into());
        }
        let from = self.at;
        let name = self.take_while(|it| it.is_ascii_alphabetic() || it == '-');
        // A name does not end in what begins an arrow.
        let name = name.trim_end_matches('-');
        self.at = from + name.len();
        if name.is_empty() {
            let what = if self.rest().is_empty() {
                "it ends".to_owned()
            } else {
                format!("{:?}", brief(self.rest(), 20))
            };
            return Err(format!(
                "{what}, where an action such as `error(oops)`, `delay(200ms)` or `off` should be"
            ));
        }
        let end = self.at;
        let argument = if self.takes("(") { Some(self.argument()?) } else { None };
        self.at = from;
        term.action = Action::read(name, argument.as_ref().map(|it| it.0.as_str()))?;
        if let Some(why) = term.action.misplaced(place) {
            return Err(format!("`{name}` {why}"));
        }
        if term.action.is_chaos() && !place.chaos {
            return Err(format!("`{name}` takes the module \"chaos\", and the grant \"chaos\""));
        }
        self.at = argument.map_or(end, |it| it.1);
        Ok(term)
    }

    /// Up to the parenthesis that closes, and where it ends.
    fn argument(&mut self) -> Result<(String, usize), String> {
        let (mut text, mut depth, mut chars) = (String::new(), 0, self.rest().char_indices());
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some((_, char @ ('\\' | '(' | ')'))) => text.push(char),
                    Some((_, char)) => text.extend(['\\', char]),
                    None => break,
                },
                ')' if depth == 0 => return Ok((text, self.at + at + 1)),
                '(' | ')' => {
                    depth += if char == '(' { 1 } else { -1 };
                    text.push(char);
                }
                char => text.push(char),
            }
        }
        Err("a parenthesis that is not closed".into())
    }
}

/// `0.0001` of a hundred is one of a million.
fn per_million(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text}%: write 0 to 100, with at most four decimals");
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || decimals.len() > 4 || decimals.contains('.') {
        return Err(wrong());
    }
    let share: u32 = format!("{whole}{decimals:0<4}").parse().map_err(|_| wrong())?;
    if share > 1_000_000 { Err(wrong()) } else { Ok(share) }
}

/// `200` (milliseconds), `200ms`, `1.5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: write a time such as 200ms, 1.5s, 2m or 24h");
    let number = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "" | "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        "h" => 3_600e3,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let ms = number * factor;
    if !ms.is_finite() || !(0.0..=1e12).contains(&ms) {
        return Err(wrong());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    Ok(Duration::from_millis(ms.round() as u64))
}

/// What of it is enough to find it.
pub(crate) fn brief(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
