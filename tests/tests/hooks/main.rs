//! The hooks that people install, and whom they meet, end to end.

#![allow(clippy::unwrap_used, reason = "panicking is how a test speaks")]

mod chaos;
mod documents;
mod fault;
mod guards;
mod selecting;
mod site;
mod together;
