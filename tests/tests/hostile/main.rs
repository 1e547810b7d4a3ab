//! Guests that mean harm. Each ends within its budget, the call as an error that names hook and cause, with everything
//! undone; DEL works; and the plugin itself never panics, aborts or dies.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

mod calls;
mod case;
mod commands;
mod doors;
mod files;
mod machine;
mod memory;
mod modules;
mod paths;
mod replaced;
mod site;
mod strings;
mod time;
mod traps;
mod verdicts;

use case::Case;
use site::{ISOLATIONS, Site};
use std::io::Write;

#[test]
fn every_hostile_guest_ends_as_an_error_and_leaves_nothing() {
    let themes: [(&str, Vec<Case>); 9] = [
        ("time", time::cases()),
        ("memory", memory::cases()),
        ("strings", strings::cases()),
        ("verdicts", verdicts::cases()),
        ("calls", calls::cases()),
        ("traps", traps::cases()),
        ("commands", commands::cases()),
        ("doors", doors::cases()),
        ("modules", modules::cases()),
    ];
    let site = Site::new();
    let (mut report, mut wrong, mut count) = (Vec::new(), Vec::new(), 0);
    writeln!(report, "{:<44} code {} ms, and the cause", "", ISOLATIONS.join("/")).unwrap();
    for (theme, cases) in themes {
        writeln!(report, "-- {theme}").unwrap();
        count += cases.len();
        for case in cases {
            let held = site.hold(&case);
            writeln!(report, "{}", held.row).unwrap();
            wrong.extend(held.wrong);
        }
    }
    writeln!(report, "{count} hostile guests, each in {} places", ISOLATIONS.len()).unwrap();
    // Past the harness: it is to be seen when all is well, too.
    std::io::stderr().write_all(&report).unwrap();
    assert!(wrong.is_empty(), "{} things went wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 60, "{count} cases");
}
