//! Compiled modules on disk: made once, found fast, and never run when anybody else could have written them.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, Lab, dist};

fn config() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [{ "module": "identity" }],
        "prevResult": { "cniVersion": "1.0.0" },
    })
}

fn add(lab: &Lab) -> Answer {
    lab.call(&Call::new("ADD", &config()))
}

/// A compiler that keeps count, and may take its time.
fn counting_compiler(lab: &Lab, before: &str) -> PathBuf {
    let path = lab.path().join("compiler");
    let (count, real) = (lab.path().join("count"), dist("wasmhookctl"));
    fs::write(
        &path,
        format!("#!/bin/sh\necho x >> {}\n{before}\nexec {} \"$@\"\n", count.display(), real.display()),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    lab.configure("module", &path);
    path
}

fn count(lab: &Lab) -> usize {
    fs::read_to_string(lab.path().join("count")).unwrap_or_default().lines().count()
}

fn artifacts(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(artifacts(&entry.path()));
        } else if directory.ends_with("by-digest") {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_hundred_parallel_first_calls_compile_once() {
    let lab = Lab::new("module");
    counting_compiler(&lab, "");
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100).map(|_| scope.spawn(|| add(&lab).result())).collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), json!({ "cniVersion": "1.0.0" }));
        }
    });
    assert_eq!(count(&lab), 1);
    assert_eq!(artifacts(&lab.compiled()).len(), 1);
}

#[test]
fn a_damaged_or_foreign_artifact_is_compiled_again_and_nobody_notices() {
    let lab = Lab::new("module");
    counting_compiler(&lab, "");
    let _ = add(&lab).result();
    let [artifact] = artifacts(&lab.compiled()).try_into().unwrap();
    let whole = fs::read(&artifact).unwrap();
    let damages: [(&str, &dyn Fn()); 6] = [
        ("truncated", &|| fs::write(&artifact, &whole[..whole.len() / 2]).unwrap()),
        ("too long", &|| fs::write(&artifact, [&whole[..], b"x"].concat()).unwrap()),
        ("empty", &|| fs::write(&artifact, b"").unwrap()),
        ("of another build", &|| {
            let mut other = whole.clone();
            *other.last_mut().unwrap() ^= 1;
            fs::write(&artifact, other).unwrap();
        }),
        ("somebody else's", &|| chown(&artifact, Some(65534), None).unwrap()),
        ("writable for a group", &|| {
            fs::set_permissions(&artifact, fs::Permissions::from_mode(0o620)).unwrap();
        }),
    ];
    for (number, (name, damage)) in damages.into_iter().enumerate() {
        damage();
        let _ = add(&lab).result();
        assert_eq!(count(&lab), number + 2, "{name}");
        assert_eq!(fs::read(&artifact).unwrap(), whole, "{name}");
    }
    let _ = add(&lab).result();
    assert_eq!(count(&lab), 7, "a sound artifact is not compiled again");
}

#[test]
fn code_that_the_engine_does_not_take_is_compiled_again() {
    let lab = Lab::new("module");
    counting_compiler(&lab, "");
    let _ = add(&lab).result();
    let [artifact] = artifacts(&lab.compiled()).try_into().unwrap();
    let mut bytes = fs::read(&artifact).unwrap();
    // The trailer is whole, the code's own header is not: another wasmtime, another processor.
    bytes[..64].fill(0);
    fs::write(&artifact, bytes).unwrap();
    let _ = add(&lab).result();
    assert_eq!(count(&lab), 2);
}

#[test]
fn where_nothing_can_be_kept_pods_still_come_up() {
    let lab = Lab::new("module");
    fs::create_dir(lab.compiled()).unwrap();
    chown(lab.compiled(), Some(65534), None).unwrap();
    let answer = add(&lab);
    let _ = answer.result();
    assert!(answer.stderr.contains("is not to be trusted: owned by uid 65534"), "{answer:?}");
    assert!(answer.stderr.contains("compiling for this call alone"), "{answer:?}");
}

#[test]
fn on_a_full_disk_pods_still_come_up_and_nothing_half_written_stays() {
    let lab = Lab::new("module");
    let _node = wasmhook_tests::Node::enter();
    fs::create_dir(lab.compiled()).unwrap();
    nix::mount::mount(
        Some("tmpfs"),
        &lab.compiled(),
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=64k,mode=0700"),
    )
    .unwrap();
    let answer = add(&lab);
    let _ = answer.result();
    assert!(answer.stderr.contains("compiled module cannot be kept"), "{answer:?}");
    assert!(answer.stderr.contains("No space left on device"), "{answer:?}");
    assert!(artifacts(&lab.compiled()).is_empty());
}

#[test]
fn a_long_compile_is_try_again_and_goes_on_meanwhile() {
    let lab = Lab::new("module");
    counting_compiler(&lab, "sleep 7");
    let started = Instant::now();
    let error = add(&lab).error();
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    assert_eq!(error.code, 11);
    assert!(error.msg.contains("identity.wasm is being compiled"), "{error:?}");
    // The second one waits for the first one's compiler.
    let _ = add(&lab).result();
    assert_eq!(count(&lab), 1);
}

#[test]
fn a_del_never_waits_for_a_compiler() {
    let lab = Lab::new("module");
    counting_compiler(&lab, "");
    let answer = lab.call(&Call::new("DEL", &config()));
    answer.silent();
    assert!(
        answer
            .stderr
            .contains("is not compiled, and DEL does not wait for a compiler: run `wasmhookctl compile"),
        "{answer:?}"
    );
    assert_eq!(count(&lab), 0);
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let lab = Lab::new("module");
    lab.configure("module", Path::new("/nowhere/wasmhookctl"));
    let error = add(&lab).error();
    assert_eq!(error.code, 102);
    assert!(error.msg.contains("compiler /nowhere/wasmhookctl cannot be started"), "{error:?}");
    assert!(error.msg.contains("(setting `compiler`)"), "{error:?}");
}

#[test]
fn compiling_ahead_means_no_call_compiles() {
    let lab = Lab::new("module");
    let answer = lab.ctl(&["compile", "--all"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(answer.stdout.lines().count(), 4, "{answer:?}");
    counting_compiler(&lab, "");
    let _ = add(&lab).result();
    assert_eq!(count(&lab), 0);
    let again = lab.ctl(&["compile", "--all"]).stdout;
    assert_eq!(again.matches("was compiled already").count(), 4, "{again}");
}

#[test]
fn a_module_that_is_replaced_is_the_new_one_at_the_next_call() {
    let lab = Lab::new("module");
    let _ = add(&lab).result();
    lab.install("identity", b"not wasm any more");
    assert!(add(&lab).error().msg.contains("not WebAssembly"));
}
