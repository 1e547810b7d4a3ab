//! Which versions of the specification a plugin knows, remembered for the file it is.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::compiled::stat_key;

/// What plugins answered to VERSION. Only a shortcut: what cannot be written is asked again.
///
/// One symlink per plugin file, `<state>/versions/<dev,ino,size,mtime,ctime>`, whose target is the list: read with one
/// system call, replaced whole.
#[derive(Clone, Debug)]
pub struct Versions {
    directory: PathBuf,
}

impl Versions {
    /// Below the node's state directory. Touches nothing.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("versions") }
    }

    /// What this plugin file has answered, if it was asked.
    #[must_use]
    pub fn recall(&self, plugin: &Path) -> Option<Vec<String>> {
        let list = fs::read_link(self.entry(plugin)?).ok()?;
        Some(list.to_str()?.split(',').map(str::to_owned).collect())
    }

    /// Keeps an answer.
    pub fn remember(&self, plugin: &Path, versions: &[String]) {
        let fits = versions.iter().all(|it| !it.is_empty() && !it.contains([',', '\0']));
        let Some(entry) = self.entry(plugin).filter(|_| fits && !versions.is_empty()) else { return };
        let unfinished = self.directory.join(format!(".{}", std::process::id()));
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        let _ = fs::remove_file(&unfinished);
        if symlink(versions.join(","), &unfinished).is_ok() {
            let _ = fs::rename(&unfinished, entry);
        }
    }

    fn entry(&self, plugin: &Path) -> Option<PathBuf> {
        Some(self.directory.join(stat_key(&fs::metadata(plugin).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_files_and_not_the_paths() {
        let tmp = tempfile::tempdir().unwrap();
        let plugin = tmp.path().join("bridge");
        fs::write(&plugin, "one").unwrap();
        let versions = Versions::new(&tmp.path().join("state"));
        assert_eq!(versions.recall(&plugin), None);
        let list = ["0.4.0".to_owned(), "1.0.0".to_owned()];
        versions.remember(&plugin, &list);
        assert_eq!(versions.recall(&plugin).as_deref(), Some(&list[..]));
        fs::write(&plugin, "another").unwrap();
        assert_eq!(versions.recall(&plugin), None);
    }
}
