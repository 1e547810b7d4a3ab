use crate::{chained, with};
use serde_json::{Value, json};
use std::path::Path;
use wasmhook_tests::{Answer, Call};

/// One call that needs no network, and what must come of it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) rule: &'static str,
    pub(crate) about: String,
    call: Call,
    wanted: Wanted,
}

/// Messages that end in `…` are beginnings.
#[derive(Clone)]
enum Wanted {
    Error { code: u64, msg: String, details: Option<String> },
    Silence,
    Introduction(Vec<&'static str>),
    Result(Value),
}

pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const NEEDING_A_NAME: [&str; 5] = ["ADD", "CHECK", "DEL", "GC", "STATUS"];

impl Case {
    fn new(rule: &'static str, about: &str, call: Call, wanted: Wanted) -> Self {
        Self { rule, about: format!("{} {about}", call.verb).trim().to_owned(), call, wanted }
    }

    /// What the plugin says, or nothing when it is what it must be.
    ///
    /// Empty is unset, so the same must come of variables that are empty and of variables that are not there.
    pub(crate) fn differs(&self, command: impl Fn(&Call) -> std::process::Command) -> Option<String> {
        let empty = Answer::of(&mut command(&self.call), &self.call.stdin);
        let mut unset = command(&self.call);
        let variables: Vec<_> = unset
            .get_envs()
            .map(|(key, value)| (key.to_owned(), value.is_none_or(std::ffi::OsStr::is_empty)))
            .collect();
        for (key, _) in variables.iter().filter(|(_, empty)| *empty) {
            unset.env_remove(key);
        }
        let unset = Answer::of(&mut unset, &self.call.stdin);
        [empty, unset].iter().find(|answer| !self.wanted.is(answer)).map(in_words)
    }

