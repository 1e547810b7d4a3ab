//! Modules that change under a running call.

use crate::case::{SLEEP, pre};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use wasmhook_tests::{Answer, Call, Lab, wait_for};

const LOG: &str = r#"(import "wasmhook:host/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
    (data (i32.const 512) "here")"#;
const HERE: &str = "(call $log (i32.const 4) (i32.const 512) (i32.const 4) (i32.const 0) (i32.const 0))";

fn config() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook",
        "hooks": [{ "module": "bad", "grants": ["clock"] }], "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    })
}

/// An ADD that is in the middle of its hook when `replace` happens.
fn meanwhile(lab: &Lab, replace: impl FnOnce(&Path)) -> Answer {
    lab.install(
        "bad",
        &pre(
            &format!("{SLEEP} {LOG}"),
            &format!("{HERE} (drop (call $sleep (i32.const 400))) (i32.const 1024)"),
        ),
    );
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    let call = Call::new("ADD", &config());
    let log = lab.path().join("log");
    let mut command = lab.command(&call);
    let mut running = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
    wait_for(|| fs::read_to_string(&log).unwrap().contains("ERROR: here").then_some(()));
    replace(&lab.modules().join("bad.wasm"));
    let answer: Answer = running.wait_with_output().unwrap().into();
    Answer { stderr: fs::read_to_string(&log).unwrap(), ..answer }
}

fn next(lab: &Lab) -> Answer {
    lab.call(&Call::new("ADD", &config()))
}

#[test]
fn the_running_call_goes_on_and_the_next_has_the_new_module() {
    for isolation in ["module", "call", "none"] {
        let lab = Lab::new(isolation);
        let aside = lab.path().join("new.wasm");
        fs::write(&aside, pre("", "unreachable")).unwrap();
        let went_on = meanwhile(&lab, |module| fs::rename(&aside, module).unwrap());
        assert_eq!(went_on.result(), json!({ "cniVersion": "1.0.0", "ips": [] }));
        assert!(next(&lab).error().msg.contains("trap: wasm `unreachable`"));
    }
}

type Replace<'a> = &'a dyn Fn(&Path);

#[test]
fn the_same_where_it_is_written_over_cut_off_or_taken_away() {
    let (replaced, gone) = ("not WebAssembly", "module not found");
    let replacements: [(Replace<'_>, &str); 4] = [
        (&|module| fs::write(module, b"#!/bin/sh").unwrap(), replaced),
        (&|module| fs::File::create(module).unwrap().set_len(0).unwrap(), replaced),
        (&|module| fs::remove_file(module).unwrap(), gone),
        (
            &|module| {
                fs::remove_file(module).unwrap();
                symlink("/etc/passwd", module).unwrap()
            },
            replaced,
        ),
    ];
    for (replace, said) in replacements {
        let lab = Lab::new("module");
        let _ = meanwhile(&lab, replace).result();
        let error = next(&lab).error();
        assert!(error.msg.contains(said), "{said}: {error:?}");
    }
}

#[test]
fn compiled_modules_may_be_taken_away_from_under_a_running_call() {
    for isolation in ["module", "call", "none"] {
        let lab = Lab::new(isolation);
        let compiled = lab.compiled();
        let _ = meanwhile(&lab, |_| fs::remove_dir_all(&compiled).unwrap()).result();
        let _ = next(&lab).result();
    }
}
