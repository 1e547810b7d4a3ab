use crate::environment::is_identifier;
use crate::version::version_number;
use crate::{Error, FieldError, Object, SpecVersion, code};
use std::ops::{Deref, DerefMut};

/// The configuration of one plugin, as it arrives on stdin. Unknown keys are kept.
#[derive(Clone, Debug, Default)]
pub struct PluginConfig(Object);

impl PluginConfig {
    /// Reads a configuration: decoding first (code 6), then the network's name (code 7).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let decoding = |error: &dyn std::fmt::Display| {
            Error::new(code::DECODING, format!("error unmarshall network config: {error}"))
        };
        let config = Self(text.parse().map_err(|error: serde_json::Error| decoding(&error))?);
        for key in ["cniVersion", "type"] {
            config.read::<String>(key).map_err(|error| decoding(&error))?;
        }
        config.judge_name().map_err(|error| Error {
            // Whoever reads the error reads it in the version of the configuration.
            cni_version: Some(config.text("cniVersion")).filter(|it| !it.is_empty()),
            ..error
        })?;
        Ok(config)
    }

    fn judge_name(&self) -> Result<(), Error> {
        let name: Option<String> = self.read("name").map_err(|error| {
            Error::new(code::DECODING, format!("error unmarshall network config: {error}"))
        })?;
        match name.unwrap_or_default().as_str() {
            "" => Err(Error::new(code::INVALID_CONFIG, "missing network name")),
            name if is_identifier(name) => Ok(()),
            name => Err(Error::new(code::INVALID_CONFIG, "invalid characters found in network name")
                .with_details(name)),
        }
    }

    /// The network's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("name")
    }

    /// `type`: the plugin's file name.
    #[must_use]
    pub fn plugin_type(&self) -> String {
        self.text("type")
    }

    /// `cniVersion`; absent or empty is 0.1.0, anything not on the list is code 1.
    pub fn version(&self) -> Result<SpecVersion, Error> {
        let text = self.text("cniVersion");
        text.parse().map_err(|()| {
            let details = format!("config is {text:?}, plugin supports {}", SpecVersion::list());
            Error::new(code::INCOMPATIBLE_VERSION, "incompatible CNI versions").with_details(details)
        })
    }

    /// The three numbers of `cniVersion`, also of a version that is none of ours; `None` when it is no version.
    #[must_use]
    pub fn version_number(&self) -> Option<[u32; 3]> {
        version_number(&self.text("cniVersion"))
    }

    /// The names of the capabilities that are declared and not `false`.
    pub fn capabilities(&self) -> Result<Vec<String>, FieldError> {
        let declared: Object = self.read("capabilities")?.unwrap_or_default();
        Ok(declared.iter().filter(|(_, on)| on.get() == "true").map(|(name, _)| name.to_owned()).collect())
    }

    /// The object behind it.
    #[must_use]
    pub fn into_object(self) -> Object {
        self.0
    }

    fn text(&self, key: &str) -> String {
        self.read(key).ok().flatten().unwrap_or_default()
    }
}

impl From<Object> for PluginConfig {
    fn from(object: Object) -> Self {
        Self(object)
    }
}

impl Deref for PluginConfig {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

impl DerefMut for PluginConfig {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (u32, String) {
        let error = PluginConfig::parse(text).unwrap_err();
        (error.code, error.msg)
    }

    #[test]
    fn decoding_comes_before_the_name() {
        for text in ["", "[]", r#"{"name":7}"#, r#"{"name":"n","cniVersion":1}"#] {
            let (code, msg) = refused(text);
            assert_eq!(code, 6, "{text}");
            assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
        }
        assert_eq!(refused("{}"), (7, "missing network name".into()));
        assert_eq!(refused(r#"{"name":"a b"}"#), (7, "invalid characters found in network name".into()));
    }

    #[test]
    fn an_unknown_version_is_refused_with_the_list() {
        let config = PluginConfig::parse(r#"{"name":"n","cniVersion":"2.0.0"}"#).unwrap();
        let error = config.version().unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (1, "incompatible CNI versions"));
        assert!(error.details.unwrap().starts_with(r#"config is "2.0.0", plugin supports ["0.1.0" "#));
    }
}
