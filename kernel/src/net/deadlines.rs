//! When which socket must be looked at: a heap whose entries are never moved later.
//!
//! TCP moves its timers with each segment, nearly always to later. So an entry stays where it is when its socket's
//! deadline moves back, and the socket is put in anew when the entry comes up; only an earlier deadline makes another
//! entry. A busy connection is looked at once per delayed-ACK time at most, and pays no heap operation per segment.
//! Entries of sockets that are gone are recognized by their generation.
#![forbid(unsafe_code)]

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

/// Index of a socket, and which of those that had it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Who {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// See the file head.
#[derive(Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(u64, Who)>>);

impl Deadlines {
    /// The earliest.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.peek().map(|e| e.0.0)
    }

    /// Adds one. Without memory for it the socket is looked at when the next packet comes: `false`.
    pub(super) fn add(&mut self, when: u64, who: Who) -> bool {
        if self.0.try_reserve(1).is_err() {
            return false;
        }
        self.0.push(Reverse((when, who)));
        true
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now: u64) -> Option<Who> {
        if self.first()? > now {
            return None;
        }
        self.0.pop().map(|e| e.0.1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_not_early() {
        let mut d = Deadlines::default();
        let who = |index| Who { index, generation: 7 };
        for (when, index) in [(30, 3), (10, 1), (20, 2)] {
            assert!(d.add(when, who(index)));
        }
        assert_eq!((d.first(), d.due(9)), (Some(10), None));
        assert_eq!(
            [d.due(20), d.due(20), d.due(20)],
            [Some(who(1)), Some(who(2)), None]
        );
        assert_eq!(d.due(u64::MAX), Some(who(3)));
        assert_eq!(d.first(), None);
    }
}
