//! Memory that guests of one process use one after the other.
//!
//! A guest's first touch of each page of its memory is a page fault, and making and unmapping that memory is five system
//! calls. (Not in a child: what is dirty, the kernel is asked by a call that its filter forbids.) With several guests to come it is cheaper to wipe what one has dirtied and lend it to the next; the pool
//! itself costs what two guests save.

use crate::Limits;
use crate::limits::{MEMORIES, count};
use std::sync::{Mutex, PoisonError};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// How many guests will run in this process, and the most that any of them may take.
static EXPECTED: Mutex<(usize, Option<Limits>)> = Mutex::new((1, None));

/// Kept of one memory from guest to guest; what it dirtied beyond that goes back to the kernel.
const KEPT: usize = 1 << 20;

/// Tells which guests are to come into this process, before the first enters. It changes what they cost and nothing else.
pub fn expect_guests(limits: impl IntoIterator<Item = Limits>) {
    let expected = limits.into_iter().fold((0, None), |(count, most): (usize, Option<Limits>), limits| {
        (count + 1, Some(most.map_or(limits, |most| most.greater(&limits))))
    });
    *EXPECTED.lock().unwrap_or_else(PoisonError::into_inner) = expected;
}

/// An engine with these settings, and a pool when it pays.
pub(crate) fn engine(mut config: Config) -> Result<Engine> {
    let (2.., Some(limits)) = *EXPECTED.lock().unwrap_or_else(PoisonError::into_inner) else {
        return Engine::new(&config);
    };
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(&limits)));
    // Linux before 6.7 cannot tell which pages are dirty; wiping without knowing costs more than it saves.
    Engine::new(&config)
        .or_else(|_| Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand)))
}

/// Whatever fits the limits fits the pool: mostly it is addresses, not memory.
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let total = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT)
        .decommit_batch_size(1)
        // The next guest gets the last one's, not a fresh one.
        .max_unused_warm_slots(1)
        .total_memories(total(MEMORIES as u64))
        .max_memories_per_module(total(MEMORIES as u64))
        .total_tables(total(limits.tables))
        .max_tables_per_module(total(limits.tables))
        .table_elements(count(limits.table_elements))
        // Guests with WASI have one each, one after the other; making one is a system call.
        .total_stacks(2)
        .total_core_instances(total(limits.instances))
        .max_core_instance_size(16 << 20)
        .max_component_instance_size(16 << 20)
        .total_gc_heaps(0);
    pool
}
