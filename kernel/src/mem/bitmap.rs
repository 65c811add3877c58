//! A two-level bitmap of free page frames: one bit a frame, one summary bit a word.
//!
//! `summary` bit w is set iff `words[w] != 0`, so finding a free frame reads at most `frames / 4096`
//! summary words (4,096 for 64 GiB) and one word. Lowest frame first: contiguous room survives at the
//! top, and early boot gets frames that the first page tables map.
//!
//! Refused: a stack of free frames (no contiguous allocation, eight bytes a frame) and a buddy system
//! (the page heap above does its own coalescing; here nearly all requests are single frames).

/// The bitmap; storage is lent by the caller.
pub struct Bitmap {
    words: &'static mut [u64],
    summary: &'static mut [u64],
    /// No summary word below this index is non-zero.
    hint: usize,
    free: usize,
}

impl Bitmap {
    /// `u64`s of storage for `frames` frames: words, then summary.
    pub const fn storage_words(frames: usize) -> usize {
        let words = frames.div_ceil(64);
        words + words.div_ceil(64)
    }

    /// A bitmap without storage; everything fails until it is replaced.
    pub const fn empty() -> Self {
        Bitmap {
            words: &mut [],
            summary: &mut [],
            hint: 0,
            free: 0,
        }
    }

    /// A bitmap of `frames` frames, none free. `storage` has [`Bitmap::storage_words`] words.
    pub fn new(storage: &'static mut [u64], frames: usize) -> Self {
        storage.fill(0);
        let (words, summary) = storage.split_at_mut(frames.div_ceil(64));
        Bitmap {
            words,
            summary,
            hint: 0,
            free: 0,
        }
    }

    /// Number of free frames.
    pub fn free_count(&self) -> usize {
        self.free
    }

    /// Marks frame `i` free; false if it was free already (the caller's bug).
    #[must_use]
    pub fn release(&mut self, i: usize) -> bool {
        let (w, bit) = (i / 64, 1 << (i % 64));
        if w >= self.words.len() || self.words[w] & bit != 0 {
            return false;
        }
        self.words[w] |= bit;
        self.summary[w / 64] |= 1 << (w % 64);
        self.hint = self.hint.min(w / 64);
        self.free += 1;
        true
    }

    /// Takes the lowest free frame.
    pub fn take(&mut self) -> Option<usize> {
        while self.hint < self.summary.len() {
            let s = self.summary[self.hint];
            if s != 0 {
                let w = self.hint * 64 + s.trailing_zeros() as usize;
                let i = w * 64 + self.words[w].trailing_zeros() as usize;
                self.clear(i);
                return Some(i);
            }
            self.hint += 1;
        }
        None
    }

    /// Takes `n` neighbouring frames, the first a multiple of `align`; first fit.
    pub fn take_run(&mut self, n: usize, align: usize) -> Option<usize> {
        let end = self.words.len() * 64;
        let mut at = (self.hint * 4096).next_multiple_of(align);
        'search: while n > 0 && at + n <= end {
            // Scan backwards: the highest frame taken lets us skip the most.
            let mut i = at + n;
            while i > at {
                i -= 1;
                let word = self.words[i / 64];
                if word == u64::MAX && i % 64 == 63 && i >= at + 63 {
                    i -= 63; // a whole free word
                    continue;
                }
                if word & (1 << (i % 64)) == 0 {
                    at = (i + 1).next_multiple_of(align);
                    continue 'search;
                }
            }
            for i in at..at + n {
                self.clear(i);
            }
            return Some(at);
        }
        None
    }

    fn clear(&mut self, i: usize) {
        let w = i / 64;
        self.words[w] &= !(1 << (i % 64));
        if self.words[w] == 0 {
            self.summary[w / 64] &= !(1 << (w % 64));
        }
        self.free -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(frames: usize) -> Bitmap {
        Bitmap::new(
            Box::leak(vec![0; Bitmap::storage_words(frames)].into_boxed_slice()),
            frames,
        )
    }

    #[test]
    fn lowest_first_and_no_double_free() {
        let mut b = bitmap(10_000);
        for i in [9_999, 5, 700] {
            assert!(b.release(i));
            assert!(!b.release(i));
        }
        assert!(!b.release(1 << 20));
        assert_eq!(b.free_count(), 3);
        assert_eq!(
            (b.take(), b.take(), b.take(), b.take()),
            (Some(5), Some(700), Some(9_999), None)
        );
        assert!(b.release(5));
        assert_eq!(b.take(), Some(5));
    }

    #[test]
    fn runs_respect_holes_and_alignment() {
        let mut b = bitmap(4_096);
        for i in (0..4_096).filter(|i| i % 513 != 512) {
            assert!(b.release(i));
        }
        assert_eq!(b.take_run(512, 512), Some(0));
        assert_eq!(b.take_run(512, 512), None); // every later aligned run has a hole
        assert_eq!(b.take_run(512, 1), Some(513));
        assert_eq!(b.take_run(4_000, 1), None);
        assert_eq!(b.take_run(0, 1), None);
        for i in 513..513 + 512 {
            assert!(b.release(i), "{i} was taken");
        }
    }

    #[test]
    fn everything_comes_back_once() {
        let mut b = bitmap(1_000);
        for i in 0..1_000 {
            assert!(b.release(i));
        }
        let mut seen = [false; 1_000];
        while let Some(i) = b.take() {
            assert!(!core::mem::replace(&mut seen[i], true));
        }
        assert!(seen.iter().all(|&s| s));
        assert_eq!(b.free_count(), 0);
    }
}
