use crate::Fault;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wasmtime::{ResourceLimiter, Result};

/// What ends a guest, per visit (one hook, one phase). What counts host calls is not looked at here: it is for whoever
/// stands at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time.
    pub cpu: Duration,
    /// Time on the wall, host calls included.
    pub wall: Duration,
    /// Bytes of linear memory, all memories of the guest together.
    pub memory: u64,
    /// Bytes of the stack that the guest's functions call each other on.
    pub stack: u64,
    /// Core instances.
    pub instances: u64,
    /// Tables.
    pub tables: u64,
    /// Elements of each table.
    pub table_elements: u64,
    /// Bytes of the module as it was installed.
    pub module: u64,
    /// Bytes of the verdict.
    pub verdict: u64,
    /// Lines of log.
    pub log_lines: u64,
    /// Bytes of log; also what a command may write on its stderr.
    pub log_bytes: u64,
    /// Host calls.
    pub host_calls: u64,
    /// Bytes of host calls and their replies.
    pub host_bytes: u64,
    /// Links that an attachment may have of hooks.
    pub links: u64,
    /// Addresses that an attachment may have of hooks.
    pub leases: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(2),
            wall: Duration::from_secs(10),
            memory: 64 << 20,
            stack: 512 << 10,
            // A Go or Python component has a handful; a hundred is somebody trying something.
            instances: 100,
            tables: 20,
            // Functions that can be called indirectly: ten times what QuickJS has, at 8 bytes each.
            table_elements: 100_000,
            // Python with its library has 18 MB.
            module: 32 << 20,
            verdict: 1 << 20,
            log_lines: 1000,
            log_bytes: 256 << 10,
            host_calls: 10_000,
            host_bytes: 16 << 20,
            links: 64,
            leases: 64,
        }
    }
}

impl Limits {
    /// The most that can be set at all. Times: an hour is longer than any runtime waits. Memory: all of a 32-bit guest's.
    /// Stack: what fits on the main thread's own, with room for the host. A verdict must pass in one message.
    pub const MOST: Self = Self {
        cpu: Duration::from_hours(1),
        wall: Duration::from_hours(1),
        memory: 4 << 30,
        stack: 4 << 20,
        instances: 1000,
        tables: 100,
        table_elements: 1_000_000,
        // As much as the compiler takes.
        module: 256 << 20,
        verdict: 3 << 20,
        log_lines: 1_000_000,
        log_bytes: 64 << 20,
        host_calls: 1_000_000,
        host_bytes: 1 << 30,
        links: 4096,
        leases: 4096,
    };

    /// The greater of each.
    #[must_use]
    pub fn greater(&self, other: &Self) -> Self {
        self.each(other, Duration::max, u64::max)
    }

    /// The lesser of each.
    #[must_use]
    pub fn lesser(&self, other: &Self) -> Self {
        self.each(other, Duration::min, u64::min)
    }

    fn each(
        &self,
        other: &Self,
        time: fn(Duration, Duration) -> Duration,
        number: fn(u64, u64) -> u64,
    ) -> Self {
        Self {
            cpu: time(self.cpu, other.cpu),
            wall: time(self.wall, other.wall),
            memory: number(self.memory, other.memory),
            stack: number(self.stack, other.stack),
            instances: number(self.instances, other.instances),
            tables: number(self.tables, other.tables),
            table_elements: number(self.table_elements, other.table_elements),
            module: number(self.module, other.module),
            verdict: number(self.verdict, other.verdict),
            log_lines: number(self.log_lines, other.log_lines),
            log_bytes: number(self.log_bytes, other.log_bytes),
            host_calls: number(self.host_calls, other.host_calls),
            host_bytes: number(self.host_bytes, other.host_bytes),
            links: number(self.links, other.links),
            leases: number(self.leases, other.leases),
        }
    }
}

/// `64MiB` where that is exact.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        bytes => format!("{bytes}B"),
    }
}

/// Linear memories of one guest; their bytes are counted together.
pub(crate) const MEMORIES: usize = 10;

/// Counts what a guest takes and refuses the rest. A refusal is remembered: what the guest does about it (mostly
/// a bare trap) would not tell anybody why.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    taken: u64,
    refused: Option<Fault>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, taken: 0, refused: None }
    }

    /// Bytes of linear memory; it never shrinks.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// What was refused first.
    pub(crate) fn refused(&self) -> Option<&Fault> {
        self.refused.as_ref()
    }

    fn refuse(&mut self, fault: Fault) {
        self.refused.get_or_insert(fault);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let fits = self.taken.saturating_add(more) <= self.limits.memory;
        if fits {
            self.taken += more;
        } else {
            self.refuse(Fault::Memory(self.limits.memory));
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let fits = desired as u64 <= self.limits.table_elements;
        if !fits {
            self.refuse(Fault::limit("table", self.limits.table_elements, "elements", "tableElements"));
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        count(self.limits.instances)
    }

    fn tables(&self) -> usize {
        count(self.limits.tables)
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

pub(crate) fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(&Limits { memory: 100, ..Limits::default() });
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(limiter.refused().is_none());
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert_eq!(limiter.refused(), Some(&Fault::Memory(100)));
        assert_eq!(limiter.taken(), 100);
    }
}
