//! What must be true of every input, one function for each kind. They panic where it is not.
//!
//! An input is text that a person can write: its parts stand one after the other, with an empty line between them. So
//! what the fuzzer finds can be read, and a recorded call is a seed.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "panicking is how a check speaks")]

mod call;
mod command;
mod config;
mod conversion;
mod settings;
mod taken_back;
mod verdict;

pub use call::call;
pub use command::command;
pub use config::config;
pub use conversion::conversion;
pub use settings::settings;
pub use verdict::verdict;

use serde_json::value::RawValue;
use wasmhook_cni::Object;

/// Between the parts of an input.
const BETWEEN: &str = "\n\n";

/// Reads JSON as nobody's type: no key and no byte of a number is lost.
fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// The object without a key.
fn without(object: &Object, key: &str) -> String {
    let mut object = object.clone();
    object.remove(key);
    object.to_string()
}
