//! Hooks that are plugins, beside the plugins that they take over from: a whole ADD and DEL each, in namespaces of their own.

use crate::{median, milliseconds, run};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, Lab, Node, PLUGINS, dist};

const DEBIAN: &str = "bridge + host-local (Go)";
const NATIVE: &str = "bridge as a hook, native pool";
const TAP: &str = "tap as a hook, native pool";
const HOST_LOCAL: &str = "host-local alone (Go)";
/// Leases in a range that is nearly empty, and in one that is nearly full.
const FEW: usize = 10;
const MANY: usize = 50_000;
/// ADDs at once.
const AT_ONCE: usize = 50;
const TIMES: usize = 3;
const SETTLE: Duration = Duration::from_millis(120);

/// A plugin with its configuration.
struct Plugin<'a> {
    lab: &'a Lab,
    program: PathBuf,
    config: Value,
}

impl Plugin<'_> {
    fn file(&self) -> PathBuf {
        self.lab.path().join(format!("{}.json", self.config["name"].as_str().unwrap_or_default()))
    }

    /// Ready to be called.
    fn written(self) -> Self {
        fs::write(self.file(), self.config.to_string()).expect("configuration");
        self
    }

    fn call(&self, verb: &str, container: &str) -> Command {
        let call = Call {
            container_id: container.into(),
            netns: format!("/run/netns/{container}"),
            ..Call::new(verb, &self.config)
        };
        let path = self.file();
        let mut command = call.command(&self.program);
        command.env("WASMHOOK_CONFIG", self.lab.settings());
        command
            .stdin(File::open(&path).expect("configuration"))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        command
    }
}

fn hook<'a>(lab: &'a Lab, hook: &str, network: &str, keys: Value) -> Plugin<'a> {
    let mut config = keys;
    for (key, value) in [("cniVersion", "1.0.0"), ("name", network), ("type", "wasmhook")] {
        config[key] = value.into();
    }
    let grants = ["link", "tap", "ipam", "nft:host", "sysctl", "sysctl:any"];
    config["hooks"] = json!([{ "module": hook, "grants": grants }]);
    Plugin { lab, program: dist("wasmhook"), config }.written()
}

fn real<'a>(lab: &'a Lab, plugin: &str, network: &str, keys: Value) -> Plugin<'a> {
    let mut config = keys;
    for (key, value) in [("cniVersion", "1.0.0"), ("name", network), ("type", plugin)] {
        config[key] = value.into();
    }
    Plugin { lab, program: Path::new(PLUGINS).join(plugin), config }.written()
}

fn pool(subnet: &str) -> Value {
    json!({ "type": "host-local", "ranges": [[{ "subnet": subnet }]], "routes": [{ "dst": "0.0.0.0/0" }] })
}

/// Costs of one verb.
#[derive(Default)]
struct Cost {
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
}

impl Cost {
    fn add(&mut self, command: &dyn Fn() -> Command) {
        let (cpu, wall, _) = run(command);
        self.cpu.push(cpu);
        self.wall.push(wall);
    }

    fn medians(&mut self) -> (f64, f64) {
        self.cpu.sort_unstable();
        self.wall.sort_unstable();
        (milliseconds(median(&self.cpu)), milliseconds(median(&self.wall)))
    }
}

pub(crate) fn measure(node: &Node, disk: &Path, rounds: usize) {
    let lab = Lab::on(disk, "module");
    for example in ["bridge", "tap"] {
        lab.install_example(example);
    }
    let gateway =
        |bridge: &str, subnet: &str| json!({ "bridge": bridge, "isGateway": true, "ipam": pool(subnet) });
    let plugins = [
        (DEBIAN, real(&lab, "bridge", "debian", gateway("br-debian", "10.21.0.0/16"))),
        (NATIVE, hook(&lab, "bridge", "native", gateway("br-native", "10.22.0.0/16"))),
        (TAP, hook(&lab, "tap", "tap", json!({ "ipam": pool("10.23.0.0/16") }))),
    ];
    // Compiles, makes the bridges, and lets the modules settle.
    for _ in 0..2 {
        for (_, plugin) in &plugins {
            once(node, plugin, &mut Cost::default(), &mut Cost::default());
        }
        std::thread::sleep(Duration::from_millis(3100));
    }
    let mut costs: Vec<(Cost, Cost)> = plugins.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        for turn in 0..plugins.len() {
            let index = (round + turn) % plugins.len();
            let (add, del) = &mut costs[index];
            once(node, &plugins[index].1, add, del);
        }
    }
    println!("\n{rounds} rounds; medians of whole processes, what they start included\n");
    println!("{:<46} {:>11} {:>9}", "", "user+sys ms", "wall ms");
    let mut medians = Vec::new();
    for ((name, _), (add, del)) in plugins.iter().zip(&mut costs) {
        for (verb, cost) in [("ADD", add), ("DEL", del)] {
            let (cpu, wall) = cost.medians();
            println!("{:<46} {cpu:>11.3} {wall:>9.3}", format!("{name}: {verb}"));
            medians.push((cpu, wall));
        }
    }
    let [debian_add, debian_del, native_add, native_del, tap_add, _] = medians[..] else { return };
    println!("\n{:<72} {:>6} {:>6}", "ratio", "is", "bound");
    line(&format!("{NATIVE} / {DEBIAN}: ADD, user+sys"), native_add.0 / debian_add.0, 0.5);
    line(&format!("{NATIVE} / {DEBIAN}: ADD, wall"), native_add.1 / debian_add.1, 0.5);
    line(&format!("{NATIVE} / {DEBIAN}: DEL, user+sys"), native_del.0 / debian_del.0, 0.5);
    line(&format!("{NATIVE} / {DEBIAN}: DEL, wall"), native_del.1 / debian_del.1, 1.0);
    line(&format!("{TAP}: ADD, user+sys, ms"), tap_add.0, 6.0);
    at_once(node, &plugins[0].1, &plugins[1].1);
    growth(node, &lab, rounds);
}

