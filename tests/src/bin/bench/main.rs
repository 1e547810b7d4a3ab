//! `make bench`: what a call costs, as ratios against something real in the same run.
//!
//! Whole processes, user + sys as the kernel accounts them, interleaved in random order so that a slow minute and cold
//! caches hit all alike. Prints,
//! and judges nothing: the machine may be busy.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod hooks;
mod native;

use serde_json::{Value, json};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, GO_ON, Lab, Node, PLUGINS, component, dist, padded, variant, with_wasi};

/// What is run, round by round.
struct Subject {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
    /// user + sys of each run.
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
    /// KiB, the greatest.
    peak: i64,
}

/// A promise: `subject` costs at most `bound` times `against`.
struct Promise {
    subject: &'static str,
    against: &'static str,
    bound: f64,
}

const FLOOR: &str = "an empty Rust program parsing the same JSON";
const GO: &str = "Go: loopback VERSION";
const JQ: &str = "bash wrapper with one jq";
const NONE: &str = "identity, isolation none";
const MODULE: &str = "identity, in a child";
const TEN: &str = "ten modules, isolation none";
const TEN_CHILDREN: &str = "ten modules, in a child each";
const TEN_TOGETHER: &str = "ten modules, in one child";
const PLAIN: &str = "a hook that does nothing, in a child";
const WASI: &str = "the same with WASI imported";
const PADDED: &str = "identity + 4 MB of code, isolation none";
const BARE: &str = "Go: loopback ADD";
const WRAPPED: &str = "loopback ADD wrapped, identity in a child";
const UNHOOKED: &str = "loopback ADD wrapped, no hooks";
const JOURNALED: &str = "ADD around the empty program, with a journal";
const UNJOURNALED: &str = "CHECK around the empty program, without";

const PROMISES: [Promise; 8] = [
    Promise { subject: NONE, against: GO, bound: 0.55 },
    Promise { subject: MODULE, against: GO, bound: 0.75 },
    Promise { subject: NONE, against: FLOOR, bound: 1.6 },
    Promise { subject: NONE, against: JQ, bound: 1.0 / 20.0 },
    Promise { subject: TEN, against: NONE, bound: 3.0 },
    Promise { subject: TEN_CHILDREN, against: MODULE, bound: 7.0 },
    Promise { subject: TEN_TOGETHER, against: MODULE, bound: 3.0 },
    Promise { subject: PADDED, against: NONE, bound: 1.4 },
];

/// A promise: `subject` costs at most `bound` milliseconds more than `than`.
struct Margin {
    subject: &'static str,
    than: &'static str,
    bound: f64,
}

/// The second is the journal's part of a call. No ADD around a plugin goes without a journal, but a CHECK of what no
/// journal knows does all the rest: it looks for the journal in vain, makes the same configuration and runs the same
/// program, which does the same whatever the verb. What an ADD does beyond that is to make the journal, lock it, write
/// it three times, and print the result; the last is no part of the journal, so the truth is rather less.
const MARGINS: [Margin; 3] = [
    Margin { subject: WRAPPED, than: BARE, bound: 1.8 },
    Margin { subject: JOURNALED, than: UNJOURNALED, bound: 0.15 },
    Margin { subject: WASI, than: PLAIN, bound: 0.5 },
];

fn main() {
    // Plugins that are real want a namespace that is not the machine's.
    let machine = Node::enter();
    let netns = machine.container("bench");
    let rounds = std::env::var("ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(150);
    // How the page cache holds a file depends on its history, and is worth a tenth of what a call costs: ours begin anew.
    for program in ["wasmhook", "floor"] {
        renew(&dist(program)).expect("dist/");
    }
    let disk = machine.disk();
    let labs @ [none, child, together] = &["none", "module", "call"].map(|it| Lab::on(&disk, it));
    let ten = ten_modules(labs);
    let mut subjects = starting(none, child, &ten);
    subjects.push(subject(TEN_CHILDREN, child, &ten, wasmhook(child)));
    subjects.push(subject(TEN_TOGETHER, together, &ten, wasmhook(together)));
    // Two runs, as nothing of the one is held against anything of the other, and more programs make colder caches.
    let wrapped = subjects.len();
    subjects.extend(delegating(child, &netns));
    // Compiles what is to be compiled; then the modules must settle before a stat is enough to find them.
    for subject in &subjects {
        run(&subject.command);
    }
    std::thread::sleep(Duration::from_millis(3100));
    for subject in &subjects {
        run(&subject.command);
    }
    let (starting, delegating) = subjects.split_at_mut(wrapped);
    interleave(starting, rounds);
    interleave(delegating, rounds);
    report(&subjects, rounds, &PROMISES, &MARGINS);
    #[allow(clippy::cast_precision_loss, reason = "for a person")]
    let size = fs::metadata(dist("wasmhook")).expect("wasmhook").len() as f64 / f64::from(1 << 20);
    println!("\ndist/wasmhook is {size:.2} MiB (bound 8)");
    hooks::measure(&disk, rounds);
    native::measure(&machine, &disk, rounds.min(60));
}

/// Every subject once in each round, and its peak at the end.
fn interleave(subjects: &mut [Subject], rounds: usize) {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut order: Vec<_> = (0..subjects.len()).collect();
    for _ in 0..rounds {
        // Whoever comes after the big one finds the caches cold: let it be another one each time.
        random.shuffle(&mut order);
        for &index in &order {
            let subject = &mut subjects[index];
            let (cpu, wall, _) = run(&subject.command);
            subject.cpu.push(cpu);
            subject.wall.push(wall);
        }
    }
    for subject in subjects.iter_mut() {
        subject.peak = run(&|| forked((subject.command)())).2;
        subject.cpu.sort_unstable();
        subject.wall.sort_unstable();
    }
}

impl Subject {
    /// In milliseconds.
    fn median_cpu(&self) -> f64 {
        milliseconds(median(&self.cpu))
    }
}

/// The same bytes in a new file.
fn renew(path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    fs::copy(path, &unfinished)?;
    fs::rename(unfinished, path)
}

/// Random enough to order seven things.
struct Xorshift(u64);

impl Xorshift {
    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let other = usize::try_from(self.0 % (last as u64 + 1)).unwrap_or(0);
            order.swap(last, other);
        }
    }
}

