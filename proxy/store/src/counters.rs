//! Counters of a module, as text that Prometheus reads: one file per module, in a directory that `node_exporter`'s textfile
//! collector looks at.
//!
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use crate::StoreError;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A module's series at most: labels with a pod's name in them would fill the disk here and the memory of whoever reads.
const MOST_SERIES: usize = 1000;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a module has counted.
#[derive(Clone, Debug)]
pub struct Counters {
    directory: PathBuf,
    module: String,
}

/// From `name{labels}` to the value. What belongs to one name stands together, as the format demands.
type Series = BTreeMap<String, u64>;

impl Counters {
    /// Touches nothing.
    #[must_use]
    pub fn new(directory: &Path, module: &str) -> Self {
        Self { directory: directory.into(), module: module.into() }
    }

    /// Counts, whatever other processes do at the same time. Names are the caller's to judge; the label `hook` is added.
    pub fn add(
        &self,
        name: &str,
        labels: &[(String, String)],
        by: u64,
        until: Instant,
    ) -> Result<(), StoreError> {
        let (path, series) = (self.file("", ".prom"), self.series(name, labels));
        let _lock = self.lock(until)?;
        let mut counted = match fs::read_to_string(&path) {
            Ok(text) => read(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Series::new(),
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        if counted.len() >= MOST_SERIES && !counted.contains_key(&series) {
            return Err(StoreError::TooManySeries { module: self.module.clone(), most: MOST_SERIES });
        }
        let value = counted.entry(series).or_default();
        *value = value.saturating_add(by);
        // Whoever reads sees the old text or the new one. Where the collector looks only at `.prom`.
        let unfinished = self.file(".", ".new");
        let written = fs::write(&unfinished, write(&counted)).and_then(|()| {
            fs::set_permissions(&unfinished, Permissions::from_mode(0o644))?;
            fs::rename(&unfinished, &path)
        });
        written.map_err(StoreError::io("write", path))
    }

    /// Ends with the file.
    fn lock(&self, until: Instant) -> Result<File, StoreError> {
        let path = self.file(".", ".lock");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(0o755).create(&self.directory);
                made.map_err(StoreError::io("create", &self.directory))?;
                open()
            }
            opened => opened,
        };
        let file = file.map_err(StoreError::io("open", &path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOOK_EVERY),
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy("metrics")),
                Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
            }
        }
    }

    /// A module that was named by its path may be called anything.
    fn file(&self, before: &str, after: &str) -> PathBuf {
        let plain =
            |char: char| if char.is_ascii_alphanumeric() || "-_.".contains(char) { char } else { '_' };
        let module: String = self.module.chars().take(100).map(plain).collect();
        self.directory.join(format!("{before}wasmhook-{module}{after}"))
    }

    fn series(&self, name: &str, labels: &[(String, String)]) -> String {
        let mut labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        labels.push(("hook", &self.module));
        labels.sort_unstable();
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        format!("{name}{{{}}}", labels.join(","))
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Lines that are not ours, or not whole, count nothing.
fn read(text: &str) -> Series {
    let series = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect()
}

fn write(counted: &Series) -> String {
    let (mut text, mut last) = (String::new(), "");
    for (series, value) in counted {
        let name = series.split('{').next().unwrap_or_default();
        if name != last {
            let _ = writeln!(text, "# TYPE {name} counter");
            last = name;
        }
        let _ = writeln!(text, "{series} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn labels(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_text_is_what_prometheus_reads_and_for_everybody_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("made");
        let counters = Counters::new(&directory, "deny");
        let add = |name, of: &[_]| counters.add(name, &labels(of), 1, soon()).unwrap();
        add("b_total", &[("reason", "a \"b\"\\\nc"), ("namespace", "shop")]);
        add("b_total", &[("namespace", "shop"), ("reason", "a \"b\"\\\nc")]);
        add("b_seconds_total", &[]);
        add("b_total", &[]);
        counters.add("a_total", &[], u64::MAX, soon()).unwrap();
        add("a_total", &[]);
        let file = directory.join("wasmhook-deny.prom");
        let text = "# TYPE a_total counter
a_total{hook=\"deny\"} 18446744073709551615
# TYPE b_seconds_total counter
b_seconds_total{hook=\"deny\"} 1
# TYPE b_total counter
b_total{hook=\"deny\",namespace=\"shop\",reason=\"a \\\"b\\\"\\\\\\nc\"} 2
b_total{hook=\"deny\"} 1
";
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_module_has_so_many_series_and_those_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let counters = Counters::new(directory.path(), "m");
        let full: Series = (0..MOST_SERIES).map(|it| (format!("a{{hook=\"m\",pod=\"{it}\"}}"), 1)).collect();
        fs::write(counters.file("", ".prom"), write(&full)).unwrap();
        let add = |pod: &str| counters.add("a", &labels(&[("pod", pod)]), 1, soon());
        add("7").unwrap();
        assert!(matches!(add("more"), Err(StoreError::TooManySeries { most: MOST_SERIES, .. })));
    }

    #[test]
    fn what_is_no_counter_is_left_out_and_any_name_makes_a_file() {
        assert_eq!(read("# TYPE a counter\na{} 7\nb{} x\n\nc{} 1.5\nd{}"), Series::from([("a{}".into(), 7)]));
        let counters = Counters::new(Path::new("/d"), "../a b");
        assert_eq!(counters.file("", ".prom"), Path::new("/d/wasmhook-.._a_b.prom"));
    }

    /// Run by [`nothing_is_lost_between_processes`], each in a process of its own.
    #[test]
    fn count_in_a_process_of_its_own() {
        let Some(directory) = std::env::var_os("WASMHOOK_TEST_COUNTERS") else { return };
        let counters = Counters::new(directory.as_ref(), "m");
        for number in 0..100 {
            counters.add("a_total", &labels(&[("odd", ["no", "yes"][number % 2])]), 2, soon()).unwrap();
        }
    }

    #[test]
    fn nothing_is_lost_between_processes() {
        let directory = tempfile::tempdir().unwrap();
        let mut count = Command::new(std::env::current_exe().unwrap());
        count.args(["--exact", "counters::tests::count_in_a_process_of_its_own"]);
        count.env("WASMHOOK_TEST_COUNTERS", directory.path()).stdout(std::process::Stdio::null());
        let counting: Vec<_> = (0..8).map(|_| count.spawn().unwrap()).collect();
        for mut child in counting {
            assert!(child.wait().unwrap().success());
        }
        let text = fs::read_to_string(directory.path().join("wasmhook-m.prom")).unwrap();
        assert_eq!(read(&text).values().copied().collect::<Vec<_>>(), [800, 800]);
    }
}
