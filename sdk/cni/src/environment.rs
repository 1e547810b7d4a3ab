use crate::{Error, Verb, code};

/// The `CNI_*` variables of one call, checked. Empty counts as unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID`; `""` where the verb needs none.
    pub container_id: String,
    /// `CNI_NETNS`; `""` when unset.
    pub netns: String,
    /// `CNI_IFNAME`; `""` where the verb needs none.
    pub ifname: String,
    /// `CNI_ARGS`, unparsed; `""` when unset.
    pub args: String,
    /// `CNI_PATH`; `""` when unset.
    pub path: String,
}

/// What the variables ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No `CNI_COMMAND`: somebody types our name in a shell.
    Nothing,
    /// A verb that is none, as it was written. It is told of after the configuration has been judged, as others do.
    Unknown(String),
    /// A call.
    Call(Environment),
}

/// A variable, the verbs that need it, and what its value must be like where it is needed.
/// <https://github.com/containernetworking/cni/blob/main/SPEC.md#parameters>
struct Variable {
    name: &'static str,
    needed_by: &'static [Verb],
    check: fn(&str) -> Result<(), Error>,
}

const VARIABLES: [Variable; 4] = [
    Variable {
        name: "CNI_CONTAINERID",
        needed_by: &[Verb::Add, Verb::Del, Verb::Check],
        check: check_container_id,
    },
    Variable { name: "CNI_NETNS", needed_by: &[Verb::Add, Verb::Check], check: anything },
    Variable { name: "CNI_IFNAME", needed_by: &[Verb::Add, Verb::Del, Verb::Check], check: check_ifname },
    Variable {
        name: "CNI_PATH",
        needed_by: &[Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status],
        check: anything,
    },
];

impl Environment {
    /// Reads and checks the variables.
    ///
    /// An invalid value is reported at once and beats missing ones; of those, all are reported.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Asked, Error> {
        let value = |name: &str| lookup(name).unwrap_or_default();
        let command = value("CNI_COMMAND");
        if command.is_empty() {
            return Ok(Asked::Nothing);
        }
        let Ok(verb) = command.parse() else { return Ok(Asked::Unknown(command)) };
        let mut missing = Vec::new();
        for variable in VARIABLES.iter().filter(|variable| variable.needed_by.contains(&verb)) {
            match value(variable.name).as_str() {
                "" => missing.push(variable.name),
                text => (variable.check)(text)?,
            }
        }
        if !missing.is_empty() {
            let msg = format!("required env variables [{}] missing", missing.join(","));
            return Err(Error::new(code::INVALID_ENVIRONMENT, msg));
        }
        Ok(Asked::Call(Self {
            verb,
            container_id: value("CNI_CONTAINERID"),
            netns: value("CNI_NETNS"),
            ifname: value("CNI_IFNAME"),
            args: value("CNI_ARGS"),
            path: value("CNI_PATH"),
        }))
    }
}

#[allow(clippy::unnecessary_wraps, reason = "one shape for all checks in the table")]
fn anything(_: &str) -> Result<(), Error> {
    Ok(())
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, for container ids and network names.
pub(crate) fn is_identifier(text: &str) -> bool {
    let later = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.bytes()
        .enumerate()
        .all(|(at, byte)| if at == 0 { byte.is_ascii_alphanumeric() } else { later(byte) })
        && !text.is_empty()
}

fn check_container_id(id: &str) -> Result<(), Error> {
    if is_identifier(id) {
        return Ok(());
    }
    Err(Error::new(code::INVALID_ENVIRONMENT, "invalid characters in containerID").with_details(id))
}

fn check_ifname(name: &str) -> Result<(), Error> {
    // IFNAMSIZ is 16 with its closing zero.
    let (msg, details) = if name.len() > 15 {
        ("interface name is too long", "interface name should be less than 16 characters")
    } else if name == "." || name == ".." {
        ("interface name is . or ..", "")
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        ("interface name contains / or : or whitespace characters", "")
    } else {
        return Ok(());
    };
    Err(Error::new(code::INVALID_ENVIRONMENT, msg).with_details(details))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Asked, Error> {
        Environment::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_verb_needs_what_the_table_says() {
        let missing = |verb| read(&[("CNI_COMMAND", verb)]).map_err(|error| error.msg);
        let all =
            Err("required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing".into());
        assert_eq!(missing("ADD"), all);
        assert_eq!(missing("CHECK"), all);
        let del = Err("required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing".into());
        assert_eq!(missing("DEL"), del);
        for verb in ["GC", "STATUS"] {
            assert_eq!(missing(verb), Err("required env variables [CNI_PATH] missing".into()));
        }
        assert!(matches!(missing("VERSION"), Ok(Asked::Call(_))));
        assert_eq!(missing(""), Ok(Asked::Nothing));
        assert_eq!(missing("add"), Ok(Asked::Unknown("add".into())));
    }

    #[test]
    fn an_invalid_value_beats_a_missing_one() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "a/b")]).unwrap_err();
        assert_eq!(error.msg, "interface name contains / or : or whitespace characters");
        let error = read(&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "../x")]).unwrap_err();
        assert_eq!((error.code, error.details.as_deref()), (4, Some("../x")));
    }

    #[test]
    fn values_are_checked_only_where_they_are_needed() {
        let pairs = [("CNI_COMMAND", "STATUS"), ("CNI_PATH", "/x"), ("CNI_IFNAME", "a/b")];
        assert!(matches!(read(&pairs), Ok(Asked::Call(_))));
    }

    #[test]
    fn interface_names_are_judged_in_the_reference_order() {
        for (name, msg) in [
            ("a23456789012345/", "interface name is too long"),
            ("..", "interface name is . or .."),
            ("a\u{a0}b", "interface name contains / or : or whitespace characters"),
        ] {
            assert_eq!(check_ifname(name).unwrap_err().msg, msg);
        }
        assert!(check_ifname("a23456789012345").is_ok());
    }
}
