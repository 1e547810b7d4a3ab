use crate::entry::{HookSpec, ModuleRef};
use crate::settings::Settings;
use crate::units::show_bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wasmhook_cni::Verb;
use wasmhook_store::{Artifact, CompileLock, Compiled, Digest, Lookup, StoreError};
use wasmhook_wasm::Culprit;

/// How long a pod waits for a compiler before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often somebody who waits for another process's compiler looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// From a hook in the conflist to a compiled module.
#[derive(Debug)]
pub struct Modules<'a> {
    settings: &'a Settings,
    store: Compiled,
}

/// A module cannot be run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ModuleError {
    #[error("module not found: no {name}.wasm in {}", join(.directories))]
    NotFound { name: String, directories: Vec<PathBuf> },
    #[error("module {} is not there", .0.display())]
    Gone(PathBuf),
    #[error("module {} has {}, and {} are allowed (raise `limits.module`)", path.display(), show_bytes(*.bytes), show_bytes(*.limit))]
    Large { path: PathBuf, bytes: u64, limit: u64 },
    #[error("module {} has sha256 {found}, and the conflist pins {pinned}", path.display())]
    Pin { path: PathBuf, found: Digest, pinned: Digest },
    #[error("module {}: {said}", path.display())]
    Compile { path: PathBuf, said: String },
    #[error("module {} is being compiled ({:.1} MB, for {:.0?} so far): try again", path.display(), megabytes(*.bytes), .waited)]
    Compiling { path: PathBuf, bytes: u64, waited: Duration },
    #[error("module {} is not compiled, and {verb} does not wait for a compiler: run `wasmhookctl compile {}`", path.display(), path.display())]
    NotCompiled { path: PathBuf, verb: Verb },
    #[error("compiler {} cannot be started: {source} (setting `compiler`)", path.display())]
    Compiler { path: PathBuf, source: io::Error },
    #[error("{error}")]
    Store { error: StoreError },
}

impl ModuleError {
    pub(crate) fn culprit(&self) -> Culprit {
        match self {
            Self::NotFound { .. }
            | Self::Gone(_)
            | Self::Large { .. }
            | Self::Pin { .. }
            | Self::NotCompiled { .. } => Culprit::Configuration,
            Self::Compile { .. } => Culprit::Guest,
            Self::Compiling { .. } | Self::Compiler { .. } | Self::Store { .. } => Culprit::Host,
        }
    }
}

impl From<StoreError> for ModuleError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { path, cause, .. } if cause.kind() == io::ErrorKind::NotFound => Self::Gone(path),
            error => Self::Store { error },
        }
    }
}

