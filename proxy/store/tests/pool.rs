//! Pools beside the real host-local (Debian's containernetworking-plugins).

#![allow(clippy::unwrap_used, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wasmhook_net_types::PoolConfig;
use wasmhook_store::{Holder, Pool, StoreError, give_back};

const HOST_LOCAL: &str = "/usr/lib/cni/host-local";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn config(directory: &Path, ipam: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = "host-local".into();
    ipam["dataDir"] = directory.to_str().unwrap().into();
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "x", "ipam": ipam })
}

/// The real one; what it printed.
fn host_local(verb: &str, id: &str, config: &Value) -> Result<Vec<String>, String> {
    let mut child = Command::new(HOST_LOCAL)
        .env_clear()
        .envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", id), ("CNI_NETNS", "/x"), ("CNI_IFNAME", "eth0")])
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if !output.status.success() {
        return Err(said["msg"].as_str().unwrap_or_default().to_owned());
    }
    let text =
        |ip: &Value| format!("{} via {}", ip["address"].as_str().unwrap(), ip["gateway"].as_str().unwrap());
    Ok(said["ips"].as_array().map(|ips| ips.iter().map(text).collect()).unwrap_or_default())
}

fn holder(id: &str) -> Holder {
    Holder { id: id.into(), ifname: "eth0".into() }
}

/// Ours.
fn allocate(id: &str, config: &Value) -> Result<Vec<String>, StoreError> {
    let config = PoolConfig::read(&config.to_string(), &[]).unwrap();
    let pool = Pool::of(&config);
    let locked = pool.lock(soon())?;
    let wanted = config.requests().unwrap();
    let mut got = Vec::new();
    for (set, (ranges, wanted)) in config.sets.iter().zip(wanted).enumerate() {
        let candidate = locked.candidate(set, ranges, wanted)?;
        locked.take(&candidate, &holder(id))?;
        got.push(format!("{} via {}", candidate.address, candidate.gateway));
    }
    Ok(got)
}

/// All files of a directory, without the lock.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(directory.join("net"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .filter(|(name, _)| name != "lock")
        .collect();
    files.sort();
    files
}

fn pools() -> Vec<Value> {
    vec![
        json!({ "subnet": "10.1.2.0/29" }),
        json!({ "ranges": [[{ "subnet": "10.1.2.0/28", "rangeStart": "10.1.2.5", "rangeEnd": "10.1.2.9" }]] }),
        json!({ "ranges": [[{ "subnet": "10.1.2.0/29", "gateway": "10.1.2.4" }, { "subnet": "10.1.3.0/29" }]] }),
        json!({ "ranges": [[{ "subnet": "10.1.2.0/29" }], [{ "subnet": "fd00:1::/125" }]] }),
        json!({ "ranges": [[{ "subnet": "fd00:1::/64", "rangeStart": "fd00:1::fffe" }]] }),
    ]
}

#[test]
fn both_give_the_same_addresses_and_leave_the_same_files() {
    for ipam in pools() {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (their_config, our_config) = (config(theirs.path(), &ipam), config(ours.path(), &ipam));
        for round in 0..12 {
            let id = format!("c{round}");
            let (their, our) = (host_local("ADD", &id, &their_config), allocate(&id, &our_config));
            match (their, our) {
                (Ok(their), Ok(our)) => assert_eq!(our, their, "{ipam} {round}"),
                (Err(_), Err(StoreError::Exhausted { .. })) => {}
                (their, our) => panic!("{ipam} {round}: {their:?} {our:?}"),
            }
            if round % 3 == 2 {
                let id = format!("c{}", round - 1);
                host_local("DEL", &id, &their_config).unwrap();
                Pool::of(&PoolConfig::read(&our_config.to_string(), &[]).unwrap())
                    .release(&holder(&id), soon())
                    .unwrap();
            }
        }
        // Where a set is exhausted, they give back what they had of another; so does our caller.
        if ipam["ranges"].as_array().is_none_or(|sets| sets.len() == 1) {
            assert_eq!(files(ours.path()), files(theirs.path()), "{ipam}");
        }
    }
}

