use crate::{Failure, Interface, Scopes, Visit, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant, UNIX_EPOCH};

pub(crate) const INTERFACE: Interface = Interface {
    name: "clock",
    free: false,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("now-ns", now_ns), ("sleep-ms", sleep_ms), ("remaining-ms", remaining_ms)],
};

fn now_ns(_visit: &mut Visit, _input: Value) -> Result<Value, Failure> {
    Ok(UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos().to_string().into())
}

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
}

fn sleep_ms(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Sleep { ms } = parameters(input)?;
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(ms).min(left(visit)));
    Ok(milliseconds(started.elapsed()).min(ms).into())
}

fn remaining_ms(visit: &mut Visit, _input: Value) -> Result<Value, Failure> {
    Ok(milliseconds(left(visit)).into())
}

fn left(visit: &Visit) -> Duration {
    visit.deadline.saturating_duration_since(Instant::now())
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
}