fn identity() -> Vec<u8> {
    fs::read(dist("hooks/identity.wasm")).expect("identity")
}

/// The names of ten modules that are not the same.
fn ten_modules(labs: &[Lab]) -> [&'static str; 10] {
    let names = ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"];
    for lab in labs {
        for (number, name) in (0..).zip(names) {
            lab.install(name, &variant(&identity(), number));
        }
    }
    names
}

fn starting(none: &Lab, child: &Lab, ten: &[&str]) -> Vec<Subject> {
    none.install("padded", &padded(&identity(), 4 << 20));
    child.install("plain", &component("", GO_ON, GO_ON));
    child.install("wasi", &with_wasi());
    let script = none.path().join("wrapper.sh");
    // What people write today: keep stdin, change a field, pass it on.
    fs::write(
        &script,
        "#!/bin/bash\nconfig=$(cat)\nmtu=$(jq -c .prevResult <<<\"$config\")\necho \"$mtu\"\n",
    )
    .expect("script");
    vec![
        subject(FLOOR, none, &["identity"], || Command::new(dist("floor"))),
        subject(GO, none, &["identity"], || {
            let mut command = Command::new(format!("{PLUGINS}/loopback"));
            command.env("CNI_COMMAND", "VERSION");
            command
        }),
        subject(NONE, none, &["identity"], wasmhook(none)),
        subject(MODULE, child, &["identity"], wasmhook(child)),
        subject(TEN, none, ten, wasmhook(none)),
        subject(PLAIN, child, &["plain"], wasmhook(child)),
        subject(WASI, child, &["wasi"], wasmhook(child)),
        subject(PADDED, none, &["padded"], wasmhook(none)),
        subject(JQ, none, &["identity"], move || {
            let mut command = Command::new("bash");
            command.arg(&script).env("PATH", "/usr/bin:/bin");
            command
        }),
    ]
}

fn subject(
    name: &'static str,
    lab: &Lab,
    hooks: &[&str],
    program: impl Fn() -> Command + 'static,
) -> Subject {
    telling(name, lab, &conf(hooks), program)
}

/// A program with this on its stdin.
fn telling(
    name: &'static str,
    lab: &Lab,
    config: &Value,
    program: impl Fn() -> Command + 'static,
) -> Subject {
    let path = lab.path().join(format!("{}.json", name.replace(' ', "-")));
    fs::write(&path, config.to_string()).expect("configuration");
    let command = move || {
        let mut command = program();
        command.stdin(File::open(&path).expect("configuration")).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    Subject { name, command: Box::new(command), cpu: Vec::new(), wall: Vec::new(), peak: 0 }
}

/// Real delegates, bare and wrapped. Each ADD is another container's: it makes its journal.
fn delegating(lab: &Lab, netns: &str) -> Vec<Subject> {
    let programs = dist("floor").parent().expect("a directory").display().to_string();
    let identity = json!([{ "module": "identity" }]);
    let wrapping = |plugin: &str, hooks: &Value| {
        let mut config = conf(&[]);
        (config["hooks"], config["delegate"]) = (hooks.clone(), json!({ "type": plugin }));
        config
    };
    let mut bare = conf(&[]);
    bare["type"] = json!("loopback");
    let calling = |program: PathBuf, verb: &str, path: &str| {
        let call = Call { netns: netns.into(), path: path.into(), ..Call::new(verb, &Value::Null) };
        let settings = lab.settings();
        move || {
            static CONTAINERS: AtomicUsize = AtomicUsize::new(0);
            let container_id = format!("c{}", CONTAINERS.fetch_add(1, Ordering::Relaxed));
            let mut command = Call { container_id, ..call.clone() }.command(&program);
            command.env("WASMHOOK_CONFIG", &settings);
            command
        }
    };
    let loopback = PathBuf::from(PLUGINS).join("loopback");
    let ours = || dist("wasmhook");
    vec![
        telling(BARE, lab, &bare, calling(loopback, "ADD", PLUGINS)),
        telling(UNHOOKED, lab, &wrapping("loopback", &json!([])), calling(ours(), "ADD", PLUGINS)),
        telling(WRAPPED, lab, &wrapping("loopback", &identity), calling(ours(), "ADD", PLUGINS)),
        telling(JOURNALED, lab, &wrapping("floor", &json!([])), calling(ours(), "ADD", &programs)),
        telling(UNJOURNALED, lab, &wrapping("floor", &json!([])), calling(ours(), "CHECK", &programs)),
    ]
}

fn wasmhook(lab: &Lab) -> impl Fn() -> Command + 'static {
    let command = lab.command(&Call::new("ADD", &Value::Null));
    let environment: Vec<_> =
        command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    move || {
        let mut command = Command::new(dist("wasmhook"));
        command.env_clear().envs(environment.clone());
        command
    }
}

