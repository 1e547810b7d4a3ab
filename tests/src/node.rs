use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine of our own: network and mounts of this thread and its children are private from here on, and gone with
/// them. Needs root, and says so.
pub struct Node(());

impl Node {
    /// Leaves the machine's namespaces. For the thread of one test.
    #[must_use]
    pub fn enter() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .unwrap_or_else(|error| panic!("private namespaces need root: {error}"));
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
        // Over directories that every machine has, so that not even a mount point is left behind.
        for directory in ["/run", "/var/lib"] {
            mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), nothing).expect("tmpfs");
        }
        let node = Self(());
        node.ip("link set lo up");
        node
    }

    /// A disk as nodes have it: ext4 as `mkfs.ext4` makes it; the path where it is mounted. For what is measured: on
    /// machines that live for a day ext4 often has no journal of its own, and making a file then costs up to twenty times
    /// as much, because the inodes of files removed lately are passed over one by one.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        let (image, disk) = ("/run/disk.img", "/run/disk");
        let made = fs::File::create(image).and_then(|file| file.set_len(1 << 30));
        made.and_then(|()| fs::create_dir(disk)).expect("a place for a disk");
        // Its own bookkeeping at once, and not in the background while somebody measures.
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image]);
        run("mount", &["-o", "loop", image, disk]);
        disk.into()
    }

    /// A network namespace for a container; its path.
    #[must_use]
    pub fn container(&self, name: &str) -> String {
        self.ip(&format!("netns add {name}"));
        format!("/run/netns/{name}")
    }

    /// The path of a namespace that looks like a container's and is the node's own, as when the process number of a
    /// dead container has been given to somebody else.
    #[must_use]
    pub fn own_netns(&self, name: &str) -> String {
        self.ip(&format!("netns attach {name} {}", nix::unistd::gettid()));
        format!("/run/netns/{name}")
    }

    /// `ip` with these words; what it prints. Panics when it fails.
    pub fn ip(&self, words: &str) -> String {
        run("ip", &words.split(' ').collect::<Vec<_>>())
    }

    /// Does a ping from this container arrive?
    #[must_use]
    pub fn ping(&self, container: &str, address: &str) -> bool {
        let words = ["netns", "exec", container, "ping", "-c1", "-W2", address];
        Command::new("ip").args(words).output().expect("ping (package iputils-ping)").status.success()
    }

    /// Names of all links on the host side but `lo`.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let text = self.ip("-o link show");
        let name =
            |line: &str| line.split(": ").nth(1).map(|it| it.split('@').next().unwrap_or(it).to_owned());
        text.lines().filter_map(name).filter(|it| it != "lo").collect()
    }

    /// Addresses that host-local holds for this network.
    #[must_use]
    pub fn leases(&self, network: &str) -> Vec<String> {
        let directory = Path::new("/var/lib/cni/networks").join(network);
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let names = entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> =
            names.filter(|it| it.starts_with(|char: char| char.is_ascii_digit())).collect();
        names.sort();
        names
    }
}

/// What a program prints. Panics when it is missing or fails.
fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| {
        panic!("{program} (packages iproute2, e2fsprogs, mount: `make packages`): {error}")
    });
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
