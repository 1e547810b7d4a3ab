//! Memory for the program. musl's own allocator maps and unmaps it for every few small blocks, thirty times in a call.
//!
//! The lock is one atomic: there is hardly ever a second thread, and a mutex of the C library costs as much as the
//! allocation.

#![allow(unsafe_code, reason = "a global allocator; see each block")]

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// dlmalloc behind a lock.
pub(crate) struct Allocator {
    locked: AtomicBool,
    heap: UnsafeCell<Dlmalloc>,
}

// SAFETY: the heap is touched by whoever has the lock, and nobody else.
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self { locked: AtomicBool::new(false), heap: UnsafeCell::new(Dlmalloc::new()) }
    }

    fn lock(&self) {
        while self.locked.swap(true, Ordering::Acquire) {
            // SAFETY: it takes nothing.
            unsafe { libc::sched_yield() };
        }
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        self.lock();
        // SAFETY: we have the lock, and nothing in there panics or comes back.
        let done = act(unsafe { &mut *self.heap.get() });
        self.unlock();
        done
    }

    /// A guest's child allocates, whatever other threads were doing when it was forked: nobody is in the heap then.
    pub(crate) fn survive_forks() {
        extern "C" fn lock() {
            crate::ALLOCATOR.lock();
        }
        extern "C" fn unlock() {
            crate::ALLOCATOR.unlock();
        }
        // SAFETY: the handlers touch an atomic.
        unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) };
    }
}

// SAFETY: dlmalloc's blocks are as long and aligned as they were asked to be, and nobody else's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is ours.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the same.
        self.with(|heap| unsafe { heap.free(block, layout.size(), layout.align()) });
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the same.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the same.
        self.with(|heap| unsafe { heap.realloc(block, layout.size(), layout.align(), size) })
    }
}