#[test]
fn each_takes_back_what_the_other_has_given() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), &json!({ "subnet": "10.1.2.0/24" }));
    assert_eq!(allocate("ours", &config).unwrap(), ["10.1.2.2/24 via 10.1.2.1"]);
    assert_eq!(host_local("ADD", "theirs", &config).unwrap(), ["10.1.2.3/24 via 10.1.2.1"]);
    let pool = Pool::of(&PoolConfig::read(&config.to_string(), &[]).unwrap());
    assert_eq!(pool.held_by(&holder("theirs")).unwrap(), ["10.1.2.3".parse::<std::net::IpAddr>().unwrap()]);
    host_local("DEL", "ours", &config).unwrap();
    assert_eq!(pool.release(&holder("theirs"), soon()).unwrap(), 1);
    assert_eq!(pool.release(&holder("theirs"), soon()).unwrap(), 0);
    assert_eq!(files(place.path()).len(), 1);
    // Of a time when leases named no interface.
    fs::write(place.path().join("net/10.1.2.9"), "old").unwrap();
    give_back(&place.path().join("net/10.1.2.9"), &holder("old"), soon()).unwrap();
    fs::write(place.path().join("net/10.1.2.9"), "other\r\neth0").unwrap();
    give_back(&place.path().join("net/10.1.2.9"), &holder("old"), soon()).unwrap();
    assert!(place.path().join("net/10.1.2.9").exists());
}

#[test]
fn a_lease_whose_maker_was_killed_before_it_was_written_is_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let lease = place.path().join("10.1.2.9");
    fs::write(&lease, "").unwrap();
    give_back(&lease, &holder("killed"), soon()).unwrap();
    assert!(!lease.exists());
}

#[test]
fn two_hundred_at_once_get_two_hundred_addresses() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), &json!({ "subnet": "10.1.0.0/16" }));
    let got: Vec<String> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let config = &config;
            scope.spawn(move || {
                let id = format!("c{number}");
                let got = if number.is_multiple_of(2) {
                    host_local("ADD", &id, config).unwrap()
                } else {
                    allocate(&id, config).unwrap()
                };
                got[0].clone()
            })
        };
        let running: Vec<_> = (0..200).map(one).collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), 200);
}

#[test]
fn what_is_damaged_is_nobodys_and_what_is_asked_for_may_be_taken() {
    let place = tempfile::tempdir().unwrap();
    let ipam = json!({ "subnet": "10.1.2.0/29" });
    let plain = config(place.path(), &ipam);
    fs::create_dir(place.path().join("net")).unwrap();
    fs::write(place.path().join("net/10.1.2.2"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.path().join("net/10.1.2.3")).unwrap();
    fs::write(place.path().join("net/last_reserved_ip.0"), "no address").unwrap();
    assert_eq!(allocate("a", &plain).unwrap(), ["10.1.2.4/29 via 10.1.2.1"]);
    let mut asking = plain.clone();
    asking["runtimeConfig"] = json!({ "ips": ["10.1.2.4"] });
    let taken = allocate("b", &asking).unwrap_err().to_string();
    assert_eq!(taken, "address 10.1.2.4 cannot be had: somebody has it");
    asking["runtimeConfig"] = json!({ "ips": ["10.1.2.1"] });
    let gateway = allocate("b", &asking).unwrap_err().to_string();
    assert_eq!(gateway, "address 10.1.2.1 cannot be had: it is a gateway, or excluded");
    asking["runtimeConfig"] = json!({ "ips": ["10.1.2.6"] });
    assert_eq!(allocate("b", &asking).unwrap(), ["10.1.2.6/29 via 10.1.2.1"]);
    assert_eq!(allocate("c", &plain).unwrap(), ["10.1.2.5/29 via 10.1.2.1"]);
    let none = allocate("d", &plain).unwrap_err().to_string();
    assert!(none.starts_with("no address is left in 10.1.2.1-10.1.2.6: leases are in /"), "{none}");
    assert!(fs::read_to_string(place.path().join("net/10.1.2.2")).unwrap().is_empty());
}

#[test]
fn a_process_that_sits_on_the_lock_is_named() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), &json!({ "subnet": "10.1.2.0/24" }));
    allocate("a", &config).unwrap();
    let lock = place.path().join("net/lock");
    let mut sitter = Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", "60"]).spawn().unwrap();
    let pool = Pool::of(&PoolConfig::read(&config.to_string(), &[]).unwrap());
    let until = Instant::now() + Duration::from_secs(5);
    let busy = loop {
        match pool.lock(Instant::now() + Duration::from_millis(50)) {
            Err(error) => break error.to_string(),
            Ok(_) if Instant::now() > until => panic!("nobody has taken the lock"),
            Ok(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    sitter.kill().unwrap();
    sitter.wait().unwrap();
    let by = format!("{} is locked, by process {}", lock.display(), sitter.id());
    assert!(busy.starts_with(&by), "{busy}");
}
