//! WASI for guests whose toolchain brings it. Nothing in it leads out of the room: no files, no network, no environment,
//! no arguments. The clock and the random numbers are ours, so that what a guest sees can be told again.
//!
//! Only a guest that imports WASI pays for any of this.

use crate::tenant::Tenant;
use crate::{Fault, Outside};
use rand_core::TryRng;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Bytes of random numbers that one call may ask for.
const MOST_RANDOM: u64 = 1 << 20;

/// What a guest's WASI is made of: one of the two previews, and what the guest has written.
pub(crate) struct Wasi {
    preview1: Option<WasiP1Ctx>,
    preview2: Option<(WasiCtx, ResourceTable)>,
    /// A command's verdict.
    pub(crate) stdout: Said,
    pub(crate) stderr: Said,
}

/// What a guest wrote on a stream, of which no more than a limit is kept.
#[derive(Clone)]
pub(crate) struct Said {
    pipe: MemoryOutputPipe,
    limit: u64,
}

impl Said {
    fn new(limit: u64) -> Self {
        // One byte more tells too much from just enough.
        let capacity = usize::try_from(limit.saturating_add(1)).unwrap_or(usize::MAX);
        Self { pipe: MemoryOutputPipe::new(capacity), limit }
    }

    /// All of it; nothing when it was too much.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let bytes = self.pipe.contents();
        (bytes.len() as u64 <= self.limit).then(|| bytes.to_vec())
    }

    /// Its lines, as far as they are kept.
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes = self.pipe.contents();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// How much a guest may write.
#[derive(Clone, Copy)]
pub(crate) struct Streams {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

impl Wasi {
    /// For a component: preview 2.
    pub(crate) fn component(outside: &Outside, streams: Streams) -> Self {
        let (mut wasi, mut builder) = Self::furnish(outside, streams);
        wasi.preview2 = Some((builder.build(), ResourceTable::new()));
        wasi
    }

    /// For a command: preview 1, with this on its stdin.
    pub(crate) fn command(outside: &Outside, streams: Streams, stdin: Vec<u8>) -> Self {
        let (mut wasi, mut builder) = Self::furnish(outside, streams);
        wasi.preview1 = Some(builder.stdin(MemoryInputPipe::new(stdin)).arg("hook").build_p1());
        wasi
    }

    /// Is a command's verdict longer than it may be?
    pub(crate) fn has_said_too_much(&self) -> bool {
        self.preview1.is_some() && self.stdout.bytes().is_none()
    }

    fn furnish(outside: &Outside, streams: Streams) -> (Self, WasiCtxBuilder) {
        let (stdout, stderr) = (Said::new(streams.stdout), Said::new(streams.stderr));
        let clock = Clock { started: Instant::now(), was: outside.now };
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(stdout.pipe.clone())
            .stderr(stderr.pipe.clone())
            .wall_clock(clock)
            .monotonic_clock(clock)
            .secure_random(Seeded(outside.seed))
            .insecure_random(Seeded(!outside.seed))
            .insecure_random_seed(u128::from(outside.seed))
            .max_random_size(MOST_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        (Self { preview1: None, preview2: None, stdout, stderr }, builder)
    }

    /// Silent and deaf: for a guest that has been given none.
    fn closed() -> Self {
        Self::furnish(&Outside::default(), Streams { stdout: 0, stderr: 0 }).0
    }
}

impl WasiView for Tenant {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(Wasi::closed);
        let closed = || (WasiCtx::builder().build(), ResourceTable::new());
        let (ctx, table) = wasi.preview2.get_or_insert_with(closed);
        WasiCtxView { ctx, table }
    }
}

impl Tenant {
    /// The same for commands.
    pub(crate) fn preview1(&mut self) -> &mut WasiP1Ctx {
        let wasi = self.wasi.get_or_insert_with(Wasi::closed);
        wasi.preview1.get_or_insert_with(|| WasiCtx::builder().build_p1())
    }
}

/// What waits for a guest that sleeps. No input or output, no threads.
pub(crate) fn runtime() -> Result<Runtime, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Fault::Host(format!("runtime for WASI: {error}")))
}

/// Goes on from where the host's clock was when the guest was asked.
#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    was: Duration,
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.was + self.started.elapsed()
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// `SplitMix64`: good enough for hash tables, and no secret. Nothing in a hook should need one.
/// <https://prng.di.unimi.it/splitmix64.c>
struct Seeded(u64);

impl Seeded {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
        Ok((self.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_numbers_again() {
        let draw = |seed| [0; 3].map(|_: u64| Seeded(seed).draw());
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // The first number that the algorithm's own page gives for seed 0.
        assert_eq!(Seeded(0).draw(), 0xe220_a839_7b1d_cdaf);
        let mut bytes = [0; 11];
        Seeded(0).try_fill_bytes(&mut bytes).unwrap();
        assert_eq!(bytes[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }

    #[test]
    fn too_much_is_told_from_just_enough() {
        let said = Said::new(3);
        assert_eq!(said.bytes().as_deref(), Some(&b""[..]));
        let mut stream = said.pipe.clone();
        wasmtime_wasi::p2::OutputStream::write(&mut stream, "abc".into()).unwrap();
        assert_eq!(said.bytes().as_deref(), Some(&b"abc"[..]));
        wasmtime_wasi::p2::OutputStream::write(&mut stream, "d".into()).unwrap();
        assert_eq!(said.bytes(), None);
    }
}
