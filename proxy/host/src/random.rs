use crate::{Failure, Interface, Scopes, Visit, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use wasmhook_store::Digest;

pub(crate) const INTERFACE: Interface = Interface {
    name: "random",
    free: false,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("next", next), ("below", below), ("chance", chance)],
};

/// Random numbers that can be had again. `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>. The contract promises
/// these numbers, so it stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        high(mixed ^ (mixed >> 31))
    }

    fn below(&mut self, n: u32) -> u32 {
        high(u64::from(self.next()) * u64::from(n))
    }
}

fn high(bits: u64) -> u32 {
    u32::try_from(bits >> 32).unwrap_or_default()
}

impl Visit {
    /// What random numbers begin with. The contract promises this as well: a pod sees the same numbers when it is asked
    /// about again, in whatever process.
    #[must_use]
    pub fn seed(&self) -> u64 {
        let node = self.node_seed.to_string();
        let Self { hook, pod, network, ifname, plugin, verb, phase, .. } = self;
        let digest = Digest::of(
            [node.as_str(), hook, pod, network, ifname, plugin, verb, phase].join("\0").as_bytes(),
        );
        digest.as_bytes()[..8].iter().rev().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }
}

fn generator(visit: &mut Visit) -> &mut Generator {
    if visit.random.is_none() {
        let seed = visit.seed();
        let Visit { hook, phase, verb, container_id, node_seed, .. } = &*visit;
        tracing::info!(hook, phase, verb, container_id, node_seed, seed, "draws random numbers");
        visit.random = Some(Generator(seed));
    }
    visit.random.get_or_insert(Generator(0))
}

fn next(visit: &mut Visit, _input: Value) -> Result<Value, Failure> {
    Ok(generator(visit).next().into())
}

#[derive(Deserialize)]
struct Below {
    n: u32,
}

fn below(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Below { n } = parameters(input)?;
    Ok(generator(visit).below(n).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Chance {
    per_million: u32,
}

fn chance(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Chance { per_million } = parameters(input)?;
    Ok((generator(visit).below(1_000_000) < per_million).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;

    fn draw(visit: &mut Visit) -> Vec<u64> {
        (0..4).map(|_| next(visit, Value::Null).unwrap().as_u64().unwrap()).collect()
    }

    #[test]
    fn the_numbers_are_splitmix64s() {
        // The high halves of the first outputs for seed 1234567, as its author's program prints them.
        let mut generator = Generator(1_234_567);
        let outputs: [u64; 3] =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(outputs.map(|_| generator.next()), outputs.map(high));
    }

    #[test]
    fn the_seed_is_the_contracts_for_ever() {
        assert_eq!(visit().seed(), 69_502_675_230_889_901);
    }

    #[test]
    fn who_asks_the_same_again_sees_the_same_and_anybody_else_something_else() {
        let drawn = draw(&mut visit());
        assert_eq!(draw(&mut visit()), drawn);
        let again = Visit { container_id: "another".into(), ..visit() };
        assert_eq!(draw(&mut again.clone()), drawn, "the pod counts, not its container");
        for other in [
            Visit { pod: "another".into(), ..visit() },
            Visit { hook: "another".into(), ..visit() },
            Visit { phase: "post", ..visit() },
            Visit { verb: "DEL", ..visit() },
            Visit { ifname: "net1".into(), ..visit() },
            Visit { network: "another".into(), ..visit() },
            Visit { plugin: "another".into(), ..visit() },
            Visit { node_seed: 8, ..visit() },
        ] {
            assert_ne!(draw(&mut other.clone()), drawn, "{other:?}");
        }
    }

    #[test]
    fn draws_stay_below_and_meet_their_chance() {
        let mut visit = visit();
        let mut ask = |call: fn(&mut Visit, Value) -> Result<Value, Failure>, key: &str, value: u32| {
            call(&mut visit, serde_json::json!({ key: value })).unwrap()
        };
        let mut seen = [false; 6];
        for _ in 0..1000 {
            seen[usize::try_from(ask(below, "n", 6).as_u64().unwrap()).unwrap()] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!((ask(below, "n", 0), ask(below, "n", 1)), (0.into(), 0.into()));
        let hits = (0..10_000).filter(|_| ask(chance, "per-million", 50_000) == true).count();
        // Three standard deviations of 10,000 draws at 5 % are 65.
        assert!((435..=565).contains(&hits), "{hits}");
        assert!((0..100).all(|_| ask(chance, "per-million", 0) == false));
        assert!((0..100).all(|_| ask(chance, "per-million", 1_000_000) == true));
    }
}
