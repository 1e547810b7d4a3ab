//! Other CNI plugins. Needs the grant `plugin:` and the plugin's type, such as `plugin:portmap`.
//!
//! What is added gets its DEL by the host when the ADD fails, at DEL and at GC.

use crate::HostError;
use crate::cni::Object;

/// Runs a plugin with the verb of this call. `config` is a plugin's configuration, with `prevResult` where it needs one. Its result as
/// JSON, where the verb has one.
pub fn invoke(plugin: &str, config: &Object) -> Result<Option<String>, HostError> {
    run(plugin, "", config)
}

/// At ADD: takes back what a plugin has added.
pub fn take_back(plugin: &str, config: &Object) -> Result<(), HostError> {
    run(plugin, "DEL", config).map(drop)
}

fn run(plugin: &str, verb: &str, config: &Object) -> Result<Option<String>, HostError> {
    #[cfg(target_arch = "wasm32")]
    let ran = {
        let result = crate::bindings::wasmhook::host::plugin::invoke(plugin, verb, &config.to_string())?;
        Ok(Some(result).filter(|it| !it.is_empty()))
    };
    #[cfg(not(target_arch = "wasm32"))]
    let ran = crate::testing::run(plugin, verb, config);
    ran
}
