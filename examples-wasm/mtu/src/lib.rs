//! Gives the plugin behind it another `mtu`, and says afterwards what became of it.
//!
//! ```json
//! { "module": "mtu", "grants": ["carry"], "config": { "mtu": 1400 } }
//! ```
//!
//! Teaches: reading settings, rewriting a configuration, `carry` from `pre` to `post`, rewriting a result.

use wasmhook_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Bytes.
    mtu: u32,
}

/// What `pre` tells `post`.
#[derive(Serialize, Deserialize)]
struct Change {
    was: Option<u32>,
}

struct Mtu;

impl Hook for Mtu {
    fn pre(request: &Request) -> Result<Pre> {
        let Settings { mtu } = request.settings()?;
        // IPv6 needs 1280, Ethernet ends at 65535; less than 68 is not even IPv4.
        if !(68..=65535).contains(&mtu) {
            return Err(Failure::new(format!("`config.mtu` is {mtu}: write 68 to 65535")));
        }
        if request.verb != "ADD" {
            return Ok(Pre::Proceed);
        }
        let mut config = request.config()?;
        carry::set(&Change { was: config.read("mtu")? })?;
        config.set("mtu", &mtu)?;
        Ok(Pre::Rewrite(config))
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        let (Some(change), Some(mut result)) = (request.carry::<Change>()?, outcome.result()?) else {
            return Ok(Post::Keep);
        };
        let Settings { mtu } = request.settings()?;
        let was = change.was.map_or("the kernel's".to_owned(), |was| was.to_string());
        info!("{} in {} has an MTU of {mtu}; it was to be {was}", request.ifname, request.network);
        // Results can say so from 1.1.0 on.
        if request.cni_version.as_str() < "1.1.0" {
            return Ok(Post::Keep);
        }
        for interface in result.interfaces.iter_mut().flatten().filter(|it| it.name == request.ifname) {
            interface.mtu = Some(mtu);
        }
        Ok(Post::Rewrite(result))
    }
}

wasmhook_sdk::export!(Mtu);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(settings: &str) -> Request {
        Request {
            verb: "ADD".into(),
            cni_version: "1.1.0".into(),
            ifname: "eth0".into(),
            config: r#"{"type":"bridge","mtu":9000,"x":1.50}"#.into(),
            hook_config: settings.into(),
            ..Request::default()
        }
    }

    #[test]
    fn the_configuration_gets_the_mtu_and_keeps_the_rest() {
        let Ok(Pre::Rewrite(config)) = Mtu::pre(&request(r#"{"mtu":1400}"#)) else { panic!("no rewrite") };
        assert_eq!(config.to_string(), r#"{"type":"bridge","mtu":1400,"x":1.50}"#);
    }

    #[test]
    fn an_mtu_that_no_link_can_have_is_a_failure_in_words() {
        let failure = Mtu::pre(&request(r#"{"mtu":20}"#)).err().map(|it| it.to_string());
        assert_eq!(failure.as_deref(), Some("`config.mtu` is 20: write 68 to 65535"));
    }

    #[test]
    fn the_result_tells_the_mtu_where_it_can() {
        let mut request = request(r#"{"mtu":1400}"#);
        request.carry = r#"{"was":9000}"#.into();
        let result = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"br0"},{"name":"eth0"}]}"#;
        let outcome = Outcome::success(&serde_json::from_str(result).unwrap()).unwrap();
        let Ok(Post::Rewrite(result)) = Mtu::post(&request, outcome) else { panic!("no rewrite") };
        let mtus: Vec<_> = result.interfaces.unwrap().iter().map(|it| it.mtu).collect();
        assert_eq!(mtus, [None, Some(1400)]);
    }
}