fn conf(hooks: &[&str]) -> Value {
    let hooks: Vec<_> = hooks.iter().map(|it| json!({ "module": it })).collect();
    json!({
        "cniVersion": "1.0.0", "name": "bench", "type": "wasmhook", "hooks": hooks,
        "runtimeConfig": { "dns": { "Servers": ["10.96.0.10"], "Options": ["ndots:5"] } },
        "prevResult": {
            "cniVersion": "1.0.0",
            "interfaces": [{ "name": "br0", "mac": "86:51:86:06:a5:36" },
                { "name": "eth0", "mac": "46:c2:d8:4e:0e:d9", "sandbox": "/run/netns/x" }],
            "ips": [{ "address": "10.88.77.2/24", "gateway": "10.88.77.1", "interface": 1 }],
            "routes": [{ "dst": "0.0.0.0/0" }], "dns": {},
        },
    })
}

/// Forked, not spawned: a spawned process starts with our own peak on its account.
#[allow(unsafe_code, reason = "a hook that does nothing makes std fork")]
fn forked(mut command: Command) -> Command {
    // SAFETY: it does nothing.
    unsafe { command.pre_exec(|| Ok(())) };
    command
}

/// One process from start to end: its user + sys (children that it waited for included), wall time, peak.
#[allow(unsafe_code, clippy::zombie_processes, reason = "waited for by wait4, which has no safe name")]
fn run(command: &dyn Fn() -> Command) -> (Duration, Duration, i64) {
    let mut command = command();
    let started = Instant::now();
    let child = command.spawn().expect("starts");
    let pid = i32::try_from(child.id()).expect("a pid");
    let mut status = 0;
    // SAFETY: plain data, zero is valid; the pointers outlive the call, and the child is ours and not yet reaped.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut usage), pid);
        usage
    };
    let wall = started.elapsed();
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{command:?}: status {status:#x}");
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec.unsigned_abs()) + Duration::from_micros(it.tv_usec.unsigned_abs())
    };
    (time(usage.ru_utime) + time(usage.ru_stime), wall, usage.ru_maxrss)
}

fn report(subjects: &[Subject], rounds: usize, promises: &[Promise], margins: &[Margin]) {
    println!("\n{rounds} interleaved rounds; medians of whole processes\n");
    println!("{:<55} {:>11} {:>9} {:>9}", "", "user+sys ms", "wall ms", "peak MiB");
    for subject in subjects {
        let (cpu, wall) = (subject.median_cpu(), milliseconds(median(&subject.wall)));
        #[allow(clippy::cast_precision_loss, reason = "for a person")]
        let peak = subject.peak as f64 / 1024.0;
        println!("{:<55} {cpu:>11.3} {wall:>9.3} {peak:>9.1}", subject.name);
    }
    let cpu = |name: &str| subjects.iter().find(|it| it.name == name).map_or(0.0, Subject::median_cpu);
    let mark = |is: f64, bound: f64| if is <= bound { "" } else { "  over" };
    if !promises.is_empty() {
        println!("\n{:<72} {:>6} {:>6}", "ratio of user+sys", "is", "bound");
    }
    for Promise { subject, against, bound } in promises {
        let ratio = cpu(subject) / cpu(against);
        let mark = mark(ratio, *bound);
        println!("{:<72} {ratio:>6.3} {bound:>6.3}{mark}", format!("{subject} / {against}"));
    }
    println!("\n{:<89} {:>6} {:>6}", "user+sys more than, ms", "is", "bound");
    for Margin { subject, than, bound } in margins {
        let more = cpu(subject) - cpu(than);
        let mark = mark(more, *bound);
        let than = if than.is_empty() { "nothing" } else { than };
        println!("{:<89} {more:>6.3} {bound:>6.3}{mark}", format!("{subject} - {than}"));
    }
}

fn median(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
