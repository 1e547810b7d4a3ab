//! Whoever starts us may have left us little.

use serde_json::json;
use std::process::{Command, Stdio};
use wasmhook_tests::{Answer, Call, GO_ON, Lab, component};

/// An ADD with a hook that goes as deep as it may, in a process with this much stack of its own.
fn deepest(isolation: &str, ulimit: &str) -> Answer {
    let lab = Lab::new(isolation);
    lab.install("bad", &component("(func $f (call $f))", "(call $f) unreachable", GO_ON));
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook",
        "hooks": [{ "module": "bad", "limits": { "stack": "4MiB" } }],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    });
    let call = Call::new("ADD", &config);
    let plugin = lab.command(&call);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("ulimit {ulimit}; exec \"$0\"")]).arg(plugin.get_program()).env_clear();
    shell.envs(plugin.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Answer::of(&mut shell, &call.stdin)
}

#[test]
fn a_guest_that_may_go_deep_does_not_fall_through_a_small_stack() {
    for isolation in ["module", "call", "none"] {
        for soft in ["-S -s 1024", "-S -s 4096"] {
            let error = deepest(isolation, soft).error();
            assert_eq!(
                error.msg, "hook `bad`: stack limit of 4MiB reached (raise `limits.stack`)",
                "{isolation}"
            );
        }
        let error = deepest(isolation, "-s 2048").error();
        assert_eq!(error.code, 102, "{error:?}");
        assert!(
            error.msg.ends_with("does not fit into this process, which may have 2MiB (RLIMIT_STACK)"),
            "{error:?}"
        );
    }
}
