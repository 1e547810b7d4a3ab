//! C14 to C19: a result has the configuration's version, whatever a plugin speaks, and loses nothing on the way.

use crate::{bridge, call, calling, chained, error, ptp, says, wrapping};
use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node};

use crate::cases::VERSIONS;

/// What a runtime of `version` gets when the plugin answers with `said`.
fn answer(version: &str, said: &Value) -> Answer {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(said));
    lab.call(&calling(&fakes, "ADD", &wrapping(version, &json!({ "type": "fake" }))))
}

fn converted(version: &str, said: &Value) -> Value {
    answer(version, said).result()
}

/// One address of each family with its route, as far as `version` can say it. Before 0.3.0 there are no interfaces.
fn common(version: &str, interfaces: bool) -> Value {
    let dns = json!({ "nameservers": ["10.0.0.53"] });
    let (four, six) =
        (json!({ "dst": "0.0.0.0/0", "gw": "10.0.0.1" }), json!({ "dst": "::/0", "gw": "fd00::1" }));
    if version < "0.3" {
        return json!({
            "cniVersion": version, "dns": dns,
            "ip4": { "ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [four] },
            "ip6": { "ip": "fd00::2/64", "gateway": "fd00::1", "routes": [six] },
        });
    }
    let mut result = json!({
        "cniVersion": version, "dns": dns, "routes": [four, six],
        "ips": [
            { "address": "10.0.0.2/24", "gateway": "10.0.0.1" },
            { "address": "fd00::2/64", "gateway": "fd00::1" },
        ],
    });
    if interfaces {
        result["interfaces"] = json!([{ "name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/n" }]);
        result["ips"][0]["interface"] = json!(0);
        result["ips"][1]["interface"] = json!(0);
    }
    if version < "1" {
        result["ips"][0]["version"] = json!("4");
        result["ips"][1]["version"] = json!("6");
    }
    result
}

/// All that 1.1.0 can say.
fn everything() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500 },
            { "name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/n", "mtu": 1400, "socketPath": "/s", "pciID": "0000:00:1f.6" },
        ],
        "ips": [
            { "address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 1 },
            { "address": "10.0.0.3/24", "interface": 0 },
            { "address": "fd00::2/64", "gateway": "fd00::1", "interface": 1 },
            { "address": "fd00::3/64" },
        ],
        "routes": [
            { "dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 9, "scope": 253 },
            { "dst": "fd01::/64", "gw": "fd00::1", "priority": 8 },
            { "dst": "10.1.0.0/16" },
        ],
    })
}

#[test]
fn c14_a_result_without_version_has_the_configurations() {
    for version in VERSIONS {
        let mut unversioned = common(version, true);
        unversioned.as_object_mut().unwrap().remove("cniVersion");
        assert_eq!(converted(version, &unversioned), common(version, true));
        let call = Call::new("ADD", &chained(version, &unversioned));
        assert_eq!(Lab::new("module").call(&call).result(), common(version, true));
    }
}

#[test]
fn c14_a_prev_result_in_another_version_comes_back_in_the_configurations() {
    let lab = Lab::new("module");
    for (from, to) in [("0.4.0", "1.0.0"), ("1.0.0", "0.3.1"), ("0.2.0", "1.1.0"), ("1.1.0", "0.2.0")] {
        let interfaces = from > "0.3" && to > "0.3";
        let call = Call::new("ADD", &chained(to, &common(from, true)));
        assert_eq!(lab.call(&call).result(), common(to, interfaces), "{from} to {to}");
    }
}

#[test]
fn c15_every_version_is_converted_into_every_other() {
    for from in VERSIONS {
        for to in VERSIONS {
            let interfaces = from > "0.3" && to > "0.3";
            let mut wanted = common(to, interfaces);
            if interfaces {
                assert_eq!(wanted["ips"][0]["interface"], 0, "an index of 0 is printed");
            }
            wanted["cniVersion"] = json!(to);
            assert_eq!(converted(to, &common(from, true)), wanted, "{from} to {to}");
        }
    }
}

#[test]
fn c15_newer_words_stay_in_newer_results() {
    assert_eq!(converted("1.1.0", &everything()), everything());
}

#[test]
fn c16_down_to_0_4_interfaces_lose_what_is_new_and_addresses_get_their_version() {
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        let wanted = json!({
            "cniVersion": version,
            "interfaces": [
                { "name": "br0", "mac": "02:00:00:00:00:01" },
                { "name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/n" },
            ],
            "ips": [
                { "version": "4", "address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 1 },
                { "version": "4", "address": "10.0.0.3/24", "interface": 0 },
                { "version": "6", "address": "fd00::2/64", "gateway": "fd00::1", "interface": 1 },
                { "version": "6", "address": "fd00::3/64" },
            ],
            "routes": everything()["routes"],
            "dns": {},
        });
        assert_eq!(converted(version, &everything()), wanted);
    }
}

#[test]
fn c16_up_from_0_4_addresses_lose_their_version() {
    let old = json!({
        "cniVersion": "0.4.0", "dns": {},
        "interfaces": [{ "name": "eth0", "sandbox": "/n" }],
        "ips": [{ "version": "4", "address": "10.0.0.2/24", "interface": 0 }, { "version": "6", "address": "fd00::2/64" }],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    let wanted = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "eth0", "sandbox": "/n" }],
        "ips": [{ "address": "10.0.0.2/24", "interface": 0 }, { "address": "fd00::2/64" }],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    assert_eq!(converted("1.1.0", &old), wanted);
}

