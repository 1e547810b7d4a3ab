use crate::Door;
use crate::limits::Limiter;
use crate::wasi::Wasi;

/// What the store holds for one guest.
pub(crate) struct Tenant {
    pub(crate) door: Box<dyn Door>,
    pub(crate) limiter: Limiter,
    /// Of guests that import it.
    pub(crate) wasi: Option<Wasi>,
    /// What a command's last call was answered with, until it fetches it.
    pub(crate) reply: Vec<u8>,
}
