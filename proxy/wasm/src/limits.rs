use std::time::Duration;
use wasmtime::{ResourceLimiter, Result};

/// What ends a guest, per visit (one hook, one phase).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time.
    pub cpu: Duration,
    /// Time on the wall, host calls included.
    pub wall: Duration,
    /// Bytes of linear memory, all memories of the guest together.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu: Duration::from_secs(2), wall: Duration::from_secs(10), memory: 64 << 20 }
    }
}

/// A Go or Python component has a handful of core instances; a hundred is somebody trying something.
pub(crate) const INSTANCES: usize = 100;
pub(crate) const TABLES: usize = 20;
pub(crate) const MEMORIES: usize = 10;
/// Functions that can be called indirectly: 100,000 is ten times what QuickJS has, at 8 bytes each.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// Counts what a guest takes and refuses the rest. A refusal is remembered: what the guest does about it (mostly
/// a bare trap) would not tell anybody why.
#[derive(Debug)]
pub(crate) struct Limiter {
    allowed: u64,
    taken: u64,
    refused: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { allowed: limits.memory, taken: 0, refused: false }
    }

    /// Bytes of linear memory; it never shrinks.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn refused_memory(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let fits = self.taken.saturating_add(more) <= self.allowed;
        if fits {
            self.taken += more;
        } else {
            self.refused = true;
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(&Limits { memory: 100, ..Limits::default() });
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(!limiter.refused_memory());
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert!(limiter.refused_memory());
        assert_eq!(limiter.taken(), 100);
    }
}
