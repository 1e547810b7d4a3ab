//! The first door into the room: a component that exports the contract's handler.

use crate::door::Admission;
use crate::tenant::Tenant;
use crate::{Fault, Outcome, Phase, PostVerdict, PreVerdict, Request, Verdict, link, room};
use std::fs::File;
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Engine, Store};

const HANDLER: &str = "wasmhook:hook/handler@0.1.0";

pub(crate) struct Guest {
    ready: InstancePre<Tenant>,
    pre: ComponentExportIndex,
    post: ComponentExportIndex,
    pub(crate) imports_wasi: bool,
}

/// A phase's function, called one way or the other.
macro_rules! ask {
    ($self:ident, $store:ident, $instance:ident, $phase:ident, $call:ident $($wait:tt)*) => {
        match $phase {
            Phase::Pre(request) => {
                let pre = $instance.get_typed_func::<(&Request,), (Said<PreVerdict>,)>(&mut *$store, &$self.pre)?;
                pre.$call(&mut *$store, (request,)) $($wait)* ?.0.map(Verdict::Pre)
            }
            Phase::Post(request, outcome) => {
                let post = $instance.get_typed_func::<(&Request, &Outcome), (Said<PostVerdict>,)>(&mut *$store, &$self.post)?;
                post.$call(&mut *$store, (request, outcome)) $($wait)* ?.0.map(Verdict::Post)
            }
        }
    };
}

/// What a guest returns: a verdict, or that it is broken.
type Said<V> = Result<V, String>;

impl Guest {
    pub(crate) fn furnish(
        engine: &Engine,
        artifact: &File,
        admits: &dyn Fn(&str, &str) -> Admission,
    ) -> Result<Self, Fault> {
        // SAFETY: the caller vouches for the file: made by our own compiler, and nobody else could write it
        // (`wasmhook_store::Compiled`).
        #[allow(unsafe_code, reason = "loading compiled code")]
        let component = unsafe { Component::deserialize_file(engine, room::path(artifact)) }
            .map_err(|error| Fault::Artifact(format!("{error:#}")))?;
        component.initialize_copy_on_write_image().map_err(|error| Fault::Host(format!("{error:#}")))?;
        let handler = component.get_export_index(None, HANDLER).ok_or(Fault::World)?;
        let function = |name| component.get_export_index(Some(&handler), name).ok_or(Fault::World);
        let (pre, post) = (function("pre")?, function("post")?);
        let (linker, imports_wasi) = link::link(engine, &component, admits)?;
        let ready =
            linker.instantiate_pre(&component).map_err(|error| Fault::Import(format!("{error:#}")))?;
        Ok(Self { ready, pre, post, imports_wasi })
    }

    /// Instantiating is the guest's code already: its start functions. Outer error: it trapped. Inner: it says itself
    /// that it is broken.
    pub(crate) fn ask(
        &self,
        store: &mut Store<Tenant>,
        phase: &Phase,
    ) -> wasmtime::Result<Result<Verdict, Fault>> {
        let instance: Instance = self.ready.instantiate(&mut *store)?;
        Ok(ask!(self, store, instance, phase, call).map_err(Fault::Reported))
    }

    /// The same for one with WASI, which may have to wait.
    pub(crate) async fn ask_and_wait(
        &self,
        store: &mut Store<Tenant>,
        phase: &Phase,
    ) -> wasmtime::Result<Result<Verdict, Fault>> {
        let instance: Instance = self.ready.instantiate_async(&mut *store).await?;
        Ok(ask!(self, store, instance, phase, call_async.await).map_err(Fault::Reported))
    }
}

impl Verdict {
    /// Bytes of what it says, as it is written down: in a message to the parent, and texts of errors on stdout.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Pre(PreVerdict::Proceed) | Self::Post(PostVerdict::Keep) => 0,
            Self::Pre(PreVerdict::Rewrite(text) | PreVerdict::Answer(text))
            | Self::Post(PostVerdict::Rewrite(text) | PostVerdict::Recover(text)) => written(text),
            Self::Pre(PreVerdict::Deny(error)) | Self::Post(PostVerdict::Fail(error)) => {
                written(&error.msg) + written(&error.details)
            }
        }
    }
}

/// Bytes of a text in JSON, which are up to six for one of its own.
fn written(text: &str) -> u64 {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(byte).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_is_as_long_as_it_is_in_json() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        let quotes = serde_json::to_string("").unwrap().len();
        let in_json = serde_json::to_string(&all).unwrap().len() - quotes;
        assert_eq!(super::written(&all), in_json as u64);
    }
}
