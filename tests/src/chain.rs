use crate::{Answer, Call, Lab};
use serde_json::{Map, Number, Value, json};
use std::path::Path;

/// A network's list of plugins, run as libcni runs it: each gets its object with the network's name and version, what it
/// declared of the runtime's capabilities, and a `prevResult`; keys are sorted, numbers go through `float64`, and of a
/// result only the specification's keys are handed on.
#[derive(Clone)]
pub struct Chain<'a> {
    /// The node.
    pub lab: &'a Lab,
    /// `CNI_PATH`, where all of them are, `wasmhook` too; programs are in `bin` there.
    pub path: String,
    /// `cniVersion` of the list.
    pub version: String,
    /// Its `name`.
    pub network: String,
    /// Its `plugins`.
    pub plugins: Vec<Value>,
    /// What the runtime has to say, by capability.
    pub capabilities: Value,
}

/// Where a list is run for.
#[derive(Clone, Debug)]
pub struct Pod {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// `CNI_NETNS`.
    pub netns: String,
}

/// The list was not run to its end.
#[derive(Debug)]
pub struct Stopped {
    /// At which plugin.
    pub at: usize,
    /// And why.
    pub answer: Answer,
}

impl Chain<'_> {
    /// ADD, in the list's order; the last one's result.
    pub fn add(&self, pod: &Pod) -> Result<Value, Stopped> {
        let mut result = None;
        for at in 0..self.plugins.len() {
            let answer = self.call(at, "ADD", pod, result.as_ref());
            if answer.code != Some(0) {
                return Err(Stopped { at, answer });
            }
            result = Some(typed(&answer.result()));
        }
        Ok(result.expect("a list of plugins"))
    }

    /// CHECK, in the list's order, each with the final result.
    pub fn check(&self, pod: &Pod, result: &Value) -> Result<(), Stopped> {
        (0..self.plugins.len()).try_for_each(|at| self.silent(at, "CHECK", pod, Some(result)))
    }

    /// DEL, the last one first, each with the final result, where the version has that.
    pub fn del(&self, pod: &Pod, result: Option<&Value>) -> Result<(), Stopped> {
        let result = result.filter(|_| !self.version.starts_with("0.") || self.version == "0.4.0");
        (0..self.plugins.len()).rev().try_for_each(|at| self.silent(at, "DEL", pod, result))
    }

    fn silent(&self, at: usize, verb: &str, pod: &Pod, result: Option<&Value>) -> Result<(), Stopped> {
        let answer = self.call(at, verb, pod, result);
        if answer.code == Some(0) && answer.stdout.is_empty() { Ok(()) } else { Err(Stopped { at, answer }) }
    }

    /// One plugin of the list.
    #[must_use]
    pub fn call(&self, at: usize, verb: &str, pod: &Pod, prev_result: Option<&Value>) -> Answer {
        let mut config = self.plugins[at].clone();
        config["name"] = json!(self.network);
        config["cniVersion"] = json!(self.version);
        if let Some(prev_result) = prev_result {
            config["prevResult"] = prev_result.clone();
        }
        let wanted = |name: &str| config["capabilities"][name] == json!(true);
        let given: Map<_, _> = self.capabilities.as_object().into_iter().flatten().fold(
            Map::new(),
            |mut given, (name, value)| {
                if wanted(name) {
                    given.insert(name.clone(), value.clone());
                }
                given
            },
        );
        if !given.is_empty() {
            config["runtimeConfig"] = Value::Object(given);
        }
        let call = Call {
            container_id: pod.id.clone(),
            netns: pod.netns.clone(),
            path: self.path.clone(),
            ..Call::new(verb, &sent_again(&config))
        };
        let program = Path::new(&self.path).join(config["type"].as_str().expect("a type"));
        let mut command = call.command(&program);
        command.env("WASMHOOK_CONFIG", self.lab.settings()).env("PATH", format!("{}/bin", self.path));
        Answer::of(&mut command, &call.stdin)
    }
}

/// A document after Go has read it into a map and written it again. (Keys are sorted as it is.)
#[must_use]
pub fn sent_again(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(through_float64(number)),
        Value::Array(values) => values.iter().map(sent_again).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), sent_again(value))).collect()
        }
        other => other.clone(),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "whole and in range")]
fn through_float64(number: &Number) -> Number {
    let float = number.as_f64().expect("a number");
    if float.fract() == 0.0 && float.abs() < 1e18 {
        return Number::from(float as i64);
    }
    Number::from_f64(float).expect("finite")
}

/// A result after Go has read it into its types: keys that the specification doesn't know are gone.
#[must_use]
pub fn typed(result: &Value) -> Value {
    let old = |version: &str| version.starts_with("0.1") || version.starts_with("0.2");
    if result["cniVersion"].as_str().is_none_or(old) {
        let ip = |key: &str| only(&result[key], &["ip", "gateway", "routes"]);
        let ips = ["ip4", "ip6"].into_iter().filter(|key| !result[*key].is_null());
        let mut typed: Value = ips.map(|key| (key.to_owned(), ip(key))).collect();
        typed["cniVersion"] = result["cniVersion"].clone();
        typed["dns"] = result["dns"].clone();
        return typed;
    }
    let mut typed = only(result, &["cniVersion", "interfaces", "ips", "routes", "dns"]);
    let lists: [(&str, &[&str]); 3] = [
        ("interfaces", &["name", "mac", "mtu", "sandbox", "socketPath", "pciID"]),
        ("ips", &["version", "interface", "address", "gateway"]),
        ("routes", &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"]),
    ];
    for (list, keys) in lists {
        for element in typed.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            *element = only(element, keys);
        }
    }
    typed
}

fn only(object: &Value, keys: &[&str]) -> Value {
    let members = object.as_object().into_iter().flatten();
    members
        .filter(|(key, _)| keys.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_sends_again_is_not_what_it_got() {
        let told: Value =
            serde_json::from_str(r#"{"b":9007199254740993,"a":[1.50,2.0,12345678901234567890123]}"#).unwrap();
        let again = sent_again(&told).to_string();
        assert_eq!(again, r#"{"a":[1.5,2,1.2345678901234568e+22],"b":9007199254740992}"#);
    }

    #[test]
    fn a_result_keeps_the_specifications_keys() {
        let result = json!({
            "cniVersion": "1.0.0", "vendor": 1, "dns": {},
            "interfaces": [{ "name": "eth0", "x": 1 }], "ips": [{ "address": "a", "interface": 0, "y": 2 }],
        });
        let expected = json!({
            "cniVersion": "1.0.0", "dns": {}, "interfaces": [{ "name": "eth0" }], "ips": [{ "address": "a", "interface": 0 }],
        });
        assert_eq!(typed(&result), expected);
        let old =
            json!({ "cniVersion": "0.2.0", "ip4": { "ip": "a", "z": 1 }, "dns": { "domain": "d" }, "x": 1 });
        let expected = json!({ "cniVersion": "0.2.0", "ip4": { "ip": "a" }, "dns": { "domain": "d" } });
        assert_eq!(typed(&old), expected);
    }
}
