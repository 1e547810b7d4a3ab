//! C24: may a node take pods?

use crate::{bridge, calling, error, fails, wrapping};
use serde_json::{Value, json};
use wasmhook_tests::{Call, Fakes, Lab};

/// As libcni asks: nothing but a path.
fn status(path: &str, config: &Value) -> Call {
    let empty = String::new;
    let call = Call::new("STATUS", config);
    Call { container_id: empty(), netns: empty(), ifname: empty(), path: path.into(), ..call }
}

#[test]
fn c24_ready_is_exit_0_without_a_word() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("a", "");
    fakes.plugin("b", "");
    let config = wrapping("1.1.0", &json!([{ "type": "a" }, { "type": "b" }]));
    lab.call(&status(&fakes.path(), &config)).silent();
    let mut asked = fakes.calls();
    asked.sort();
    assert_eq!(asked, ["a STATUS", "b STATUS"]);
}

#[test]
fn c24_a_delegate_that_is_not_ready_is_heard() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    for (code, msg) in [(50, "no addresses left"), (51, "the uplink is down")] {
        fakes.plugin("a", &fails(code, msg));
        let answer = lab.call(&calling(&fakes, "STATUS", &wrapping("1.1.0", &json!({ "type": "a" }))));
        assert_eq!(error(&answer), (code.into(), msg.into()));
    }
    fakes.plugin("b", "");
    let config = wrapping("1.1.0", &json!([{ "type": "b" }, { "type": "a" }]));
    assert_eq!(error(&lab.call(&status(&fakes.path(), &config))), (51, "the uplink is down".into()));
}

#[test]
fn c24_mistakes_in_our_entry_are_not_ready() {
    let mut config = wrapping("1.1.0", &bridge());
    config["hooks"] = json!([{ "modul": "deny" }]);
    let (code, msg) = error(&Lab::new("module").call(&status(wasmhook_tests::PLUGINS, &config)));
    assert_eq!((code, msg.contains("`hooks[0].modul`: unknown key")), (50, true), "{msg}");
}

#[test]
fn c33_a_delegate_that_does_not_know_status_is_ready_and_not_asked() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    lab.call(&status(wasmhook_tests::PLUGINS, &wrapping("1.1.0", &bridge()))).silent();
    fakes.old_plugin("old", &fails(50, "never asked"));
    fakes.plugin("new", "");
    let config = wrapping("1.1.0", &json!([{ "type": "old" }, { "type": "new" }]));
    lab.call(&status(&fakes.path(), &config)).silent();
    assert_eq!(fakes.calls(), ["new STATUS"]);
}
