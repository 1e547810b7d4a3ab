use super::{BETWEEN, without};
use serde_json::Deserializer;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::{fs, str};
use wasmhook_cni::{Error, Object, PluginConfig};
use wasmhook_plugin::{Caller, run};

/// A whole call: lines `NAME=VALUE` are its environment, the rest its stdin. There are no plugins, no modules and no
/// compiler on this node.
pub fn call(input: &[u8]) {
    let node = tempfile::tempdir().unwrap();
    let settings = node.path().join("config.toml");
    let toml = format!(
        "modules = []\nstate = '{0}/state'\ncompiled = '{0}/compiled'\ncompiler = '/nowhere/wasmhookctl'\n",
        node.path().display()
    );
    fs::write(&settings, toml).unwrap();
    let (environment, mut stdin) = split(input);
    let command = value(&environment, "CNI_COMMAND");
    let config = String::from_utf8_lossy(stdin).into_owned();
    let settings = ("WASMHOOK_CONFIG".into(), settings.into_os_string());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = run(&mut Caller {
        environment: [settings].into_iter().chain(environment).collect(),
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
        alone: false,
    });
    judge(exit, &command, &config, str::from_utf8(&stdout).unwrap());
    nothing_left(&node.path().join("state"));
}

fn split(input: &[u8]) -> (Vec<(OsString, OsString)>, &[u8]) {
    let between = BETWEEN.as_bytes();
    let end = input.windows(between.len()).position(|it| it == between);
    let (lines, stdin) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + between.len()..]));
    let variable = |line: &[u8]| {
        let equals = line.iter().position(|it| *it == b'=').filter(|_| !line.contains(&0))?;
        let (name, value) = (OsString::from_vec(line[..equals].into()), &line[equals + 1..]);
        // Of what is on this machine nothing is to be run.
        let value = if name == "CNI_PATH" && !value.is_empty() { b"/nowhere" } else { value };
        Some((name, OsString::from_vec(value.into())))
    };
    (lines.split(|it| *it == b'\n').filter_map(variable).collect(), stdin)
}

fn value(environment: &[(OsString, OsString)], name: &str) -> String {
    let named = environment.iter().find(|(it, _)| it == name);
    named.map_or_else(String::new, |(_, value)| value.to_string_lossy().into_owned())
}

/// Exactly one document, or none where the verb has none.
fn judge(exit: u8, command: &str, config: &str, stdout: &str) {
    let documents: Vec<Object> =
        Deserializer::from_str(stdout).into_iter().collect::<Result<_, _>>().unwrap();
    if exit == 1 {
        let [document] = &documents[..] else { panic!("{documents:?}") };
        let error: Error = serde_json::from_str(&document.to_string()).unwrap();
        assert!(error.code > 0 && !error.msg.is_empty(), "{error:?}");
        assert!(error.cni_version.is_some_and(|it| !it.is_empty()), "{stdout}");
        assert!(!stdout.contains("panic in wasmhook"), "{stdout}");
        return;
    }
    assert_eq!(exit, 0);
    match (command, &documents[..]) {
        ("VERSION", [versions]) => assert!(versions.contains("supportedVersions")),
        ("ADD", [result]) => goes_on(config, result),
        ("" | "DEL" | "CHECK" | "GC" | "STATUS", []) => {}
        _ => panic!("{command}: {documents:?}"),
    }
}

/// Nobody was there to change anything: the result is what came before.
fn goes_on(config: &str, result: &Object) {
    let config = PluginConfig::parse(config).unwrap();
    let prev_result: Object = config.read("prevResult").unwrap().unwrap();
    let version = |object: &Object| object.read::<String>("cniVersion").unwrap().unwrap_or_default();
    assert_eq!(version(result), config.version().unwrap().as_str());
    if ["", &version(result)].contains(&version(&prev_result).as_str()) {
        assert_eq!(without(result, "cniVersion"), without(&prev_result, "cniVersion"));
    }
}

/// No journal, and no lock of one. Directories may stay.
fn nothing_left(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        assert!(entry.path().is_dir(), "{} is left", entry.path().display());
        nothing_left(&entry.path());
    }
}
