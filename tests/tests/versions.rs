//! One network in every version that there is, around plugins that know all of them, some, or only the newest.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use wasmhook_tests::{Answer, Call, Chain, Fakes, Lab, Node, Pod, overwriting, typed};

/// All that Debian's plugins know, with the keys that a result has in them.
const KNOWN: [(&str, &[&str]); 6] = [
    ("0.1.0", &["cniVersion", "dns", "ip4"]),
    ("0.2.0", &["cniVersion", "dns", "ip4"]),
    ("0.3.0", &["cniVersion", "dns", "interfaces", "ips", "routes"]),
    ("0.3.1", &["cniVersion", "dns", "interfaces", "ips", "routes"]),
    ("0.4.0", &["cniVersion", "dns", "interfaces", "ips", "routes"]),
    ("1.0.0", &["cniVersion", "dns", "interfaces", "ips", "routes"]),
];

fn bridge() -> Value {
    json!({
        "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": { "type": "host-local", "subnet": "10.9.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }] },
    })
}

fn around(delegate: &Value) -> Value {
    json!({ "type": "wasmhook", "hooks": [{ "module": "identity" }], "delegate": delegate })
}

fn wrapping(version: &str, delegate: &Value) -> Value {
    let mut config = around(delegate);
    config["cniVersion"] = json!(version);
    config["name"] = json!("net");
    config
}

fn chain<'a>(lab: &'a Lab, fakes: &Fakes, version: &str, plugin: Value) -> Chain<'a> {
    Chain {
        lab,
        path: fakes.path(),
        version: version.into(),
        network: format!("n{version}"),
        plugins: vec![plugin],
        capabilities: json!({}),
    }
}

/// Without what is made up anew each time.
fn shape(result: &Value) -> Value {
    let mut result = result.clone();
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        interface["mac"] = json!("a mac");
        if interface["name"].as_str().unwrap().starts_with("veth") {
            interface["name"] = json!("veth");
        }
    }
    result
}

fn left(node: &Node, lab: &Lab, network: &str) -> (Vec<String>, Vec<String>, usize) {
    let mut links = node.links();
    links.retain(|link| link != "br0");
    (links, node.leases(network), lab.journals())
}

#[test]
fn every_version_gives_what_the_plugin_itself_would_have_given() {
    let (node, lab, fakes) = (Node::enter(), Lab::new("module"), Fakes::new());
    fakes.link_real_ones();
    for (version, keys) in KNOWN {
        let (bare, wrapped) =
            (chain(&lab, &fakes, version, bridge()), chain(&lab, &fakes, version, around(&bridge())));
        let pod = Pod { id: version.into(), netns: node.container(version) };
        let expected = bare.add(&pod).unwrap();
        bare.del(&pod, Some(&expected)).unwrap();
        // host-local goes on where it stopped.
        fs::remove_dir_all(format!("/var/lib/cni/networks/{}", bare.network)).unwrap();

        let answer = wrapped.call(0, "ADD", &pod, None);
        let result = answer.result();
        assert_eq!(shape(&result), shape(&expected), "{version}");
        assert_eq!(typed(&result), result, "{version}: keys of another family");
        assert_eq!(result["cniVersion"], version);
        let found: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, keys, "{version}");
        assert_eq!(
            result["ips"][0].get("version").is_some(),
            version.starts_with("0.3") || version == "0.4.0"
        );

        let check = wrapped.call(0, "CHECK", &pod, Some(&result));
        if version >= "0.4.0" {
            check.silent();
            let mut lie = result.clone();
            lie["ips"][0]["address"] = json!("10.9.0.99/24");
            let refused = wrapped.call(0, "CHECK", &pod, Some(&lie)).error();
            assert!(refused.msg.contains("10.9.0.99"), "{version}: {refused:?}");
        } else {
            assert_eq!(check.error().code, 1, "{version}");
        }
        wrapped.del(&pod, Some(&result)).unwrap();
        wrapped.del(&Pod { netns: String::new(), ..pod }, None).unwrap();
        assert_eq!(left(&node, &lab, &wrapped.network), (vec![], vec![], 0), "{version}");
    }
}

