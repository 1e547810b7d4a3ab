use crate::addressing::{self, Options};
use crate::plugin::{of_this_call, run};
use crate::reach::place;
use crate::{Failure, Interface, Scopes, Undo, Visit, json, only_at_add, parameters};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use wasmhook_cni::{CniResult, Dns, Object, PluginConfig, SpecVersion, convert};
use wasmhook_net_types::PoolConfig;
use wasmhook_store::{Candidate, Holder, Pool};

pub(crate) const INTERFACE: Interface = Interface {
    name: "ipam",
    free: false,
    scopes: Scopes::Pattern("host-local"),
    scope_of,
    functions: &[("allocate", allocate), ("release", release), ("check", check), ("apply", apply)],
};

/// What is served here, and not by a plugin.
const NATIVE: &str = "native";
/// More than any file with name servers.
const LONGEST: u64 = 64 << 10;

/// What is done with a result is about a place, and asked for as such.
fn scope_of(input: &Value) -> Option<&str> {
    input.get("pool").map(|pool| pool.as_str().unwrap_or_default())
}

#[derive(Deserialize)]
struct Ask {
    pool: String,
    config: String,
}

fn ask(visit: &Visit, input: Value) -> Result<(String, Object), Failure> {
    let Ask { pool, config } = parameters(input)?;
    Ok((pool, of_this_call(visit, &config)?))
}

/// Files are those of the conflist, or the usual ones: a hook does not choose where on the node something is written.
fn judge_files(visit: &Visit, config: &PoolConfig) -> Result<(), Failure> {
    let own: Object = visit.config.parse().unwrap_or_default();
    let ipam: Object = own.read("ipam").ok().flatten().unwrap_or_default();
    let said = |key: &str| ipam.read::<PathBuf>(key).ok().flatten();
    let data_dir = config.data_dir != Path::new(PoolConfig::DATA_DIR)
        && said("dataDir").as_ref() != Some(&config.data_dir);
    let resolv_conf = config.resolv_conf.as_ref().filter(|it| {
        it.as_path() != Path::new("/etc/resolv.conf") && said("resolvConf").as_ref() != Some(*it)
    });
    let refused = |key: &str, path: &Path| {
        let words = format!("`ipam.{key}` {} is not what the conflist says", path.display());
        Err(Failure::new("denied", words))
    };
    match (data_dir, resolv_conf) {
        (true, _) => refused("dataDir", &config.data_dir),
        (false, Some(path)) => refused("resolvConf", path),
        (false, None) => Ok(()),
    }
}

fn allocate(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (pool, config) = ask(visit, input)?;
    only_at_add(visit)?;
    if pool == NATIVE {
        return native(visit, &config);
    }
    let result = run(visit, &pool, "ADD", &config)?;
    result.map(Value::from).ok_or_else(|| Failure::new("plugin", format!("`{pool}` returned no addresses")))
}

fn holder(visit: &Visit) -> Holder {
    Holder { id: visit.container_id.clone(), ifname: visit.ifname.clone() }
}

fn native(visit: &Visit, config: &Object) -> Result<Value, Failure> {
    let text = config.to_string();
    let pool = PoolConfig::read(&text, &visit.args)?;
    judge_files(visit, &pool)?;
    let holder = holder(visit);
    let simulated = visit.reach().in_memory().map(|model| {
        let given = model.allocate(&text, &visit.args, &holder.id, &holder.ifname)?;
        Ok(given
            .into_iter()
            .map(|(address, gateway)| json!({ "address": address, "gateway": gateway }))
            .collect())
    });
    let ips: Vec<Value> = if let Some(given) = simulated {
        given.map_err(|error: wasmhook_net_types::NetError| Failure::from(error))?
    } else {
        let ip = |it: Candidate| json!({ "address": it.address, "gateway": it.gateway });
        take(visit, &pool, &holder)?.into_iter().map(ip).collect()
    };
    result(config, &pool, &ips)
}

/// One address of each set. All are chosen before the first is taken; each is written down before it is.
fn take(visit: &Visit, config: &PoolConfig, holder: &Holder) -> Result<Vec<Candidate>, Failure> {
    let pool = Pool::of(config);
    let locked = pool.lock(visit.patience())?;
    let mut candidates = Vec::new();
    for (set, (ranges, wanted)) in config.sets.iter().zip(config.requests()?).enumerate() {
        candidates.push(locked.candidate(set, ranges, wanted)?);
    }
    for candidate in &candidates {
        let undo = Undo::Lease {
            file: candidate.file.clone(),
            id: holder.id.clone(),
            ifname: holder.ifname.clone(),
        };
        visit.recorded(Some(&undo), || locked.take(candidate, holder).map_err(|it| (false, it.into())))?;
    }
    Ok(candidates)
}

