//! A kernel in memory.

/// Links, addresses, routes and rules of a container and of a host, in memory.
#[derive(Clone, Debug, Default)]
pub struct Model {}
