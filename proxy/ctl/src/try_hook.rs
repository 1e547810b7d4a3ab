use crate::asked::Asked;
use crate::output::{BAD, BOLD, FAINT, GOOD, Output, size};
use crate::{Failure, Verdict, compile, diff};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wasmhook_cni::Object;
use wasmhook_host::Grant;
use wasmhook_net_types::Model;
use wasmhook_plugin::entry::{Entry, HookSpec, Place};
use wasmhook_plugin::limits::LimitSettings;
use wasmhook_plugin::settings::{Level, Room, Settings};
use wasmhook_plugin::{Asking, Guests, HookFailure, Seat, Visited, start_log};
use wasmhook_store::{Compiled, Digest};
use wasmhook_wasm::{CniError, MachineCode, Outcome, Phase, PostVerdict, PreVerdict, Usage};

/// Run one hook against one request, without root, namespaces or a plugin
///
/// `pre` is run; with a result (--result or --error) `post` is run as well, as if the plugin had answered that.
/// The hook has every grant it imports; a command, whose imports do not tell, has all. Nothing it says is carried out: its verdict is shown, with what it changes. Links, addresses, routes and rules are made in networks in memory (--network), and what became of those is shown.
///
/// Exit code: 0 for a verdict, 1 when the hook is broken, 2 when it could not be asked.
#[derive(Args)]
#[command(after_help = "A request file holds any of these, and options win over it:
  { \"verb\": \"ADD\", \"config\": {…}, \"hookConfig\": {…}, \"prevResult\": {…}, \"result\": {…},
    \"args\": {\"K8S_POD_NAME\": \"web\"}, \"annotations\": {…}, \"runtimeConfig\": {…},
    \"containerId\": \"c1\", \"ifname\": \"eth0\", \"netns\": \"/run/netns/x\" }")]
pub(crate) struct Try {
    /// A module: name or path
    module: PathBuf,
    /// JSON file with the whole request; `-` is stdin
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// ADD, DEL or CHECK [default: ADD]
    #[arg(long)]
    verb: Option<String>,
    /// JSON file: the configuration that the plugin would get
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The hook's own `config`: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    hook_config: Option<String>,
    /// JSON file: what the plugin answers; runs `post` too
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// The plugin's error: a code, or CODE:MESSAGE; runs `post` too
    #[arg(long, value_name = "CODE[:MSG]", conflicts_with = "result")]
    error: Option<String>,
    /// `CNI_ARGS`
    #[arg(long, value_name = "K=V;K=V")]
    args: Option<String>,
    /// The node's seed of random numbers, as the log of a run tells it (`node_seed`) [default: the setting `seed`]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// JSON file: the networks in memory that the hook meets, such as `{"host": {"links": [{"name": "eth0", "up": true, "addresses": ["192.0.2.5/24"]}]}}` [default: nothing but `lo`]
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// A limit, such as `cpu=500ms`, `wall=1s` or `memory=16MiB`
    #[arg(long, value_name = "LIMIT=VALUE")]
    limit: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    module: PathBuf,
    verb: String,
    phases: Vec<PhaseReport>,
    /// What has become of the networks, a line for each change.
    network: Vec<String>,
}

#[derive(Serialize)]
struct PhaseReport {
    phase: &'static str,
    /// `proceed`, `rewrite` …; absent when the hook is broken.
    verdict: Option<&'static str>,
    /// What the hook wants instead: a configuration, a result, an error.
    value: Option<Value>,
    /// What `value` replaces.
    replaces: Option<Value>,
    failure: Option<String>,
    carry: Option<Value>,
    milliseconds: Option<f64>,
    cpu_milliseconds: Option<f64>,
    memory_bytes: Option<u64>,
}

