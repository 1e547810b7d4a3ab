//! C32, C33 and D7: plugins that can't be started yet, that outlive us, that do not end.

use crate::{call, calling, error, says, wrapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, Fakes, Lab, wait_for};

fn fake() -> Value {
    wrapping("1.0.0", &json!({ "type": "fake" }))
}

/// Somebody writes the plugin's file, as a package manager does.
fn held(fakes: &Fakes) -> fs::File {
    OpenOptions::new().append(true).open(fakes.file("fake")).unwrap()
}

#[test]
fn c32_a_plugin_that_is_being_written_is_tried_again_with_fresh_stdin() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    let (held, started) = (held(&fakes), Instant::now());
    let release = thread::spawn(move || {
        thread::sleep(Duration::from_millis(1500));
        drop(held);
    });
    let answer = lab.call(&calling(&fakes, "ADD", &fake()));
    let waited = started.elapsed();
    release.join().unwrap();
    assert_eq!(answer.result(), json!({ "cniVersion": "1.0.0", "ips": [] }));
    assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
    assert_eq!(fakes.calls(), ["fake ADD"]);
    assert_eq!(fakes.told("fake", "ADD")["name"], "net");
}

#[test]
fn c32_and_d07_a_plugin_that_stays_busy_is_an_error_at_del_too() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", "");
    let _held = held(&fakes);
    let (lab, fakes) = (&lab, &fakes);
    thread::scope(|scope| {
        for verb in ["ADD", "DEL"] {
            scope.spawn(move || {
                let started = Instant::now();
                let (_, msg) =
                    error(&lab.call(&Call { container_id: verb.into(), ..calling(fakes, verb, &fake()) }));
                assert!(msg.to_lowercase().contains("text file busy"), "{verb}: {msg}");
                let waited = started.elapsed();
                // An ADD that failed is undone, with a DEL that has to wait as well.
                assert!(
                    (Duration::from_secs(4)..Duration::from_secs(15)).contains(&waited),
                    "{verb}: {waited:?}"
                );
            });
        }
    });
    assert!(fakes.calls().is_empty());
}

/// Starts the call and kills us once the plugin has written its number.
fn killed_in(lab: &Lab, fakes: &Fakes, call: &Call) -> String {
    let mut child = lab.command(call).spawn().unwrap();
    child.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
    let pid = wait_for(|| fs::read_to_string(fakes.file("pid")).ok().filter(|it| it.ends_with('\n')));
    child.kill().unwrap();
    child.wait().unwrap();
    pid.trim().to_owned()
}

fn is_alive(pid: &str) -> bool {
    fs::exists(format!("/proc/{pid}/cwd")).unwrap_or(false)
}

#[test]
fn c33_a_delegate_dies_with_us_even_if_it_ignores_what_it_can() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", "trap '' TERM HUP INT PIPE; echo $$ > $here/pid; while :; do sleep 1; done");
    let pid = killed_in(&lab, &fakes, &calling(&fakes, "ADD", &fake()));
    wait_for(|| (!is_alive(&pid)).then_some(()));
}

/// A process that nobody waits for.
struct Orphan<'a>(&'a Fakes);

impl Orphan<'_> {
    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.0.file("orphan")).ok()?.trim().parse().ok()
    }
}

impl Drop for Orphan<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[test]
fn c33_an_orphan_that_holds_the_streams_keeps_nobody_waiting() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    let orphan = Orphan(&fakes);
    fakes.plugin("fake", "sleep 60 & echo $! > $here/orphan; echo said >&2; echo '{\"ips\":[]}'");
    let started = Instant::now();
    let answer = lab.call(&calling(&fakes, "ADD", &fake()));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(answer.result(), json!({ "cniVersion": "1.0.0", "ips": [] }));
    assert!(answer.stderr.contains("said"), "{answer:?}");
    assert!(orphan.pid().is_some_and(|pid| is_alive(&pid.to_string())));
}

/// A plugin whose ADD starts something that goes on when we have been killed.
fn with_an_orphan(fakes: &Fakes, orphan: &str) {
    let start = format!("( {orphan} ) </dev/null >/dev/null 2>&1 &\necho $! > $here/orphan");
    let add = format!("{start}\necho $$ > $here/pid; exec sleep 60");
    fakes.plugin("fake", &format!("if [ $CNI_COMMAND = ADD ]; then\n{add}\nfi\nls $here > $here/seen"));
}

#[test]
fn c33_del_waits_for_the_last_process_of_a_killed_add() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    let _orphan = Orphan(&fakes);
    with_an_orphan(&fakes, "sleep 1.5; touch $here/finished");
    killed_in(&lab, &fakes, &calling(&fakes, "ADD", &fake()));
    lab.call(&calling(&fakes, "DEL", &fake())).silent();
    assert_eq!(fakes.calls(), ["fake ADD", "fake DEL"]);
    let seen = fs::read_to_string(fakes.file("seen")).unwrap();
    assert!(seen.lines().any(|it| it == "finished"), "DEL did not wait: {seen}");
}

#[test]
fn c33_del_waits_five_seconds_and_goes_on() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    let orphan = Orphan(&fakes);
    with_an_orphan(&fakes, "exec sleep 60");
    killed_in(&lab, &fakes, &calling(&fakes, "ADD", &fake()));
    let started = Instant::now();
    let answer = lab.call(&call_with_path(&fakes, "DEL"));
    let waited = started.elapsed();
    answer.silent();
    assert!((Duration::from_millis(4500)..Duration::from_secs(9)).contains(&waited), "{waited:?}");
    assert!(!answer.stderr.is_empty(), "it says so");
    assert_eq!(fakes.calls(), ["fake ADD", "fake DEL"]);
    assert!(orphan.pid().is_some_and(|pid| is_alive(&pid.to_string())));
}

fn call_with_path(fakes: &Fakes, verb: &str) -> Call {
    Call { path: fakes.path(), ..call(verb, "c1", "", &fake()) }
}
