use crate::{Failure, Undo, Visit};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmhook_net::{Kernel, open_namespace};
use wasmhook_net_types::{Link, Model, NetError, Network, Place};
use wasmhook_store::{Key, Namespace};

/// The networks that a call reaches. Nothing is opened before the first host call that needs one.
#[derive(Debug)]
pub struct Reach {
    behind: Behind,
    made: u32,
}

#[derive(Debug)]
enum Behind {
    /// The kernel's, behind `CNI_NETNS`, which must lead to this namespace if that is known.
    Path(String, Option<Namespace>),
    Kernel(Kernel),
    /// To be copied into memory.
    CopyOf(Arc<Mutex<Reach>>),
    Model(Box<Model>),
}

impl Reach {
    /// The real ones: our own, and the container's behind this path (empty: none).
    #[must_use]
    pub fn kernel(container: &str) -> Self {
        Self { behind: Behind::Path(container.to_owned(), None), made: 0 }
    }

    /// The same, if the container's is still this one; otherwise there is none.
    #[must_use]
    pub fn kernel_if(container: &str, is: Namespace) -> Self {
        Self { behind: Behind::Path(container.to_owned(), Some(is)), made: 0 }
    }

    /// Networks in memory.
    #[must_use]
    pub fn model(model: Model) -> Self {
        Self { behind: Behind::Model(Box::new(model)), made: 0 }
    }

    /// Networks in memory that begin as those are when they are needed.
    #[must_use]
    pub fn copy_of(other: Arc<Mutex<Reach>>) -> Self {
        Self { behind: Behind::CopyOf(other), made: 0 }
    }

    /// Whatever carries native work out.
    pub fn network(&mut self) -> &mut dyn Network {
        if let Behind::Path(path, is) = &self.behind {
            // Without a container there is still the host.
            let container = open_namespace(path).ok();
            let same = |file: &File| is.is_none_or(|is| Namespace::of(file) == Some(is));
            let container = container.map(File::from).filter(same);
            self.behind = Behind::Kernel(Kernel::new(container.map(Into::into)));
        }
        if let Behind::CopyOf(other) = &self.behind {
            let copy = Model::copy_of(other.lock().unwrap_or_else(PoisonError::into_inner).network());
            let model = copy.unwrap_or_else(|error| {
                tracing::warn!(
                    "networks cannot be looked at, a hook that only watches sees empty ones: {error}"
                );
                Model::new()
            });
            self.behind = Behind::Model(Box::new(model));
        }
        match &mut self.behind {
            Behind::Kernel(kernel) => kernel,
            Behind::Model(model) => &mut **model,
            Behind::Path(..) | Behind::CopyOf(_) => unreachable!("just opened"),
        }
    }

    /// The networks in memory, if that is what they are.
    pub fn in_memory(&mut self) -> Option<&mut Model> {
        if matches!(self.behind, Behind::CopyOf(_)) {
            self.network();
        }
        if let Behind::Model(model) = &mut self.behind { Some(model) } else { None }
    }

    fn next_number(&mut self) -> u32 {
        self.made += 1;
        self.made
    }
}

/// How all that this attachment and entry makes is called besides; a number follows. Alternative names may have 127 bytes.
fn mark_of(attachment: &Key) -> String {
    format!("wasmhook-{:.16}-", attachment.file_name())
}

/// Nothing is made or changed outside ADD.
pub(crate) fn only_at_add(visit: &Visit) -> Result<(), Failure> {
    if visit.verb == "ADD" {
        return Ok(());
    }
    Err(Failure::new("invalid", format!("nothing can be made or changed at {}, only at ADD", visit.verb)))
}

impl Visit {
    /// Looks at the network, or does what need not be taken back.
    pub(crate) fn network<T>(
        &self,
        act: impl FnOnce(&mut dyn Network) -> Result<T, NetError>,
    ) -> Result<T, Failure> {
        let mut reach = self.reach();
        let network = reach.network();
        network.wait_until(self.patience());
        Ok(act(network)?)
    }

