use crate::Failure;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wasmhook_cni::{Object, Verb};
use wasmhook_wasm::Request;

/// A request as a person writes it.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) verb: Option<String>,
    pub(crate) config: Option<Object>,
    pub(crate) hook_config: Option<Value>,
    pub(crate) prev_result: Option<Object>,
    pub(crate) result: Option<Object>,
    pub(crate) args: Option<BTreeMap<String, String>>,
    /// The pod's.
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    /// What else the runtime has put in.
    pub(crate) runtime_config: Option<Object>,
    pub(crate) container_id: Option<String>,
    pub(crate) ifname: Option<String>,
    pub(crate) netns: Option<String>,
}

impl Asked {
    pub(crate) fn verb(&self) -> Result<Verb, Failure> {
        let verb = self.verb.as_deref().unwrap_or("ADD");
        verb.parse().map_err(|()| Failure::Value("--verb", format!("{verb:?}: write ADD, DEL or CHECK")))
    }

    pub(crate) fn container_id(&self) -> String {
        self.container_id.clone().unwrap_or_else(|| "try".into())
    }

    pub(crate) fn ifname(&self) -> String {
        self.ifname.clone().unwrap_or_else(|| "eth0".into())
    }

    pub(crate) fn netns(&self) -> String {
        self.netns.clone().unwrap_or_else(|| "/run/netns/try".into())
    }

    /// `runtimeConfig` as a runtime would send it, if there is anything for it.
    pub(crate) fn runtime_config(&self) -> Option<Object> {
        let mut runtime_config = self.runtime_config.clone();
        if let Some(annotations) = &self.annotations {
            let all = runtime_config.get_or_insert_with(Object::new);
            // Strings always become JSON.
            let _ = all.set("io.kubernetes.cri.pod-annotations", annotations);
        }
        runtime_config
    }

    /// As the plugin puts it.
    fn extra(&self) -> String {
        self.runtime_config().map_or_else(|| json!({}), |it| json!({ "runtimeConfig": it })).to_string()
    }

    /// What a hook is asked.
    pub(crate) fn request(&self, verb: Verb) -> Request {
        let mut config = self.config.clone().unwrap_or_else(|| {
            let mut config = Object::new();
            config.set_str("cniVersion", "1.0.0");
            config.set_str("name", "try");
            config
        });
        if let Some(runtime_config) = &self.runtime_config {
            let _ = config.set("runtimeConfig", runtime_config);
        }
        let inside = config.remove("prevResult").map(|it| it.get().to_owned());
        let read = |key| config.read::<String>(key).ok().flatten().unwrap_or_default();
        Request {
            verb: verb.to_string(),
            cni_version: read("cniVersion"),
            network: read("name"),
            // Our own entry is what a hook sees that stands alone.
            plugin: Some(read("type")).filter(|it| it != "wasmhook").unwrap_or_default(),
            container_id: self.container_id(),
            netns: self.netns(),
            ifname: self.ifname(),
            args: self.args.clone().unwrap_or_default().into_iter().collect(),
            config: config.to_string(),
            prev_result: self.prev_result.as_ref().map(Object::to_string).or(inside).unwrap_or_default(),
            hook_config: self.hook_config.as_ref().map_or_else(|| "{}".into(), Value::to_string),
            dry_run: true,
            carry: String::new(),
            extra: self.extra(),
        }
    }
}