/// Debian's plugins stop at 1.0.0: they are asked once what they know, and called in that.
#[test]
fn in_a_1_1_network_older_plugins_are_called_in_1_0_and_asked_for_their_versions_once() {
    let (node, lab, fakes) = (Node::enter(), Lab::new("module"), Fakes::new());
    fakes.link_real_ones();
    fakes.listen_to("bridge");
    let chain = chain(&lab, &fakes, "1.1.0", around(&bridge()));
    let told = |verb: &str| fakes.told("bridge", verb);
    for (id, calls) in [("a", vec!["bridge ADD", "bridge ADD"]), ("b", vec!["bridge ADD"])] {
        let before = fakes.calls().len();
        let pod = Pod { id: id.into(), netns: node.container(id) };
        let result = chain.call(0, "ADD", &pod, None).result();
        // The first one was refused.
        assert_eq!(fakes.calls()[before..], calls, "{id}");
        assert_eq!(told("ADD")["cniVersion"], "1.0.0");
        assert_eq!(fakes.said("bridge", "ADD")["cniVersion"], "1.0.0");
        assert_eq!(result["cniVersion"], "1.1.0");
        assert_eq!(result["interfaces"][2]["name"], "eth0");
        assert!(result.get("dns").is_none(), "{result}");

        // What only 1.1 has stays with us, and the plugin can read the rest.
        let mut now = result.clone();
        now["interfaces"][2]["mtu"] = json!(1500);
        for verb in ["CHECK", "DEL"] {
            chain.call(0, verb, &pod, Some(&now)).silent();
            let told = told(verb);
            assert_eq!(
                (&told["cniVersion"], &told["prevResult"]["cniVersion"]),
                (&json!("1.0.0"), &json!("1.0.0"))
            );
            assert_eq!(told["prevResult"]["ips"], result["ips"], "{verb}");
        }
        assert_eq!(left(&node, &lab, &chain.network), (vec![], vec![], 0));
    }
    assert_eq!(fakes.asked_for_version("bridge"), 1);

    // Another file is another plugin.
    fakes.listen_to("bridge");
    let pod = Pod { id: "c".into(), netns: node.container("c") };
    let result = chain.call(0, "ADD", &pod, None).result();
    assert_eq!(fakes.asked_for_version("bridge"), 2);
    chain.del(&pod, Some(&result)).unwrap();
}

