//! A tap in the container, as the reference plugin `tap` makes it, with its configuration: the keys stand in the entry itself.
//!
//! ```json
//! { "type": "wasmhook",
//!   "hooks": [{ "module": "tap", "grants": ["tap:container", "link:container", "ipam"] }],
//!   "mac": "02:00:5e:10:00:01", "mtu": 1400, "owner": 1000, "group": 1000, "multiQueue": true,
//!   "bridge": "br0", "ipam": { "type": "host-local", "subnet": "10.1.2.0/24" } }
//! ```
//!
//! Every tap has the same flags, whatever is asked for: no packet information, no virtio header, persistent. `bridge` is one in the
//! container. `ipam` of type `host-local` is served by wasmhook itself, in host-local's files; with `"config": {"ipam": "plugin"}` by
//! the plugin. Without `ipam` the tap has no address and is up.
//!
//! Teaches: being a plugin, `tap`, `ipam`, CHECK.

use wasmhook_sdk::cni;
use wasmhook_sdk::net::{Place, TapSpec};
use wasmhook_sdk::prelude::*;

/// The reference plugin's keys, but for those that every plugin has.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    multi_queue: bool,
    /// Bytes; 0: the kernel's choice.
    mtu: u32,
    selinux_context: String,
    bridge: String,
    owner: Option<u32>,
    group: Option<u32>,
    dns: Option<cni::Dns>,
}

struct Tap;

impl Hook for Tap {
    const PHASES: Phases = Phases::Pre;

    fn pre(request: &Request) -> Result<Pre> {
        Ok(answer(request).unwrap_or_else(|mistake| provider::mistake(&mistake)))
    }
}

fn answer(request: &Request) -> Result<Pre> {
    let config = request.config()?;
    match request.verb.as_str() {
        "ADD" => match add(request, &config)? {
            Ok(result) => provider::answer(request, result),
            Err(error) => Ok(Pre::Deny(error)),
        },
        "CHECK" => Ok(match check(request, &config)? {
            Ok(()) => Pre::Answer(CniResult::default()),
            Err(error) => Pre::Deny(error),
        }),
        "DEL" => provider::give_back(request, &config).map(|()| Pre::Proceed),
        _ => Ok(Pre::Proceed),
    }
}

/// The outer error is this hook's own, the inner one the answer to the runtime.
fn add(request: &Request, config: &Object) -> Result<Result<CniResult, CniError>> {
    let settings: Settings = request.config_as()?;
    let mac = provider::requested_mac(request, config)?;
    let pool = provider::pool(request, config)?;
    let bridge = Some(settings.bridge).filter(|it| !it.is_empty());
    if let Some(bridge) = &bridge {
        match link::find(Place::Container, bridge)? {
            Some(link) if link.kind == "bridge" => {}
            Some(link) => return Ok(Err(error(&format!("`bridge`: {bridge} is of kind {:?}", link.kind)))),
            None => return Ok(Err(error(&format!("`bridge`: the container has no link {bridge}")))),
        }
    }
    let spec = TapSpec {
        multi_queue: settings.multi_queue,
        owner: settings.owner,
        group: settings.group,
        mtu: Some(settings.mtu).filter(|mtu| *mtu > 0),
        mac,
        master: bridge,
        selinux_context: Some(settings.selinux_context).filter(|it| !it.is_empty()),
        up: pool.is_none(),
        ..TapSpec::new(&request.ifname)
    };
    Ok(make(request, config, &spec, pool.as_ref(), settings.dns))
}

fn make(
    request: &Request,
    config: &Object,
    spec: &TapSpec,
    pool: Option<&ipam::Pool>,
    dns: Option<cni::Dns>,
) -> Result<CniResult, CniError> {
    let tap = tap::create(Place::Container, spec)?;
    let mut result = match pool {
        Some(pool) => provider::allocate(pool, config, 0)?,
        None => CniResult::default(),
    };
    result.interfaces = Some(vec![provider::interface(&tap, Some(&request.netns))]);

    if pool.is_some() {
        provider::configure(request, &result)?;
    }
    result.dns = dns.or(result.dns);
    Ok(result)
}

fn check(request: &Request, config: &Object) -> Result<Result<(), CniError>> {
    let settings: Settings = request.config_as()?;
    let link = match provider::check(request, config, "tun") {
        Ok(link) => link,
        Err(error) => return Ok(Err(error)),
    };
    let tun = link.tun.unwrap_or_default();
    let wrong = if tun.mode != "tap" {
        Some("is no tap")
    } else if tun.owner != settings.owner || tun.group != settings.group {
        Some("belongs to somebody else")
    } else if tun.multi_queue != settings.multi_queue {
        Some("has one queue where several are wanted, or several where one is")
    } else if link.master.as_deref().unwrap_or_default() != settings.bridge {
        Some("is not a port of the bridge")
    } else {
        None
    };
    Ok(wrong.map_or(Ok(()), |why| Err(error(&format!("link {} {why}", link.name)))))
}

