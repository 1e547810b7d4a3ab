//! One call, understood: what every verb goes by.

use crate::delegate::{self, Surroundings};
use crate::entry::{Entry, Place};
use crate::error::Error;
use crate::settings::Budgets;
use crate::trail::Known;
use crate::visit::Guests;
use crate::when::Facts;
use serde_json::value::RawValue;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmhook_cni::{self as cni, Args, Environment, Object, PluginConfig, SpecVersion, code};
use wasmhook_store::{Journals, Key, Namespace, Story};

/// How long a call waits for another one that works on the same attachment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A call whose envelope is in order.
pub(crate) struct Call<'a> {
    pub(crate) environment: Environment,
    pub(crate) args: Args,
    pub(crate) network: String,
    pub(crate) version: SpecVersion,
    /// As it came, but for `prevResult`.
    pub(crate) config: PluginConfig,
    pub(crate) place: Place,
    pub(crate) entry: Entry,
    pub(crate) prev_result: Option<Box<RawValue>>,
    pub(crate) guests: Guests<'a>,
    pub(crate) journals: Journals,
    pub(crate) means: Means<'a>,
}

impl Call<'_> {
    /// `CNI_NETNS_OVERRIDE`: somebody knows that the container's namespace is ours.
    fn overrides_namespace_check(&self) -> bool {
        let named = self.means.around.variables.iter().find(|(key, _)| key == "CNI_NETNS_OVERRIDE");
        named.is_some_and(|(_, value)| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn is_ipam(&self) -> bool {
        self.place == Place::Ipam
    }

    /// What a delegate gets before hooks have seen it.
    pub(crate) fn delegate_config(&self, delegate: &Object) -> Result<Object, Error> {
        delegate::handed_down(&self.config, self.place, delegate)
            .map_err(|error| cni::Error::new(code::DECODING, error.to_string()).into())
    }

    /// What hooks see where there is no delegate: the configuration without what is ours alone.
    pub(crate) fn own_config(&self) -> Object {
        delegate::own(&self.config, self.place)
    }

    /// What hooks select by, as far as it is known of the whole call.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts::of(&self.environment, &self.network, &self.args, &self.config)
    }

    /// The attachment, as far as this entry is concerned.
    pub(crate) fn key(&self) -> Key {
        Key {
            network: self.network.clone(),
            container_id: self.environment.container_id.clone(),
            ifname: self.environment.ifname.clone(),
            entry: self.entry.id.clone(),
        }
    }

    /// What the attachment's journal says of what hooks remember and have made.
    pub(crate) fn know(&self, story: Option<&Story>) {
        self.guests.follow(Arc::new(Mutex::new(Known::of(story))));
    }

    /// A hook wants this: until the runtime ends it, or the call's time does.
    pub(crate) fn hang(&self) -> Error {
        std::thread::sleep(self.means.left());
        self.guests.ending().forget();
        Error::Hung
    }

    /// Never, when somebody says that it is meant to be (`CNI_NETNS_OVERRIDE`).
    pub(crate) fn is_our_namespace(&self) -> bool {
        if self.overrides_namespace_check() {
            return false;
        }
        Namespace::same_now(&self.environment.netns, "/proc/self/ns/net")
    }
}

/// What it takes to run delegates.
pub(crate) struct Means<'a> {
    pub(crate) around: Surroundings<'a>,
    /// `CNI_PATH`, where the journal's leads nowhere.
    pub(crate) path: &'a str,
    pub(crate) started: Instant,
    pub(crate) budgets: Budgets,
}

impl Means<'_> {
    /// For what can be undone: the reserve is left.
    pub(crate) fn delegate_until(&self) -> Instant {
        let Budgets { call, delegate, reserve, .. } = self.budgets;
        (Instant::now() + delegate).min(self.started + call.saturating_sub(reserve))
    }

    /// For hooks, at whatever verb: a hook does not undo.
    pub(crate) fn left(&self) -> Duration {
        let Budgets { call, reserve, .. } = self.budgets;
        call.saturating_sub(reserve).saturating_sub(self.started.elapsed())
    }

    /// For undoing and DEL. Never less than a second: a DEL that has no time does nothing.
    pub(crate) fn undo_until(&self) -> Instant {
        let Budgets { call, delegate, .. } = self.budgets;
        let now = Instant::now();
        (now + delegate).min((self.started + call).max(now + Duration::from_secs(1)))
    }
}
