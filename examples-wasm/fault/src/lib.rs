//! Breaks things on purpose: an error or a delay, for some attachments, always the same ones.
//!
//! ```json
//! { "module": "fault", "grants": ["clock"], "config": {
//!     "percent": 5, "seed": 7,
//!     "error": { "code": 11, "msg": "injected: try again" }, "delayMs": 200 } }
//! ```
//!
//! Which attachments are hit is drawn from the seed, the network, the container id and the interface name: the same
//! seed hits the same ones, so a failing run can be repeated. (A kubelet tries again with a *new* container id.)
//! `"when": "after"` lets the plugin do its work first; wasmhook then undoes it. Only ADD is ever disturbed.
//!
//! Teaches: the clock, failing after the fact, randomness that can be repeated.

use std::time::Duration;
use wasmhook_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// How many of a hundred attachments, 0 to 100; fractions are fine.
    #[serde(default = "all")]
    percent: f64,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    when: When,
    /// Milliseconds to wait first.
    #[serde(default)]
    delay_ms: u32,
    /// The error to fail with; none: the delay is all.
    error: Option<Injected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Injected {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum When {
    #[default]
    Before,
    After,
}

fn all() -> f64 {
    100.0
}

struct Fault;

impl Hook for Fault {
    fn pre(request: &Request) -> Result<Pre> {
        Ok(strike(request, When::Before)?.map_or(Pre::Proceed, Pre::Deny))
    }

    fn post(request: &Request, _outcome: Outcome) -> Result<Post> {
        Ok(strike(request, When::After)?.map_or(Post::Keep, Post::Fail))
    }
}

/// The error to fail with, if this attachment is hit now.
fn strike(request: &Request, now: When) -> Result<Option<CniError>> {
    let settings: Settings = request.settings()?;
    if !(0.0..=100.0).contains(&settings.percent) {
        return Err(Failure::new(format!("`config.percent` is {}: write 0 to 100", settings.percent)));
    }
    if request.verb != "ADD" || settings.when != now || draw(request, settings.seed) >= settings.percent {
        return Ok(None);
    }
    if settings.delay_ms > 0 {
        let slept = clock::sleep(Duration::from_millis(settings.delay_ms.into()));
        info!("delayed {} by {slept:?}", request.container_id);
    }
    let Some(error) = settings.error else { return Ok(None) };
    warn!("injecting error {} into {} (seed {})", error.code, request.container_id, settings.seed);
    Ok(Some(CniError::new(error.code, error.msg).with_details(error.details)))
}

/// From 0 up to but not 100, the same for the same attachment and seed.
fn draw(request: &Request, seed: u64) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in [&request.network, &request.container_id, &request.ifname] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    // FNV mixes its high bits badly; this is the finalizer of MurmurHash3.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    #[allow(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    let percent = (hash >> 11) as f64 / (1_u64 << 53) as f64 * 100.0;
    percent
}

wasmhook_sdk::export!(Fault);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(container_id: &str, settings: &str) -> Request {
        Request {
            verb: "ADD".into(),
            container_id: container_id.into(),
            ifname: "eth0".into(),
            hook_config: settings.into(),
            ..Request::default()
        }
    }

    fn hits(seed: u64) -> Vec<u32> {
        let settings = format!(r#"{{"percent":5,"seed":{seed},"error":{{"code":11,"msg":"m"}}}}"#);
        let hit = |id: &u32| !matches!(Fault::pre(&request(&format!("c{id}"), &settings)), Ok(Pre::Proceed));
        (0..10_000).filter(hit).collect()
    }

    #[test]
    fn the_percentage_is_met_and_the_same_seed_hits_the_same_ones() {
        let hit = hits(7);
        // Three standard deviations of 10,000 draws at 5 % are 65.
        assert!((435..=565).contains(&hit.len()), "{}", hit.len());
        assert_eq!(hit, hits(7));
        assert_ne!(hit, hits(8));
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        for (percent, hit) in [("0", false), ("100", true)] {
            let settings = format!(r#"{{"percent":{percent},"error":{{"code":5,"msg":"m"}}}}"#);
            assert_eq!(matches!(Fault::pre(&request("c", &settings)), Ok(Pre::Deny(_))), hit);
        }
        assert!(Fault::pre(&request("c", r#"{"percent":101}"#)).is_err());
    }

    #[test]
    fn afterwards_means_afterwards() {
        let request = request("c", r#"{"when":"after","error":{"code":5,"msg":"m"}}"#);
        assert!(matches!(Fault::pre(&request), Ok(Pre::Proceed)));
        let outcome = Outcome::failure(CniError::new(1, "x"));
        assert!(matches!(Fault::post(&request, outcome), Ok(Post::Fail(_))));
    }
}
