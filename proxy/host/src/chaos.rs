use crate::state::Bytes;
use crate::{Failure, Interface, Scopes, Visit, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const INTERFACE: Interface = Interface {
    name: "chaos",
    free: false,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("end-call", end_call), ("end-by-signal", end_by_signal), ("hang", hang)],
};

const LONGEST: usize = 1 << 20;
const MOST_SIGNALS: u32 = 64;
/// They are ignored, or stop or continue a process, where nobody says otherwise: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
const HARMLESS: [u32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// How a call ends, if not as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it does.
    pub how: End,
    /// Does the call take its course until then? If not, it is undone.
    pub keep: bool,
}

/// What a call does in the place of printing its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It prints something else.
    Print {
        /// All of it.
        stdout: Vec<u8>,
        /// What it exits with.
        exit_code: u8,
    },
    /// It dies by this signal.
    Signal(i32),
    /// It does not end by itself.
    Hang,
}

/// Where hooks of a call say how it ends.
#[derive(Clone, Debug, Default)]
pub struct SharedEnding(Arc<Mutex<Option<Ending>>>);

impl SharedEnding {
    /// What was said last.
    #[must_use]
    pub fn said(&self) -> Option<Ending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing was said.
    pub fn forget(&self) {
        self.set(None);
    }

    fn set(&self, ending: Option<Ending>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ending;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EndCall {
    stdout: Bytes,
    exit_code: i32,
    keep: bool,
}

#[derive(Deserialize)]
struct EndBySignal {
    signal: u32,
    keep: bool,
}

fn end_call(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let EndCall { stdout: Bytes(stdout), exit_code, keep } = parameters(input)?;
    if stdout.len() > LONGEST {
        let words = format!("stdout: {} bytes, and {LONGEST} are allowed", stdout.len());
        return Err(Failure::new("invalid", words));
    }
    let Ok(exit_code) = u8::try_from(exit_code) else {
        return Err(Failure::new("invalid", format!("exit code {exit_code}: write 0 to 255")));
    };
    tracing::warn!(
        hook = visit.hook,
        bytes = stdout.len(),
        exit_code,
        keep,
        "chaos: the call prints something else"
    );
    visit.ending.set(Some(Ending { how: End::Print { stdout, exit_code }, keep }));
    Ok(Value::Null)
}

fn end_by_signal(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let EndBySignal { signal, keep } = parameters(input)?;
    if !(1..=MOST_SIGNALS).contains(&signal) || HARMLESS.contains(&signal) {
        let words = format!("signal {signal}: write the number of one that ends a process, such as 9");
        return Err(Failure::new("invalid", words));
    }
    tracing::warn!(hook = visit.hook, signal, keep, "chaos: the call dies by a signal");
    visit.ending.set(Some(Ending { how: End::Signal(signal.cast_signed()), keep }));
    Ok(Value::Null)
}

fn hang(visit: &mut Visit, _input: Value) -> Result<Value, Failure> {
    tracing::warn!(hook = visit.hook, "chaos: the call hangs");
    visit.ending.set(Some(Ending { how: End::Hang, keep: false }));
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;
    use serde_json::json;

    #[test]
    fn the_last_end_counts_and_what_ends_nothing_is_none() {
        let mut visit = visit();
        let mut call = |function: &str, input: Value| INTERFACE.call(function, &mut visit, input);
        call("end-call", json!({ "stdout": "eyI=", "exit-code": 3, "keep": true })).unwrap();
        for (function, wrong) in [
            ("end-call", json!({ "stdout": "", "exit-code": 256, "keep": true })),
            ("end-call", json!({ "stdout": "", "exit-code": -1, "keep": true })),
            ("end-call", json!({ "stdout": "=", "exit-code": 0, "keep": true })),
            ("end-by-signal", json!({ "signal": 0, "keep": false })),
            ("end-by-signal", json!({ "signal": 17, "keep": false })),
            ("end-by-signal", json!({ "signal": 65, "keep": false })),
        ] {
            assert_eq!(call(function, wrong.clone()).unwrap_err().code, "invalid", "{wrong}");
        }
        let end = End::Print { stdout: b"{\"".to_vec(), exit_code: 3 };
        assert_eq!(visit.ending.said(), Some(Ending { how: end, keep: true }));
        INTERFACE.call("end-by-signal", &mut visit, json!({ "signal": 9, "keep": false })).unwrap();
        assert_eq!(visit.ending.said(), Some(Ending { how: End::Signal(9), keep: false }));
        INTERFACE.call("hang", &mut visit, json!({})).unwrap();
        assert_eq!(visit.ending.said(), Some(Ending { how: End::Hang, keep: false }));
        visit.ending.forget();
        assert_eq!(visit.ending.said(), None);
    }
}
