//! Random numbers that can be had again: the same hook, asked the same about the same pod, draws the same ones. Needs the
//! grant `random`. Not for secrets.

#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::random as host;
#[cfg(not(target_arch = "wasm32"))]
use native as host;

/// Any number of 32 bits.
#[must_use]
pub fn next() -> u32 {
    host::next()
}

/// A number from 0 up to but not `n`; 0 when `n` is 0.
#[must_use]
pub fn below(n: u32) -> u32 {
    host::below(n)
}

/// True in so many of a million cases.
#[must_use]
pub fn chance(per_million: u32) -> bool {
    host::chance(per_million)
}

/// The host's generator, begun at 0 in each thread, so that unit tests draw the same numbers each time.
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::Cell;

    thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });

    pub(super) fn next() -> u32 {
        STATE.set(STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut mixed = STATE.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        high(mixed ^ (mixed >> 31))
    }

    pub(super) fn below(n: u32) -> u32 {
        high(u64::from(next()) * u64::from(n))
    }

    pub(super) fn chance(per_million: u32) -> bool {
        below(1_000_000) < per_million
    }

    fn high(bits: u64) -> u32 {
        u32::try_from(bits >> 32).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_the_generators_and_stay_below() {
        // The high half of the first output for seed 0.
        assert_eq!(next(), 0xe220_a839);
        assert!((0..100).all(|_| below(6) < 6) && below(0) == 0);
        assert!(chance(1_000_000) && !chance(0));
    }
}
