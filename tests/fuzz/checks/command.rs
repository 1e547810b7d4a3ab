use super::{BETWEEN, raw};
use serde_json::{Value, json};
use wasmhook_cni::Object;
use wasmhook_wasm::{CniError, Phase, Request, fuzzing};

/// What a command is asked. First lines `KEY=VALUE` as in `CNI_ARGS`; then, each of them JSON or nothing, `config`,
/// `prevResult`, `hookConfig`, `carry`, `extra` and the plugin's result; a last part makes that an error with
/// this message. And all of it as what a command might give to `wasmhook.call`.
pub fn command(input: &[u8]) {
    host_call(input);
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split(BETWEEN).map(str::to_owned);
    let args = parts.next().unwrap_or_default();
    let args = args.lines().filter_map(|line| line.split_once('='));
    let args: Vec<_> = args.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut part = || parts.next().unwrap_or_default();
    let request = Request {
        verb: "ADD".into(),
        cni_version: "1.0.0".into(),
        container_id: args.first().map(|(key, _)| key.clone()).unwrap_or_default(),
        netns: args.first().map(|(_, value)| value.clone()).unwrap_or_default(),
        ifname: "eth0".into(),
        args,
        network: "n".into(),
        plugin: "bridge".into(),
        config: part(),
        prev_result: part(),
        hook_config: part(),
        dry_run: false,
        carry: part(),
        extra: part(),
    };
    let outcome = match (part(), parts.next()) {
        (result, None) => Ok(result),
        (details, Some(msg)) => Err(CniError { code: 100, msg, details }),
    };
    ask(&Phase::Pre(request.clone()));
    ask(&Phase::Post(request, outcome));
}

fn ask(phase: &Phase) {
    let (Phase::Pre(request) | Phase::Post(request, _)) = phase;
    let mut wanted: Vec<(&str, &str)> =
        vec![("config", &request.config), ("hookConfig", &request.hook_config), ("extra", &request.extra)];
    let mut may_be_empty: Vec<(&str, &str)> =
        vec![("prevResult", &request.prev_result), ("carry", &request.carry)];
    if let Phase::Post(_, Ok(result)) = phase {
        may_be_empty.push(("result", result));
    }
    let (absent, there): (Vec<_>, Vec<_>) = may_be_empty.into_iter().partition(|(_, text)| text.is_empty());
    wanted.extend(there);

    let all_json = wanted.iter().all(|(_, text)| raw(text).is_some());
    let stdin = match fuzzing::request(phase) {
        Ok(stdin) => stdin,
        Err(fault) => return assert!(!all_json, "{fault}"),
    };
    assert!(all_json);
    let document: Object = str::from_utf8(&stdin).unwrap().parse().unwrap();
    let outcome: Object = document.read("outcome").unwrap().unwrap_or_default();
    let found = |key| document.raw(key).or_else(|| outcome.raw(key));
    for (key, text) in wanted {
        assert_eq!(found(key).unwrap().get(), raw(text).unwrap().get(), "{key}");
    }
    for (key, _) in absent {
        assert!(found(key).is_none(), "{key}");
    }
    if let Phase::Post(_, Err(error)) = phase {
        let error = json!({ "code": error.code, "msg": error.msg, "details": error.details });
        assert_eq!(outcome.read::<Value>("error").unwrap(), Some(error));
    }
    assert_eq!(document.contains("outcome"), phase.name() == "post");
    assert_eq!(document.read::<String>("containerId").unwrap().as_ref(), Some(&request.container_id));
    assert_eq!(document.read::<String>("netns").unwrap().as_ref(), Some(&request.netns));
    let args: Object = document.read("args").unwrap().unwrap();
    assert!(request.args.iter().all(|(key, _)| args.contains(key)));
}

fn host_call(bytes: &[u8]) {
    let Ok((operation, input)) = fuzzing::host_call(bytes) else { return };
    let again = json!({ "operation": operation, "input": input }).to_string();
    let (same, _) = fuzzing::host_call(again.as_bytes()).unwrap();
    assert_eq!(same, operation);
}
