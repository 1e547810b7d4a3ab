use crate::{Artifact, Digest, StoreError, artifact, trust};
use nix::fcntl::OFlag;
use std::cell::Cell;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A module that changed this recently could change again within the same time stamp, unseen.
const SETTLED: Duration = Duration::from_secs(2);

/// Modules compiled ahead of time.
///
/// ```text
/// <directory>/<build id>/by-digest/<sha256 of the module>     the artifact
///                        by-stat/<dev,ino,size,mtime,ctime>   a link to it
///                        locks/<sha256>                       held while it is compiled
/// ```
///
/// Finding one hashes nothing: a stat of the module leads to it, and its trailer tells the digest. wasmtime's version and our settings are
/// in the build id, so an upgrade makes a miss of everything instead of running old code.
#[derive(Clone, Debug)]
pub struct Compiled {
    root: PathBuf,
    build_id: String,
    /// Were the directories trustworthy when they were looked at? Once per call is enough, not for every module.
    trusted: Cell<Option<bool>>,
}

/// What [`Compiled::find`] found.
#[derive(Debug)]
pub enum Lookup {
    /// An artifact, opened and checked.
    Hit(Artifact),
    /// The module is there; a compiled one is not.
    Miss(Digest),
}

/// Says to everybody else that a module is being compiled. Ends with the last process that has it open: a plain
/// file, because `nix`'s `Flock` would unlock for the compiler as well when we end first.
#[derive(Debug)]
pub struct CompileLock(File);

impl CompileLock {
    /// The descriptor, for a child to inherit.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Compiled {
    /// The store below `directory`, for what this build makes and reads. Touches nothing.
    #[must_use]
    pub fn new(directory: &Path, build_id: String) -> Self {
        Self { root: directory.join(&build_id), build_id, trusted: Cell::new(None) }
    }

    /// Where the artifacts of this build are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directories, and takes write permission from others where the directory is ours. Fails where
    /// somebody else could still write: then nothing must be kept here.
    pub fn prepare(&self) -> Result<(), StoreError> {
        for directory in [self.root.clone(), self.by_stat(), self.by_digest(), self.locks()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(StoreError::io("create", &directory))?;
        }
        let base = self.root.parent().unwrap_or(&self.root).to_owned();
        for directory in [base, self.root.clone(), self.by_stat(), self.by_digest(), self.locks()] {
            if trust::directory(&directory).is_err() {
                // Only the owner can; what is not ours stays untrusted.
                let _ = fs::set_permissions(&directory, Permissions::from_mode(0o700));
                trust::directory(&directory)?;
            }
        }
        self.trusted.set(Some(true));
        Ok(())
    }

    /// Looks for a module's artifact by a stat of the module; hashes the module once when the stat is new.
    pub fn find(&self, module: &Path) -> Result<Lookup, StoreError> {
        let metadata = fs::metadata(module).map_err(StoreError::io("look at", module))?;
        let trusted = self.is_trusted();
        let by_stat = self.by_stat().join(stat_key(&metadata));
        if trusted && let Some(artifact) = artifact::open(&by_stat, true, &self.build_id) {
            return Ok(Lookup::Hit(artifact));
        }
        let file = artifact::open_module(module)?;
        let metadata = file.metadata().map_err(StoreError::io("look at", module))?;
        let digest = Digest::of_reader(file).map_err(StoreError::io("read", module))?;
        match self.open(&digest).filter(|_| trusted) {
            None => Ok(Lookup::Miss(digest)),
            Some(artifact) => {
                self.remember(&metadata, &digest);
                Ok(Lookup::Hit(artifact))
            }
        }
    }

    /// The artifact of the module with this digest, wherever the module is.
    #[must_use]
    pub fn find_digest(&self, digest: &Digest) -> Option<Artifact> {
        if self.is_trusted() { self.open(digest) } else { None }
    }

