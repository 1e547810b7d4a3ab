//! Mutations that know JSON: of a text in which some bytes have changed most is no JSON any more.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::LazyLock;
use wasmhook_cni::Object;

type Json = Box<RawValue>;

/// What nests deeper is taken as one value.
const DEPTH: usize = 16;

/// What stands in the fuzzer's dictionary and is JSON.
static WORDS: LazyLock<Vec<Json>> = LazyLock::new(|| {
    let quoted =
        include_str!("words.dict").lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let words = quoted.map(|word| word.replace("\\\"", "\"").replace("\\\\", "\\"));
    words.filter_map(|word| RawValue::from_string(word).ok()).collect()
});

/// Those of them that can be keys.
static KEYS: LazyLock<Vec<String>> =
    LazyLock::new(|| WORDS.iter().filter_map(|word| serde_json::from_str(word.get()).ok()).collect());

/// Changes one of the input's parts that are JSON objects, in place; returns the new size. `None` where there is none, or
/// when it is the turn of plain mutations, which know no JSON.
pub fn mutate(bytes: &mut [u8], size: usize, most: usize, seed: u32) -> Option<usize> {
    let mut dice = Dice(u64::from(seed) | 1 << 32);
    if dice.roll(3) == 0 {
        return None;
    }
    let text = str::from_utf8(&bytes[..size]).ok()?;
    let mut parts: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    let json: Vec<usize> = (0..parts.len()).filter(|&at| parts[at].parse::<Object>().is_ok()).collect();
    let at = *dice.pick(&json)?;
    let donors: Vec<Json> =
        json.iter().filter_map(|&at| RawValue::from_string(parts[at].trim().to_owned()).ok()).collect();
    let part = match dice.roll(8) {
        // Three results, two of them the same: that is where merging begins.
        0 => parts[*dice.pick(&json)?].clone(),
        1 if json.len() < 3 => format!("{0}\n\n{0}", parts[at]),
        _ => changed(&parts[at], &donors, &mut dice, 0).get().to_owned(),
    };
    parts[at] = part;
    let text = parts.join("\n\n");
    if text.len() > most.min(bytes.len()) {
        return None;
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Some(text.len())
}

fn changed(text: &str, donors: &[Json], dice: &mut Dice, depth: usize) -> Json {
    if depth < DEPTH {
        if let Ok(object) = text.parse::<Object>() {
            return changed_object(object, donors, dice, depth);
        }
        if let Ok(list) = serde_json::from_str::<Vec<Json>>(text) {
            return changed_list(list, donors, dice, depth);
        }
    }
    donated(donors, dice)
}

fn changed_object(mut object: Object, donors: &[Json], dice: &mut Dice, depth: usize) -> Json {
    let keys: Vec<String> = object.iter().map(|(key, _)| key.to_owned()).collect();
    let Some(key) = dice.pick(&keys) else {
        object.set_raw(&word(dice), donated(donors, dice));
        return json(&object);
    };
    let value = object.raw(key).map(ToOwned::to_owned).unwrap_or_default();
    match dice.roll(10) {
        0 => drop(object.remove(key)),
        1 => object.set_raw(&word(dice), donated(donors, dice)),
        2 => object.set_raw(key, donated(donors, dice)),
        3 => {
            object.remove(key);
            object.set_raw(&word(dice), value);
        }
        _ => object.set_raw(key, changed(value.get(), donors, dice, depth + 1)),
    }
    json(&object)
}

fn changed_list(mut list: Vec<Json>, donors: &[Json], dice: &mut Dice, depth: usize) -> Json {
    if list.is_empty() {
        list.push(donated(donors, dice));
        return json(&list);
    }
    let (at, other) = (dice.roll(list.len()), dice.roll(list.len()));
    match dice.roll(10) {
        0 => drop(list.remove(at)),
        1 => list.swap(at, other),
        2 => list.insert(at, list[other].clone()),
        3 => list.insert(at, donated(donors, dice)),
        _ => list[at] = changed(list[at].get(), donors, dice, depth + 1),
    }
    json(&list)
}

/// A word, or a piece of what is there already.
fn donated(donors: &[Json], dice: &mut Dice) -> Json {
    if dice.roll(2) == 0
        && let Some(word) = dice.pick(&WORDS)
    {
        return word.clone();
    }
    let mut piece = dice.pick(donors).cloned().unwrap_or_default();
    while dice.roll(4) > 0 {
        let inner: Vec<Json> = match piece.get().parse::<Object>() {
            Ok(object) => object.iter().map(|(_, value)| value.to_owned()).collect(),
            Err(_) => serde_json::from_str(piece.get()).unwrap_or_default(),
        };
        let Some(inner) = dice.pick(&inner) else { break };
        piece = inner.clone();
    }
    piece
}

fn word(dice: &mut Dice) -> String {
    dice.pick(&KEYS).cloned().unwrap_or_default()
}

fn json(value: &impl Serialize) -> Json {
    to_raw_value(value).unwrap_or_default()
}

/// The same seed, the same mutation.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or_default() % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.roll(from.len())]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_and_never_the_same_for_long() {
        let text = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}],"x":1.50}"#;
        let mut changed = 0;
        for seed in 0..1000 {
            let mut bytes = vec![0; 4096];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            let Some(size) = mutate(&mut bytes, text.len(), 4096, seed) else { continue };
            let mutated = std::str::from_utf8(&bytes[..size]).unwrap();
            assert!(
                mutated.split("\n\n").all(|part| serde_json::from_str::<Json>(part).is_ok()),
                "{mutated}"
            );
            changed += usize::from(mutated != text);
        }
        assert!(changed > 500, "{changed}");
    }
}
