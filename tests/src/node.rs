//! Private namespaces.
/// Placeholder.
pub struct Node;