    /// Puts an artifact in place: whole or not at all, also when the machine dies meanwhile. `traits` is kept with it.
    pub fn put(&self, digest: &Digest, code: &[u8], traits: u8) -> Result<Artifact, StoreError> {
        self.prepare()?;
        let path = self.by_digest().join(digest.to_string());
        let unfinished = self.by_digest().join(format!(".{digest}.{}", std::process::id()));
        // Of a process that had our number and was killed.
        let _ = fs::remove_file(&unfinished);
        let written =
            self.write(&unfinished, (digest, traits), code).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished);
            return Err(StoreError::io("write", path)(error));
        }
        self.open(digest).ok_or_else(|| StoreError::Untrusted {
            path,
            why: "what was just written there is not what is there now".into(),
        })
    }

    /// An artifact for a caller that can keep none: the code with its trailer.
    pub fn write_to(&self, out: &mut impl Write, digest: &Digest, code: &[u8], traits: u8) -> io::Result<()> {
        out.write_all(code)?;
        out.write_all(&artifact::trailer(code.len(), digest, traits, &self.build_id))
    }

    /// What [`write_to`](Self::write_to) wrote for the module with this digest, if this is it.
    #[must_use]
    pub fn read_back(&self, file: File, digest: &Digest) -> Option<Artifact> {
        let (module, traits) = artifact::label(&file, file.metadata().ok()?.len(), &self.build_id)?;
        (module == *digest).then_some(Artifact { file, module, traits })
    }

    /// Forgets an artifact that the engine did not take.
    pub fn forget(&self, digest: &Digest) {
        // Gone already is what is wanted.
        let _ = fs::remove_file(self.by_digest().join(digest.to_string()));
    }

    /// The right to compile a module; `None` while somebody else does.
    pub fn lock(&self, digest: &Digest) -> Result<Option<CompileLock>, StoreError> {
        let path = self.locks().join(digest.to_string());
        // Whoever could once write here may have left a pipe, which would hold us, or a link.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
        let mut options = OpenOptions::new();
        let file =
            options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(CompileLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }

    fn write(&self, path: &Path, (digest, traits): (&Digest, u8), code: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        self.write_to(&mut file, digest, code, traits)?;
        file.sync_all()
    }

    fn open(&self, digest: &Digest) -> Option<Artifact> {
        let path = self.by_digest().join(digest.to_string());
        artifact::open(&path, false, &self.build_id).filter(|artifact| artifact.module == *digest)
    }

    /// A module's file, opened for reading. Fails for what is none: a pipe would make us wait, a device would not end.
    pub fn open_module(module: &Path) -> Result<File, StoreError> {
        artifact::open_module(module)
    }

    /// The parents of both directories are checked with the first.
    fn is_trusted(&self) -> bool {
        self.trusted.get().unwrap_or_else(|| {
            let inner = [self.by_stat(), self.by_digest()];
            let trusted = trust::directory(&self.root).is_ok()
                && inner.iter().all(|it| trust::directory_itself(it).is_ok());
            self.trusted.set(Some(trusted));
            trusted
        })
    }

    /// Lets the next call find the digest by stat. Only a shortcut: whoever cannot write it hashes again.
    fn remember(&self, module: &Metadata, digest: &Digest) {
        let changed =
            u64::try_from(module.ctime()).ok().map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
        if !changed.is_some_and(|at| at.elapsed().is_ok_and(|age| age > SETTLED)) {
            return;
        }
        let path = self.by_stat().join(stat_key(module));
        let unfinished = self.by_stat().join(format!(".{}.{}", stat_key(module), std::process::id()));
        let _ = fs::remove_file(&unfinished);
        if symlink(format!("../by-digest/{digest}"), &unfinished).is_ok() {
            let _ = fs::rename(&unfinished, &path);
        }
    }

    fn by_stat(&self) -> PathBuf {
        self.root.join("by-stat")
    }

    fn by_digest(&self) -> PathBuf {
        self.root.join("by-digest")
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }
}