/// In the configuration's version.
fn result(config: &Object, pool: &PoolConfig, ips: &[Value]) -> Result<Value, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::new("invalid", format!("ipam: {error}"));
    let version = PluginConfig::from(config.clone()).version().map_err(|error| invalid(&error))?;
    let newest = SpecVersion::V1_1_0;
    let mut result = json!({ "cniVersion": newest.as_str(), "ips": ips });
    let ipam: Option<Object> = config.read("ipam").ok().flatten();
    if let Some(routes) = ipam.and_then(|it| it.raw("routes").map(ToOwned::to_owned))
        && !pool.routes.is_empty()
    {
        result["routes"] = serde_json::from_str(routes.get()).map_err(|error| invalid(&error))?;
    }
    if let Some(path) = &pool.resolv_conf {
        result["dns"] = serde_json::to_value(name_servers(path)?).map_err(|error| invalid(&error))?;
    }
    let result: Object = result.to_string().parse().map_err(|error| invalid(&error))?;
    Ok(convert(&result, newest, version).map_err(|error| invalid(&error))?.to_string().into())
}

/// What a file such as `/etc/resolv.conf` says.
fn name_servers(path: &Path) -> Result<Dns, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new("unavailable", format!("resolvConf {}: {error}", path.display()))
    };
    let mut text = String::new();
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().is_ok_and(|it| it.is_file()) {
        return Err(Failure::new("invalid", format!("resolvConf {}: it is no file", path.display())));
    }
    file.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.nameservers.get_or_insert_default().extend(words.next()),
            Some("domain") => dns.domain = words.next().or(dns.domain.take()),
            Some("search") => dns.search.get_or_insert_default().extend(words),
            Some("options") => dns.options.get_or_insert_default().extend(words),
            _ => {}
        }
    }
    Ok(dns)
}

/// The slow way, for what this attachment's journal does not know.
fn release(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (pool, config) = ask(visit, input)?;
    if !matches!(visit.verb, "ADD" | "DEL") {
        return Err(Failure::new("invalid", format!("nothing is given back at {}", visit.verb)));
    }
    let known = |trail: &std::sync::Arc<std::sync::Mutex<dyn crate::Trail>>| {
        trail.lock().unwrap_or_else(PoisonError::into_inner).held(Undo::is_lease) > 0
    };
    if visit.verb == "DEL" && visit.trail.as_ref().is_some_and(known) {
        // It is given back without anybody's help.
        return Ok(Value::Null);
    }
    if pool != NATIVE {
        run(visit, &pool, "DEL", &config)?;
        return Ok(Value::Null);
    }
    let pool = PoolConfig::read(&config.to_string(), &[])?;
    judge_files(visit, &pool)?;
    let holder = holder(visit);
    if let Some(model) = visit.reach().in_memory() {
        model.release(&holder.id, &holder.ifname);
        return Ok(Value::Null);
    }
    Pool::of(&pool).release(&holder, visit.patience())?;
    Ok(Value::Null)
}

fn check(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (pool, config) = ask(visit, input)?;
    if pool != NATIVE {
        run(visit, &pool, "CHECK", &config)?;
        return Ok(Value::Null);
    }
    let pool = PoolConfig::read(&config.to_string(), &visit.args)?;
    judge_files(visit, &pool)?;
    let holder = holder(visit);
    let held = match visit.reach().in_memory() {
        Some(model) => model.held(&holder.id, &holder.ifname),
        None => Pool::of(&pool).held_by(&holder)?,
    };
    if pool.sets.iter().all(|set| held.iter().any(|address| set.contains(*address))) {
        return Ok(Value::Null);
    }
    let words = format!("{} of {} has no address in {:?}", holder.ifname, holder.id, pool.network);
    Err(Failure::new("not-found", words))
}

#[derive(Deserialize)]
struct Apply {
    ns: String,
    link: String,
    res: String,
    options: String,
}

fn apply(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Apply { ns, link, res, options } = parameters(input)?;
    let place = place(&ns)?;
    visit.needs("link", place.as_str())?;
    let options: Options = if options.is_empty() { Options::default() } else { json("options", &options)? };
    addressing::apply(visit, place, &link, &newest(&res)?, options)?;
    Ok(Value::Null)
}

