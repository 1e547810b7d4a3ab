//! The second door into the room: a command. A plain WASI preview 1 program that reads the request as JSON on stdin and
//! prints its verdict as JSON; `sdk/command.schema.json` is its contract. Host calls are two imports:
//! `wasmhook.call` performs an operation and tells the length of its reply, `wasmhook.reply` copies the reply.

use crate::tenant::Tenant;
use crate::{CniError, Fault, Phase, PostVerdict, PreVerdict, Verdict, room};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use std::fs::File;
use wasmtime::{Caller, Engine, Extern, InstancePre, Linker, Memory, Module, Store};
use wasmtime_wasi::{I32Exit, p1};

const WASI: &str = "wasi_snapshot_preview1";
/// Of our own imports, too.
const OURS: &str = "wasmhook";
/// What passes through the door at once; the same as between a child and its parent.
const LONGEST: usize = 4 << 20;

pub(crate) struct Guest(InstancePre<Tenant>);

impl Guest {
    pub(crate) fn furnish(engine: &Engine, artifact: &File) -> Result<Self, Fault> {
        // SAFETY: as for components: the caller vouches for the file.
        #[allow(unsafe_code, reason = "loading compiled code")]
        let module = unsafe { Module::deserialize_file(engine, room::path(artifact)) }
            .map_err(|error| Fault::Artifact(format!("{error:#}")))?;
        let host = |error: wasmtime::Error| Fault::Host(format!("{error:#}"));
        module.initialize_copy_on_write_image().map_err(host)?;
        if module.get_export("_start").is_none() {
            return Err(Fault::World);
        }
        let mut linker = Linker::new(engine);
        p1::add_to_linker_async(&mut linker, Tenant::preview1).map_err(host)?;
        linker
            .func_wrap(OURS, "call", call)
            .and_then(|it| it.func_wrap(OURS, "reply", reply))
            .map_err(host)?;
        let unknown = |import: &wasmtime::ImportType<'_>| {
            let known = import.module() == WASI || import.module() == OURS;
            (!known).then(|| Fault::Import(format!("{}.{}", import.module(), import.name())))
        };
        if let Some(fault) = module.imports().find_map(|import| unknown(&import)) {
            return Err(fault);
        }
        linker.instantiate_pre(&module).map(Self).map_err(|error| Fault::Import(format!("{error:#}")))
    }

    /// Runs it to its end. Its exit code says whether it is broken, its stdout what it wants.
    pub(crate) async fn ask(
        &self,
        store: &mut Store<Tenant>,
        phase: &Phase,
        verdict_limit: u64,
    ) -> wasmtime::Result<Result<Verdict, Fault>> {
        let instance = self.0.instantiate_async(&mut *store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
        let ended = match start.call_async(&mut *store, ()).await {
            Ok(()) => 0,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => exit.0,
                None => return Err(error),
            },
        };
        let Some(wasi) = &store.data().wasi else { return Ok(Err(Fault::World)) };
        let Some(said) = wasi.stdout.bytes() else {
            return Ok(Err(Fault::bytes("verdict", verdict_limit, "verdict")));
        };
        if ended != 0 {
            let said = wasi.stderr.lines().pop().unwrap_or_else(|| "nothing on stderr".to_owned());
            return Ok(Err(Fault::Reported(format!("{said} (exit code {ended})"))));
        }
        Ok(read(phase, &said).map_err(Fault::Verdict))
    }
}

/// What passes by `call`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) input: Value,
}

/// `call(ptr, len) -> length of the reply`. A message that cannot be read is answered, not trapped: the author should
/// see why.
fn call(mut caller: Caller<'_, Tenant>, at: u32, length: u32) -> wasmtime::Result<u32> {
    let memory = memory(&mut caller)?;
    let place = range(at, length).filter(|_| length as usize <= LONGEST);
    let bytes = place.and_then(|place| memory.data(&caller).get(place)).map(<[u8]>::to_vec);
    let reply = match bytes.as_deref().map(serde_json::from_slice::<Message>) {
        Some(Ok(message)) => caller.data_mut().ask(&message.operation, message.input),
        Some(Err(error)) => invalid(&error.to_string()),
        None => {
            invalid(&format!("a message of {length} bytes at {at}: outside the memory, or over {LONGEST}"))
        }
    };
    let reply = reply.to_string().into_bytes();
    let length = u32::try_from(reply.len())?;
    caller.data_mut().reply = reply;
    Ok(length)
}

fn invalid(why: &str) -> Value {
    json!({ "failure": { "code": "invalid", "errno": 0, "message": why } })
}

/// `reply(ptr, cap) -> bytes copied`, as often as one likes.
fn reply(mut caller: Caller<'_, Tenant>, at: u32, room: u32) -> wasmtime::Result<u32> {
    let memory = memory(&mut caller)?;
    let (bytes, tenant) = memory.data_and_store_mut(&mut caller);
    let length = tenant.reply.len().min(room as usize);
    let place = range(at, u32::try_from(length)?).and_then(|place| bytes.get_mut(place));
    let place = place.ok_or_else(|| wasmtime::Error::msg("wasmhook.reply: outside the memory"))?;
    place.copy_from_slice(&tenant.reply[..length]);
    Ok(u32::try_from(length)?)
}

