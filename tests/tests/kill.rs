//! Whenever an ADD is killed, the DELs that follow leave nothing.
//!
//! Runtimes kill a plugin that takes too long with SIGKILL, and nothing else: what it had started may go on for a
//! while. Then they send DEL within milliseconds, with the namespace and no `prevResult`, and some more without either.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, Lab, Node, PLUGINS};

/// Where random times end, as a part of what an ADD takes alone. Beside others it takes longer.
const BEYOND: f64 = 1.2;
/// How many nodes there are at a time. Much of a call is waiting.
const NODES: usize = 3;
/// How long a process that nobody kills stops: long enough for its ancestors to be dead and a DEL to have begun.
const STOP: &str = "0.03";
/// Looking more often would take the time from those that are looked at.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// Where in its life an ADD is when something happens to it.
#[derive(Clone, Debug)]
enum Point {
    /// Its journal holds this many lines; 0: the file is there.
    Lines(usize),
    /// It has just forked for this time: a guest and a plugin, and both again. The child is not yet ready to die with it.
    Fork(usize),
    /// A plugin is about to be run, or has done its work and not yet said so.
    Plugin(&'static str, Side),
    /// The same for one of the iptables that portmap runs.
    Iptables(usize, Side),
    /// So long after its start.
    Time(Duration),
    /// So long after its start, and nobody kills it: the DEL meets a running ADD.
    Running(Duration),
    /// Its last plugin fails, and it is killed so long after its start, while it takes everything back.
    Undoing(Duration),
    /// The ADD goes well, and the DEL is killed so long after its start.
    Deleting(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Point {
    fn kind(&self) -> &'static str {
        match self {
            Self::Lines(_) => "lines in the journal",
            Self::Fork(_) => "just forked",
            Self::Plugin(..) => "around a plugin",
            Self::Iptables(..) => "around an iptables",
            Self::Time(_) => "random time",
            Self::Running(_) => "DEL meets a running ADD",
            Self::Undoing(_) => "random time in undoing",
            Self::Deleting(_) => "random time in DEL",
        }
    }
}

/// A call at work.
struct Running {
    process: Child,
    /// On stdout and stderr.
    said: [fs::File; 2],
}

impl Running {
    fn end(mut self) -> Answer {
        let status = self.process.wait().unwrap();
        let [stdout, stderr] = self.said.map(|mut file| {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        });
        Answer { code: status.code(), stdout, stderr }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// A node with wrappers around plugins and iptables, which stop where a file says so.
struct Scene {
    node: Node,
    lab: Lab,
    config: Value,
}

impl Scene {
    fn new() -> Self {
        let (node, lab) = (Node::enter(), Lab::new("module"));
        assert_eq!(lab.ctl(&["compile", "identity"]).code, Some(0));
        let bridge = json!({
            "type": "bridge", "bridge": "br0", "isGateway": true,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/16" }]] },
        });
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [{ "module": "identity" }],
            "capabilities": { "portMappings": true },
            "runtimeConfig": { "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] },
            "delegates": [bridge, { "type": "portmap", "capabilities": { "portMappings": true } }],
        });
        let scene = Self { node, lab, config };
        // Killed with us: they stop in the shell itself, because a child of it would live on.
        for plugin in ["bridge", "portmap"] {
            scene.wrapper(plugin, PLUGINS, &format!("read stopped < {}", scene.file("never").display()));
        }
        // Nobody kills those: they go on after a while.
        scene.wrapper("host-local", PLUGINS, &format!("sleep {STOP}"));
        for program in ["iptables", "ip6tables"] {
            scene.wrapper(program, "/usr/sbin", &format!("sleep {STOP}"));
        }
        nix::unistd::mkfifo(&scene.file("never"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        scene.arm("");
        // The first one makes the bridge and the chains of the node.
        let netns = scene.node.container("first");
        assert_eq!(scene.lab.call(&scene.call("ADD", "first", &netns)).code, Some(0));
        scene.lab.call(&scene.call("DEL", "first", &netns)).silent();
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.path().join(name)
    }

    /// `here` says that it stopped; `count` counts iptables.
    fn wrapper(&self, program: &str, real: &str, stop: &str) {
        let bin = self.file("bin");
        fs::create_dir_all(&bin).unwrap();
        let at = self.lab.path().display();
        let counts = program.ends_with("tables");
        let count =
            format!("read count < {at}/count; count=$((count + 1)); echo $count > {at}/count; me=$count");
        let script = format!(
            "#!/bin/sh\nread where < {at}/where\n{}\n\
             [ \"$where\" = $me-Before ] && {{ : > {at}/here; {stop}; }}\n\
             [ \"$where\" = $me-Fail ] && {{ {real}/{program}; echo '{{\"code\":77,\"msg\":\"told to\"}}'; exit 1; }}\n\
             [ \"$where\" = $me-After ] || exec {real}/{program} \"$@\"\n\
             said=$({real}/{program} \"$@\"); status=$?\n: > {at}/here; {stop}\n[ -z \"$said\" ] || echo \"$said\"\nexit $status\n",
            if counts { count } else { format!("me={program}-$CNI_COMMAND") },
        );
        let path = bin.join(program);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn arm(&self, place: &str) {
        fs::write(self.file("where"), format!("{place}\n")).unwrap();
        fs::write(self.file("count"), "0\n").unwrap();
        let _ = fs::remove_file(self.file("here"));
    }

    fn call(&self, verb: &str, id: &str, netns: &str) -> Call {
        Call { container_id: id.into(), netns: netns.into(), ..Call::new(verb, &self.config) }
    }

    fn start(&self, call: &Call, wrapped: bool) -> Running {
        let mut command = self.lab.command(call);
        if wrapped {
            let bin = self.file("bin").display().to_string();
            command.env("PATH", format!("{bin}:/usr/sbin:/usr/bin:/sbin:/bin"));
            command.env("CNI_PATH", format!("{bin}:{PLUGINS}"));
        }
        // Files and no pipes: whoever outlived the call with those in hand would keep us waiting for their end.
        let said = [(); 2].map(|()| tempfile::tempfile_in(self.lab.path()).unwrap());
        command.stdout(said[0].try_clone().unwrap()).stderr(said[1].try_clone().unwrap());
        let mut process = command.spawn().unwrap();
        let _ = process.stdin.take().unwrap().write_all(call.stdin.as_bytes());
        Running { process, said }
    }

    /// How long an ADD takes, and a DEL, and how many iptables an ADD runs.
    fn measure(&self) -> (Duration, Duration, usize) {
        let (mut adds, mut dels) = (Vec::new(), Vec::new());
        let mut count = 0;
        for number in 0..4 {
            let id = format!("m{number}");
            let netns = self.node.container(&id);
            self.arm("");
            let started = Instant::now();
            let _ = self.start(&self.call("ADD", &id, &netns), number == 0).end().result();
            if number == 0 {
                count = fs::read_to_string(self.file("count")).unwrap().trim().parse().unwrap();
            } else {
                adds.push(started.elapsed());
            }
            let started = Instant::now();
            self.lab.call(&self.call("DEL", &id, &netns)).silent();
            dels.push(started.elapsed());
        }
        adds.sort();
        dels.sort();
        (adds[1], dels[1], count)
    }

    /// Lines in the only journal; `None` when there is none.
    fn lines(&self) -> Option<usize> {
        let file = fs::read_dir(self.lab.state().join("journal")).ok()?.flatten().next()?;
        Some(fs::read_to_string(file.path()).ok()?.matches('\n').count())
    }

    /// Waits for the point, or the end of the ADD.
    fn reach(&self, point: &Point, add: &mut Running, started: Instant) {
        let children = format!("/proc/{0}/task/{0}/children", add.process.id());
        let mut seen = BTreeSet::new();
        let mut reached = || match point {
            Point::Fork(nth) => {
                let now = fs::read_to_string(&children).unwrap_or_default();
                seen.extend(now.split_whitespace().map(str::to_owned));
                seen.len() >= *nth
            }
            Point::Lines(lines) => self.lines().is_some_and(|now| now >= *lines),
            Point::Plugin(..) | Point::Iptables(..) => self.file("here").exists(),
            Point::Time(time) | Point::Running(time) | Point::Undoing(time) => {
                sleep(time.saturating_sub(started.elapsed()));
                true
            }
            Point::Deleting(_) => false,
        };
        while !reached() && add.process.try_wait().unwrap().is_none() {
            // What is to be hit after a fork lasts some ten microseconds.
            if !matches!(point, Point::Fork(_)) {
                sleep(LOOK_EVERY);
            }
        }
    }

    /// One ADD, what happens to it, and the DELs after it.
    fn run(&self, number: usize, point: &Point) -> Outcome {
        let id = format!("k{number}");
        let netns = self.node.container(&id);
        let wrapped = matches!(point, Point::Plugin(..) | Point::Iptables(..) | Point::Undoing(_));
        self.arm(&match point {
            Point::Plugin(plugin, side) => format!("{plugin}-ADD-{side:?}"),
            Point::Iptables(nth, side) => format!("{nth}-{side:?}"),
            Point::Undoing(_) => "portmap-ADD-Fail".into(),
            _ => String::new(),
        });
        let started = Instant::now();
        let mut add = self.start(&self.call("ADD", &id, &netns), wrapped);
        self.reach(point, &mut add, started);
        if !matches!(point, Point::Running(_)) {
            add.kill();
        }
        let lines = self.lines();
        let mut refused = Vec::new();
        if let Point::Deleting(time) = point {
            let mut del = self.start(&self.call("DEL", &id, &netns), false);
            sleep(*time);
            del.kill();
        }
        let del = |netns: &str| self.start(&self.call("DEL", &id, netns), wrapped);
        let began = Instant::now();
        let mut answers = vec![("DEL with the namespace", del(&netns).end())];
        let took = began.elapsed();
        let add = add.end();
        answers.push(("DEL without", del("").end()));
        let both = [del(""), del("")];
        answers.extend(both.map(|it| ("DEL beside another", it.end())));
        for (what, answer) in answers {
            if (answer.code, answer.stdout.as_str()) != (Some(0), "") {
                refused.push(format!("{what}: {answer:?}"));
            }
        }
        let left = self.left(&id);
        self.node.ip(&format!("netns del {id}"));
        Outcome { lines, took, refused, left, add }
    }

    /// What there is of a container that should be gone.
    fn left(&self, id: &str) -> Vec<String> {
        let mut left: Vec<_> =
            self.node.links().into_iter().filter(|it| it != "br0").map(|it| format!("link {it}")).collect();
        left.extend(self.node.leases("net").into_iter().map(|it| format!("lease {it}")));
        let output = Command::new("iptables-save").output().expect("iptables-save (package iptables)");
        let rules = String::from_utf8_lossy(&output.stdout).into_owned();
        let ours = |line: &&str| line.contains(id) || line.contains("CNI-DN-");
        left.extend(rules.lines().filter(ours).map(|it| format!("rule {it}")));
        let journals = fs::read_dir(self.lab.state().join("journal")).into_iter().flatten().flatten();
        left.extend(processes(id));
        left.extend(journals.map(|it| format!("journal {}", fs::read_to_string(it.path()).unwrap())));
        left
    }
}

/// Processes of calls for this container. They end here.
fn processes(id: &str) -> Vec<String> {
    let named = format!("CNI_CONTAINERID={id}");
    let ours = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|it| it == named.as_bytes())
    };
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    let tell = |pid: i32| {
        let link = |it: &str| fs::read_link(format!("/proc/{pid}/{it}")).unwrap_or_default();
        let open = (0..12).map(|fd| link(&format!("fd/{fd}"))).filter(|it| !it.as_os_str().is_empty());
        let said = format!("process {pid} of {}, with {:?}", link("exe").display(), open.collect::<Vec<_>>());
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        said
    };
    pids.filter(ours).map(tell).collect()
}

/// What became of one point.
struct Outcome {
    /// In the journal, when it was dead.
    lines: Option<usize>,
    /// The first DEL.
    took: Duration,
    /// The DELs that failed.
    refused: Vec<String>,
    /// What there was after all of them.
    left: Vec<String>,
    /// For a person who looks for the reason.
    add: Answer,
}

impl Outcome {
    fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.left.is_empty()
    }

    fn tell(&self, number: usize, point: &Point) -> String {
        let Self { refused, left, lines, add, .. } = self;
        format!(
            "{number}: {point:?}\n  left: {left:#?}\n  DELs that failed: {refused:#?}\n  lines in the journal at its death: {lines:?}; {add:?}"
        )
    }
}

/// The same points in every run on a machine of the same speed.
struct Random(u64);

impl Random {
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// 200 at which the ADD is killed, and some more.
fn points(add: Duration, del: Duration, iptables: usize) -> Vec<Point> {
    let mut points = Vec::new();
    for lines in [0, 1, 2, 3, 4, 5, 6] {
        points.extend(vec![Point::Lines(lines); 5]);
    }
    for nth in [1, 2, 3, 4] {
        points.extend(vec![Point::Fork(nth); 8]);
    }
    for side in [Side::Before, Side::After] {
        for plugin in ["bridge", "host-local", "portmap"] {
            points.extend(vec![Point::Plugin(plugin, side); 3]);
        }
        points.extend((1..=iptables).map(|nth| Point::Iptables(nth, side)));
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    while points.len() < 200 {
        points.push(Point::Time(add.mul_f64(BEYOND * random.part())));
    }
    points.extend((0..20).map(|_| Point::Running(add.mul_f64(random.part()))));
    points.extend((0..20).map(|_| Point::Undoing(add + (add + del * 2).mul_f64(random.part()))));
    points.extend((0..20).map(|_| Point::Deleting(del.mul_f64(BEYOND * random.part()))));
    points
}

#[test]
fn an_add_killed_at_200_points_of_its_life_leaves_nothing() {
    let started = Instant::now();
    let measured = std::thread::spawn(|| Scene::new().measure()).join().unwrap();
    let points = points(measured.0, measured.1, measured.2);
    let todo = Mutex::new(points.iter().enumerate());
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..NODES {
            scope.spawn(|| {
                let mut scene = Scene::new();
                loop {
                    let Some((number, point)) = todo.lock().unwrap().next() else { break };
                    let outcome = scene.run(number, point);
                    if !outcome.is_clean() {
                        // What is left of this one is not to be taken for the next one's.
                        scene = Scene::new();
                    }
                    outcomes.lock().unwrap().insert(number, outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let mut report = table(&points, &outcomes);
    writeln!(report, "ADD {:?}, DEL {:?}; all in {:?}", measured.0, measured.1, started.elapsed()).unwrap();
    // Past the harness: it is to be seen when all is well, too.
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    let wrong: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.is_clean()).collect();
    let wrong: Vec<_> = wrong.iter().map(|(number, it)| it.tell(**number, &points[**number])).collect();
    assert!(wrong.is_empty(), "{} points are not clean:\n{}", wrong.len(), wrong.join("\n"));
    assert!(points.len() >= 260 && outcomes.len() == points.len());
}

fn table(points: &[Point], outcomes: &BTreeMap<usize, Outcome>) -> String {
    #[derive(Default)]
    struct Row {
        points: usize,
        finished: usize,
        longest: Duration,
        refused: usize,
        left: usize,
        lines: BTreeMap<String, usize>,
    }
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for (number, outcome) in outcomes {
        let row = rows.entry(points[*number].kind()).or_default();
        row.points += 1;
        row.finished += usize::from(outcome.add.code == Some(0));
        row.longest = row.longest.max(outcome.took);
        row.refused += outcome.refused.len();
        row.left += outcome.left.len();
        let lines = outcome.lines.map_or("none".to_owned(), |it| it.to_string());
        *row.lines.entry(lines).or_default() += 1;
    }
    let mut text = format!(
        "{:<26} {:>6} {:>9} {:>12} {:>11} {:>9}  lines in the journal: how often\n",
        "killed at", "points", "ADD done", "longest DEL", "DELs failed", "left over"
    );
    for (kind, row) in rows {
        let lines: Vec<_> = row.lines.iter().map(|(lines, count)| format!("{lines}:{count}")).collect();
        let Row { points, finished, longest, refused, left, .. } = row;
        let lines = lines.join(" ");
        writeln!(
            text,
            "{kind:<26} {points:>6} {finished:>9} {:>9.1} ms {refused:>11} {left:>9}  {lines}",
            longest.as_secs_f64() * 1e3
        )
        .unwrap();
    }
    text
}
