//! Hooks that are plugins themselves, under real names in real namespaces: `bridge`, `tap`, `ptp`, `static-routes`.

#![allow(
    clippy::unwrap_used,
    clippy::must_use_candidate,
    clippy::print_stdout,
    reason = "panicking is how a test speaks, and a figure is worth reading"
)]

mod bridge;
mod reach;
mod reference;
mod site;
mod tap;
mod undo;
