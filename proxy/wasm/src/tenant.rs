use crate::door::elsewhere;
use crate::limits::Limiter;
use crate::wasi::Wasi;
use crate::{Door, alarm};
use serde_json::Value;

/// What the store holds for one guest.
pub(crate) struct Tenant {
    pub(crate) door: Box<dyn Door>,
    pub(crate) limiter: Limiter,
    /// Of guests that import it.
    pub(crate) wasi: Option<Wasi>,
    /// What a command's last call was answered with, until it fetches it.
    pub(crate) reply: Vec<u8>,
}

impl Tenant {
    /// Asks the host. Meanwhile the guest's time on the wall stands still where it is somebody else who works.
    pub(crate) fn ask(&mut self, operation: &str, input: Value) -> Value {
        alarm::pause();
        let mut reply = self.door.call(operation, input);
        alarm::go_on(elsewhere(&reply));
        if let Some(reply) = reply.as_object_mut() {
            reply.remove("elsewhere");
        }
        reply
    }
}
