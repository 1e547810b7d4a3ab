use serde_json::Value;
use std::time::Duration;

/// May a guest import a function?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Granted,
    /// Only with a grant of the interface's name.
    NeedsGrant,
    /// There is no such function here.
    Unknown,
}

/// The one way out of the room. Whatever a guest asks of the host is a message to it.
///
/// With [`Isolation::Module`](crate::Isolation::Module) the door stands in the parent, out of the guest's reach.
pub trait Door: Send {
    /// Performs `interface.function` with its parameters by name. The reply is `{"ok": …}`, or
    /// `{"failure": {"code", "errno", "message"}}`, which a guest whose function returns no `result` does not
    /// survive. With `"elsewhere"`, a number of milliseconds, beside it: so long somebody else was at work, whose time is not the
    /// guest's.
    fn call(&mut self, operation: &str, input: Value) -> Value;
}

/// How long somebody else was at work.
pub(crate) fn elsewhere(reply: &Value) -> Duration {
    Duration::from_millis(reply.get("elsewhere").and_then(Value::as_u64).unwrap_or_default())
}
