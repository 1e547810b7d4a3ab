//! Hooks that are plugins themselves, under real names in real namespaces: `bridge`, `tap`, `ptp`, `static-routes`.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

mod bridge;
mod reach;
mod reference;
mod site;
mod tap;
mod undo;
