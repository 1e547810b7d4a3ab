use crate::{PLUGINS, dist};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A node's files: settings, module directory, compiled modules.
pub struct Lab {
    directory: TempDir,
}

/// One call as a runtime makes it.
#[derive(Clone, Debug)]
pub struct Call {
    /// `CNI_COMMAND`.
    pub verb: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// `CNI_PATH`.
    pub path: String,
    /// What goes to stdin.
    pub stdin: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The one document, or nothing.
    pub stdout: String,
    /// The log.
    pub stderr: String,
}

impl Call {
    /// An ADD or another verb with this configuration.
    #[must_use]
    pub fn new(verb: &str, config: &Value) -> Self {
        Self {
            verb: verb.into(),
            container_id: "c1".into(),
            netns: "/run/netns/none".into(),
            ifname: "eth0".into(),
            args: String::new(),
            path: PLUGINS.into(),
            stdin: config.to_string(),
        }
    }

    /// As if by a kubelet.
    #[must_use]
    pub fn pod(self, namespace: &str, name: &str) -> Self {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}");
        Self { args, ..self }
    }

    /// This call to the plugin at `program`, ready to start.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", &self.verb)
            .env("CNI_CONTAINERID", &self.container_id)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_IFNAME", &self.ifname)
            .env("CNI_ARGS", &self.args)
            .env("CNI_PATH", &self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Answer {
    /// Starts a plugin, tells it this, and waits for what it has to say.
    #[must_use]
    pub fn of(command: &mut Command, stdin: &str) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // A plugin that fails early reads nothing.
        let _ = child.stdin.take().expect("stdin").write_all(stdin.as_bytes());
        child.wait_with_output().expect("the plugin ends").into()
    }

    /// The result; panics with all there is to know when there is none.
    #[must_use]
    pub fn result(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.document()
    }

    /// The error; panics when the call went well.
    #[must_use]
    pub fn error(&self) -> CniError {
        assert_eq!(self.code, Some(1), "{self:?}");
        let document = self.document();
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        assert!(!text("cniVersion").is_empty(), "an error carries cniVersion: {self:?}");
        CniError {
            code: document["code"].as_u64().unwrap_or_default(),
            msg: text("msg"),
            details: text("details"),
        }
    }

    /// Success without a word, as DEL and CHECK have it.
    pub fn silent(&self) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(0), ""), "{self:?}");
    }

    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A CNI error, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct CniError {
    /// `code`
    pub code: u64,
    /// `msg`
    pub msg: String,
    /// `details`, `""` when absent
    pub details: String,
}

impl Lab {
    /// A node with the simpler example hooks installed, and this `isolation`.
    #[must_use]
    pub fn new(isolation: &str) -> Self {
        Self::on(&std::env::temp_dir(), isolation)
    }

    /// The same on this disk.
    #[must_use]
    pub fn on(disk: &Path, isolation: &str) -> Self {
        let lab = Self { directory: tempfile::tempdir_in(disk).expect("a temporary directory") };
        fs::create_dir(lab.modules()).expect("modules directory");
        for hook in ["fault", "identity", "mtu", "policy"] {
            lab.install_example(hook);
        }
        lab.configure(isolation, &dist("wasmhookctl"));
        lab
    }

    /// Writes the node's settings anew.
    pub fn configure(&self, isolation: &str, compiler: &Path) {
        let (modules, store, compiler) = (self.modules(), self.compiled(), compiler.display());
        let text = format!(
            "modules = ['{}']\nstate = '{}'\ncompiled = '{}'\ncompiler = '{compiler}'\nisolation = '{isolation}'\n",
            modules.display(),
            self.state().display(),
            store.display(),
        );
        fs::write(self.settings(), text).expect("settings");
    }

    /// Puts a module into the module directory.
    pub fn install(&self, name: &str, module: &[u8]) {
        fs::write(self.modules().join(format!("{name}.wasm")), module).expect("module");
    }

    /// One of the examples, from where they are built.
    pub fn install_example(&self, hook: &str) {
        self.install(hook, &fs::read(dist(&format!("hooks/{hook}.wasm"))).expect("hook"));
    }

    /// The settings file.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// The module directory.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.path().join("modules")
    }

    /// The directory of compiled modules.
    #[must_use]
    pub fn compiled(&self) -> PathBuf {
        self.path().join("compiled")
    }

    /// The directory of journals, and of what else outlives a call.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// How many journals there are.
    #[must_use]
    pub fn journals(&self) -> usize {
        fs::read_dir(self.state().join("journal")).map_or(0, Iterator::count)
    }

    /// The node's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// `wasmhook`, as a runtime starts it.
    #[must_use]
    pub fn command(&self, call: &Call) -> Command {
        let mut command = call.command(&dist("wasmhook"));
        command.env("WASMHOOK_CONFIG", self.settings());
        command
    }

    /// Makes a call and waits for the answer.
    #[must_use]
    pub fn call(&self, call: &Call) -> Answer {
        Answer::of(&mut self.command(call), &call.stdin)
    }

    /// `wasmhookctl` with these arguments, and its own node.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(dist("wasmhookctl"));
        command.env_clear().env("WASMHOOK_CONFIG", self.settings()).args(arguments).stdin(Stdio::null());
        command.output().expect("wasmhookctl starts").into()
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
