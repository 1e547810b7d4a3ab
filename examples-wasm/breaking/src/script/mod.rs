//! What happens at which attempt: terms that are tried one after the other, as failpoints have them.
//!
//! ```text
//! 1*error(11:try again)->2*delay(200)->10%error(5:oops)->off
//! ```
//!
//! Which term acts is computed from the attempt's number alone, so that nobody has to remember more than that, and processes
//! that run at the same time cannot disagree.

mod action;
mod parse;

pub(crate) use action::Action;
#[cfg(test)]
pub(crate) use action::Said;
pub(crate) use parse::{Place, brief, duration, parse};

use std::fmt;

/// Terms, in their order. After the last one: nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Script(Vec<Term>);

/// `every(3):5%2*error(oops)`
#[derive(Clone, Debug, PartialEq)]
struct Term {
    /// It acts at every so many of the attempts that come to it.
    every: Option<u64>,
    /// So many of a million.
    per_million: Option<u32>,
    /// It acts so many times.
    count: Option<u64>,
    action: Action,
}

/// What stands behind a draw: the same of all this gives the same draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luck<'a> {
    pub(crate) seed: u64,
    /// What attempts are counted by, verb and phase included.
    pub(crate) key: &'a str,
}

/// What an attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn<'a> {
    pub(crate) action: &'a Action,
    /// Which term it is.
    pub(crate) term: usize,
}

impl Script {
    /// Does it matter which attempt it is?
    pub(crate) fn counts(&self) -> bool {
        self.0.iter().any(|term| term.every.is_some() || term.per_million.is_some() || term.count.is_some())
    }

    /// The action at this attempt, from 1; `None`: nothing happens.
    pub(crate) fn at(&self, attempt: u64, luck: Luck<'_>) -> Option<Turn<'_>> {
        let mut replay =
            Replay { script: self, luck, seen: vec![0; self.0.len()], used: vec![0; self.0.len()] };
        let mut turn = None;
        for number in replay.first(attempt)..=attempt {
            turn = replay.turn(number);
        }
        let term = turn?;
        let action = &self.0[term].action;
        (*action != Action::Off).then_some(Turn { action, term })
    }

    /// Will nothing happen any more after this attempt, whatever is drawn?
    pub(crate) fn is_over_after(&self, attempt: u64) -> bool {
        let mut before = 0_u64;
        for term in &self.0 {
            match (&term.action, term.count) {
                // Nothing comes behind it.
                (Action::Off, None) if term.every.is_none() && term.per_million.is_none() => return true,
                (_, Some(count)) if term.every.is_none() && term.per_million.is_none() => {
                    before = before.saturating_add(count);
                    if attempt < before {
                        return false;
                    }
                }
                _ => return false,
            }
        }
        true
    }
}

/// All attempts so far, once more.
struct Replay<'s, 'l> {
    script: &'s Script,
    luck: Luck<'l>,
    seen: Vec<u64>,
    used: Vec<u64>,
}

impl Replay<'_, '_> {
    /// Where to begin: attempts that are only counted need not be gone through one by one.
    fn first(&mut self, attempt: u64) -> u64 {
        let mut passed = 0_u64;
        for (index, term) in self.script.0.iter().enumerate() {
            let (None, None, Some(count)) = (term.every, term.per_million, term.count) else { break };
            let left = attempt.saturating_sub(1 + passed);
            self.used[index] = count.min(left);
            passed += self.used[index];
            if self.used[index] < count {
                return attempt;
            }
        }
        let remember = |term: &Term| term.every.is_some() || term.count.is_some();
        let rest = self.script.0.iter().zip(&self.used).filter(|(term, used)| term.count != Some(**used));
        if rest.into_iter().any(|(term, _)| remember(term)) { passed + 1 } else { attempt }
    }

    fn turn(&mut self, attempt: u64) -> Option<usize> {
        for (index, term) in self.script.0.iter().enumerate() {
            if term.count.is_some_and(|count| self.used[index] >= count) {
                continue;
            }
            self.seen[index] += 1;
            if term.every.is_some_and(|every| !self.seen[index].is_multiple_of(every)) {
                continue;
            }
            if term
                .per_million
                .is_some_and(|share| self.luck.draw(attempt, index) % 1_000_000 >= u64::from(share))
            {
                continue;
            }
            self.used[index] += 1;
            return Some(index);
        }
        None
    }
}

impl Luck<'_> {
    /// Of this attempt and term.
    pub(crate) fn draw(self, attempt: u64, term: usize) -> u64 {
        // The same number of bytes in wasm and out of it.
        let term = u32::try_from(term).unwrap_or(u32::MAX);
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in self.key.bytes().chain(attempt.to_le_bytes()).chain(term.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // FNV mixes its high bits badly; this is the finalizer of MurmurHash3.
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let arrow = if index == 0 { "" } else { "->" };
            write!(f, "{arrow}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(every) = self.every {
            write!(f, "every({every}):")?;
        }
        if let Some(share) = self.per_million {
            let text = format!("{}.{:04}", share / 10_000, share % 10_000);
            write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))?;
        }
        if let Some(count) = self.count {
            write!(f, "{count}*")?;
        }
        self.action.fmt(f)
    }
}

#[cfg(test)]
mod tests;
