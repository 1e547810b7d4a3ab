//! Memory that guests of one process use one after the other.
//!
//! A guest's first touch of each page of its memory is a page fault, and making and unmapping that memory is five system
//! calls. With several guests to come it is cheaper to wipe what one has dirtied and lend it to the next; the pool
//! itself costs what two guests save.

use crate::limits::{INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// How many guests will run in this process.
static EXPECTED: AtomicUsize = AtomicUsize::new(1);

/// Kept of one memory from guest to guest; what it dirtied beyond that goes back to the kernel.
const KEPT: usize = 1 << 20;

/// Tells how many guests are to come with [`Isolation::None`](crate::Isolation::None), before the first enters. It
/// changes what they cost and nothing else.
pub fn expect_guests(count: usize) {
    EXPECTED.store(count, Ordering::Relaxed);
}

/// An engine with these settings, and a pool when it pays.
pub(crate) fn engine(mut config: Config) -> Result<Engine> {
    if EXPECTED.load(Ordering::Relaxed) < 2 {
        return Engine::new(&config);
    }
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    // Linux before 6.7 cannot tell which pages are dirty; wiping without knowing costs more than it saves.
    Engine::new(&config)
        .or_else(|_| Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand)))
}

/// Whatever fits the limits fits the pool: mostly it is addresses, not memory.
fn pool() -> PoolingAllocationConfig {
    let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT)
        .decommit_batch_size(1)
        // The next guest gets the last one's, not a fresh one.
        .max_unused_warm_slots(1)
        .total_memories(count(MEMORIES))
        .max_memories_per_module(count(MEMORIES))
        .total_tables(count(TABLES))
        .max_tables_per_module(count(TABLES))
        .table_elements(TABLE_ELEMENTS)
        .total_core_instances(count(INSTANCES))
        .max_core_instance_size(16 << 20)
        .max_component_instance_size(16 << 20)
        .total_gc_heaps(0);
    pool
}