fn memory(caller: &mut Caller<'_, Tenant>) -> wasmtime::Result<Memory> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| wasmtime::Error::msg("a host call, and no export `memory`"))
}

fn range(at: u32, length: u32) -> Option<std::ops::Range<usize>> {
    Some(at as usize..(at as usize).checked_add(length as usize)?)
}

/// What stands on a command's stdin.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    phase: &'static str,
    verb: &'a str,
    cni_version: &'a str,
    container_id: &'a str,
    netns: &'a str,
    ifname: &'a str,
    args: Map<String, Value>,
    network: &'a str,
    plugin: &'a str,
    config: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_result: Option<&'a RawValue>,
    hook_config: &'a RawValue,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    carry: Option<&'a RawValue>,
    extra: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Answered<'a>>,
}

#[derive(Serialize)]
struct Answered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a CniError>,
}

/// The request as a command reads it: JSON stays JSON, and is not a text in it.
pub(crate) fn request(phase: &Phase) -> Result<Vec<u8>, Fault> {
    let document = document(phase).and_then(|it| serde_json::to_vec(&it));
    document.map_err(|error| Fault::Host(format!("the request is no JSON: {error}")))
}

fn document(phase: &Phase) -> serde_json::Result<Document<'_>> {
    let (Phase::Pre(request) | Phase::Post(request, _)) = phase;
    let outcome = match phase {
        Phase::Pre(_) => None,
        Phase::Post(_, Ok(result)) => Some(Answered { result: json_or_none(result)?, error: None }),
        Phase::Post(_, Err(error)) => Some(Answered { result: None, error: Some(error) }),
    };
    Ok(Document {
        phase: phase.name(),
        verb: &request.verb,
        cni_version: &request.cni_version,
        container_id: &request.container_id,
        netns: &request.netns,
        ifname: &request.ifname,
        args: request.args.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect(),
        network: &request.network,
        plugin: &request.plugin,
        config: serde_json::from_str(&request.config)?,
        prev_result: json_or_none(&request.prev_result)?,
        hook_config: serde_json::from_str(&request.hook_config)?,
        dry_run: request.dry_run,
        carry: json_or_none(&request.carry)?,
        extra: serde_json::from_str(&request.extra)?,
        outcome,
    })
}

/// In the contract `""` says that there is none.
fn json_or_none(text: &str) -> serde_json::Result<Option<&RawValue>> {
    if text.is_empty() { Ok(None) } else { serde_json::from_str(text).map(Some) }
}

/// What a command prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    verdict: String,
    config: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    error: Option<PrintedError>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrintedError {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

/// The verdict that a command has printed. The error says what is wrong with it.
pub(crate) fn read(phase: &Phase, said: &[u8]) -> Result<Verdict, String> {
    if said.trim_ascii().is_empty() {
        return Err("nothing on stdout, where a verdict is wanted".into());
    }
    let printed: Printed =
        serde_json::from_slice(said).map_err(|error| format!("stdout is no verdict: {error}"))?;
    let Printed { verdict, config, result, error } = printed;
    let text = |it: Box<RawValue>| String::from(Box::<str>::from(it));
    let error = error.map(|it| CniError { code: it.code, msg: it.msg, details: it.details });
    // Each names what it needs, and nothing else.
    Ok(match (phase, verdict.as_str(), config, result, error) {
        (Phase::Pre(_), "proceed", None, None, None) => Verdict::Pre(PreVerdict::Proceed),
        (Phase::Pre(_), "rewrite", Some(it), None, None) => Verdict::Pre(PreVerdict::Rewrite(text(it))),
        (Phase::Pre(_), "answer", None, Some(it), None) => Verdict::Pre(PreVerdict::Answer(text(it))),
        (Phase::Pre(_), "deny", None, None, Some(it)) => Verdict::Pre(PreVerdict::Deny(it)),
        (Phase::Post(..), "keep", None, None, None) => Verdict::Post(PostVerdict::Keep),
        (Phase::Post(..), "rewrite", None, Some(it), None) => Verdict::Post(PostVerdict::Rewrite(text(it))),
        (Phase::Post(..), "fail", None, None, Some(it)) => Verdict::Post(PostVerdict::Fail(it)),
        (Phase::Post(..), "recover", None, Some(it), None) => Verdict::Post(PostVerdict::Recover(text(it))),
        (phase, verdict, ..) => {
            let known = match phase {
                Phase::Pre(_) => "proceed, rewrite with `config`, answer with `result`, deny with `error`",
                Phase::Post(..) => "keep, rewrite with `result`, fail with `error`, recover with `result`",
            };
            return Err(format!("{verdict:?} in {}: known here: {known}", phase.name()));
        }
    })
}
