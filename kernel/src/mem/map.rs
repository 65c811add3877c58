//! The boot memory map, reduced to two sets of ranges.
//!
//! Firmware maps overlap, come unsorted, and disagree about granularity. Instead of repairing regions
//! one by one we keep two *sets*: `ram` (what the direct map covers) and `free` (what the frame
//! allocator may hand out). A set is sorted and disjoint by construction; "reserved wins" is
//! `insert` of everything usable first, `remove` of everything taken afterwards.
//!
//! Refused: a list of typed regions with a normalising pass. The pass is where such code goes wrong, and
//! nobody downstream asks for the types.
//!
//! Invariant: ranges are non-empty, page-aligned, ascending and do not touch.

use core::ops::Range;

/// Bytes in a page frame.
pub const PAGE: u64 = 4096;

/// Most ranges a set holds; a UEFI map merges to fewer than 40.
const MAX_RANGES: usize = 128;

/// A set of page-aligned physical addresses.
#[derive(Clone)]
pub struct RangeSet {
    ranges: [(u64, u64); MAX_RANGES],
    len: usize,
}

impl Default for RangeSet {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        RangeSet {
            ranges: [(0, 0); MAX_RANGES],
            len: 0,
        }
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges[..self.len].iter().map(|&(s, e)| s..e)
    }

    /// Sum of the lengths.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|r| r.end - r.start).sum()
    }

    /// First address above every member, or 0.
    pub fn end(&self) -> u64 {
        if self.len == 0 {
            0
        } else {
            self.ranges[self.len - 1].1
        }
    }

    /// True if every address of `range` is a member.
    pub fn contains(&self, range: Range<u64>) -> bool {
        self.iter().any(|r| r.start <= range.start && range.end <= r.end)
    }

    /// Adds the whole pages inside `start..end`.
    pub fn insert(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start.next_multiple_of(PAGE), end & !(PAGE - 1));
        if start >= end {
            return;
        }
        // Swallow everything that overlaps or touches, then put the union back in order.
        let mut out = RangeSet::new();
        let mut placed = false;
        for r in self.iter() {
            if r.end < start {
                out.push(r.start, r.end);
            } else if end < r.start {
                if !placed {
                    out.push(start, end);
                    placed = true;
                }
                out.push(r.start, r.end);
            } else {
                start = start.min(r.start);
                end = end.max(r.end);
            }
        }
        if !placed {
            out.push(start, end);
        }
        *self = out;
    }

    /// Removes every page that `start..end` touches.
    pub fn remove(&mut self, start: u64, end: u64) {
        let (start, end) = (start & !(PAGE - 1), end.saturating_add(PAGE - 1) & !(PAGE - 1));
        if start >= end {
            return;
        }
        let mut out = RangeSet::new();
        for r in self.iter() {
            if r.start < start.min(r.end) {
                out.push(r.start, start.min(r.end));
            }
            if end.max(r.start) < r.end {
                out.push(end.max(r.start), r.end);
            }
        }
        *self = out;
    }

    /// The lowest member range of `bytes` bytes, aligned, that ends at or below `limit`.
    pub fn find(&self, bytes: u64, align: u64, floor: u64, limit: u64) -> Option<u64> {
        self.iter().find_map(|r| {
            let at = r.start.max(floor).next_multiple_of(align);
            (at.checked_add(bytes)? <= r.end.min(limit)).then_some(at)
        })
    }

    /// Appends; beyond capacity the range is lost, which only loses memory.
    fn push(&mut self, start: u64, end: u64) {
        if self.len < MAX_RANGES {
            self.ranges[self.len] = (start, end);
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(s: &RangeSet) -> Vec<(u64, u64)> {
        s.iter().map(|r| (r.start / PAGE, r.end / PAGE)).collect()
    }

    #[test]
    fn insert_merges_in_any_order() {
        let mut s = RangeSet::new();
        for (a, b) in [(8, 10), (1, 2), (4, 5), (2, 4), (12, 13)] {
            s.insert(a * PAGE, b * PAGE);
        }
        assert_eq!(list(&s), [(1, 5), (8, 10), (12, 13)]);
        s.insert(0, 20 * PAGE);
        assert_eq!(list(&s), [(0, 20)]);
    }

    #[test]
    fn partial_pages_are_never_usable() {
        let mut s = RangeSet::new();
        s.insert(1, 2 * PAGE - 1);
        assert_eq!(list(&s), []);
        s.insert(PAGE - 1, 3 * PAGE + 1);
        assert_eq!(list(&s), [(1, 3)]);
        s.remove(PAGE + 1, PAGE + 2);
        assert_eq!(list(&s), [(2, 3)]);
    }

    #[test]
    fn reserved_wins_and_splits() {
        let mut s = RangeSet::new();
        s.insert(0, 100 * PAGE);
        s.remove(10 * PAGE, 20 * PAGE);
        s.remove(0, PAGE);
        s.remove(99 * PAGE, 200 * PAGE);
        assert_eq!(list(&s), [(1, 10), (20, 99)]);
        s.remove(5 * PAGE, 50 * PAGE);
        assert_eq!(list(&s), [(1, 5), (50, 99)]);
        assert_eq!(s.bytes(), 53 * PAGE);
        assert_eq!(s.find(5 * PAGE, 16 * PAGE, 0, u64::MAX), Some(64 * PAGE));
        assert_eq!(s.find(5 * PAGE, PAGE, 0, 50 * PAGE), None);
    }

    #[test]
    fn agrees_with_a_page_by_page_model() {
        let mut x = 0x9e37_79b9u32;
        let mut rnd = |n: u32| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x % n
        };
        let mut s = RangeSet::new();
        let mut model = [false; 64];
        for _ in 0..4000 {
            let a = rnd(64);
            let b = a + rnd(64 - a) + 1;
            let add = rnd(2) == 0;
            if add {
                s.insert(u64::from(a) * PAGE, u64::from(b) * PAGE);
            } else {
                s.remove(u64::from(a) * PAGE, u64::from(b) * PAGE);
            }
            model[a as usize..b as usize].fill(add);
            for (i, &m) in model.iter().enumerate() {
                let p = i as u64 * PAGE;
                assert_eq!(s.contains(p..p + PAGE), m);
            }
            assert!(
                s.ranges[..s.len].windows(2).all(|w| w[0].1 < w[1].0),
                "touching ranges"
            );
        }
    }
}