    /// Does what is taken back like this with the attachment, if at all: written down before it is done.
    pub(crate) fn effect<T>(
        &self,
        undo: Option<&Undo>,
        act: impl FnOnce(&mut dyn Network) -> Result<T, NetError>,
    ) -> Result<T, Failure> {
        self.recorded(undo, || {
            let mut reach = self.reach();
            let network = reach.network();
            network.wait_until(self.patience());
            act(network).map_err(|error| (matches!(error, NetError::Hung(_)), error.into()))
        })
    }

    /// The same for what is no network's. `act` tells with its failure whether it may have happened all the same.
    pub(crate) fn recorded<T>(
        &self,
        undo: Option<&Undo>,
        act: impl FnOnce() -> Result<T, (bool, Failure)>,
    ) -> Result<T, Failure> {
        only_at_add(self)?;
        let recorded = match (undo, &self.trail) {
            (Some(undo), Some(trail)) => {
                let mut trail = trail.lock().unwrap_or_else(PoisonError::into_inner);
                self.judge_count(&*trail, undo)?;
                Some(trail.begin_effect(undo, self.patience())?)
            }
            _ => None,
        };
        act().map_err(|(may_have_happened, failure)| {
            if let (Some(effect), Some(trail)) = (recorded, &self.trail) {
                let ended = if may_have_happened { crate::Ended::Unknown } else { crate::Ended::Undone };
                trail.lock().unwrap_or_else(PoisonError::into_inner).end_effect(effect, ended);
            }
            failure
        })
    }

    /// What was recorded last is taken back like this instead.
    pub(crate) fn amend(&self, undo: &Undo) -> Result<(), Failure> {
        let Some(trail) = &self.trail else { return Ok(()) };
        trail.lock().unwrap_or_else(PoisonError::into_inner).amend_effect(undo)
    }

    fn judge_count(&self, trail: &dyn crate::Trail, undo: &Undo) -> Result<(), Failure> {
        let (held, most, key) = if undo.is_link() {
            (trail.held(Undo::is_link), self.most.links, "links")
        } else if undo.is_lease() {
            (trail.held(Undo::is_lease), self.most.leases, "leases")
        } else {
            return Ok(());
        };
        if held < most {
            return Ok(());
        }
        let message = format!("limit of {most} {key} of an attachment reached (raise `limits.{key}`)");
        Err(Failure::new("budget", message))
    }

    pub(crate) fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The alternative name of a link that is about to be made.
    pub(crate) fn mark(&self) -> String {
        let number = self.reach().next_number();
        self.attachment.as_ref().map_or_else(String::new, |it| format!("{}{number}", mark_of(it)))
    }

    /// Has this attachment made it?
    pub(crate) fn has_made(&self, link: &Link) -> bool {
        let prefix = self.attachment.as_ref().map(mark_of);
        prefix.is_some_and(|prefix| link.alternative_names.iter().any(|it| it.starts_with(&prefix)))
    }

    /// Is this reached by a grant of the interface? The door has asked for the place that a call names; this is for
    /// what else it touches.
    pub(crate) fn needs(&self, interface: &str, scope: &str) -> Result<(), Failure> {
        let reaches = |it: &crate::Grant| it.interface() == interface && it.reaches(scope);
        if self.grants.iter().any(reaches) {
            return Ok(());
        }
        Err(Failure::new("denied", format!("this needs the grant `{interface}:{scope}`")))
    }

    /// For what this attachment has not made.
    pub(crate) fn needs_any(&self, interface: &str, what: &str) -> Result<(), Failure> {
        self.needs(interface, crate::ANY).map_err(|_| {
            let needs =
                format!("{what} is not this attachment's own: this needs the grant `{interface}:any`");
            Failure::new("denied", needs)
        })
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        Self { code: error.code(), errno: error.errno(), message: error.to_string() }
    }
}

/// `container` or `host`; what is neither is no place.
pub(crate) fn place(ns: &str) -> Result<Place, Failure> {
    [Place::Container, Place::Host].into_iter().find(|it| it.as_str() == ns).ok_or_else(|| {
        Failure::new("invalid", format!("{ns:?} is no place: write \"container\" or \"host\""))
    })
}
