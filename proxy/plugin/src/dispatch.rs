//! From what a runtime sends to the verb, and from what comes of it to exactly one JSON document.

use crate::call::{Call, Means};
use crate::delegate::Surroundings;
use crate::entry::{Entry, Place};
use crate::error::Error;
use crate::log::start_log;
use crate::plugins::NodePlugins;
use crate::problem::Problems;
use crate::settings::Settings;
use crate::verbs;
use crate::visit::Guests;
use crate::watchdog;
use crate::when::Facts;
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use serde_json::{json, value::RawValue};
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use wasmhook_cni::{self as cni, Args, Asked, Environment, Object, PluginConfig, SpecVersion, Verb, code};
use wasmhook_host::{End, Ending, SharedEnding};
use wasmhook_store::{Bypass, Journals, Versions};

/// Whoever started us, with all that passes between us.
pub struct Caller<'a> {
    /// Every variable; delegates get the same.
    pub environment: Vec<(OsString, OsString)>,
    /// The configuration.
    pub stdin: &'a mut dyn Read,
    /// The result, or the error.
    pub stdout: &'a mut dyn Write,
    /// The log.
    pub stderr: &'a mut dyn Write,
    /// Does this process do nothing else, so that it may be ended when everything hangs?
    pub alone: bool,
}

/// More than any configuration; what is longer is cut, and then no JSON.
const LONGEST: u64 = 16 << 20;

/// Answers one call: exactly one JSON document on stdout, or none where the verb has none. Returns the exit code.
pub fn run(caller: &mut Caller<'_>) -> u8 {
    let ending = SharedEnding::default();
    let answered = catch_unwind(AssertUnwindSafe(|| answer(caller, &ending))).unwrap_or_else(|_| {
        Err(cni::Error::new(code::UNTYPED, "panic in wasmhook: a mistake of ours, please report it"))
    });
    let (document, exit) = match answered {
        Ok(result) => (result.map(|it| it.to_string()), 0),
        Err(mut error) => {
            // A runtime cannot read a document without one.
            error.cni_version.get_or_insert_with(|| SpecVersion::V1_1_0.to_string());
            (serde_json::to_string(&error).ok(), 1)
        }
    };
    let document = document.map(|it| it + "\n").unwrap_or_default();
    watchdog::call_off();
    let (document, exit) = match ending.said() {
        Some(Ending { how: End::Print { stdout, exit_code }, .. }) => (stdout, exit_code),
        Some(Ending { how: End::Signal(number), .. }) if caller.alone => return die(number),
        _ => (document.into_bytes(), exit),
    };
    let printed = caller.stdout.write_all(&document).and_then(|()| caller.stdout.flush());
    if let Err(error) = printed {
        let _ = writeln!(caller.stderr, "wasmhook: stdout: {error}");
        return 1;
    }
    exit
}

/// As a plugin does that dies.
fn die(number: i32) -> u8 {
    if let Ok(number) = Signal::try_from(number) {
        // SAFETY: the default action is no handler.
        #[allow(unsafe_code, reason = "signal(2)")]
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
        let _ = raise(number);
    }
    1
}