/// Changes whenever the module's content can have changed.
pub(crate) fn stat_key(module: &Metadata) -> String {
    let time = |seconds: i64, nanoseconds: i64| format!("{seconds}.{nanoseconds:09}");
    format!(
        "{},{},{},{},{}",
        module.dev(),
        module.ino(),
        module.size(),
        time(module.mtime(), module.mtime_nsec()),
        time(module.ctime(), module.ctime_nsec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    struct Place {
        _tmp: tempfile::TempDir,
        module: PathBuf,
        store: Compiled,
    }

    fn place() -> Place {
        let tmp = tempfile::tempdir().unwrap();
        let module = tmp.path().join("m.wasm");
        fs::write(&module, "module").unwrap();
        let store = Compiled::new(&tmp.path().join("compiled"), "build-1".into());
        Place { _tmp: tmp, module, store }
    }

    impl Place {
        fn digest(&self) -> Digest {
            Digest::of(&fs::read(&self.module).unwrap())
        }

        fn put(&self) -> PathBuf {
            self.store.put(&self.digest(), b"code", 3).unwrap();
            self.artifact()
        }

        fn artifact(&self) -> PathBuf {
            self.store.by_digest().join(self.digest().to_string())
        }

        fn hits(&self) -> bool {
            // As another call would look.
            let store = Compiled { trusted: Cell::new(None), ..self.store.clone() };
            matches!(store.find(&self.module).unwrap(), Lookup::Hit(artifact) if artifact.module == self.digest())
        }

        fn stat_entries(&self) -> usize {
            fs::read_dir(self.store.by_stat()).unwrap().count()
        }
    }

    #[test]
    fn what_was_put_is_found() {
        let place = place();
        assert!(!place.hits());
        place.put();
        assert!(place.hits());
        assert_eq!(place.store.find_digest(&place.digest()).unwrap().traits, 3);
    }

    #[test]
    fn a_stat_entry_is_written_only_for_a_settled_module() {
        let place = place();
        place.put();
        assert!(place.hits());
        assert_eq!(place.stat_entries(), 0);
        std::thread::sleep(SETTLED + Duration::from_millis(1100));
        assert!(place.hits());
        assert_eq!(place.stat_entries(), 1);
        // Another content under an old stat entry's name: never, because size and times are in it.
        fs::write(&place.module, "another").unwrap();
        assert!(!place.hits());
    }

    #[test]
    fn a_truncated_artifact_is_a_miss() {
        let place = place();
        let path = place.put();
        let whole = fs::read(&path).unwrap();
        for length in [0, 3, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(!place.hits(), "{length} bytes of {}", whole.len());
        }
    }

    #[test]
    fn an_artifact_of_the_wrong_length_is_a_miss() {
        let place = place();
        let path = place.put();
        let whole = fs::read(&path).unwrap();
        let mut longer = b"x".to_vec();
        longer.extend_from_slice(&whole);
        fs::write(&path, longer).unwrap();
        assert!(!place.hits());
    }

    #[test]
    fn an_artifact_of_another_build_or_module_is_a_miss() {
        let place = place();
        let path = place.put();
        let other = Compiled { build_id: "build-2".into(), ..place.store.clone() };
        assert!(other.find_digest(&place.digest()).is_none());
        fs::write(&place.module, "another").unwrap();
        fs::rename(path, place.artifact()).unwrap();
        assert!(!place.hits());
    }

    #[test]
    fn an_artifact_that_others_own_or_can_write_is_a_miss_and_so_is_a_symlink() {
        let place = place();
        let path = place.put();
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert!(!place.hits());
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(place.hits());
        if nix::unistd::geteuid().is_root() {
            chown(&path, Some(65534), None).unwrap();
            assert!(!place.hits());
            chown(&path, Some(0), None).unwrap();
        }
        let aside = path.with_extension("aside");
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        assert!(!place.hits());
    }

    #[test]
    fn a_directory_that_others_can_write_makes_everything_a_miss_until_it_is_prepared() {
        let place = place();
        place.put();
        for directory in [place.store.root.clone(), place.store.by_stat(), place.store.by_digest()] {
            fs::set_permissions(&directory, Permissions::from_mode(0o770)).unwrap();
            assert!(!place.hits(), "{}", directory.display());
            place.store.prepare().unwrap();
            assert!(place.hits());
        }
    }

    #[test]
    fn one_process_compiles_while_the_others_wait() {
        let place = place();
        place.store.prepare().unwrap();
        let digest = place.digest();
        let lock = place.store.lock(&digest).unwrap();
        assert!(lock.is_some());
        assert!(place.store.lock(&digest).unwrap().is_none());
        drop(lock);
        assert!(place.store.lock(&digest).unwrap().is_some());
    }

    #[test]
    fn a_module_that_is_no_file_is_named() {
        let place = place();
        let error = place.store.find(place.module.parent().unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("is a directory, not a file"), "{error}");
    }
}
