//! Adds a search domain to what containers get for name service, and refuses those that want certain host ports.
//!
//! ```json
//! { "module": "annotate", "config": { "search": "svc.example", "forbiddenPorts": [22, 25] } }
//! ```
//!
//! Both keys may be left out. Host ports are known where the entry declares the capability `portMappings`.
//!
//! Teaches: one hook in six languages. This one is the measure of the others, which stand beside it.

use wasmhook_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    search: Option<String>,
    forbidden_ports: Option<Vec<u16>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeConfig {
    port_mappings: Option<Vec<PortMapping>>,
}

#[derive(Deserialize)]
struct PortMapping {
    /// podman writes `hostPort`, containerd `HostPort`.
    #[serde(alias = "hostPort", rename = "HostPort")]
    host_port: Option<u16>,
}

/// What the call fails with; see `docs/errors.md`.
const DENIED: u32 = 100;

struct Annotate;

impl Hook for Annotate {
    fn pre(request: &Request) -> Result<Pre> {
        let settings: Settings = request.settings()?;
        if request.verb != "ADD" {
            return Ok(Pre::Proceed);
        }
        let forbidden = settings.forbidden_ports.unwrap_or_default();
        let wanted = request.config()?.read("runtimeConfig")?.and_then(|it: RuntimeConfig| it.port_mappings);
        let wanted = wanted.into_iter().flatten().filter_map(|it| it.host_port);
        Ok(match wanted.into_iter().find(|port| forbidden.contains(port)) {
            None => Pre::Proceed,
            Some(port) => {
                info!("refused host port {port}");
                Pre::Deny(CniError::new(DENIED, format!("host port {port} is not allowed here")))
            }
        })
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        let settings: Settings = request.settings()?;
        let (Some(search), Some(mut result), "ADD") = (settings.search, outcome.result()?, &*request.verb)
        else {
            return Ok(Post::Keep);
        };
        let domains = result.dns.get_or_insert_default().search.get_or_insert_default();
        if domains.contains(&search) {
            return Ok(Post::Keep);
        }
        domains.push(search);
        Ok(Post::Rewrite(result))
    }
}

wasmhook_sdk::export!(Annotate);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(config: &str) -> Request {
        Request {
            verb: "ADD".into(),
            config: config.into(),
            hook_config: r#"{"search":"svc.example","forbiddenPorts":[22]}"#.into(),
            ..Request::default()
        }
    }

    #[test]
    fn a_forbidden_port_is_refused_however_the_runtime_writes_it() {
        for key in ["hostPort", "HostPort"] {
            let config = format!(r#"{{"runtimeConfig":{{"portMappings":[{{"{key}":80}},{{"{key}":22}}]}}}}"#);
            let Ok(Pre::Deny(error)) = Annotate::pre(&request(&config)) else { panic!("not denied") };
            assert_eq!((error.code, error.msg.as_str()), (100, "host port 22 is not allowed here"));
        }
    }

    #[test]
    fn the_search_domain_comes_last_and_once() {
        let result = r#"{"dns":{"search":["a.example"],"x":1}}"#;
        let outcome = |result| Outcome::success(&serde_json::from_str(result).unwrap()).unwrap();
        let Ok(Post::Rewrite(result)) = Annotate::post(&request("{}"), outcome(result)) else {
            panic!("no rewrite")
        };
        let result = serde_json::to_string(&result).unwrap();
        assert_eq!(result, r#"{"dns":{"search":["a.example","svc.example"],"x":1}}"#);
        assert!(matches!(Annotate::post(&request("{}"), outcome(&result)), Ok(Post::Keep)));
    }
}
