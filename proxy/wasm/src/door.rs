use serde_json::Value;

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
    /// survive.
    fn call(&mut self, operation: &str, input: Value) -> Value;
}
