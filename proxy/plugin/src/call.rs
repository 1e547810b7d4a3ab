use crate::delegate::{self, Delegate};
use crate::entry::Entry;
use crate::error::Error;
use crate::log::log_to_stderr;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::visit::Guests;
use serde_json::{json, value::RawValue};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use wasmhook_cni::{self as cni, Args, Environment, Object, PluginConfig, SpecVersion, Verb, code};

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
}

/// Answers one call: exactly one JSON document on stdout, or none where the verb has none. Returns the exit code.
pub fn run(caller: &mut Caller<'_>) -> u8 {
    let answered = catch_unwind(AssertUnwindSafe(|| answer(caller))).unwrap_or_else(|_| {
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
    let printed =
        document.map_or(Ok(()), |it| writeln!(caller.stdout, "{it}")).and_then(|()| caller.stdout.flush());
    if let Err(error) = printed {
        let _ = writeln!(caller.stderr, "wasmhook: stdout: {error}");
        return 1;
    }
    exit
}

fn answer(caller: &mut Caller<'_>) -> Result<Option<Object>, cni::Error> {
    let variables = std::mem::take(&mut caller.environment);
    let lookup = |name: &str| {
        variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.to_string_lossy().into_owned())
    };
    let Some(environment) = Environment::read(lookup)? else {
        let _ = writeln!(caller.stderr, "{}", about());
        return Ok(None);
    };
    if environment.verb == Verb::Version {
        return Ok(Some(versions()));
    }
    // Room for any real configuration, so that one read takes it.
    let mut text = String::with_capacity(32 << 10);
    caller
        .stdin
        .read_to_string(&mut text)
        .map_err(|error| cni::Error::new(code::IO, format!("error reading from stdin: {error}")))?;
    let config = PluginConfig::parse(&text)?;
    let version = config.version()?;
    let settings = lookup("WASMHOOK_CONFIG").filter(|it| !it.is_empty());
    serve(&environment, &variables, config, version, settings.as_deref().map(Path::new), caller.stderr)
        .map_err(cni::Error::from)
        .map_err(|error| cni::Error {
            cni_version: error.cni_version.or_else(|| Some(version.to_string())),
            ..error
        })
}

/// A call whose envelope is in order.
fn serve(
    environment: &Environment,
    variables: &[(OsString, OsString)],
    mut config: PluginConfig,
    version: SpecVersion,
    settings: Option<&Path>,
    stderr: &mut dyn Write,
) -> Result<Option<Object>, Error> {
    let verb = environment.verb;
    check_version(verb, version)?;
    // A mistake of the operator's must not keep pods from going away.
    let forgiving = matches!(verb, Verb::Del | Verb::Gc);
    let settings = match Settings::load(settings) {
        Ok(settings) => settings,
        Err(error) if forgiving => {
            log_to_stderr(Settings::default().log);
            tracing::error!("{error}; going on with the defaults");
            Settings::default()
        }
        Err(error) => return Err(error.into()),
    };
    log_to_stderr(settings.log);
    let (entry, problems) = Entry::read(&config);
    if !problems.is_empty() {
        match verb {
            Verb::Del | Verb::Gc => problems.0.iter().for_each(|it| tracing::error!("{it}; skipped")),
            Verb::Status => return Err(not_available(&Error::Configuration(problems.0))),
            _ => return Err(Error::Configuration(problems.0)),
        }
    }
    if matches!(verb, Verb::Gc | Verb::Status) {
        return Ok(None);
    }
    let args = Args::parse(&environment.args)
        .or_else(|error| if forgiving { Ok(Args::default()) } else { Err(error) })?;
    let prev_result: Option<Box<RawValue>> =
        config.remove("prevResult").filter(|prev_result| prev_result.get() != "null");
    if verb == Verb::Check && prev_result.is_none() {
        return Err(Error::NothingToCheck);
    }
    let network = config.name();
    let (delegate, config) = match &entry.delegate {
        None => {
            config.remove("hooks");
            (None, config.into_object())
        }
        Some(wrapped) => {
            let inner = delegate::config(&config, wrapped)
                .map_err(|error| cni::Error::new(code::DECODING, error.to_string()))?;
            let plugin_type = PluginConfig::from(wrapped.clone()).plugin_type();
            (Some(Delegate::find(&plugin_type, &environment.path, variables)?), inner)
        }
    };
    let guests = Guests::new(&settings, entry.hooks.len());
    let seats = entry.hooks.iter().map(|_| Default::default()).collect();
    let pipeline = Pipeline {
        environment,
        args,
        network,
        version,
        entry: &entry,
        guests: &guests,
        delegate,
        config,
        prev_result,
        stderr,
        seats,
        del_refused: None,
    };
    let result = pipeline.run()?;
    Ok(result.filter(|_| verb == Verb::Add))
}

/// <https://github.com/containernetworking/cni/blob/main/SPEC.md#cni-operations>
fn check_version(verb: Verb, version: SpecVersion) -> Result<(), cni::Error> {
    let since = match verb {
        Verb::Check => SpecVersion::V0_4_0,
        Verb::Gc | Verb::Status => SpecVersion::V1_1_0,
        Verb::Add | Verb::Del | Verb::Version => SpecVersion::V0_1_0,
    };
    if version >= since {
        return Ok(());
    }
    Err(cni::Error::new(code::INCOMPATIBLE_VERSION, format!("config version does not allow {verb}")))
}

fn not_available(error: &Error) -> Error {
    Error::Cni(cni::Error::new(code::NOT_AVAILABLE, error.to_string()))
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