/// A hook's words are in the network's version, and taken back before the plugin hears of them in its own.
#[test]
fn words_are_taken_back_in_every_version() {
    let (node, lab, fakes) = (Node::enter(), Lab::new("module"), Fakes::new());
    fakes.link_real_ones();
    fakes.listen_to("bridge");
    for version in ALL {
        let old = version < "0.3.0";
        let behind = if old { r#""ip":""# } else { r#""address":""# };
        lab.install("address", &overwriting("post", behind, "10.9.0.7/24"));
        let mut entry = around(&bridge());
        let mtu = json!({ "module": "mtu", "grants": ["carry"], "config": { "mtu": 1400 } });
        entry["hooks"] = json!([{ "module": "address" }, mtu]);
        let chain = chain(&lab, &fakes, version, entry);
        let pod = Pod { id: version.into(), netns: node.container(version) };
        let result = chain.add(&pod).unwrap();
        let at = if old { "/ip4/ip" } else { "/ips/0/address" };
        assert_eq!(result.pointer(at).unwrap(), "10.9.0.7/24", "{version}");
        // Since 1.1.0 a result can tell it; the plugin speaks 1.0.0.
        let mtu = (version == "1.1.0").then_some(json!(1400));
        assert_eq!(result["interfaces"][2].get("mtu"), mtu.as_ref(), "{version}");
        if version >= "0.4.0" {
            chain.check(&pod, &result).unwrap();
            let told = &fakes.told("bridge", "CHECK")["prevResult"];
            assert_eq!(
                (&told["ips"][0]["address"], told["interfaces"][2].get("mtu")),
                (&json!("10.9.0.2/24"), None)
            );
        }
        chain.del(&pod, Some(&result)).unwrap();
        let told = &fakes.told("bridge", "DEL")["prevResult"];
        assert_eq!(told.pointer(at).unwrap(), "10.9.0.2/24", "{version}: {told}");
        assert_eq!(told["cniVersion"], version.replace("1.1.0", "1.0.0"));
        assert_eq!(left(&node, &lab, &chain.network), (vec![], vec![], 0), "{version}");
    }
}

fn asked(lab: &Lab, fakes: &Fakes, verb: &str, config: &Value) -> Answer {
    let nobody = String::new;
    lab.call(&Call {
        container_id: nobody(),
        netns: nobody(),
        ifname: nobody(),
        path: fakes.path(),
        ..Call::new(verb, config)
    })
}

#[test]
fn status_and_gc_go_to_plugins_that_know_them() {
    let (_node, lab, fakes) = (Node::enter(), Lab::new("module"), Fakes::new());
    fakes.link_real_ones();
    fakes.listen_to("bridge");
    let not_ready = r#"[ $CNI_COMMAND != STATUS ] || [ ! -e $here/down ] || { echo '{"cniVersion":"1.1.0","code":51,"msg":"no addresses left"}'; exit 1; }"#;
    fakes.plugin("modern", not_ready);
    let mut config = wrapping("1.1.0", &json!({}));
    config.as_object_mut().unwrap().remove("delegate");
    config["delegates"] = json!([bridge(), { "type": "modern", "mine": 1.5 }]);
    config["cni.dev/valid-attachments"] = json!([{ "containerID": "c9", "ifname": "eth0" }]);

    for verb in ["STATUS", "GC"] {
        asked(&lab, &fakes, verb, &config).silent();
        let told = fakes.told("modern", verb);
        assert_eq!((&told["cniVersion"], &told["mine"]), (&json!("1.1.0"), &json!(1.5)), "{verb}");
        assert_eq!(told["cni.dev/valid-attachments"], config["cni.dev/valid-attachments"], "{verb}");
    }
    assert_eq!(fakes.calls(), ["modern STATUS", "modern GC"]);
    assert_eq!((fakes.asked_for_version("bridge"), fakes.asked_for_version("modern")), (1, 1));

    fs::write(fakes.file("down"), "").unwrap();
    let error = asked(&lab, &fakes, "STATUS", &config).error();
    assert_eq!((error.code, error.msg.as_str()), (51, "no addresses left"));
    // In a version that has no STATUS nobody is asked.
    config["cniVersion"] = json!("1.0.0");
    assert_eq!(asked(&lab, &fakes, "STATUS", &config).error().code, 1);
    assert_eq!(fakes.calls().len(), 3);
}

/// One container's network, as each family says it.
fn in_words_of(version: &str) -> Value {
    let mut result = json!({
        "cniVersion": version, "dns": { "domain": "d" }, "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }],
        "ips": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }],
    });
    match version {
        "0.1.0" | "0.2.0" => {
            json!({
                "cniVersion": version, "dns": { "domain": "d" },
                "ip4": { "ip": "10.1.0.2/24", "gateway": "10.1.0.1", "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }] },
            })
        }
        "0.3.0" | "0.3.1" | "0.4.0" => {
            result["ips"][0]["version"] = json!("4");
            result
        }
        _ => result,
    }
}

