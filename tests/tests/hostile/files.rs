//! What stands in the module directories and among the compiled modules, and is not what it seems.

use serde_json::{Value, json};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, GO_ON, Lab, component, deny};

/// Puts something there.
type Make<'a> = &'a dyn Fn(&Path);

fn config(module: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [{ "module": module }],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    })
}

/// Nothing in a directory makes anybody wait.
fn ask(lab: &Lab, verb: &str, module: &Value) -> Answer {
    let started = Instant::now();
    let answer = lab.call(&Call::new(verb, &config(module)));
    assert!(started.elapsed() < Duration::from_secs(3), "{verb} {module}: {:?}", started.elapsed());
    assert!(!answer.stderr.contains("panic"), "{answer:?}");
    answer
}

fn add(lab: &Lab) -> Answer {
    ask(lab, "ADD", &json!("bad"))
}

fn went_well(answer: &Answer) {
    assert_eq!(answer.result(), json!({ "cniVersion": "1.0.0", "ips": [] }));
}

#[test]
fn a_module_that_is_no_file_is_told_and_makes_nobody_wait() {
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let device = |path: &Path| symlink("/dev/zero", path).unwrap();
    let terminal = |path: &Path| symlink("/dev/ptmx", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let socket = |path: &Path| drop(UnixListener::bind(path).unwrap());
    let circle = |path: &Path| symlink("bad.wasm", path).unwrap();
    let nowhere = |path: &Path| symlink("/nowhere", path).unwrap();
    let below_a_file = |path: &Path| symlink("/etc/passwd/x", path).unwrap();
    let endless = |path: &Path| symlink("/proc/kmsg", path).unwrap();
    let places: [(Make<'_>, u64, &str); 9] = [
        (&fifo, 102, "bad.wasm is a device, socket or pipe, not a file"),
        (&device, 102, "bad.wasm is a device, socket or pipe, not a file"),
        (&terminal, 102, "bad.wasm is a device, socket or pipe, not a file"),
        (&directory, 102, "bad.wasm is a directory, not a file"),
        (&socket, 102, "bad.wasm: "),
        (&circle, 102, "bad.wasm: "),
        (&nowhere, 103, "module not found: no bad.wasm in /"),
        (&below_a_file, 102, "bad.wasm: "),
        (&endless, 102, "bad.wasm: "),
    ];
    for (make, code, said) in places {
        let lab = Lab::new("module");
        make(&lab.modules().join("bad.wasm"));
        for module in [json!("bad"), json!(lab.modules().join("bad.wasm"))] {
            let error = ask(&lab, "ADD", &module).error();
            let is_named = error.msg.starts_with("hook `bad`: ") && (error.msg.contains(said) || code == 103);
            assert!(error.code == code && is_named, "{said}: {error:?}");
            ask(&lab, "DEL", &module).silent();
        }
        // And nobody who compiles everything, either.
        let started = Instant::now();
        let _ = lab.ctl(&["compile", "bad"]);
        assert!(started.elapsed() < Duration::from_secs(3), "{said}");
    }
}

/// Whoever can write there decides what runs anyway. A link is no way around the compiler, and none around a pin.
#[test]
fn links_in_a_module_directory_are_what_they_lead_to() {
    let lab = Lab::new("module");
    let module = lab.modules().join("bad.wasm");
    symlink("identity.wasm", &module).unwrap();
    went_well(&add(&lab));
    fs::remove_file(&module).unwrap();
    fs::hard_link(lab.modules().join("identity.wasm"), &module).unwrap();
    went_well(&add(&lab));
    fs::remove_file(&module).unwrap();
    for other in ["/etc/passwd", "/etc/shadow", "/proc/self/environ"] {
        symlink(other, &module).unwrap();
        let error = add(&lab).error();
        assert!(error.code == 101 && error.msg.contains("not WebAssembly: starts with"), "{error:?}");
        assert!(!error.msg.contains("root:") && !error.msg.contains("CNI_"), "{error:?}");
        fs::remove_file(&module).unwrap();
    }
}

/// Two hooks, compiled and settled: `bad` refuses, `identity` does not. Where each one's compiled module is.
fn compiled() -> (Lab, PathBuf, PathBuf) {
    let lab = Lab::new("module");
    let (data, body) = deny(123, "no");
    lab.install("bad", &component(&data, body, GO_ON));
    let artifact = |name: &str| {
        let before = artifacts(&lab);
        assert_eq!(lab.ctl(&["compile", name]).code, Some(0));
        artifacts(&lab).into_iter().find(|it| !before.contains(it)).unwrap()
    };
    let (bad, identity) = (artifact("bad"), artifact("identity"));
    (lab, bad, identity)
}

fn artifacts(lab: &Lab) -> Vec<PathBuf> {
    let Ok(builds) = fs::read_dir(lab.compiled()) else { return Vec::new() };
    let by_digest = builds.map(|it| it.unwrap().path().join("by-digest"));
    by_digest.flat_map(|it| fs::read_dir(it).unwrap().map(|it| it.unwrap().path())).collect()
}

fn still_refuses(lab: &Lab, what: &str) {
    let error = add(lab).error();
    assert_eq!((error.code, error.msg.as_str()), (123, "no"), "{what}: {error:?}");
}

#[test]
fn a_compiled_module_that_is_another_ones_is_not_run() {
    type Trick<'a> = (&'a str, &'a dyn Fn(&Path, &Path));
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let instead = |path: &Path, make: &dyn Fn(&Path)| {
        fs::remove_file(path).unwrap();
        make(path);
    };
    let tricks: [Trick<'_>; 14] = [
        ("a link to another's", &|bad, other| instead(bad, &|it| symlink(other, it).unwrap())),
        ("a hard link to another's", &|bad, other| instead(bad, &|it| fs::hard_link(other, it).unwrap())),
        ("another's, copied", &|bad, other| {
            fs::copy(other, bad).unwrap();
        }),
        ("a link to nowhere", &|bad, _| instead(bad, &|it| symlink("/nowhere", it).unwrap())),
        ("a link to itself", &|bad, _| instead(bad, &|it| symlink(it, it).unwrap())),
        ("a link to a password file", &|bad, _| instead(bad, &|it| symlink("/etc/shadow", it).unwrap())),
        ("a fifo", &|bad, _| {
            instead(bad, &|it| nix::unistd::mkfifo(it, nix::sys::stat::Mode::S_IRWXU).unwrap())
        }),
        ("a link to a device", &|bad, _| instead(bad, &|it| symlink("/dev/zero", it).unwrap())),
        ("a directory", &|bad, _| instead(bad, &|it| fs::create_dir(it).unwrap())),
        ("writable for all", &|bad, _| mode(bad, 0o666)),
        ("somebody else's", &|bad, _| chown(bad, Some(65534), None).unwrap()),
        ("nothing", &|bad, _| fs::write(bad, b"").unwrap()),
        ("a file of 1 TB", &|bad, _| {
            OpenOptions::new().write(true).open(bad).unwrap().set_len(1 << 40).unwrap();
        }),
        ("what a compiler did not write", &|bad, _| fs::write(bad, vec![0x7f; 100_000]).unwrap()),
    ];
    for (name, trick) in tricks {
        let (lab, bad, identity) = compiled();
        trick(&bad, &identity);
        still_refuses(&lab, name);
        // Again, with whatever was made of it.
        still_refuses(&lab, name);
        went_well(&ask(&lab, "ADD", &json!("identity")));
    }
}

#[test]
fn directories_that_others_could_write_to_are_not_believed() {
    let (lab, bad, identity) = compiled();
    let build = bad.parent().unwrap().parent().unwrap().to_owned();
    for directory in
        [lab.compiled(), build.clone(), build.join("by-digest"), build.join("by-stat"), build.join("locks")]
    {
        let _ = fs::rename(&identity, &bad);
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        still_refuses(&lab, &format!("{} for all to write", directory.display()));
        chown(&directory, Some(65534), None).unwrap();
        still_refuses(&lab, &format!("{} of somebody else", directory.display()));
        chown(&directory, Some(0), None).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    }
}

/// What somebody left who could write here once.
#[test]
fn traps_among_the_locks_hold_nobody() {
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let victim = |path: &Path| symlink("/dev/full", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let makers: [(&str, Make<'_>); 3] = [("a fifo", &fifo), ("a link", &victim), ("a directory", &directory)];
    for (name, make) in makers {
        let (lab, bad, _) = compiled();
        let lock = bad.parent().unwrap().parent().unwrap().join("locks").join(bad.file_name().unwrap());
        fs::remove_file(&bad).unwrap();
        let _ = fs::remove_file(&lock);
        make(&lock);
        let answer = add(&lab);
        assert_eq!(answer.code, Some(1), "{name}: {answer:?}");
        assert!([102, 123].contains(&answer.error().code), "{name}: {answer:?}");
        ask(&lab, "DEL", &json!("bad")).silent();
    }
}

#[test]
fn a_link_from_a_stat_leads_to_no_other_module() {
    let (lab, bad, identity) = compiled();
    // Settled, so that a stat is enough.
    std::thread::sleep(Duration::from_millis(3100));
    still_refuses(&lab, "itself");
    let by_stat = bad.parent().unwrap().parent().unwrap().join("by-stat");
    let entries: Vec<PathBuf> = fs::read_dir(&by_stat).unwrap().map(|it| it.unwrap().path()).collect();
    let [entry] = entries.try_into().unwrap();
    for target in ["/etc/passwd", "/dev/zero", "/nowhere"] {
        fs::remove_file(&entry).unwrap();
        symlink(target, &entry).unwrap();
        still_refuses(&lab, target);
    }
    // Where only we can write, what is ours is believed: but not of a file that others can write to.
    let copy = lab.path().join("copy");
    fs::copy(&identity, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(&entry).unwrap();
    symlink(&copy, &entry).unwrap();
    still_refuses(&lab, "a copy for all to write");
}
