//! What the fuzzer starts from, and what it has found: every input through the checks that `make fuzz` runs.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "panicking is how a test speaks, and the fuzzer calls these, too"
)]

mod checks;
mod mutate;

use std::fs;
use std::path::{Path, PathBuf};

fn inputs(target: &str) -> Vec<PathBuf> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(seeds).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "the seeds of {target} are gone");
    files
}

/// Which input it is stands last on stderr when one fails.
fn pass(target: &str, check: fn(&[u8])) {
    for file in inputs(target) {
        let input = fs::read(&file).unwrap();
        let passed = std::panic::catch_unwind(|| check(&input));
        assert!(passed.is_ok(), "{}: see above", file.display());
    }
}

#[test]
fn every_configuration_is_read_alike_again() {
    pass("config", checks::config);
}

#[test]
fn every_result_goes_to_all_versions_and_what_was_said_is_taken_back() {
    pass("conversion", checks::conversion);
}

#[test]
fn every_verdict_is_what_was_printed_or_none() {
    pass("verdict", checks::verdict);
}

#[test]
fn every_request_is_what_was_asked() {
    pass("command", checks::command);
}

#[test]
fn all_settings_are_usable_or_refused() {
    pass("settings", checks::settings);
}

#[test]
fn every_call_has_its_document_and_leaves_nothing() {
    pass("call", checks::call);
}

#[test]
fn no_seed_is_left_aside() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut targets: Vec<_> = fs::read_dir(seeds).unwrap().map(|it| it.unwrap().file_name()).collect();
    targets.sort();
    assert_eq!(targets, ["call", "command", "config", "conversion", "settings", "verdict"]);
}
