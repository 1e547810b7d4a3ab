//! What a filter sees as `.`, and what has become of it.

use crate::program::{parse, text};
use crate::settings::Moment;
use jaq_json::{Rc, Val};
use serde_json::{Value, json};
use wasmhook_sdk::cni::{CniResult, Error, Object};
use wasmhook_sdk::{Failure, Outcome, Request, Result};

/// The error of a filter that names no code.
const DENIED: u32 = 100;

/// `{request, config, prevResult, result, error}`, with `null` for what is not there.
pub(crate) struct View(Val);

impl View {
    pub(crate) fn of(request: &Request, outcome: Option<&Outcome>) -> Result<Self> {
        let or_null = |text: &str| if text.is_empty() { "null".to_owned() } else { text.to_owned() };
        let (mut result, mut error) = ("null".to_owned(), "null".to_owned());
        if let Some(outcome) = outcome {
            match outcome.error() {
                Some(failed) => {
                    error = json!({ "code": failed.code, "msg": failed.msg, "details": failed.details })
                        .to_string();
                }
                None => result = outcome.result()?.map_or(Ok(result), |it| serde_json::to_string(&it))?,
            }
        }
        let text = format!(
            r#"{{"request":{},"config":{},"prevResult":{},"result":{result},"error":{error}}}"#,
            about(request)?,
            or_null(&request.config),
            or_null(&request.prev_result),
        );
        parse(&text).map(Self)
    }

    pub(crate) fn value(&self) -> Val {
        self.0.clone()
    }

    /// What has become of one of its parts; `None`: nothing.
    fn changed(&self, now: &Val, part: &str) -> Option<Val> {
        let now = get(now, part);
        (now != get(&self.0, part)).then_some(now)
    }

    /// Nobody may believe that what cannot be changed has been.
    fn fixed(&self, name: &str, now: &Val, moment: Moment) -> Result<()> {
        let free: &[&str] = match moment {
            Moment::Pre => &["config", "result"],
            Moment::Post => &["result"],
            Moment::OnError => &["error", "result"],
        };
        let Val::Obj(members) = now else {
            return Err(Failure::new(format!(
                "`{name}` says {}, and `.` is to come back with what it changes, such as `.config.mtu = 1400`",
                brief(now)
            )));
        };
        let own = ["request", "config", "prevResult", "result", "error"];
        for (key, _) in members.iter() {
            let key = text(key);
            if !own.contains(&key.as_str()) {
                return Err(Failure::new(format!(
                    "`{name}` makes `.{key}`, which means nothing; there are .{}",
                    own.join(", .")
                )));
            }
        }
        for part in own.into_iter().filter(|it| !free.contains(it)) {
            if self.changed(now, part).is_some() {
                let free = free.join(" and .");
                return Err(Failure::new(format!(
                    "`{name}` changes `.{part}`, which means nothing in `{}`; .{free} can be changed",
                    moment.name()
                )));
            }
        }
        Ok(())
    }

    /// What of it is to be carried out: the parts that are another one now.
    pub(crate) fn changes(&self, name: &str, now: &Val, moment: Moment) -> Result<Changes> {
        self.fixed(name, now, moment)?;
        let wrong =
            |part: &str, error: &dyn std::fmt::Display| Failure::new(format!("`{name}`: `.{part}`: {error}"));
        let config = self
            .changed(now, "config")
            .map(|it| it.to_string().parse::<Object>().map_err(|error| wrong("config", &error)));
        let result = self.changed(now, "result").filter(|it| *it != Val::Null);
        let result = result.map(|it| {
            serde_json::from_str::<CniResult>(&it.to_string()).map_err(|error| wrong("result", &error))
        });
        let error = self
            .changed(now, "error")
            .map(|it| error(&it).ok_or_else(|| wrong("error", &"write {code, msg, details}")));
        Ok(Changes { config: config.transpose()?, result: result.transpose()?, error: error.transpose()? })
    }
}

/// What a filter has changed.
pub(crate) struct Changes {
    pub(crate) config: Option<Object>,
    pub(crate) result: Option<CniResult>,
    pub(crate) error: Option<Error>,
}

/// What a filter has raised: words, or `{code, msg, details}`.
pub(crate) fn raised(value: &Val) -> Error {
    match value {
        Val::TStr(_) => Error::new(DENIED, text(value)),
        Val::Null => Error::new(DENIED, "refused by a filter"),
        value => error(value).unwrap_or_else(|| Error::new(DENIED, value.to_string())),
    }
}

fn error(value: &Val) -> Option<Error> {
    let read: Value = serde_json::from_str(&value.to_string()).ok()?;
    let msg = read.get("msg")?.as_str()?.to_owned();
    let code = read.get("code").map_or(Some(u64::from(DENIED)), Value::as_u64);
    let code = u32::try_from(code?).ok().filter(|it| *it > 0)?;
    let error = Error::new(code, msg);
    Some(match read.get("details").and_then(Value::as_str) {
        Some(details) => error.with_details(details),
        None => error,
    })
}

fn about(request: &Request) -> Result<String> {
    let arg = |key| request.args.value(key);
    let args: serde_json::Map<_, _> =
        request.args.pairs().iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let about = json!({
        "verb": request.verb,
        "cniVersion": request.cni_version,
        "containerId": request.container_id,
        "netns": request.netns,
        "ifname": request.ifname,
        "network": request.network,
        "plugin": request.plugin,
        "args": args,
        "annotations": request.annotations()?,
        "runtimeConfig": request.runtime_config()?,
        "pod": arg("K8S_POD_NAME").map(|name| json!({
            "namespace": arg("K8S_POD_NAMESPACE"), "name": name, "uid": arg("K8S_POD_UID"),
        })),
    });
    Ok(about.to_string())
}

fn get(value: &Val, key: &str) -> Val {
    let Val::Obj(members) = value else { return Val::Null };
    let members: &Rc<_> = members;
    members.get(&Val::from(key.to_owned())).cloned().unwrap_or_default()
}

fn brief(value: &Val) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain(['…']).collect() }
}