    /// The same for a reference plugin: `type` is its own, with the addresses some insist on; that their versions end at 1.0.0 is no news.
    pub(crate) fn reference(&self, program: &Path) -> Option<String> {
        let plugin = program.file_name().unwrap().to_string_lossy();
        let ipam = r#""ipam":{"type":"host-local","subnet":"10.2.0.0/24"}"#;
        let own = format!(r#"{ipam},"type":"{plugin}""#);
        let stdin = self.call.stdin.replace(r#""type":"wasmhook""#, &own);
        let mut case = Self { call: Call { stdin, ..self.call.clone() }, ..self.clone() };
        match &mut case.wanted {
            Wanted::Introduction(versions) => versions.truncate(6),
            Wanted::Result(result) if *result == versions() => {
                *result = json!({ "cniVersion": "1.0.0", "supportedVersions": VERSIONS[..6] });
            }
            Wanted::Error { details: Some(details), .. } => {
                *details = details.replace(r#" "1.1.0"]"#, "]");
            }
            _ => {}
        }
        case.differs(|call| call.command(program))
    }

    /// What must come of it.
    pub(crate) fn wanted(&self) -> String {
        match &self.wanted {
            Wanted::Error { code, msg, details: None } => format!("{code} {msg}"),
            Wanted::Error { code, msg, details: Some(details) } => format!("{code} {msg}; {details}"),
            Wanted::Silence => "exit 0".into(),
            Wanted::Introduction(_) => "two lines on stderr".into(),
            Wanted::Result(result) => result.to_string(),
        }
    }
}

impl Wanted {
    fn is(&self, answer: &Answer) -> bool {
        let document = || serde_json::from_str::<Value>(&answer.stdout).unwrap_or_default();
        match self {
            Self::Silence => answer.code == Some(0) && answer.stdout.is_empty(),
            Self::Introduction(versions) => {
                let supported = format!("CNI protocol versions supported: {}", versions.join(", "));
                let lines: Vec<_> = answer.stderr.lines().collect();
                (answer.code, answer.stdout.as_str()) == (Some(0), "")
                    && lines.len() == 2
                    && lines[1] == supported
            }
            Self::Result(result) => answer.code == Some(0) && document() == *result,
            Self::Error { code, msg, details } => {
                let said = document();
                let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
                let like =
                    msg.strip_suffix('…').map_or(text("msg") == *msg, |start| text("msg").starts_with(start));
                let explained = details.as_ref().is_none_or(|it| *it == text("details"));
                answer.code == Some(1) && said["code"] == *code && like && explained
            }
        }
    }
}

fn in_words(answer: &Answer) -> String {
    let said = serde_json::from_str::<Value>(&answer.stdout);
    match (answer.code, &said) {
        (Some(0), _) if answer.stdout.is_empty() => format!("exit 0 {}", answer.stderr.replace('\n', " | ")),
        (Some(0), Ok(said)) => said.to_string(),
        (Some(1), Ok(said)) => {
            let (msg, details) = (said["msg"].as_str(), said["details"].as_str().filter(|it| !it.is_empty()));
            let details = details.map(|it| format!("; {it}")).unwrap_or_default();
            format!("{} {}{details}", said["code"], msg.unwrap_or_default())
        }
        _ => format!("{answer:?}"),
    }
}

fn refuses(code: u64, msg: &str) -> Wanted {
    Wanted::Error { code, msg: msg.into(), details: None }
}

fn refuses_with(code: u64, msg: &str, details: &str) -> Wanted {
    Wanted::Error { code, msg: msg.into(), details: Some(details.into()) }
}

/// A call that would go well, behind a plugin that returned nothing much.
fn sound(verb: &str) -> Call {
    let version = if matches!(verb, "GC" | "STATUS") { "1.1.0" } else { "1.0.0" };
    Call::new(verb, &config(version))
}

/// [`config`] as text.
fn text(version: &str) -> String {
    config(version).to_string()
}

fn config(version: &str) -> Value {
    chained(version, &json!({ "cniVersion": version, "ips": [] }))
}

fn told(verb: &str, stdin: impl Into<String>) -> Call {
    Call { stdin: stdin.into(), ..sound(verb) }
}

fn bare(verb: &str) -> Call {
    let empty = String::new;
    Call { container_id: empty(), netns: empty(), ifname: empty(), path: empty(), ..sound(verb) }
}

pub(crate) fn c01() -> Vec<Case> {
    let only_path = |verb| Call { path: "/nowhere".into(), ..bare(verb) };
    let without_netns = Call { netns: String::new(), ..sound("DEL") };
    vec![
        Case::new("C1", "without a namespace", without_netns, Wanted::Silence),
        Case::new("C1", "with a path only", only_path("GC"), Wanted::Silence),
        Case::new("C1", "with a path only", only_path("STATUS"), Wanted::Silence),
        Case::new("C1", "with nothing", bare("VERSION"), Wanted::Result(versions())),
    ]
}

fn versions() -> Value {
    json!({ "cniVersion": "1.1.0", "supportedVersions": VERSIONS })
}

pub(crate) fn c02() -> Vec<Case> {
    let all = "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH";
    let without_netns = "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH";
    let mut cases = Vec::new();
    for (verb, names) in
        [("ADD", all), ("CHECK", all), ("DEL", without_netns), ("GC", "CNI_PATH"), ("STATUS", "CNI_PATH")]
    {
        let wanted = refuses(4, &format!("required env variables [{names}] missing"));
        cases.push(Case::new("C2", "with nothing", bare(verb), wanted));
    }
    let some = Call { netns: String::new(), path: String::new(), ..sound("ADD") };
    let wanted = refuses(4, "required env variables [CNI_NETNS,CNI_PATH] missing");
    cases.push(Case::new("C2", "with half of it", some, wanted));
    cases
}

pub(crate) fn c03() -> Vec<Case> {
    let wrong = |verb| Call { ifname: "a/b".into(), ..bare(verb) };
    let both = Call { container_id: "-".into(), ifname: "a/b".into(), ..sound("ADD") };
    let ifname = "interface name contains / or : or whitespace characters";
    let mut cases = vec![
        Case::new("C3", "with a bad name and nothing else", wrong("ADD"), refuses(4, ifname)),
        Case::new("C3", "with a bad name and nothing else", wrong("DEL"), refuses(4, ifname)),
        Case::new("C3", "with two bad values", both, refuses(4, "invalid characters in containerID")),
    ];
    for verb in ["GC", "STATUS", "VERSION"] {
        let wanted = if verb == "VERSION" { Wanted::Result(versions()) } else { Wanted::Silence };
        let call = Call { container_id: "../x".into(), path: "/nowhere".into(), ..wrong(verb) };
        cases.push(Case::new("C3", "with bad values that it does not need", call, wanted));
    }
    cases
}

pub(crate) fn c04() -> Vec<Case> {
    let case = |verb, id: &str| {
        let wanted = refuses_with(4, "invalid characters in containerID", id);
        Case::new("C4", &format!("for {id:?}"), Call { container_id: id.into(), ..sound(verb) }, wanted)
    };
    let mut cases: Vec<_> =
        ["-a", ".", "_a", "a/b", "a b", "../x", "ä", "a\n", "a;b", "a=b"].map(|id| case("ADD", id)).into();
    cases.extend([case("CHECK", "a/b"), case("DEL", "a/b")]);
    let (id, call) = ("aZ09_.-".repeat(100), sound("DEL"));
    cases.push(Case::new("C4", "for a long id", Call { container_id: id, ..call }, Wanted::Silence));
    cases
}

pub(crate) fn c05() -> Vec<Case> {
    let case = |verb, ifname: &str, wanted| {
        Case::new("C5", &format!("for {ifname:?}"), Call { ifname: ifname.into(), ..sound(verb) }, wanted)
    };
    let long =
        || refuses_with(4, "interface name is too long", "interface name should be less than 16 characters");
    let dots = || refuses_with(4, "interface name is . or ..", "");
    let signs = || refuses_with(4, "interface name contains / or : or whitespace characters", "");
    let mut cases = vec![
        case("ADD", "a234567890123456", long()),
        // Bytes count, not characters.
        case("ADD", "éééééééé", long()),
        case("ADD", "a23456789012345/", long()),
        case("ADD", ".", dots()),
        case("ADD", "..", dots()),
        case("CHECK", "..", dots()),
        case("DEL", "a/b", signs()),
        case("DEL", "a23456789012345", Wanted::Silence),
        case("DEL", "...", Wanted::Silence),
    ];
    let bad = ["a/b", "a:b", "a b", "a\tb", "a\n", "a\u{85}b", "a\u{a0}b", "a\u{2003}b", "a\u{3000}b"];
    cases.extend(bad.map(|ifname| case("ADD", ifname, signs())));
    cases
}

pub(crate) fn c06() -> Vec<Case> {
    let decoding = || refuses(6, "error unmarshall network config: …");
    let nameless = || refuses(7, "missing network name");
    let bad_ifname = Call { ifname: "..".into(), ..told("ADD", "]") };
    let mut cases = vec![
        Case::new("C6", "environment before stdin", bad_ifname, refuses(4, "interface name is . or ..")),
        Case::new("C6", "decoding before the verb", told("FROB", "]"), decoding()),
        Case::new("C6", "name before the verb", told("FROB", "{}"), nameless()),
        Case::new(
            "C6",
            "verb before the version",
            told("FROB", text("9.9.9")),
            refuses(4, "unknown CNI_COMMAND: FROB"),
        ),
        Case::new("C6", "name before the version", told("ADD", r#"{"cniVersion":"9.9.9"}"#), nameless()),
        Case::new(
            "C6",
            "for an empty name",
            told("ADD", with(&config("1.0.0"), "name", "").to_string()),
            nameless(),
        ),
    ];
    for stdin in ["", " ", "[]", "7", "{", "]", r#"{"name":7}"#, r#"{"name":["n"]}"#, r#"{"name":"net"} x"#] {
        cases.push(Case::new("C6", &format!("for {stdin:?}"), told("ADD", stdin), decoding()));
    }
    for verb in NEEDING_A_NAME {
        let stdin = r#"{"cniVersion":"1.1.0","type":"wasmhook"}"#;
        cases.push(Case::new("C6", "without a name", told(verb, stdin), nameless()));
    }
    for name in ["a b", "-x", "../x", "ä", "a/b"] {
        let wanted = refuses_with(7, "invalid characters found in network name", name);
        let stdin = with(&config("1.0.0"), "name", name).to_string();
        cases.push(Case::new("C6", &format!("for the network {name:?}"), told("ADD", stdin), wanted));
    }
    cases
}

pub(crate) fn c07() -> Vec<Case> {
    let case = |verb: &str| {
        let wanted = refuses(4, &format!("unknown CNI_COMMAND: {verb}"));
        Case::new("C7", "", Call { verb: verb.into(), ..sound("ADD") }, wanted)
    };
    ["FROB", "add", "Del", "ADD2"].map(case).into()
}

pub(crate) fn c08() -> Vec<Case> {
    vec![
        Case::new("C8", "no command", sound(""), Wanted::Introduction(VERSIONS.into())),
        Case::new("C8", "nothing at all", bare(""), Wanted::Introduction(VERSIONS.into())),
    ]
}

pub(crate) fn c11() -> Vec<Case> {
    let dummy = || "dummy".to_owned();
    let probe = Call { netns: dummy(), ifname: dummy(), path: dummy(), ..bare("VERSION") };
    vec![
        Case::new("C11", "as runtimes probe", probe, Wanted::Result(versions())),
        Case::new("C11", "with garbage on stdin", told("VERSION", "]"), Wanted::Result(versions())),
    ]
}

pub(crate) fn c12() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in ["0.3.2", "0.5.0", "1.0", "v1.0.0", "1.0.0 ", "01.0.0", "2.0.0", "latest"] {
        for verb in ["ADD", "DEL"] {
            let list = VERSIONS.map(|version| format!("{version:?}")).join(" ");
            let details = format!("config is {version:?}, plugin supports [{list}]");
            let wanted = refuses_with(1, "incompatible CNI versions", &details);
            cases.push(Case::new("C12", &format!("for {version:?}"), told(verb, text(version)), wanted));
        }
    }
    for version in [json!(7), json!(["1.0.0"]), json!({}), json!(true)] {
        let call = told("ADD", with(&config("1.0.0"), "cniVersion", version.clone()).to_string());
        let wanted = refuses(6, "error unmarshall network config: …");
        cases.push(Case::new("C12", &format!("for {version}"), call, wanted));
    }
    cases
}

pub(crate) fn c13() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |verb, version: &str, wanted| {
        cases.push(Case::new("C13", &format!("for {version:?}"), told(verb, text(version)), wanted));
    };
    for (verb, too_old) in
        [("CHECK", &["", "0.2.0", "0.3.1"][..]), ("GC", &["0.4.0", "1.0.0"]), ("STATUS", &["", "1.0.0"])]
    {
        for version in too_old {
            case(verb, version, refuses(1, &format!("config version does not allow {verb}")));
        }
        for version in ["1.2.0", "2.0.0", "1.1.1"] {
            case(verb, version, refuses(1, &format!("plugin version does not allow {verb}")));
        }
        for version in ["x", "1.x.0", "1.2.3.4.5"] {
            case(verb, version, refuses(6, "…"));
        }
    }
    case("CHECK", "0.9.0", refuses(1, "incompatible CNI versions"));
    cases
}

pub(crate) fn all() -> Vec<Case> {
    [c01(), c02(), c03(), c04(), c05(), c06(), c07(), c08(), c11(), c12(), c13()].concat()
}
