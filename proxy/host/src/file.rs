use crate::{Failure, Interface, Scopes, Visit, parameters};
use serde::Deserialize;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Component, Path};

pub(crate) const INTERFACE: Interface = Interface {
    name: "file",
    free: false,
    scopes: Scopes::Pattern("/run/flannel/*"),
    scope_of,
    functions: &[("exists", exists)],
};

#[allow(clippy::unnecessary_wraps, reason = "one shape for all interfaces")]
fn scope_of(input: &Value) -> Option<&str> {
    // Any other value is refused when it is read; it must not be taken for one without a path before.
    Some(input.get("path").and_then(Value::as_str).unwrap_or_default())
}

#[derive(Deserialize)]
struct Exists {
    path: String,
}

fn exists(_: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Exists { path } = parameters(input)?;
    // What fits a pattern must not lead out of it.
    let plain = |it: &str| !matches!(it, "." | "..");
    let path = Path::new(&path);
    if path.components().next() != Some(Component::RootDir)
        || !path.as_os_str().to_string_lossy().split('/').all(plain)
    {
        let words = format!("path {:?}: write an absolute one without `.` and `..`", path.to_string_lossy());
        return Err(Failure::new("invalid", words));
    }
    match path.metadata() {
        Ok(_) => Ok(true.into()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false.into())
        }
        Err(error) => Err(Failure::new("unavailable", format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;
    use serde_json::json;

    #[test]
    fn a_path_is_there_or_not_and_leads_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("is"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let ask = |path: &str| INTERFACE.call("exists", &mut visit(), json!({ "path": path }));
        assert_eq!(ask(&at("is")).unwrap(), true);
        assert_eq!(ask(&at("dangling")).unwrap(), false);
        assert_eq!(ask(&at("is/below")).unwrap(), false);
        for wrong in ["", "is", "./is", "/run/flannel/../secret", "/run/.", "/a\0b/.."] {
            assert_eq!(ask(wrong).unwrap_err().code, "invalid", "{wrong}");
        }
        assert_eq!(ask("/a\0b").unwrap_err().code, "unavailable");
    }
}
