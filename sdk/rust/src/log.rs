//! Lines in wasmhook's log. Every hook may write them; the macros [`info!`](crate::info) and its siblings format.

use crate::bindings::wasmhook::host::log as host;

/// How much it matters.
pub use host::Level;

/// Writes a line with fields.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    if cfg!(target_arch = "wasm32") {
        let fields: Vec<_> =
            fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        host::write(level, message, &fields);
    } else {
        #[allow(clippy::print_stderr, reason = "no host here: a unit test")]
        {
            eprintln!("{level:?}: {message} {fields:?}");
        }
    }
}

/// Logs at level trace, formatted like `format!`.
#[macro_export]
macro_rules! trace { ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Trace, &format!($($arg)+), &[]) }; }
/// Logs at level debug, formatted like `format!`.
#[macro_export]
macro_rules! debug { ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Debug, &format!($($arg)+), &[]) }; }
/// Logs at level info, formatted like `format!`.
#[macro_export]
macro_rules! info { ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Info, &format!($($arg)+), &[]) }; }
/// Logs at level warn, formatted like `format!`.
#[macro_export]
macro_rules! warn { ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Warn, &format!($($arg)+), &[]) }; }
/// Logs at level error, formatted like `format!`.
#[macro_export]
macro_rules! error { ($($arg:tt)+) => { $crate::log::write($crate::log::Level::Error, &format!($($arg)+), &[]) }; }
