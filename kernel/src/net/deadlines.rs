//! When which socket must be looked at: a heap with one entry a socket, which is never moved later.
//!
//! TCP moves its timers with each segment, nearly always to later. So an entry stays where it is when its socket's
//! deadline moves back, and the socket is put in anew when the entry comes up. A busy connection is looked at once per
//! delayed-ACK time at most, and pays no heap operation per segment. An earlier deadline moves the entry up: a second
//! entry for it would leave the first behind as a ghost, and a connection that pauses often would raise ghosts without
//! end. So the heap knows where each socket's entry is, never holds more entries than there are sockets, and has room
//! for all of them since the sockets were made: adding one cannot fail.
#![forbid(unsafe_code)]

use alloc::{collections::TryReserveError, vec::Vec};

/// Index of a socket, and which of those that had it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Who {
    pub(super) index: u32,
    pub(super) generation: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    when: u64,
    index: u32,
}

const NOWHERE: u32 = u32::MAX;

/// See the file head.
#[derive(Default)]
pub(super) struct Deadlines {
    /// A binary heap, the earliest first.
    heap: Vec<Entry>,
    /// Where in `heap` each socket's entry is.
    places: Vec<u32>,
}

impl Deadlines {
    /// Makes room for socket `index`.
    pub(super) fn make_room(&mut self, index: u32) -> Result<(), TryReserveError> {
        let n = index as usize + 1;
        if n > self.places.len() {
            self.places.try_reserve(n - self.places.len())?;
            self.heap.try_reserve(n - self.heap.len())?;
            self.places.resize(n, NOWHERE);
        }
        Ok(())
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<u64> {
        Some(self.heap.first()?.when)
    }

    /// When socket `index` is looked at; `u64::MAX`: never.
    #[cfg(all(test, not(loom)))]
    fn of(&self, index: u32) -> u64 {
        match self.places[index as usize] {
            NOWHERE => u64::MAX,
            place => self.heap[place as usize].when,
        }
    }

    /// Socket `index` is to be looked at no later than `when`.
    pub(super) fn no_later_than(&mut self, when: u64, index: u32) {
        match self.places[index as usize] {
            NOWHERE => {
                self.heap.push(Entry { when, index }); // `make_room` made it
                self.up(self.heap.len() - 1);
            }
            place if when < self.heap[place as usize].when => {
                self.heap[place as usize].when = when;
                self.up(place as usize);
            }
            _ => {}
        }
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now: u64) -> Option<u32> {
        let first = *self.heap.first()?;
        if first.when > now {
            return None;
        }
        self.remove(first.index);
        Some(first.index)
    }

    /// Socket `index` need not be looked at.
    pub(super) fn remove(&mut self, index: u32) {
        let place = core::mem::replace(&mut self.places[index as usize], NOWHERE) as usize;
        if place >= self.heap.len() {
            return;
        }
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.up(place);
            self.down(place);
        }
    }

    /// Moves the entry at `place` up to where it belongs.
    fn up(&mut self, mut place: usize) {
        let e = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].when <= e.when {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, e);
    }

    /// Moves the entry at `place` down to where it belongs.
    fn down(&mut self, mut place: usize) {
        let e = self.heap[place];
        loop {
            let left = 2 * place + 1;
            let Some(&a) = self.heap.get(left) else { break };
            let (child, least) = match self.heap.get(left + 1) {
                Some(&b) if b.when < a.when => (left + 1, b),
                _ => (left, a),
            };
            if e.when <= least.when {
                break;
            }
            self.put(place, least);
            place = child;
        }
        self.put(place, e);
    }

    fn put(&mut self, place: usize, e: Entry) {
        self.heap[place] = e;
        self.places[e.index as usize] = place as u32;
    }

    /// Entries now.
    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn with_room(n: u32) -> Deadlines {
        let mut d = Deadlines::default();
        (0..n).for_each(|i| d.make_room(i).unwrap());
        d
    }

    #[test]
    fn in_order_and_not_early() {
        let mut d = with_room(4);
        for (when, index) in [(30, 3), (10, 1), (20, 2)] {
            d.no_later_than(when, index);
        }
        assert_eq!((d.first(), d.due(9)), (Some(10), None));
        assert_eq!([d.due(20), d.due(20), d.due(20)], [Some(1), Some(2), None]);
        assert_eq!((d.of(3), d.of(1)), (30, u64::MAX));
        assert_eq!(d.due(u64::MAX), Some(3));
        assert_eq!(d.first(), None);
    }

    /// One entry a socket, whatever is done, and always the earliest that was asked for.
    #[test]
    fn as_a_map_would_have_it() {
        const N: u32 = 50;
        let mut d = with_room(N);
        let mut model = BTreeMap::<u32, u64>::new();
        let (mut x, mut now) = (1u64, 0);
        for _ in 0..100_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (what, index, by) = ((x >> 60) as u32, (x >> 33) as u32 % N, x >> 20 & 0xff);
            match what {
                0..8 => {
                    d.no_later_than(now + by, index);
                    let e = model.entry(index).or_insert(u64::MAX);
                    *e = (*e).min(now + by);
                }
                8..10 => {
                    d.remove(index);
                    model.remove(&index);
                }
                _ => {
                    now += by / 8;
                    while let Some(i) = d.due(now) {
                        let when = model.remove(&i).unwrap();
                        assert!(when <= now && model.values().all(|&w| w >= when));
                    }
                }
            }
            assert_eq!(d.len(), model.len());
            assert_eq!(d.first(), model.values().min().copied());
            assert_eq!(d.of(index), *model.get(&index).unwrap_or(&u64::MAX));
        }
    }
}