/// The result in the newest version, whichever it is in.
fn newest(text: &str) -> Result<CniResult, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::new("invalid", format!("`res`: {error}"));
    let result: Object = text.parse().map_err(|error| invalid(&error))?;
    let version: Option<String> = result.read("cniVersion").map_err(|error| invalid(&error))?;
    let version = version.unwrap_or_else(|| SpecVersion::V1_1_0.to_string());
    let version: SpecVersion =
        version.parse().map_err(|()| invalid(&format!("cniVersion {version:?} is not known")))?;
    let result = convert(&result, version, SpecVersion::V1_1_0).map_err(|error| invalid(&error))?;
    serde_json::from_str(&result.to_string()).map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;
    use crate::{Grant, Reach};
    use std::sync::{Arc, Mutex};
    use wasmhook_net_types::Model;

    const CONFIG: &str =
        r#"{"name":"n","cniVersion":"1.0.0","ipam":{"subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]}}"#;

    fn asking(config: &str) -> Visit {
        let mut visit = visit();
        visit.grants = ["ipam", "link"].iter().map(|it| Grant::parse(it).unwrap()).collect();
        config.clone_into(&mut visit.config);
        visit
    }

    fn ask(visit: &mut Visit, function: &str, config: &str) -> Result<Value, Failure> {
        INTERFACE.call(function, visit, json!({ "pool": "native", "config": config }))
    }

    #[test]
    fn whoever_only_watches_has_addresses_that_are_nobodys() {
        let mut visit = asking(CONFIG);
        // As in monitor mode: nothing has been looked at yet.
        let real = Arc::new(Mutex::new(Reach::model(Model::new())));
        visit.reach = Arc::new(Mutex::new(Reach::copy_of(real.clone())));
        let result = ask(&mut visit, "allocate", "").unwrap();
        assert_eq!(
            result,
            r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.2/24","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]}"#
        );
        ask(&mut visit, "check", "").unwrap();
        ask(&mut visit, "release", "").unwrap();
        assert_eq!(ask(&mut visit, "check", "").unwrap_err().code, "not-found");
        assert!(real.lock().unwrap().in_memory().unwrap().leases().is_empty());
    }

    #[test]
    fn a_hook_does_not_choose_the_network_nor_where_something_is_written() {
        let mut visit = asking(CONFIG);
        let mut code = |config: &str| ask(&mut visit, "allocate", config).unwrap_err().message;
        assert_eq!(code(&CONFIG.replace("\"n\"", "\"m\"")), "`config`: `name` is not this call's");
        let elsewhere = CONFIG.replace("\"subnet\"", "\"dataDir\":\"/etc/cron.d\",\"subnet\"");
        assert_eq!(code(&elsewhere), "`ipam.dataDir` /etc/cron.d is not what the conflist says");
        let secret = CONFIG.replace("\"subnet\"", "\"resolvConf\":\"/etc/shadow\",\"subnet\"");
        assert_eq!(code(&secret), "`ipam.resolvConf` /etc/shadow is not what the conflist says");
        let mut own = asking(&elsewhere);
        ask(&mut own, "allocate", &elsewhere).unwrap();
    }

    #[test]
    fn a_result_is_applied_to_whichever_link_it_is_about() {
        let mut visit = asking(CONFIG);
        let spec = wasmhook_net_types::LinkSpec::veth("v0", "eth0").up();
        visit.network(|network| network.create_link(wasmhook_net_types::Place::Host, &spec, "")).unwrap();
        let result = r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.2/24","gateway":"10.1.2.1","routes":[{"dst":"0.0.0.0/0"}]}}"#;
        let input = json!({ "ns": "container", "link": "eth0", "res": result, "options": "" });
        INTERFACE.call("apply", &mut visit, input).unwrap();
        let network = visit.reach().in_memory().unwrap().clone();
        let difference = network.difference(&Model::new());
        assert!(
            difference.contains(&"container: + address 10.1.2.2/24 on eth0".to_owned()),
            "{difference:?}"
        );
        assert!(difference.contains(&"container: + route to 0.0.0.0/0 via 10.1.2.1 by eth0".to_owned()));
        visit.grants = [Grant::parse("ipam").unwrap()].into();
        let input = json!({ "ns": "container", "link": "eth0", "res": result, "options": "" });
        assert_eq!(INTERFACE.call("apply", &mut visit, input).unwrap_err().code, "denied");
    }
}