impl Try {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let path = compile::resolve(&self.module, settings)?;
        let bytes = compile::read(&path)?;
        let asked = self.asked()?;
        let verb = asked.verb()?;
        let (hook, request, outcome) =
            (self.hook(&path, &bytes, &asked)?, asked.request(verb), self.outcome(&asked)?);
        // The same way as on a node: in a child, its log on stderr.
        let settings = Settings {
            isolation: Room::Module,
            log: Level::Debug.min(settings.log),
            seed: self.seed.unwrap_or(settings.seed),
            ..settings.clone()
        };
        start_log(&settings);
        let hooks = [hook];
        let network: Model = self.network.as_deref().map(crate::json_file).transpose()?.unwrap_or_default();
        let guests = Guests::new(&settings, &hooks).without_effects(network.clone());
        let artifact = artifact(&path, &bytes)?;
        let mut seat = Seat::default();
        let mut ask = |phase: &Phase| {
            guests.visit_with(&Asking { hooks: &hooks, index: 0, verb, phase }, &mut seat, &artifact)
        };
        let before = request.config.clone();
        let mut request = request;
        let pre = ask(&Phase::Pre(request.clone()));
        request.carry = pre.as_ref().ok().and_then(|it| it.carry.clone()).unwrap_or_default();
        let mut phases = vec![PhaseReport::new("pre", pre, &before, None)];
        if let Some(outcome) = outcome {
            let phase = Phase::Post(request, outcome.clone());
            let post = ask(&phase);
            phases.push(PhaseReport::new("post", post, &before, Some(&outcome)));
        }
        let broken = phases.iter().any(|it| it.failure.is_some());
        let network = guests.network().map(|now| now.difference(&network)).unwrap_or_default();
        out.print(&Report { module: path, verb: verb.to_string(), phases, network }, text)?;
        Ok(if broken { Verdict::Bad } else { Verdict::Good })
    }

    /// The request file, with the options over it.
    fn asked(&self) -> Result<Asked, Failure> {
        let mut asked: Asked = self.request.as_deref().map(crate::json_file).transpose()?.unwrap_or_default();
        if let Some(verb) = &self.verb {
            asked.verb = Some(verb.clone());
        }
        if let Some(config) = &self.config {
            asked.config = Some(crate::json_file(config)?);
        }
        if let Some(result) = &self.result {
            asked.result = Some(crate::json_file(result)?);
        }
        if let Some(text) = &self.hook_config {
            asked.hook_config = Some(match text.strip_prefix('@') {
                Some(file) => crate::json_file(Path::new(file))?,
                None => serde_json::from_str(text)
                    .map_err(|error| Failure::Value("--hook-config", format!("not JSON: {error}")))?,
            });
        }
        if let Some(args) = &self.args {
            let args = wasmhook_cni::Args::parse(args)
                .map_err(|error| Failure::Value("--args", error.to_string()))?;
            asked.args = Some(args.pairs().iter().cloned().collect());
        }
        Ok(asked)
    }

    /// The hook as it would stand in a conflist, with every grant that it can use.
    fn hook(&self, path: &Path, bytes: &[u8], asked: &Asked) -> Result<HookSpec, Failure> {
        let inspection = compile::inspect(path, bytes)?;
        let named: Vec<_> = if inspection.calls_the_door() {
            wasmhook_host::INTERFACES.iter().map(|it| it.name).collect()
        } else {
            let contract = inspection.imports.iter().filter_map(|it| it.source.interface());
            contract.filter(|it| wasmhook_host::interface(it).is_some()).collect()
        };
        // Whatever is there belongs to nobody.
        let any = named.iter().map(|name| format!("{name}:any")).filter(|it| Grant::parse(it).is_ok());
        let grants: Vec<_> = named.iter().map(|it| (*it).to_owned()).chain(any).collect();
        let mut limits = serde_json::Map::new();
        for limit in &self.limit {
            let Some((key, value)) = limit.split_once('=') else {
                return Err(Failure::Value("--limit", format!("{limit:?}: write LIMIT=VALUE")));
            };
            limits.insert(key.into(), value.into());
        }
        let absolute = std::path::absolute(path)?;
        let hook = json!({
            "module": absolute, "grants": grants, "limits": limits,
            "config": asked.hook_config.clone().unwrap_or_else(|| json!({})),
        });
        let entry: Object = json!({ "hooks": [hook] }).to_string().parse().map_err(io::Error::from)?;
        let (mut entry, problems) = Entry::read(&entry, Place::Chain, &LimitSettings::default());
        match (entry.hooks.pop(), problems.0.first()) {
            (Some(hook), None) => Ok(hook),
            (_, problem) => Err(Failure::Value("hook", problem.map(ToString::to_string).unwrap_or_default())),
        }
    }

    fn outcome(&self, asked: &Asked) -> Result<Option<Outcome>, Failure> {
        let Some(error) = &self.error else {
            return Ok(asked.result.as_ref().map(|it| Ok(it.to_string())));
        };
        let (code, msg) = error.split_once(':').unwrap_or((error, "the plugin failed"));
        let code = code.parse().map_err(|_| {
            Failure::Value("--error", format!("{error:?}: write CODE or CODE:MESSAGE, such as 11:busy"))
        })?;
        Ok(Some(Err(CniError { code, msg: msg.to_owned(), details: String::new() })))
    }
}

