//! Which attachments somebody knows to be valid, from one of three sources.

use crate::{Failure, cri};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use wasmhook_cni::{Attachment, VALID_ATTACHMENTS};
use wasmhook_store::Key;

/// Where libcni keeps its cache when nobody says otherwise.
const LIBCNI_RESULTS: &str = "/var/lib/cni/results";

/// Whom `gc` asks. At most one.
#[derive(Args)]
#[group(id = "source", multiple = false)]
pub(crate) struct Source {
    /// JSON list of {"containerID", "ifname"}, or what GC gets on stdin; `-` is stdin
    #[arg(long, value_name = "FILE")]
    valid: Option<PathBuf>,
    /// What libcni remembers of ADDs whose DEL it has not seen through; usually in /var/lib/cni/results
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = LIBCNI_RESULTS)]
    from_libcni_cache: Option<PathBuf>,
    /// Ask a container runtime over CRI which pod sandboxes it has
    #[arg(long, value_name = "SOCKET")]
    from_cri: Option<String>,
}

/// What a source says. What is not in it is not valid.
#[derive(Debug, Default)]
pub(crate) struct Valid {
    by_container: HashMap<String, Vec<Named>>,
    /// File names of libcni's that could not be read: `<network>-<container id>-<ifname>`.
    names: Vec<String>,
}

/// The rest of an attachment's name; `None` is any.
#[derive(Debug)]
struct Named {
    network: Option<String>,
    ifname: Option<String>,
}

/// <https://github.com/containernetworking/cni/blob/main/libcni/api.go>, `cachedInfo`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    kind: String,
    container_id: String,
    if_name: String,
    network_name: String,
}

impl Source {
    /// `None`: nobody was to be asked.
    pub(crate) fn ask(&self) -> Result<Option<Valid>, Failure> {
        if let Some(file) = &self.valid {
            return listed(file).map(Some);
        }
        if let Some(directory) = &self.from_libcni_cache {
            return cached(directory).map(Some);
        }
        let Some(socket) = &self.from_cri else { return Ok(None) };
        let mut valid = Valid::default();
        for id in cri::sandboxes(socket)? {
            valid.add(id, Named { network: None, ifname: None });
        }
        Ok(Some(valid))
    }
}

impl Valid {
    fn add(&mut self, container_id: String, named: Named) {
        self.by_container.entry(container_id).or_default().push(named);
    }

    /// Is this attachment one of them?
    pub(crate) fn has(&self, key: &Key) -> bool {
        let is = |named: &Option<String>, word: &String| named.as_ref().is_none_or(|it| it == word);
        let same = |named: &Named| is(&named.network, &key.network) && is(&named.ifname, &key.ifname);
        let file = || format!("{}-{}-{}", key.network, key.container_id, key.ifname);
        self.by_container.get(&key.container_id).is_some_and(|all| all.iter().any(same))
            || !self.names.is_empty() && self.names.contains(&file())
    }
}

fn listed(file: &Path) -> Result<Valid, Failure> {
    let wrong = |what: String| Failure::Content { path: file.into(), what };
    let document: Value =
        serde_json::from_slice(&crate::read(file)?).map_err(|error| wrong(format!("not JSON: {error}")))?;
    let list = match &document {
        Value::Array(_) => Some(&document),
        document => VALID_ATTACHMENTS.iter().find_map(|key| document.get(key)).filter(|list| !list.is_null()),
    };
    let list = list.ok_or_else(|| {
        let form = r#"[{"containerID": "…", "ifname": "eth0"}]"#;
        wrong(format!(
            "no list of valid attachments: write {form}, or the same as {:?}",
            VALID_ATTACHMENTS[0]
        ))
    })?;
    let list = Vec::<Attachment>::deserialize(list).map_err(|error| wrong(error.to_string()))?;
    let mut valid = Valid::default();
    for Attachment { container_id, ifname } in list {
        valid.add(container_id, Named { network: None, ifname: Some(ifname) });
    }
    Ok(valid)
}

/// A directory that is not there says nothing, so it is an error and not an empty list.
fn cached(directory: &Path) -> Result<Valid, Failure> {
    let failed = |source| Failure::File { path: directory.into(), source };
    let mut valid = Valid::default();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let text = match fs::read(&path) {
            // A DEL just went through.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.map_err(|source| Failure::File { path: path.clone(), source })?,
        };
        match serde_json::from_slice::<Cached>(&text) {
            Ok(it) if it.kind == "cniCacheV1" => {
                let named = Named { network: Some(it.network_name), ifname: Some(it.if_name) };
                valid.add(it.container_id, named);
            }
            // An older libcni's, or cut short by a power loss: what its name may mean is left alone.
            _ => valid.names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned())),
        }
    }
    Ok(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(network: &str, id: &str, ifname: &str) -> Key {
        Key { network: network.into(), container_id: id.into(), ifname: ifname.into(), entry: "main".into() }
    }

    fn from(text: &str) -> Result<Valid, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        listed(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_one_by_itself_or_as_gc_gets_it() {
        let list = r#"[{"containerID":"a","ifname":"eth0","more":1}]"#;
        for text in [
            list.to_owned(),
            format!(r#"{{"name":"n","cni.dev/valid-attachments":{list}}}"#),
            format!(r#"{{"cni.dev/attachments":{list}}}"#),
        ] {
            let valid = from(&text).unwrap();
            assert!(valid.has(&key("any", "a", "eth0")));
            assert!(!valid.has(&key("any", "a", "eth1")) && !valid.has(&key("any", "b", "eth0")));
        }
        assert!(!from("[]").unwrap().has(&key("n", "a", "eth0")));
    }

    #[test]
    fn no_list_is_a_mistake_and_not_an_empty_one() {
        for text in ["{}", r#"{"cni.dev/valid-attachments":null}"#, "7"] {
            assert!(from(text).unwrap_err().contains("no list of valid attachments: write [{"), "{text}");
        }
        assert!(from("").unwrap_err().contains("not JSON"));
        assert!(
            from(r#"[{"containerId":"a","ifname":"e"}]"#)
                .unwrap_err()
                .contains("missing field `containerID`")
        );
    }

    #[test]
    fn a_cache_is_read_by_its_fields_and_what_cannot_be_read_protects_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("x", r#"{"kind":"cniCacheV1","containerId":"a-b","ifName":"eth0","networkName":"n"}"#);
        write("n-old-eth0", r#"{"cniVersion":"0.3.1","ips":[]}"#);
        write("n-cut-eth0", "");
        let valid = cached(directory.path()).unwrap();
        for id in ["a-b", "old", "cut"] {
            assert!(valid.has(&key("n", id, "eth0")), "{id}");
            assert!(!valid.has(&key("other", id, "eth0")) && !valid.has(&key("n", id, "eth1")), "{id}");
        }
        assert!(cached(&directory.path().join("gone")).is_err());
    }
}