fn error(why: &str) -> CniError {
    CniError::new(999, why)
}

wasmhook_sdk::export!(Tap);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmhook_sdk::net::{LinkChange, LinkSpec, Model};
    use wasmhook_sdk::testing;

    fn request(verb: &str, keys: &str) -> Request {
        Request {
            verb: verb.into(),
            cni_version: "1.1.0".into(),
            ifname: "eth0".into(),
            netns: "/run/netns/c".into(),
            network: "n".into(),
            config: format!(r#"{{"name":"n","cniVersion":"1.1.0","type":"wasmhook"{keys}}}"#),
            ..Request::default()
        }
    }

    fn result(request: &Request) -> String {
        match Tap::pre(request).unwrap() {
            Pre::Answer(result) => serde_json::to_string(&result).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    const IPAM: &str =
        r#","ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]}"#;

    #[test]
    fn a_tap_gets_everything_that_is_asked_for() {
        testing::with(|it| *it = Model::new());
        link::create(Place::Container, &LinkSpec::bridge("br0").up()).unwrap();
        let keys = r#","mac":"02:00:00:00:00:07","mtu":1400,"owner":1000,"group":1001,"multiQueue":true,"bridge":"br0""#;
        let answer = result(&request("ADD", &format!("{keys}{IPAM}")));
        assert_eq!(
            answer,
            r#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:07","mtu":1400,"sandbox":"/run/netns/c"}],"ips":[{"interface":0,"address":"10.1.2.2/24","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]}"#
        );
        let link = link::get(Place::Container, "eth0").unwrap();
        let tun = link.tun.unwrap();
        assert_eq!((tun.owner, tun.group, tun.multi_queue, link.mtu), (Some(1000), Some(1001), true, 1400));
        let mut check = request("CHECK", &format!("{keys}{IPAM}"));
        check.prev_result = answer;
        assert!(matches!(Tap::pre(&check).unwrap(), Pre::Answer(_)));
        link::update(Place::Container, "eth0", &LinkChange { mtu: Some(1300), ..LinkChange::default() })
            .unwrap();
        assert!(matches!(Tap::pre(&check).unwrap(), Pre::Deny(_)));
    }

    #[test]
    fn a_second_tap_of_that_name_is_an_error() {
        testing::with(|it| *it = Model::new());
        result(&request("ADD", ""));
        let Pre::Deny(error) = Tap::pre(&request("ADD", IPAM)).unwrap() else { panic!("no error") };
        assert_eq!(error.msg, "link \"eth0\": it is there already");
        assert_eq!(testing::with(|it| it.leases().len()), 0);
    }

    #[test]
    fn what_cannot_be_is_told_before_anything_is_made() {
        testing::with(|it| *it = Model::new());
        let Pre::Deny(error) = Tap::pre(&request("ADD", r#","bridge":"br9""#)).unwrap() else { panic!() };
        assert_eq!(error.msg, "`bridge`: the container has no link br9");
        let Pre::Deny(error) = Tap::pre(&request("ADD", r#","mac":"01:00:00:00:00:01""#)).unwrap() else {
            panic!()
        };
        assert_eq!(error.code, 7);
        assert_eq!(error.msg, "`mac`: 01:00:00:00:00:01 is a group's, or nobody's: no link can have it");
        assert_eq!(link::all(Place::Container).unwrap().len(), 1);
    }

    #[test]
    fn the_mac_is_the_runtimes_before_anybody_elses() {
        let request = Request {
            args: [("MAC".to_owned(), "02:00:00:00:00:03".to_owned())].into_iter().collect(),
            ..request("ADD", "")
        };
        let mac = |config: &str| {
            let mac = provider::requested_mac(&request, &config.parse().unwrap()).unwrap();
            mac.unwrap().0[5]
        };
        let own = r#""mac":"02:00:00:00:00:04""#;
        let args = r#""args":{"cni":{"mac":"02:00:00:00:00:02"}}"#;
        let runtime = r#""runtimeConfig":{"mac":"02:00:00:00:00:01"}"#;
        assert_eq!(mac(&format!("{{{own}}}")), 3);
        assert_eq!(mac(&format!("{{{own},{args}}}")), 2);
        assert_eq!(mac(&format!("{{{own},{args},{runtime}}}")), 1);
    }
}
