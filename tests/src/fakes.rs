use crate::{PLUGINS, dist};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

/// A `CNI_PATH` directory of plugins that are shell scripts, for what no real plugin does.
///
/// Each keeps what it is told before it does anything. Its script may use `$here`, the directory.
pub struct Fakes {
    directory: TempDir,
}

const ALL: &str = r#""0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0""#;

impl Fakes {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A plugin of today, which knows every version.
    pub fn plugin(&self, name: &str, script: &str) {
        self.write(name, ALL, script);
    }

    /// A plugin that refuses what is newer than 0.4.0, as old ones do.
    pub fn old_plugin(&self, name: &str, script: &str) {
        let refuse = r#"case $told in *'"cniVersion":"1.'*)
            echo '{"code":1,"msg":"incompatible CNI versions","details":"too new"}'; exit 1;;
        esac"#;
        self.write(name, r#""0.3.1","0.4.0""#, &format!("{refuse}\n{script}"));
    }

    /// Links to `wasmhook` and to all real plugins, as on a node; in `bin`, for `PATH`, the programs that they need.
    /// Not `ip6tables`: wherever there is one, portmap 1.1.1 wants rules at CHECK that it never made.
    pub fn link_real_ones(&self) {
        symlink(dist("wasmhook"), self.file("wasmhook")).expect("a link");
        for plugin in fs::read_dir(PLUGINS).expect("package containernetworking-plugins").flatten() {
            symlink(plugin.path(), self.directory.path().join(plugin.file_name())).expect("a link");
        }
        fs::create_dir(self.file("bin")).expect("a directory");
        for program in ["/usr/sbin/iptables", "/bin/cat"] {
            let name = program.rsplit('/').next().unwrap_or_default();
            symlink(program, self.file("bin").join(name)).expect("a link");
        }
    }

    /// The real plugin of this name, in place of its link. What it is told is kept, and what it says.
    pub fn listen_to(&self, name: &str) {
        let (path, here, real) = (self.file(name), self.path(), format!("{PLUGINS}/{name}"));
        let text = format!(
            r"#!/bin/sh
here={here}
echo {name} $CNI_COMMAND >> $here/calls
cat > $here/{name}.$CNI_COMMAND.stdin
{real} < $here/{name}.$CNI_COMMAND.stdin > $here/{name}.$CNI_COMMAND.stdout
code=$?
cat $here/{name}.$CNI_COMMAND.stdout
exit $code
"
        );
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// What a plugin that is listened to last said to this verb.
    #[must_use]
    pub fn said(&self, name: &str, verb: &str) -> Value {
        let text = fs::read_to_string(self.file(&format!("{name}.{verb}.stdout"))).expect("called");
        serde_json::from_str(&text).expect("JSON on stdout")
    }

    fn write(&self, name: &str, versions: &str, script: &str) {
        let (path, here) = (self.file(name), self.path());
        let text = format!(
            r#"#!/bin/sh
here={here}
cat /proc/$$/environ > $here/{name}.$CNI_COMMAND.environ
echo {name} $CNI_COMMAND >> $here/calls
if [ $CNI_COMMAND = VERSION ]; then
    echo '{{"cniVersion":"1.1.0","supportedVersions":[{versions}]}}'
    exit
fi
told=$(cat)
printf %s "$told" > $here/{name}.$CNI_COMMAND.stdin
{script}
"#
        );
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// Who was called with what, in order, as `name VERB`. Questions for the version are left out.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.all_calls().into_iter().filter(|call| !call.ends_with(" VERSION")).collect()
    }

    /// How often this plugin was asked for its version.
    #[must_use]
    pub fn asked_for_version(&self, name: &str) -> usize {
        self.all_calls().iter().filter(|call| **call == format!("{name} VERSION")).count()
    }

    fn all_calls(&self) -> Vec<String> {
        fs::read_to_string(self.file("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// What this plugin last read from stdin with this verb. Panics when it was not called.
    #[must_use]
    pub fn told(&self, name: &str, verb: &str) -> Value {
        serde_json::from_str(&self.told_text(name, verb)).expect("JSON on stdin")
    }

    /// The same, byte for byte.
    #[must_use]
    pub fn told_text(&self, name: &str, verb: &str) -> String {
        fs::read_to_string(self.file(&format!("{name}.{verb}.stdin")))
            .unwrap_or_else(|_| panic!("`{name}` was not called with {verb}: {:?}", self.calls()))
    }

    /// The environment that this plugin last found with this verb.
    #[must_use]
    pub fn environment(&self, name: &str, verb: &str) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.file(&format!("{name}.{verb}.environ"))).expect("called");
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// A file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory, for `CNI_PATH`.
    #[must_use]
    pub fn path(&self) -> String {
        self.directory.path().display().to_string()
    }
}

impl Default for Fakes {
    fn default() -> Self {
        Self::new()
    }
}