fn answer(caller: &mut Caller<'_>, ending: &SharedEnding) -> Result<Option<Object>, cni::Error> {
    let variables = Arc::new(std::mem::take(&mut caller.environment));
    let lookup = |name: &str| {
        variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.to_string_lossy().into_owned())
    };
    let asked = Environment::read(lookup)?;
    match &asked {
        Asked::Nothing => {
            let _ = writeln!(caller.stderr, "{}", about());
            return Ok(None);
        }
        Asked::Call(environment) if environment.verb == Verb::Version => return Ok(Some(versions())),
        Asked::Unknown(_) | Asked::Call(_) => {}
    }
    // Room for any real configuration, so that one read takes it.
    let mut bytes = Vec::with_capacity(8 << 10);
    (&mut *caller.stdin)
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| cni::Error::new(code::IO, format!("error reading from stdin: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let config = PluginConfig::parse(&text)?;
    let environment = match asked {
        Asked::Call(environment) => environment,
        Asked::Unknown(command) => {
            let msg = format!("unknown CNI_COMMAND: {command}");
            return Err(cni::Error::new(code::INVALID_ENVIRONMENT, msg));
        }
        Asked::Nothing => return Ok(None),
    };
    let version = version(environment.verb, &config)?;
    let settings = lookup("WASMHOOK_CONFIG").filter(|it| !it.is_empty());
    let settings = settings.as_deref().map(Path::new);
    serve(environment, variables.clone(), config, version, settings, (caller, ending))
        .map_err(cni::Error::from)
        .map_err(|error| cni::Error {
            cni_version: error.cni_version.or_else(|| Some(version.to_string())),
            ..error
        })
}

/// A call whose envelope is in order.
fn serve(
    environment: Environment,
    variables: Arc<Vec<(OsString, OsString)>>,
    mut config: PluginConfig,
    version: SpecVersion,
    settings: Option<&Path>,
    (caller, ending): (&mut Caller<'_>, &SharedEnding),
) -> Result<Option<Object>, Error> {
    let verb = environment.verb;
    let started = Instant::now();
    // A mistake of the operator's must not keep pods from going away.
    let forgiving = matches!(verb, Verb::Del | Verb::Gc);
    let settings = match Settings::load(settings) {
        Ok(settings) => settings,
        Err(error) if forgiving => {
            start_log(&Settings::default());
            tracing::error!("{error}; going on with the defaults");
            Settings::default()
        }
        Err(error) if verb == Verb::Status => return Err(verbs::not_available(error.into())),
        Err(error) => return Err(error.into()),
    };
    start_log(&settings);
    if caller.alone {
        watchdog::watch(settings.budgets.call, version);
    }
    let place = Place::of(&config);
    let (mut entry, mut problems) = Entry::read(&config, place, &settings.limits);
    entry.judge_grants(&settings, &mut problems);
    forgive(verb, problems)?;
    let args = Args::parse(&environment.args)
        .or_else(|error| if forgiving { Ok(Args::default()) } else { Err(error) })?;
    let prev_result: Option<Box<RawValue>> =
        config.remove("prevResult").filter(|prev_result| prev_result.get() != "null");
    let path = environment.path.clone();
    let around = Surroundings {
        variables,
        versions: Versions::new(&settings.state),
        stderr: RefCell::new(caller.stderr),
    };
    let network = config.name();
    entry.select(Facts::of(&environment, &network, &args, &config));
    skip_bypassed(&mut entry, &settings);
    let call = Call {
        network,
        environment,
        args,
        version,
        config,
        place,
        prev_result,
        guests: Guests::new(&settings, &entry.hooks).for_entry(&entry.id).end_by(ending),
        entry,
        journals: Journals::new(&settings.state),
        means: Means { around, path: &path, started, budgets: settings.budgets },
    };
    call.know(None);
    call.guests.reach(call.networks(None));
    if verb != Verb::Add {
        call.guests.may_run(NodePlugins::of(&call, None));
    }
    match verb {
        Verb::Add => verbs::add(&call),
        Verb::Del => {
            let deleted = verbs::del(&call);
            match ending.said() {
                Some(_) if !call.entry.may_fail_del => {
                    tracing::warn!("a hook wants to break this DEL; ignored (`mayFailDel` is not set)");
                    ending.forget();
                }
                Some(Ending { how: End::Hang, .. }) => return Err(call.hang()),
                _ => {}
            }
            deleted
        }
        Verb::Check => verbs::check(&call),
        Verb::Gc => verbs::gc(&call),
        Verb::Status => verbs::status(&call),
        Verb::Version => Ok(Some(versions())),
    }
}

/// Mistakes in our own block are refused where nothing has happened yet, and skipped where something must be taken back.
fn forgive(verb: Verb, problems: Problems) -> Result<(), Error> {
    if problems.is_empty() {
        return Ok(());
    }
    match verb {
        Verb::Del | Verb::Gc => problems.0.iter().for_each(|it| tracing::error!("{it}; skipped")),
        Verb::Status => return Err(verbs::not_available(Error::Configuration(problems.0))),
        _ => return Err(Error::Configuration(problems.0)),
    }
    Ok(())
}

/// The node's off switch.
fn skip_bypassed(entry: &mut Entry, settings: &Settings) {
    if !entry.hooks.iter().any(|hook| hook.selected && hook.bypassable) {
        return;
    }
    let Some(bypass) = Bypass::now(&settings.state) else { return };
    let before = entry.hooks.len();
    entry.hooks.retain(|hook| !hook.bypassable);
    tracing::error!(
        skipped = before - entry.hooks.len(),
        "hooks are switched off on this node for another {:?} (`wasmhookctl bypass off`)",
        bypass.left()
    );
}

/// The configuration's version, if it knows the verb.
/// <https://github.com/containernetworking/cni/blob/main/SPEC.md#cni-operations>
fn version(verb: Verb, config: &PluginConfig) -> Result<SpecVersion, cni::Error> {
    let since = match verb {
        Verb::Check => SpecVersion::V0_4_0,
        Verb::Gc | Verb::Status => SpecVersion::V1_1_0,
        Verb::Add | Verb::Del | Verb::Version => return config.version(),
    };
    let refused =
        |who| cni::Error::new(code::INCOMPATIBLE_VERSION, format!("{who} version does not allow {verb}"));
    match config.version() {
        Ok(version) if version >= since => Ok(version),
        Ok(_) => Err(refused("config")),
        Err(error) => Err(match config.version_number() {
            // Neither do we know what it asks for, nor does it know us.
            None => cni::Error::new(code::DECODING, error.details.unwrap_or(error.msg)),
            Some(number) if number > SpecVersion::V1_1_0.number() => refused("plugin"),
            Some(_) => error,
        }),
    }
}

fn versions() -> Object {
    let supported = SpecVersion::ALL.map(SpecVersion::as_str);
    let document = json!({ "cniVersion": SpecVersion::V1_1_0.as_str(), "supportedVersions": supported });
    document.to_string().parse().unwrap_or_default()
}

fn about() -> String {
    format!(
        "CNI wasmhook plugin v{}: WebAssembly hooks around the real plugins\nCNI protocol versions supported: {}",
        env!("CARGO_PKG_VERSION"),
        SpecVersion::ALL.map(SpecVersion::as_str).join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io;

    /// A whole call, in memory: exit code, stdout, stderr.
    fn call(variables: &[(&str, &str)], stdin: &mut dyn Read) -> (u8, String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let nowhere = ("WASMHOOK_CONFIG", "/dev/null");
        let environment = variables.iter().chain([&nowhere]);
        let mut caller = Caller {
            environment: environment.map(|(key, value)| (key.into(), value.into())).collect(),
            stdin,
            stdout: &mut stdout,
            stderr: &mut stderr,
            alone: false,
        };
        let exit = run(&mut caller);
        (exit, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    const ADD: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/nowhere"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/nowhere"),
    ];

    fn error(variables: &[(&str, &str)], stdin: &str) -> (u64, String) {
        let (exit, stdout, _) = call(variables, &mut stdin.as_bytes());
        assert_eq!(exit, 1);
        let error: Value = serde_json::from_str(&stdout).unwrap();
        (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap().to_owned())
    }

    /// Whoever reads it fails the test.
    struct Untouched;

    impl Read for Untouched {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("stdin was read")
        }
    }

    #[test]
    fn a_person_in_a_shell_is_told_what_this_is() {
        let (exit, stdout, stderr) = call(&[], &mut Untouched);
        assert_eq!((exit, stdout.as_str()), (0, ""));
        assert!(stderr.starts_with("CNI wasmhook plugin v"), "{stderr}");
        assert!(stderr.ends_with(", 1.0.0, 1.1.0\n"), "{stderr}");
    }

    #[test]
    fn version_reads_nothing() {
        let (exit, stdout, stderr) =
            call(&[("CNI_COMMAND", "VERSION"), ("CNI_NETNS", "dummy")], &mut Untouched);
        assert_eq!((exit, stderr.as_str()), (0, ""));
        let versions: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(versions["supportedVersions"].as_array().unwrap().len(), 7);
    }

    #[test]
    fn mistakes_are_told_in_their_order() {
        let good = r#"{"cniVersion":"1.0.0","name":"n","type":"wasmhook","hooks":[]}"#;
        assert_eq!(
            error(&ADD[..2], "]"),
            (4, "required env variables [CNI_NETNS,CNI_IFNAME,CNI_PATH] missing".into())
        );
        assert_eq!(error(&ADD, "]").0, 6);
        assert_eq!(error(&ADD, "{}"), (7, "missing network name".into()));
        assert_eq!(error(&[("CNI_COMMAND", "FROB")], "{}"), (7, "missing network name".into()));
        assert_eq!(error(&[("CNI_COMMAND", "FROB")], good), (4, "unknown CNI_COMMAND: FROB".into()));
        assert_eq!(error(&ADD, &good.replace("1.0.0", "9.0.0")), (1, "incompatible CNI versions".into()));
        assert_eq!(error(&ADD, &good.replace("[]", "7")).0, 7);
        assert!(error(&ADD, good).1.contains("wasmhook has nothing to return"));
    }

    #[test]
    fn what_came_before_goes_on() {
        let config = r#"{"cniVersion":"1.0.0","name":"n","type":"wasmhook","hooks":[],"prevResult":{"cniVersion":"1.0.0","ips":[],"x":1.50}}"#;
        let (exit, stdout, _) = call(&ADD, &mut config.as_bytes());
        assert_eq!((exit, stdout.as_str()), (0, "{\"cniVersion\":\"1.0.0\",\"ips\":[],\"x\":1.50}\n"));
    }

    #[test]
    fn a_reader_that_is_gone_is_a_failure_and_no_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stderr = Vec::new();
        let mut caller = Caller {
            environment: vec![("CNI_COMMAND".into(), "VERSION".into())],
            stdin: &mut Untouched,
            stdout: &mut Closed,
            stderr: &mut stderr,
            alone: false,
        };
        assert_eq!(run(&mut caller), 1);
        assert!(String::from_utf8(stderr).unwrap().starts_with("wasmhook: stdout: "));
    }
}
