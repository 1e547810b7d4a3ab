use std::collections::{HashMap, VecDeque};

/// The same thing on the three sides of a merge.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sides<T> {
    pub(crate) made: T,
    pub(crate) said: T,
    pub(crate) now: T,
}

impl<T> Sides<T> {
    pub(crate) fn map<'a, U>(&'a self, to: impl Fn(&'a T) -> U) -> Sides<U> {
        Sides { made: to(&self.made), said: to(&self.said), now: to(&self.now) }
    }
}

/// By what an element of a list is known again on another side.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// One of these in common, and it is the same element. Every element of a list has equally many.
    pub(crate) identity: Vec<Option<String>>,
    /// One of these in common, and it may be the same element, rewritten.
    pub(crate) likeness: Vec<Option<String>>,
}

/// One element, as an index into each list that holds it.
pub(crate) type Slot = Sides<Option<usize>>;

/// Which elements of three lists are the same.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) all: Vec<Slot>,
    /// The slot of each element.
    pub(crate) of: Sides<Vec<usize>>,
}

impl Slots {
    pub(crate) fn new(names: &Sides<Vec<Names>>) -> Self {
        let mut free = names.map(|side| (0..side.len()).collect::<Vec<_>>());
        let slot = |said| Slot { made: None, said: Some(said), now: None };
        let mut all: Vec<Slot> = (0..names.said.len()).map(slot).collect();

        for (said, made) in pair((&names.said, &mut free.said), (&names.made, &mut free.made), &ANY) {
            all[said].made = Some(made);
        }
        let mut free_said: Vec<usize> = (0..all.len()).collect();
        let mut found = pair((&names.said, &mut free_said), (&names.now, &mut free.now), &IDENTITY);
        // What a later plugin put in the place of something that only a hook had said is that plugin's own.
        free_said.retain(|&said| all[said].made.is_some());
        found.extend(pair((&names.said, &mut free_said), (&names.now, &mut free.now), &LIKENESS));
        for (said, now) in found {
            all[said].now = Some(now);
        }
        for (made, now) in pair((&names.made, &mut free.made), (&names.now, &mut free.now), &IDENTITY) {
            all.push(Slot { made: Some(made), said: None, now: Some(now) });
        }
        all.extend(free.made.into_iter().map(|made| Slot { made: Some(made), said: None, now: None }));
        all.extend(free.now.into_iter().map(|now| Slot { made: None, said: None, now: Some(now) }));

        let mut of = names.map(|side| vec![0; side.len()]);
        for (at, slot) in all.iter().enumerate() {
            slot.made.into_iter().for_each(|index| of.made[index] = at);
            slot.said.into_iter().for_each(|index| of.said[index] = at);
            slot.now.into_iter().for_each(|index| of.now[index] = at);
        }
        Self { all, of }
    }

    /// Is the element in the merged list? Not if only hooks said it, nor if a later plugin took it away.
    fn stays(&self, at: usize) -> bool {
        match self.all[at] {
            Slot { made, said: Some(_), now } => made.is_some() && now.is_some(),
            Slot { said: None, .. } => true,
        }
    }

    /// The slots that stay, in the delegate's order; in the later plugin's, where that plugin has changed it.
    pub(crate) fn in_order(&self) -> Vec<usize> {
        let common = self.of.now.iter().filter(|&&at| self.all[at].made.is_some());
        let said: Vec<_> = common.filter_map(|&at| self.all[at].said).collect();
        let (first, second) =
            if said.is_sorted() { (&self.of.made, &self.of.now) } else { (&self.of.now, &self.of.made) };
        self.weave(first, second)
    }

    /// What stays of `first`, with what stays of `second` alone: between its neighbours there, or at that end.
    fn weave(&self, first: &[usize], second: &[usize]) -> Vec<usize> {
        let lead: Vec<usize> = first.iter().copied().filter(|&at| self.stays(at)).collect();
        let mut leads = vec![false; self.all.len()];
        for &at in &lead {
            leads[at] = true;
        }

        let (mut before, mut after) = (HashMap::new(), HashMap::new());
        let (mut alone, mut neighbour) = (Vec::new(), None);
        for &at in second.iter().filter(|&&at| self.stays(at)) {
            if !leads[at] {
                alone.push(at);
                continue;
            }
            let between = std::mem::take(&mut alone);
            match neighbour.replace(at) {
                Some(neighbour) => after.insert(neighbour, between),
                None => before.insert(at, between),
            };
        }

        let mut woven = Vec::new();
        for at in lead {
            woven.extend(before.remove(&at).unwrap_or_default());
            woven.push(at);
            woven.extend(after.remove(&at).unwrap_or_default());
        }
        woven.extend(alone);
        woven
    }
}

type Rule = fn(&Names) -> &[Option<String>];
const IDENTITY: [Rule; 1] = [|names| &names.identity];
const LIKENESS: [Rule; 1] = [|names| &names.likeness];
const ANY: [Rule; 2] = [|names| &names.identity, |names| &names.likeness];

/// Pairs what is still free on two sides, name by name, the best name first; of equals the first with the first.
fn pair(
    (one, one_free): (&[Names], &mut Vec<usize>),
    (other, other_free): (&[Names], &mut Vec<usize>),
    rules: &[Rule],
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for rule in rules {
        let count = one.first().map_or(0, |names| rule(names).len());
        for nth in 0..count {
            let mut waiting: HashMap<&str, VecDeque<usize>> = HashMap::new();
            for &at in &*other_free {
                if let Some(Some(name)) = rule(&other[at]).get(nth) {
                    waiting.entry(name).or_default().push_back(at);
                }
            }
            let mut taken = vec![false; other.len()];
            one_free.retain(|&at| {
                let Some(Some(name)) = rule(&one[at]).get(nth) else { return true };
                let Some(found) = waiting.get_mut(name.as_str()).and_then(VecDeque::pop_front) else {
                    return true;
                };
                taken[found] = true;
                pairs.push((at, found));
                false
            });
            other_free.retain(|&at| !taken[at]);
        }
    }
    pairs
}
