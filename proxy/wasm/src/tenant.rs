use crate::limits::Limiter;

/// What the store holds for one guest.
pub(crate) struct Tenant<D> {
    pub(crate) door: D,
    pub(crate) limiter: Limiter,
}
