use crate::{INTERFACES, Interface, interface};
use std::fmt;

/// What a hook may use: an interface of the host, or one part of what it reaches.
///
/// ```text
/// clock                       all of it
/// state:attachment            one of its named scopes
/// sysctl:net/ipv4/conf/*      where scopes are names without end: `*` stands for any characters
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    interface: &'static str,
    scope: Option<String>,
}

/// What may stand behind the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// Nothing: the interface is granted whole or not at all.
    Whole,
    /// One of these.
    Named(&'static [&'static str]),
    /// Names without end, such as this.
    Pattern(&'static str),
}

/// Reaches beyond what the attachment itself has made. Never meant by a grant that does not say so.
pub const ANY: &str = "any";

impl Grant {
    /// Reads `interface` or `interface:scope`. The error says what could stand there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, scope) = text.split_once(':').map_or((text, None), |(name, scope)| (name, Some(scope)));
        let Some(interface) = interface(name) else {
            let known: Vec<_> = INTERFACES.iter().filter(|it| !it.free).map(|it| it.name).collect();
            return Err(format!("{text:?}: no such grant; there are: {}", known.join(", ")));
        };
        if let Some(scope) = scope {
            interface.scopes.judge(scope).map_err(|why| format!("{text:?}: {why}"))?;
        }
        Ok(Self { interface: interface.name, scope: scope.map(str::to_owned) })
    }

    /// The whole of an interface.
    #[must_use]
    pub fn whole(interface: &Interface) -> Self {
        Self { interface: interface.name, scope: None }
    }

    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &'static str {
        self.interface
    }

    /// Does it reach this scope of its interface?
    #[must_use]
    pub fn reaches(&self, scope: &str) -> bool {
        match &self.scope {
            None => scope != ANY,
            // However wide a pattern is.
            Some(pattern) if scope == ANY => pattern == ANY,
            Some(pattern) => matches(pattern, scope),
        }
    }

    /// What both of them reach, if anything.
    #[must_use]
    pub fn both(&self, other: &Self) -> Option<Self> {
        if self.interface != other.interface {
            return None;
        }
        match (&self.scope, &other.scope) {
            (None, None) => Some(self.clone()),
            (Some(scope), _) if other.reaches(scope) => Some(self.clone()),
            (_, Some(scope)) if self.reaches(scope) => Some(other.clone()),
            _ => None,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            None => f.write_str(self.interface),
            Some(scope) => write!(f, "{}:{scope}", self.interface),
        }
    }
}

impl Scopes {
    fn judge(self, scope: &str) -> Result<(), String> {
        match self {
            Self::Whole => Err("it is granted whole: write it without a scope".into()),
            Self::Named(names) if names.contains(&scope) => Ok(()),
            Self::Named(names) => Err(format!("no such scope; there are: {}", names.join(", "))),
            Self::Pattern(example) if scope.is_empty() => {
                Err(format!("an empty scope; write one such as {example:?}"))
            }
            Self::Pattern(_) => Ok(()),
        }
    }
}

/// `*` stands for any characters, none included. The text's own `*` is one like any other, so a narrower pattern fits a
/// wider one.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let between = parts.try_fold(rest, |rest, part| Some(&rest[rest.find(part)? + part.len()..]));
    between.is_some_and(|rest| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(scope: Option<&str>) -> Grant {
        Grant { interface: "state", scope: scope.map(str::to_owned) }
    }

    #[test]
    fn what_is_no_grant_is_told_what_there_is() {
        let error = |text| Grant::parse(text).unwrap_err();
        assert!(error("links").starts_with("\"links\": no such grant; there are: carry, clock"));
        assert_eq!(error("clock:x"), "\"clock:x\": it is granted whole: write it without a scope");
        assert!(error("").starts_with("\"\": no such grant"));
        assert_eq!(Grant::parse("clock").unwrap().to_string(), "clock");
        assert_eq!(
            Scopes::Named(&["node", "network"]).judge("pod").unwrap_err(),
            "no such scope; there are: node, network"
        );
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, fits) in [
            ("net/ipv4/conf/*", "net/ipv4/conf/eth0/rp_filter", true),
            ("net/ipv4/conf/*", "net/ipv6/conf/eth0/rp_filter", false),
            ("net/*/conf/*/mtu", "net/ipv6/conf/eth0/mtu", true),
            ("net/*/conf/*/mtu", "net/ipv6/conf/mtu", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("node", "node2", false),
            ("host-local", "host-local", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_whole_reaches_everything_but_what_others_have_made() {
        assert!(grant(None).reaches("node") && !grant(None).reaches(ANY));
        assert!(!grant(Some("*")).reaches(ANY) && !grant(Some("a*")).reaches(ANY));
        assert!(grant(Some("any")).reaches(ANY) && !grant(Some("node")).reaches("network"));
    }

    #[test]
    fn what_is_asked_and_what_is_allowed_meet_in_the_narrower() {
        let both = |one: Option<&str>, other: Option<&str>| grant(one).both(&grant(other));
        assert_eq!(both(None, Some("node")), Some(grant(Some("node"))));
        assert_eq!(both(Some("node"), None), Some(grant(Some("node"))));
        assert_eq!(both(Some("net/*"), Some("net/ipv4/*")), Some(grant(Some("net/ipv4/*"))));
        assert_eq!(both(Some("node"), Some("network")), None);
        assert_eq!(both(None, Some("any")), None);
        assert_eq!(both(None, None), Some(grant(None)));
    }
}
