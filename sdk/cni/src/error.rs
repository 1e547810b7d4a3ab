use crate::record::record;

/// Error codes that the specification gives a meaning.
/// <https://github.com/containernetworking/cni/blob/main/SPEC.md#error>
pub mod code {
    /// Incompatible CNI version.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// Unsupported field in the configuration; the message names key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown or does not exist; nothing needs to be cleaned up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// Invalid necessary environment variables; the message names them.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// I/O failure, such as reading the configuration from stdin.
    pub const IO: u32 = 5;
    /// The content could not be decoded.
    pub const DECODING: u32 = 6;
    /// The network configuration is invalid.
    pub const INVALID_CONFIG: u32 = 7;
    /// The container's network namespace is not usable.
    pub const INVALID_NETNS: u32 = 8;
    /// A transient condition: the runtime should try again later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: ADD would fail now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: as 50, and running containers may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: u32 = 51;
    /// What the reference library uses for an error that has no code of its own.
    pub const UNTYPED: u32 = 999;
}

record! {
    /// What a plugin prints on stdout when it fails.
    pub struct Error {
        /// The version of the configuration it was called with.
        "cniVersion" cni_version: Option<String>,
        /// See [`code`]; 100 and up are the plugin's own.
        "code" code: u32,
        /// One line for a person.
        "msg" msg: String,
        /// More than one line needs.
        "details" details: Option<String>,
    }
}

impl Error {
    /// An error with code and message.
    #[must_use]
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), ..Self::default() }
    }

    /// The same with details; `""` is none.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        let details = details.into();
        Self { details: (!details.is_empty()).then_some(details), ..self }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.msg)?;
        match &self.details {
            Some(details) => write!(f, "; {details}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_passes_through_unchanged() {
        let text = r#"{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"d","retryAfter":1.50}"#;
        let error: Error = serde_json::from_str(text).unwrap();
        assert_eq!(error.to_string(), "busy; d");
        assert_eq!(serde_json::to_string(&error).unwrap(), text);
    }
}
