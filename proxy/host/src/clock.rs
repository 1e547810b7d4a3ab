use crate::{Failure, Interface, Scopes, Visit, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

pub(crate) const INTERFACE: Interface = Interface {
    name: "clock",
    free: false,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("now-ns", now_ns), ("sleep-ms", sleep_ms), ("remaining-ms", remaining_ms)],
};

/// The time that hooks see.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds that it is ahead of the real one; `None`: it is the real one.
    ahead: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// One that nobody waits for: sleeping only puts it forward.
    #[must_use]
    pub fn virtual_time() -> Self {
        Self { ahead: Some(Arc::default()) }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    fn since_1970(&self) -> Duration {
        UNIX_EPOCH.elapsed().unwrap_or_default() + self.ahead()
    }

    fn ahead(&self) -> Duration {
        self.ahead.as_ref().map_or(Duration::ZERO, |it| Duration::from_millis(it.load(Ordering::Relaxed)))
    }

    fn sleep(&self, time: Duration) {
        match &self.ahead {
            Some(ahead) => drop(ahead.fetch_add(milliseconds(time), Ordering::Relaxed)),
            None => std::thread::sleep(time),
        }
    }
}

fn now_ns(visit: &mut Visit, _input: Value) -> Result<Value, Failure> {
    Ok(visit.clock.since_1970().as_nanos().to_string().into())
}

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
}

fn sleep_ms(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Sleep { ms } = parameters(input)?;
    let started = visit.clock.now();
    visit.clock.sleep(Duration::from_millis(ms).min(visit.left()));
    Ok(milliseconds(visit.clock.now().saturating_duration_since(started)).min(ms).into())
}

fn remaining_ms(visit: &mut Visit, _input: Value) -> Result<Value, Failure> {
    Ok(milliseconds(visit.left()).into())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;

    #[test]
    fn sleeping_ends_with_the_hooks_time() {
        let mut visit = visit();
        visit.deadline = Instant::now() + Duration::from_millis(30);
        let started = Instant::now();
        let slept = sleep_ms(&mut visit, serde_json::json!({ "ms": 60_000 })).unwrap();
        assert!(slept.as_u64().unwrap() >= 29 && started.elapsed() < Duration::from_secs(5));
        assert_eq!(remaining_ms(&mut visit, Value::Null).unwrap(), 0);
    }

    #[test]
    fn virtual_time_passes_and_nobody_waits() {
        let mut visit = visit();
        visit.clock = Clock::virtual_time();
        visit.deadline = visit.clock.now() + Duration::from_mins(1);
        let nanoseconds = |visit: &mut Visit| {
            now_ns(visit, Value::Null).unwrap().as_str().unwrap().parse::<u128>().unwrap()
        };
        let (started, before) = (Instant::now(), nanoseconds(&mut visit));
        assert_eq!(sleep_ms(&mut visit, serde_json::json!({ "ms": 40_000 })).unwrap(), 40_000);
        assert!(nanoseconds(&mut visit) - before >= 40_000_000_000);
        assert!(
            (19_000..=20_000).contains(&remaining_ms(&mut visit, Value::Null).unwrap().as_u64().unwrap())
        );
        let slept = sleep_ms(&mut visit, serde_json::json!({ "ms": 40_000 })).unwrap();
        assert!((19_000..=20_000).contains(&slept.as_u64().unwrap()), "never longer than there is time");
        assert_eq!(remaining_ms(&mut visit, Value::Null).unwrap(), 0);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
