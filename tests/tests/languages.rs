//! One hook, `annotate`, in every language there is an example of: all answer the same cases in the same way.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use wasmhook_tests::{Answer, Call, Lab, dist};

#[test]
fn rust() {
    every_case_with(&Guest::new("annotate").keeping_digits());
}

#[test]
fn c() {
    every_case_with(&Guest::new("annotate-c").keeping_digits());
}

#[test]
fn go() {
    every_case_with(&Guest::new("annotate-go").keeping_digits());
}

#[test]
fn javascript() {
    every_case_with(&Guest::new("annotate-js"));
}

/// Built and tested by `make guests-all`.
#[cfg(feature = "all-languages")]
#[test]
fn python() {
    every_case_with(&Guest::new("annotate-python"));
}

/// Built and tested by `make guests-all`.
#[cfg(feature = "all-languages")]
#[test]
fn assemblyscript() {
    every_case_with(&Guest::new("annotate-assemblyscript").keeping_digits());
}

struct Guest {
    module: &'static str,
    lab: Lab,
    /// Do numbers that it only passes on keep every digit? Where all numbers are doubles they don't.
    digits: bool,
}

impl Guest {
    fn new(module: &'static str) -> Self {
        let lab = Lab::new("module");
        lab.install(module, &fs::read(dist(&format!("hooks/{module}.wasm"))).unwrap());
        // Some take many seconds to compile: that belongs to no pod.
        let compiled = lab.ctl(&["compile", module]);
        assert_eq!(compiled.code, Some(0), "{compiled:?}");
        Self { module, lab, digits: false }
    }

    fn keeping_digits(self) -> Self {
        Self { digits: true, ..self }
    }

    /// Calls it as the one hook of an entry behind other plugins; what stands in `case` gets there byte by byte.
    fn call(&self, verb: &str, case: &BTreeMap<String, Box<RawValue>>) -> Answer {
        let key = |name: &str, value: &str| format!(", \"{name}\": {value}");
        let given = |name: &str| case.get(name).map_or(String::new(), |it| key(name, it.get()));
        let config = case.get("hookConfig").map_or(String::new(), |it| key("config", it.get()));
        let stdin = format!(
            r#"{{ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook",
                "hooks": [{{ "module": "{}"{config} }}]{}{} }}"#,
            self.module,
            given("runtimeConfig"),
            given("prevResult")
        );
        self.lab.call(&Call { stdin, ..Call::new(verb, &Value::Null) })
    }
}

fn every_case_with(guest: &Guest) {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/annotate.json")).unwrap();
    let cases: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 20, "the cases are gone");
    for case in &cases {
        let value = |key: &str| serde_json::from_str::<Value>(case[key].get()).unwrap();
        let (name, verb, expected) = (value("name"), value("verb"), value("expect"));
        let answer = guest.call(verb.as_str().unwrap(), case);
        let told = format!("{name}: {answer:?}");
        if let Some(result) = expected.get("result") {
            assert_eq!(answer.code, Some(0), "{told}");
            assert_eq!(answer.result(), *result, "{name}");
        } else if let Some(error) = expected.get("error") {
            assert_eq!(answer.code, Some(1), "{told}");
            let got = answer.error();
            assert_eq!(json!({ "code": got.code, "msg": got.msg }), *error, "{name}");
            assert!(answer.stderr.contains("refused host port 2"), "{told}");
        } else if let Some(word) = expected.get("broken") {
            let error = answer.error();
            assert!(error.code == 101 && error.msg.contains(word.as_str().unwrap()), "{told}");
        } else if let Some(word) = expected.get("ignored") {
            answer.silent();
            assert!(answer.stderr.contains(word.as_str().unwrap()), "{told}");
        } else {
            assert_eq!(expected, "silence", "{name}");
            assert_eq!((answer.code, answer.stdout + &answer.stderr), (Some(0), String::new()), "{told}");
        }
    }
    if guest.digits {
        digits_survive(guest);
    }
}

fn digits_survive(guest: &Guest) {
    let digits = r#""x":12345678901234567890123,"y":[1.50,1e3,-0.0]"#;
    let case = [
        ("hookConfig", r#"{"search":"a"}"#.to_owned()),
        ("prevResult", format!(r#"{{"cniVersion":"1.0.0",{digits}}}"#)),
    ];
    let case = case.map(|(key, text)| (key.to_owned(), RawValue::from_string(text).unwrap()));
    let answer = guest.call("ADD", &case.into());
    let _ = answer.result();
    assert!(answer.stdout.contains(digits), "{answer:?}");
}
