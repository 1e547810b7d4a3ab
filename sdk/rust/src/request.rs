use crate::Result;
use crate::cni::{Args, CniResult, Error, Object};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// One plugin call as the hook sees it.
///
/// JSON is parsed when it is asked for, so that a hook pays only for what it looks at.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `ADD`, `DEL` or `CHECK`; an open set.
    pub verb: String,
    /// The version that configuration and result are written in.
    pub cni_version: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`: a path; empty when the runtime gave none.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Args,
    /// The network's name.
    pub network: String,
    /// `type` of the delegate; empty when the hook stands alone.
    pub plugin: String,
    /// See [`Request::config`].
    pub config: String,
    /// See [`Request::prev_result`].
    pub prev_result: String,
    /// See [`Request::settings`].
    pub hook_config: String,
    /// Nothing that the hook says will be carried out.
    pub dry_run: bool,
    /// See [`Request::carry`].
    pub carry: String,
    /// A JSON object with what later versions add.
    pub extra: String,
}

impl Request {
    /// The configuration that the delegate gets; without a delegate, the wasmhook entry itself.
    /// Never with `prevResult` or `hooks` in it.
    pub fn config(&self) -> Result<Object> {
        Ok(self.config.parse()?)
    }

    /// The same in a type of one's own, for what of it one wants to know.
    pub fn config_as<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.config)
            .map_err(|error| crate::Failure::new(format!("configuration: {error}")))
    }

    /// The result of the plugins before; `None` when there is none.
    pub fn prev_result(&self) -> Result<Option<CniResult>> {
        optional(&self.prev_result)
    }

    /// This hook's own `config` in the conflist; `{}` when it has none.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        let text = if self.hook_config.is_empty() { "{}" } else { &self.hook_config };
        serde_json::from_str(text)
            .map_err(|error| crate::Failure::new(format!("`config` of this hook: {error}")))
    }

    /// What the runtime has put in: `runtimeConfig` of the entry, all of it; the delegate's configuration has only what that asks
    /// for.
    pub fn runtime_config(&self) -> Result<Object> {
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Extra {
            runtime_config: Option<Object>,
        }
        let extra: Option<Extra> = optional(&self.extra)?;
        Ok(extra.unwrap_or_default().runtime_config.unwrap_or_default())
    }

    /// The pod's annotations, if the runtime passes them: containerd does where the entry asks for the capability
    /// `io.kubernetes.cri.pod-annotations`.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.runtime_config()?.read("io.kubernetes.cri.pod-annotations")?.unwrap_or_default())
    }

    /// What this hook's `pre` left with [`carry::set`](crate::carry::set).
    pub fn carry<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        optional(&self.carry)
    }
}

/// What the plugin answered.
#[derive(Clone, Debug)]
pub struct Outcome(pub(crate) std::result::Result<String, Error>);

impl Outcome {
    /// A success with this result.
    pub fn success(result: &CniResult) -> Result<Self> {
        Ok(Self(Ok(serde_json::to_string(result)?)))
    }

    /// A failure with this error.
    #[must_use]
    pub fn failure(error: Error) -> Self {
        Self(Err(error))
    }

    /// The plugin's error, if it failed.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.0.as_ref().err()
    }

    /// The plugin's result; `None` if it failed, and for verbs that have none (DEL, CHECK).
    pub fn result(&self) -> Result<Option<CniResult>> {
        self.0.as_ref().map_or(Ok(None), |text| optional(text))
    }
}

fn optional<T: DeserializeOwned>(text: &str) -> Result<Option<T>> {
    if text.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(text)?)) }
}
