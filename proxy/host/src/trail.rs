use crate::{Failure, Undo};
use std::fmt;
use std::time::Instant;

/// What whoever takes an attachment away goes by.
pub trait Trail: fmt::Debug + Send {
    /// Does the attachment have state? If not, nobody needs to look for it.
    fn has_state(&self) -> bool;

    /// From now on it has, and that must go with it. Told before it has any; waits for other calls until then at most.
    fn begin_state(&mut self, until: Instant) -> Result<(), Failure>;

    /// Something is about to be done, which is taken back like this. Told before it is. Its number.
    fn begin_effect(&mut self, undo: &Undo, until: Instant) -> Result<usize, Failure>;

    /// The last thing that was begun is taken back like this instead.
    fn amend_effect(&mut self, undo: &Undo) -> Result<(), Failure>;

    /// What is to be taken back has ended otherwise.
    fn end_effect(&mut self, effect: usize, ended: Ended);

    /// How much of what must still be taken back is like this?
    fn held(&self, which: fn(&Undo) -> bool) -> u64;
}

/// How something has ended that was to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was not done, or has been taken back.
    Undone,
    /// Nobody knows whether it was done.
    Unknown,
}