fn line(what: &str, is: f64, bound: f64) {
    let mark = if is <= bound { "" } else { "  over" };
    println!("{what:<72} {is:>6.3} {bound:>6.3}{mark}");
}

/// An ADD and its DEL, in a namespace that is there before and after.
fn once(node: &Node, plugin: &Plugin<'_>, add: &mut Cost, del: &mut Cost) {
    let _ = node.container("bench-native");
    add.add(&|| plugin.call("ADD", "bench-native"));
    // A link is not taken down while the kernel still brings it up.
    std::thread::sleep(SETTLE / 2);
    del.add(&|| plugin.call("DEL", "bench-native"));
    node.ip("netns del bench-native");
    // The kernel takes it down in the background, and whoever came next would wait for that.
    std::thread::sleep(SETTLE);
}

/// How many ADDs a second, when they all come at once.
fn at_once(node: &Node, debian: &Plugin<'_>, native: &Plugin<'_>) {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TIMES {
        for (plugin, rates) in [debian, native].into_iter().zip(&mut rates) {
            let containers: Vec<_> = (0..AT_ONCE).map(|number| format!("once{number}")).collect();
            for container in &containers {
                let _ = node.container(container);
            }
            let started = Instant::now();
            let running: Vec<_> =
                containers.iter().map(|it| plugin.call("ADD", it).spawn().expect("starts")).collect();
            for mut child in running {
                assert!(child.wait().expect("ends").success(), "an ADD failed");
            }
            #[allow(clippy::cast_precision_loss, reason = "for a person")]
            rates.push(AT_ONCE as f64 / started.elapsed().as_secs_f64());
            for container in &containers {
                run(&|| plugin.call("DEL", container));
                node.ip(&format!("netns del {container}"));
            }
        }
    }
    let [debian, native] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let what = format!("{AT_ONCE} ADDs at once, per second: {native:.0} / {debian:.0} (at least)");
    let mark = if native / debian >= 2.0 { "" } else { "  under" };
    println!("{what:<72} {:>6.3} {:>6.3}{mark}", native / debian, 2.0);
}

/// What an ADD costs when a range is nearly full.
fn growth(node: &Node, lab: &Lab, rounds: usize) {
    let tap = |network: &str| hook(lab, "tap", network, json!({ "ipam": pool("10.24.0.0/16") }));
    let go = |network: &str| real(lab, "host-local", network, json!({ "ipam": pool("10.25.0.0/16") }));
    let plugins = [tap("few"), tap("many"), go("go-few"), go("go-many")];
    for (network, subnet, leases) in
        [("few", 24, FEW), ("many", 24, MANY), ("go-few", 25, FEW), ("go-many", 25, MANY)]
    {
        fill(network, subnet, leases);
    }
    let mut costs: [Cost; 4] = Default::default();
    for round in 0..rounds.min(30) {
        for turn in 0..plugins.len() {
            let index = (round + turn) % plugins.len();
            once(node, &plugins[index], &mut costs[index], &mut Cost::default());
        }
    }
    let [few, many, go_few, go_many] = costs.each_mut().map(|cost| cost.medians().0);
    line(&format!("{TAP}: ADD, {MANY} leases / {FEW}"), many / few, 1.5);
    println!("{:<72} {:>6.3}", format!("{HOST_LOCAL}: ADD, {MANY} leases / {FEW}"), go_many / go_few);
}

/// A range as it is when so many containers have an address of it.
fn fill(network: &str, subnet: usize, leases: usize) {
    let directory = Path::new("/var/lib/cni/networks").join(network);
    fs::create_dir_all(&directory).expect("leases");
    let mut last = String::new();
    for number in 2..leases + 2 {
        last = format!("10.{subnet}.{}.{}", number / 256, number % 256);
        fs::write(directory.join(&last), format!("filler{number}\r\neth0")).expect("a lease");
    }
    fs::write(directory.join("last_reserved_ip.0"), last).expect("the last one");
}