const ALL: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn a_plugin_that_answers_in_another_version_is_converted_for_the_runtime_and_for_the_next() {
    let (lab, fakes) = (Lab::new("none"), Fakes::new());
    fakes.plugin("next", r#"[ $CNI_COMMAND != ADD ] || echo "$told" | sed 's/.*"prevResult"://; s/}$//'"#);
    for (number, said) in ALL.into_iter().enumerate() {
        fakes.plugin("says", &format!("[ $CNI_COMMAND != ADD ] || echo '{}'", in_words_of(said)));
        for wanted in ALL {
            let mut config = wrapping(wanted, &json!({ "type": "says" }));
            let call = |verb: &str, config: &Value| {
                let id = format!("c{number}-{wanted}");
                lab.call(&Call { container_id: id, path: fakes.path(), ..Call::new(verb, config) })
            };
            let result = call("ADD", &config).result();
            assert_eq!(result, in_words_of(wanted), "{said} to {wanted}");
            call("DEL", &config).silent();
            config.as_object_mut().unwrap().remove("delegate");
            config["delegates"] = json!([{ "type": "says" }, { "type": "next" }]);
            assert_eq!(call("ADD", &config).result(), in_words_of(wanted), "{said} to {wanted}");
            assert_eq!(fakes.told("next", "ADD")["prevResult"], in_words_of(wanted), "{said} to {wanted}");
            call("DEL", &config).silent();
        }
    }
}

#[test]
fn a_prev_result_without_version_has_the_configurations() {
    let (lab, fakes) = (Lab::new("none"), Fakes::new());
    fakes.old_plugin("old", r#"[ $CNI_COMMAND != ADD ] || echo "$told" | sed 's/.*"prevResult"://; s/}$//'"#);
    for version in ALL {
        let mut prev_result = in_words_of(version);
        prev_result.as_object_mut().unwrap().remove("cniVersion");
        // Alone: it comes back.
        let mut config = wrapping(version, &json!({}));
        config.as_object_mut().unwrap().remove("delegate");
        config["prevResult"] = prev_result.clone();
        let call =
            |verb: &str, config: &Value| lab.call(&Call { path: fakes.path(), ..Call::new(verb, config) });
        assert_eq!(call("ADD", &config).result(), in_words_of(version), "{version}");

        // Around a plugin that knows 0.4.0 at most: it can read it.
        config["delegate"] = json!({ "type": "old" });
        assert_eq!(call("ADD", &config).result(), in_words_of(version), "{version}");
        let verbs: &[&str] = if version >= "0.4.0" { &["ADD", "CHECK", "DEL"] } else { &["ADD", "DEL"] };
        for verb in verbs {
            if *verb != "ADD" {
                call(verb, &config).silent();
            }
            let told = fakes.told("old", verb);
            let spoken = if version > "0.4.0" { "0.4.0" } else { version };
            assert_eq!(told["cniVersion"], spoken, "{verb} in {version}");
            let mut expected = in_words_of(spoken);
            if told["prevResult"].get("cniVersion").is_none() {
                // As it was: the configuration's version is what it means.
                assert_eq!(spoken, version, "{verb} in {version}");
                expected.as_object_mut().unwrap().remove("cniVersion");
            }
            assert_eq!(told["prevResult"], expected, "{verb} in {version}");
        }
    }
}

/// Keys that nobody knows, numbers that no float holds: they come out as they went in, on every way there is.
#[test]
fn what_a_plugin_says_beyond_the_specification_survives_byte_for_byte() {
    const ODD: &str =
        r#""big":12345678901234567890123,"price":1.50,"e":1E+2,"text":"\u00e9\/","list":[ 1.0 ,-0]"#;
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin(
        "odd",
        &format!(
            r#"[ $CNI_COMMAND != ADD ] || cat <<'END'
{{"cniVersion":"1.0.0","ips":[{{"address":"10.1.0.2/24",{ODD}}}],"vendor":{{{ODD}}},{ODD}}}
END"#
        ),
    );
    fakes.plugin(
        "next",
        r#"[ $CNI_COMMAND != ADD ] || printf '%s\n' "$told" | sed 's/.*"prevResult"://; s/}$//'"#,
    );
    for version in ["0.3.1", "1.0.0", "1.1.0"] {
        let mut config = wrapping(version, &json!({}));
        config.as_object_mut().unwrap().remove("delegate");
        config["delegates"] = json!([{ "type": "odd" }, { "type": "next" }]);
        let call = |verb: &str| lab.call(&Call { path: fakes.path(), ..Call::new(verb, &config) });
        let answer = call("ADD");
        let times = |text: &str| text.matches(ODD).count();
        assert_eq!((answer.code, times(&answer.stdout)), (Some(0), 3), "{version}: {answer:?}");
        assert_eq!(times(&fakes.told_text("next", "ADD")), 3, "{version}");
        // A DEL without a result brings back what the plugin had said.
        call("DEL").silent();
        for plugin in ["odd", "next"] {
            assert_eq!(times(&fakes.told_text(plugin, "DEL")), 3, "{plugin} in {version}");
        }
        // And alone, what came before goes on.
        let mut alone = config.clone();
        alone.as_object_mut().unwrap().remove("delegates");
        let stdin = alone.to_string().replacen('{', &format!("{{\"prevResult\":{{\"ips\":[],{ODD}}},"), 1);
        let answer = lab.call(&Call { stdin, ..Call::new("ADD", &alone) });
        assert_eq!((answer.code, times(&answer.stdout)), (Some(0), 1), "{version}: {answer:?}");
    }
}
