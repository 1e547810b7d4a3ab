use serde_json::{Value, json};
use std::io::Write;
use std::process::Child;
use wasmhook_tests::{Answer, Call, Lab, Node};

/// A node with all example hooks, in namespaces of its own.
pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) lab: Lab,
}

/// Behind some plugin, and around none: what came before is the result.
pub(crate) fn chained(hooks: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": hooks,
        "prevResult": { "cniVersion": "1.0.0", "interfaces": [{ "name": "eth0", "sandbox": "/n" }],
            "ips": [{ "interface": 0, "address": "10.9.0.2/24" }] },
    })
}

/// Around Debian's bridge and host-local.
pub(crate) fn around_bridge(hooks: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": hooks,
        "delegate": { "type": "bridge", "bridge": "br0", "isGateway": true,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]] } },
    })
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { node: Node::enter(), lab: Lab::new("module") };
        for hook in ["chaos", "jq", "quota", "static-ip", "wait"] {
            site.lab.install_example(hook);
        }
        site
    }

    /// A pod's call: its uid is its name, and its container is called like its namespace.
    pub(crate) fn pod(&self, verb: &str, pod: &str, container: &str, config: &Value) -> Answer {
        self.lab.call(&pod_call(verb, pod, container, config))
    }

    /// The same with the pod's annotations.
    pub(crate) fn annotated(&self, verb: &str, pod: &str, annotations: &Value, config: &Value) -> Answer {
        let mut config = config.clone();
        config["capabilities"] = json!({ "io.kubernetes.cri.pod-annotations": true });
        config["runtimeConfig"] = json!({ "io.kubernetes.cri.pod-annotations": annotations });
        self.pod(verb, pod, pod, &config)
    }

    /// Links beside the bridge, leases and journals.
    pub(crate) fn left(&self) -> (Vec<String>, Vec<String>, usize) {
        let links = self.node.links().into_iter().filter(|it| it != "br0").collect();
        (links, self.node.leases("net"), self.lab.journals())
    }
}

pub(crate) fn pod_call(verb: &str, pod: &str, container: &str, config: &Value) -> Call {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod};K8S_POD_UID=uid-of-{pod}");
    let netns = format!("/run/netns/{container}");
    Call { container_id: container.into(), netns, args, ..Call::new(verb, config) }
}

/// All at once; what each of them exits with.
pub(crate) fn at_once(lab: &Lab, calls: &[Call]) -> Vec<Answer> {
    let start = |call: &Call| {
        let mut child: Child = lab.command(call).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(call.stdin.as_bytes());
        child
    };
    let running: Vec<_> = calls.iter().map(start).collect();
    running.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect()
}

/// The code of the error, 0 for none.
pub(crate) fn code(answer: &Answer) -> u64 {
    if answer.code == Some(0) { 0 } else { answer.error().code }
}
