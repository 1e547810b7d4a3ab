//! More routes for the container, behind whatever plugin has given it its address.
//!
//! ```json
//! { "module": "static-routes", "grants": ["link:container"],
//!   "config": { "routes": [{ "dst": "192.0.2.0/24", "gw": "10.1.2.9", "mtu": 1400 }] } }
//! ```
//!
//! Works in `post` behind a delegate, and alone behind the plugins before it in the list. A route without `gw` has the gateway of the
//! container's address. The result says what was made.
//!
//! Teaches: native work behind a real plugin, words that are true.

use wasmhook_sdk::cni;
use wasmhook_sdk::net::{Cidr, Place, Route};
use wasmhook_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    routes: Vec<Route>,
}

struct StaticRoutes;

impl Hook for StaticRoutes {
    const PHASES: Phases = Phases::Post;

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        let Settings { routes } = request.settings()?;
        let (true, Some(mut result)) = (request.verb == "ADD", outcome.result()?) else {
            return Ok(Post::Keep);
        };
        let gateway = |dst: Cidr| {
            let gateways = result.ips.iter().flatten().filter_map(|ip| ip.gateway.as_ref()?.parse().ok());
            gateways.into_iter().find(|gw: &std::net::IpAddr| gw.is_ipv4() == dst.address.is_ipv4())
        };
        let mut made = Vec::new();
        for route in routes {
            let gw = route.gw.or_else(|| gateway(route.dst));
            let route = Route { gw, dev: Some(request.ifname.clone()), ..route };
            match link::add_route(Place::Container, &route) {
                // As it is wanted.
                Err(error) if error.is_exists() => {}
                Err(error) => return Ok(Post::Fail(error.into())),
                Ok(()) => made.push(said(&route)),
            }
        }
        if made.is_empty() {
            return Ok(Post::Keep);
        }
        info!("{} routes more for {}", made.len(), request.ifname);
        result.routes.get_or_insert_default().extend(made);
        Ok(Post::Rewrite(result))
    }
}

fn said(route: &Route) -> cni::Route {
    cni::Route {
        dst: route.dst.to_string(),
        gw: route.gw.map(|gw| gw.to_string()),
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        ..cni::Route::default()
    }
}

wasmhook_sdk::export!(StaticRoutes);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmhook_sdk::net::{LinkSpec, Model};
    use wasmhook_sdk::testing;

    #[test]
    fn routes_are_made_and_said() {
        testing::with(|it| *it = Model::new());
        link::create(Place::Host, &LinkSpec::veth("v", "eth0").up()).unwrap();
        link::add_address(Place::Container, "eth0", &"10.1.2.2/24".parse::<Cidr>().unwrap().into()).unwrap();
        let request = Request {
            verb: "ADD".into(),
            ifname: "eth0".into(),
            hook_config:
                r#"{"routes":[{"dst":"192.0.2.0/24"},{"dst":"198.51.100.0/24","gw":"10.1.2.9","mtu":1400}]}"#
                    .into(),
            ..Request::default()
        };
        let result = r#"{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}]}"#;
        let outcome = Outcome::success(&serde_json::from_str(result).unwrap()).unwrap();
        let Ok(Post::Rewrite(result)) = StaticRoutes::post(&request, outcome) else { panic!("no rewrite") };
        assert_eq!(
            serde_json::to_string(&result.routes).unwrap(),
            r#"[{"dst":"192.0.2.0/24","gw":"10.1.2.1"},{"dst":"198.51.100.0/24","gw":"10.1.2.9","mtu":1400}]"#
        );
        let outcome = Outcome::success(&CniResult::default()).unwrap();
        let wrong = Request {
            hook_config: r#"{"routes":[{"dst":"192.0.2.0/24","gw":"203.0.113.1","priority":9}]}"#.into(),
            ..request
        };
        let Ok(Post::Fail(error)) = StaticRoutes::post(&wrong, outcome) else { panic!("no failure") };
        assert!(error.msg.contains("Network is unreachable"), "{}", error.msg);
    }
}
