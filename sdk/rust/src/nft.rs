//! Packet filtering and address translation, in a table that the attachment and the hook own. Needs the grant `nft`, or that of a
//! place.
//!
//! ```
//! use wasmhook_sdk::net::Place;
//! use wasmhook_sdk::nft;
//! # fn main() -> wasmhook_sdk::Result<()> {
//! let rules = nft::masquerade("10.1.0.2/32".parse()?, "10.1.0.0/24".parse()?, "pod shop/web");
//! nft::apply(Place::Host, &rules)?;
//! # Ok(()) }
//! ```

use crate::HostError;
use wasmhook_net_types::{Action, Chain, ChainKind, Cidr, Family, Hook, Place, Policy, Rule, Ruleset, Test};

/// Makes the table hold exactly these rules; its name.
pub fn apply(place: Place, rules: &Ruleset) -> Result<String, HostError> {
    #[cfg(target_arch = "wasm32")]
    let applied = Ok(crate::bindings::wasmhook::host::nft::apply(place.as_str(), &crate::host::json(rules))?);
    #[cfg(not(target_arch = "wasm32"))]
    let applied = crate::testing::network(|it| {
        wasmhook_net_types::Network::set_rules(it, place, "wasmhook-test", rules)?;
        Ok("wasmhook-test".to_owned())
    });
    applied
}

/// What leaves its own network has the address of the link that it leaves by. What goes to everybody (multicast) stays as it is.
#[must_use]
pub fn masquerade(source: Cidr, within: Cidr, comment: &str) -> Ruleset {
    masquerade_all(&[(source, within)], comment)
}

/// The same for several addresses, each with its own network.
#[must_use]
pub fn masquerade_all(sources: &[(Cidr, Cidr)], comment: &str) -> Ruleset {
    let rule = |action, source, to| Rule {
        saddr: Some(Test::Is(source)),
        daddr: Some(Test::Is(to)),
        comment: Some(comment.to_owned()),
        ..Rule::all(action)
    };
    let mut rules = Vec::new();
    for (source, within) in sources {
        let everybody = Cidr::multicast(source.address);
        rules.push(rule(Action::Accept, *source, within.network()));
        rules.push(rule(Action::Accept, *source, everybody));
        rules.push(Rule { daddr: None, ..rule(Action::Masquerade, *source, everybody) });
    }
    let chain = Chain {
        name: "postrouting".to_owned(),
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: 100,
        policy: Policy::Accept,
        rules,
    };
    Ruleset { family: Family::Inet, chains: vec![chain], keep: false }
}