#[test]
fn c17_down_to_0_2_the_first_address_of_each_family_is_left() {
    for version in ["0.1.0", "0.2.0"] {
        let wanted = json!({
            "cniVersion": version, "dns": {},
            "ip4": {
                "ip": "10.0.0.2/24", "gateway": "10.0.0.1",
                "routes": [{ "dst": "0.0.0.0/0", "gw": "10.0.0.1" }, { "dst": "10.1.0.0/16" }],
            },
            "ip6": { "ip": "fd00::2/64", "gateway": "fd00::1", "routes": [{ "dst": "fd01::/64", "gw": "fd00::1" }] },
        });
        assert_eq!(converted(version, &everything()), wanted);
    }
}

#[test]
fn c17_without_an_address_there_is_nothing_to_convert_to() {
    for said in [
        json!({ "cniVersion": "1.0.0", "interfaces": [{ "name": "eth0" }] }),
        json!({ "cniVersion": "0.4.0", "ips": [], "dns": {} }),
    ] {
        let (_, msg) = error(&answer("0.2.0", &said));
        assert!(msg.contains("cannot convert: no valid IP addresses"), "{msg}");
    }
}

#[test]
fn c18_dns_that_is_empty_is_printed_up_to_0_4_and_left_out_from_1_0() {
    let said = |version: &str| match version {
        "0.2.0" => json!({ "cniVersion": version, "ip4": { "ip": "10.0.0.2/24" } }),
        "0.4.0" => json!({ "cniVersion": version, "ips": [{ "version": "4", "address": "10.0.0.2/24" }] }),
        _ => json!({ "cniVersion": version, "ips": [{ "address": "10.0.0.2/24" }] }),
    };
    let empty = |version: &str, from: Value| {
        let mut from = from;
        from["dns"] = json!({});
        converted(version, &from)
    };
    for from in ["0.2.0", "0.4.0", "1.0.0", "1.1.0"] {
        for to in ["0.2.0", "0.4.0", "1.0.0", "1.1.0"].into_iter().filter(|to| *to != from) {
            let dns = (to < "1").then(|| json!({}));
            assert_eq!(converted(to, &said(from)).get("dns").cloned(), dns, "{from} to {to}");
            assert_eq!(empty(to, said(from)).get("dns").cloned(), dns, "{from} to {to}, empty");
        }
    }
}

#[test]
fn c19_keys_that_nobody_knows_survive_with_all_their_digits() {
    let lab = Lab::new("module");
    let result = r#"{"cniVersion":"1.0.0","z":12345678901234567890123,"a":[1.50,1e3],"ips":[]}"#;
    let entry = format!(
        r#"{{"cniVersion":"1.0.0","name":"n","type":"wasmhook","hooks":[{{"module":"identity"}}],"prevResult":{result}}}"#
    );
    let answer = lab.call(&Call { stdin: entry, ..Call::new("ADD", &Value::Null) });
    assert_eq!((answer.code, answer.stdout.trim_end()), (Some(0), result), "{answer:?}");

    // On their way to a delegate too.
    let fakes = Fakes::new();
    fakes.plugin("fake", &format!("echo '{result}'"));
    let entry = r#"{"cniVersion":"1.0.0","name":"n","type":"wasmhook","hooks":[{"module":"identity"}],
        "args":{"z":12345678901234567890123},"delegate":{"type":"fake","y":{"x":0.10}}}"#;
    let answer = lab.call(&Call { stdin: entry.into(), ..calling(&fakes, "ADD", &Value::Null) });
    assert_eq!((answer.code, answer.stdout.trim_end()), (Some(0), result), "{answer:?}");
    let told = fakes.told_text("fake", "ADD");
    assert!(told.contains(r#"{"z":12345678901234567890123}"#) && told.contains(r#"{"x":0.10}"#), "{told}");
}

#[test]
fn c19_keys_that_nobody_knows_survive_a_conversion() {
    let said = json!({
        "cniVersion": "0.4.0", "dns": {}, "vendor": { "deep": [1] },
        "interfaces": [{ "name": "eth0", "colour": "red" }],
        "ips": [{ "version": "4", "address": "10.0.0.2/24", "lease": 7 }],
        "routes": [{ "dst": "0.0.0.0/0", "via": "satellite" }],
    });
    let wanted = json!({
        "cniVersion": "1.0.0", "vendor": { "deep": [1] },
        "interfaces": [{ "name": "eth0", "colour": "red" }],
        "ips": [{ "address": "10.0.0.2/24", "lease": 7 }],
        "routes": [{ "dst": "0.0.0.0/0", "via": "satellite" }],
    });
    assert_eq!(converted("1.0.0", &said), wanted);
}

/// Real plugins speak each version themselves, and agree with us about its form.
#[test]
fn c15_what_real_plugins_print_has_the_form_of_its_version() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    for (number, version) in (0..).zip(&VERSIONS) {
        let (id, prefix) = (format!("v{number}"), format!("10.4.{number}"));
        let delegate = if number == 6 { bridge() } else { ptp(&prefix) };
        let result =
            lab.call(&call("ADD", &id, &node.container(&id), &wrapping(version, &delegate))).result();
        assert_eq!(result["cniVersion"], *version);
        let (old, middle) = (*version < "0.3", *version < "1");
        assert_eq!(result.get("ip4").is_some(), old, "{result}");
        assert_eq!(result.get("ips").is_some(), !old, "{result}");
        assert_eq!(result["ips"][0].get("version").is_some(), !old && middle, "{result}");
    }
}