impl<'a> Modules<'a> {
    /// The modules of a node with these settings.
    #[must_use]
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, store: Compiled::new(&settings.compiled, wasmhook_wasm::build_id()) }
    }

    /// Where compiled modules are.
    #[must_use]
    pub fn store(&self) -> &Compiled {
        &self.store
    }

    /// The file of a module.
    pub fn path(&self, module: &ModuleRef) -> Result<PathBuf, ModuleError> {
        match module {
            ModuleRef::Path(path) => Ok(path.clone()),
            ModuleRef::Name(name) => {
                self.candidates(name).find(|path| path.exists()).ok_or_else(|| self.not_found(name))
            }
        }
    }

    /// The file of a module, and its compiled form: the lookup itself tells which file is there.
    fn find(&self, module: &ModuleRef) -> Result<(PathBuf, Lookup), ModuleError> {
        let look =
            |path: PathBuf| self.store.find(&path).map(|found| (path, found)).map_err(ModuleError::from);
        match module {
            ModuleRef::Path(path) => look(path.clone()),
            ModuleRef::Name(name) => self
                .candidates(name)
                .map(look)
                .find(|found| !matches!(found, Err(ModuleError::Gone(_))))
                .unwrap_or_else(|| Err(self.not_found(name))),
        }
    }

    fn candidates(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.settings.modules.iter().map(move |directory| directory.join(format!("{name}.wasm")))
    }

    fn not_found(&self, name: &str) -> ModuleError {
        ModuleError::NotFound { name: name.to_owned(), directories: self.settings.modules.clone() }
    }

    /// A hook's compiled module: found, or compiled now where the verb can wait for that.
    pub fn artifact(&self, hook: &HookSpec, verb: Verb) -> Result<Artifact, ModuleError> {
        if let Some(pin) = &hook.pin
            && let Some(artifact) = self.store.find_digest(pin)
        {
            return Ok(artifact);
        }
        let (path, found) = self.find(&hook.module)?;
        let (bytes, limit) = (path.metadata().map_or(0, |it| it.len()), hook.limits.module);
        if bytes > limit {
            return Err(ModuleError::Large { path, bytes, limit });
        }
        let digest = match &found {
            Lookup::Hit(artifact) => artifact.module,
            Lookup::Miss(digest) => *digest,
        };
        if let Some(pinned) = hook.pin.filter(|pin| *pin != digest) {
            return Err(ModuleError::Pin { path, found: digest, pinned });
        }
        match found {
            Lookup::Hit(artifact) => Ok(artifact),
            Lookup::Miss(digest) => match verb {
                Verb::Add | Verb::Check => self.compile(&path, &digest),
                _ => Err(ModuleError::NotCompiled { path, verb }),
            },
        }
    }

    /// Starts the compiler, or waits for who has.
    fn compile(&self, path: &Path, digest: &Digest) -> Result<Artifact, ModuleError> {
        let started = Instant::now();
        if let Err(error) = self.store.prepare() {
            tracing::warn!("{error}: compiling for this call alone");
            return self.compile_for_this_call(path, digest);
        }
        while started.elapsed() < PATIENCE {
            if let Some(lock) = self.store.lock(digest)? {
                // Whoever had the lock before us may just have finished.
                if let Some(artifact) = self.store.find_digest(digest) {
                    return Ok(artifact);
                }
                let compiler = self.start(path, &lock)?;
                return match outcome(compiler, path, started + PATIENCE) {
                    Some(Ok(())) => self.store.find_digest(digest).ok_or_else(|| changed(path)),
                    Some(Err(Refused::Module(said))) => Err(ModuleError::Compile { path: path.into(), said }),
                    Some(Err(Refused::Store(said))) => {
                        tracing::error!("compiled module cannot be kept: {said}");
                        self.compile_for_this_call(path, digest)
                    }
                    None => Err(still_compiling(path, started)),
                };
            }
            sleep(LOOK_EVERY);
            if let Some(artifact) = self.store.find_digest(digest) {
                return Ok(artifact);
            }
        }
        Err(still_compiling(path, started))
    }

    /// Nothing can be kept, so the compiled module comes in memory and goes with this process.
    fn compile_for_this_call(&self, path: &Path, digest: &Digest) -> Result<Artifact, ModuleError> {
        let started = Instant::now();
        let failed =
            |source: io::Error| ModuleError::Compiler { path: self.settings.compiler.clone(), source };
        let memory = nix::sys::memfd::memfd_create("wasmhook", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
        let memory = File::from(memory.map_err(|error| failed(error.into()))?);
        let out = memory.try_clone().map_err(failed)?;
        let mut command = self.command(path, &["--stdout"]);
        command.stdout(out);
        let compiler = command.spawn().map_err(failed)?;
        tracing::debug!(%digest, "compiling in memory");
        match outcome(compiler, path, started + PATIENCE) {
            // The compiler read the module after us.
            Some(Ok(())) => self.store.read_back(memory, digest).ok_or_else(|| changed(path)),
            Some(Err(Refused::Module(said) | Refused::Store(said))) => {
                Err(ModuleError::Compile { path: path.into(), said })
            }
            None => Err(still_compiling(path, started)),
        }
    }

    /// The compiler holds the lock as long as it lives, longer than we do if need be.
    #[allow(unsafe_code, reason = "the child before its exec; see each block")]
    fn start(&self, module: &Path, lock: &CompileLock) -> Result<Child, ModuleError> {
        let descriptor = lock.file().as_raw_fd();
        let mut command = self.command(module, &[]);
        command.stdout(Stdio::null());
        let keep_the_lock = move || {
            nix::unistd::setsid()?;
            nix::sys::prctl::set_no_new_privs()?;
            // SAFETY: no pointers. The parent holds the lock, and with it the descriptor, until after the fork.
            match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec only system calls, no allocation, no lock.
        unsafe { command.pre_exec(keep_the_lock) };
        command
            .spawn()
            .map_err(|source| ModuleError::Compiler { path: self.settings.compiler.clone(), source })
    }

    fn command(&self, module: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(&self.settings.compiler);
        command
            .args(["compile", "--quiet", "--compiled"])
            .arg(&self.settings.compiled)
            .args(options)
            .arg("--")
            .arg(module)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// Why a compiler gave up.
enum Refused {
    /// The module is no good.
    Module(String),
    /// It may be; what was made of it could not be kept: a full disk, say.
    Store(String),
}

/// What a compiler came to: nothing when the time was over first; then it goes on without us.
fn outcome(mut compiler: Child, module: &Path, until: Instant) -> Option<Result<(), Refused>> {
    let mut said = Vec::new();
    if let Some(mut stderr) = compiler.stderr.take() {
        // Its end closes the pipe, so there is no need to ask again and again.
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return None,
                Err(nix::errno::Errno::EINTR) => continue,
                _ => {}
            }
            let mut some = [0; 4096];
            match stderr.read(&mut some) {
                Ok(0) | Err(_) => break,
                Ok(read) => said.extend_from_slice(&some[..read]),
            }
        }
    }
    let said = String::from_utf8_lossy(&said).trim().trim_start_matches("error: ").to_owned();
    // Which module it is, we say ourselves.
    let said = said.strip_prefix(&format!("module {}: ", module.display())).unwrap_or(&said).to_owned();
    Some(match compiler.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if said.is_empty() => {
            Err(Refused::Module(format!("cannot be compiled: the compiler ended with {status}")))
        }
        Ok(status) if status.code() == Some(2) => Err(Refused::Store(said)),
        Ok(_) => Err(Refused::Module(said)),
        Err(error) => Err(Refused::Module(format!("cannot be compiled: {error}"))),
    })
}

fn changed(path: &Path) -> ModuleError {
    ModuleError::Compile { path: path.into(), said: "what was compiled is not for this module and build: it changed meanwhile (try again), or `wasmhookctl` is of another version than `wasmhook` (install both)".into() }
}

fn still_compiling(path: &Path, started: Instant) -> ModuleError {
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    ModuleError::Compiling { path: path.into(), bytes, waited: started.elapsed() }
}

#[allow(clippy::cast_precision_loss, reason = "for a person")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}