/// Compiled for this run alone: nothing on the machine is touched.
pub(crate) fn artifact(path: &Path, bytes: &[u8]) -> Result<File, Failure> {
    let MachineCode { code, traits } = compile::machine_code(path, bytes)?;
    let mut file = File::from(
        nix::sys::memfd::memfd_create("wasmhook-try", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
            .map_err(io::Error::from)?,
    );
    Compiled::new(Path::new("/"), wasmhook_wasm::build_id()).write_to(
        &mut file,
        &Digest::of(bytes),
        &code,
        traits.bits(),
    )?;
    Ok(file)
}

impl PhaseReport {
    fn new(
        phase: &'static str,
        visited: Result<Visited, HookFailure>,
        config: &str,
        got: Option<&Outcome>,
    ) -> Self {
        let mut report = Self {
            phase,
            verdict: None,
            value: None,
            replaces: None,
            failure: None,
            carry: None,
            milliseconds: None,
            cpu_milliseconds: None,
            memory_bytes: None,
        };
        let visited = match visited {
            Ok(visited) => visited,
            Err(failure) => {
                report.failure = Some(failure.to_string());
                return report;
            }
        };
        let (verdict, value) = verdict(&visited.verdict);
        report.verdict = Some(verdict);
        report.value = value;
        report.replaces = match (phase, verdict, got) {
            ("pre", "rewrite", _) => Some(json_or_text(config)),
            ("post", "rewrite", Some(Ok(result))) => Some(json_or_text(result)),
            _ => None,
        };
        report.carry = visited.carry.as_deref().map(json_or_text);
        let Usage { wall, cpu, memory } = visited.usage;
        report.milliseconds = Some(wall.as_secs_f64() * 1e3);
        report.cpu_milliseconds = Some(cpu.as_secs_f64() * 1e3);
        report.memory_bytes = Some(memory);
        report
    }
}

fn verdict(verdict: &wasmhook_wasm::Verdict) -> (&'static str, Option<Value>) {
    use wasmhook_wasm::Verdict;
    let error = |it: &CniError| Some(json!({ "code": it.code, "msg": it.msg, "details": it.details }));
    match verdict {
        Verdict::Pre(PreVerdict::Proceed) => ("proceed", None),
        Verdict::Pre(PreVerdict::Rewrite(config)) => ("rewrite", Some(json_or_text(config))),
        Verdict::Pre(PreVerdict::Answer(result)) => ("answer", Some(json_or_text(result))),
        Verdict::Pre(PreVerdict::Deny(it)) => ("deny", error(it)),
        Verdict::Post(PostVerdict::Keep) => ("keep", None),
        Verdict::Post(PostVerdict::Rewrite(result)) => ("rewrite", Some(json_or_text(result))),
        Verdict::Post(PostVerdict::Fail(it)) => ("fail", error(it)),
        Verdict::Post(PostVerdict::Recover(result)) => ("recover", Some(json_or_text(result))),
    }
}

/// A hook may say anything.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn text(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for phase in &report.phases {
        let name = phase.phase;
        if let Some(failure) = &phase.failure {
            writeln!(out, "{BOLD}{name}{BOLD:#}  {BAD}broken{BAD:#}  {failure}")?;
            continue;
        }
        let verdict = phase.verdict.unwrap_or_default();
        let colour = if matches!(verdict, "deny" | "fail") { BAD } else { GOOD };
        let cost = format!(
            "{:.2} ms, {:.2} ms cpu, {}",
            phase.milliseconds.unwrap_or_default(),
            phase.cpu_milliseconds.unwrap_or_default(),
            size(phase.memory_bytes.unwrap_or_default()),
        );
        writeln!(out, "{BOLD}{name}{BOLD:#}  {colour}{verdict}{colour:#}  {FAINT}{cost}{FAINT:#}")?;
        match (&phase.replaces, &phase.value) {
            (Some(before), Some(after)) => diff::print(out, before, after)?,
            (None, Some(value)) => {
                for line in serde_json::to_string_pretty(value).unwrap_or_default().lines() {
                    writeln!(out, "    {line}")?;
                }
            }
            _ => {}
        }
        if let Some(carry) = &phase.carry {
            writeln!(out, "  carries {carry}")?;
        }
    }
    if !report.network.is_empty() {
        writeln!(out, "{BOLD}network{BOLD:#}")?;
    }
    for line in &report.network {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
