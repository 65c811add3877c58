//! A bitmap of free page frames with two levels of summary: one bit a frame, one summary bit a word, one bit of
//! `top` a summary word.
//!
//! `summary` bit w is set iff `words[w] != 0`, `top` bit s iff `summary[s] != 0`. So finding a free frame reads
//! some words of `top` (one per 262,144 frames: 1,024 for 1 TiB, and a hint skips those known to be empty), one of
//! `summary` and one of `words`. Ranges are released and taken word by word, so that the memory map of a
//! 1 TiB machine is entered in four million steps and not in 268 million. Lowest frame first: contiguous room
//! survives at the top, and early boot gets frames that the first page tables map.
//!
//! Refused: a stack of free frames (no contiguous allocation, eight bytes a frame) and a buddy system
//! (the page heap above does its own coalescing; here nearly all requests are single frames).

use core::ops::Range;

/// The bitmap; storage is lent by the caller.
pub struct Bitmap {
    words: &'static mut [u64],
    summary: &'static mut [u64],
    top: &'static mut [u64],
    /// No word of `top` below this index is non-zero.
    hint: usize,
    free: usize,
}

/// The words that frames `r` lie in, each with the bits that are meant.
fn masks(r: Range<usize>) -> impl DoubleEndedIterator<Item = (usize, u64)> {
    let words = r.start / 64..if r.is_empty() {
        r.start / 64
    } else {
        r.end.div_ceil(64)
    };
    words.map(move |w| {
        let low = r.start.saturating_sub(w * 64);
        let high = (r.end - w * 64).min(64);
        (w, (u64::MAX << low) & (u64::MAX >> (64 - high)))
    })
}

impl Bitmap {
    /// `u64`s of storage for `frames` frames: words, summary, top.
    pub const fn storage_words(frames: usize) -> usize {
        let words = frames.div_ceil(64);
        let summary = words.div_ceil(64);
        words + summary + summary.div_ceil(64)
    }

    /// A bitmap without storage; everything fails until it is replaced.
    pub const fn empty() -> Self {
        Bitmap {
            words: &mut [],
            summary: &mut [],
            top: &mut [],
            hint: 0,
            free: 0,
        }
    }

    /// A bitmap of `frames` frames, none free. `storage` has [`Bitmap::storage_words`] words.
    pub fn new(storage: &'static mut [u64], frames: usize) -> Self {
        storage.fill(0);
        let (words, rest) = storage.split_at_mut(frames.div_ceil(64));
        let (summary, top) = rest.split_at_mut(words.len().div_ceil(64));
        Bitmap {
            words,
            summary,
            top,
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
        self.release_range(i..i + 1)
    }

    /// Marks frames free; false, and nothing changed, if one of them was free already or there is no such frame.
    #[must_use]
    pub fn release_range(&mut self, r: Range<usize>) -> bool {
        if r.end > self.words.len() * 64 || masks(r.clone()).any(|(w, mask)| self.words[w] & mask != 0) {
            return false;
        }
        for (w, mask) in masks(r.clone()) {
            self.words[w] |= mask;
            self.summary[w / 64] |= 1 << (w % 64);
            self.top[w / 4096] |= 1 << (w / 64 % 64);
        }
        self.hint = self.hint.min(r.start >> 18);
        self.free += r.len();
        true
    }

    /// Takes the lowest free frame.
    #[inline]
    pub fn take(&mut self) -> Option<usize> {
        while self.hint < self.top.len() {
            let t = self.top[self.hint];
            if t != 0 {
                let s = self.hint * 64 + t.trailing_zeros() as usize;
                let w = s * 64 + self.summary[s].trailing_zeros() as usize;
                let bit = self.words[w].trailing_zeros() as usize;
                self.clear(w, 1 << bit);
                return Some(w * 64 + bit);
            }
            self.hint += 1;
        }
        None
    }

    /// Takes `n` neighbouring frames, the first a multiple of `align`; first fit.
    pub fn take_run(&mut self, n: usize, align: usize) -> Option<usize> {
        if n == 0 {
            return None;
        }
        let mut at = self.next_free(self.hint << 18)?.next_multiple_of(align);
        loop {
            let run = at..at.checked_add(n)?;
            if run.end > self.words.len() * 64 {
                return None;
            }
            // The highest frame that is taken lets us skip the most.
            let taken = |(w, mask): (usize, u64)| {
                let missing = mask & !self.words[w];
                (missing != 0).then(|| w * 64 + 63 - missing.leading_zeros() as usize)
            };
            let Some(last) = masks(run.clone()).rev().find_map(taken) else {
                for (w, mask) in masks(run) {
                    self.clear(w, mask);
                }
                return Some(at);
            };
            at = self.next_free(last + 1)?.next_multiple_of(align);
        }
    }

    /// The lowest free frame at or above `from`.
    fn next_free(&self, from: usize) -> Option<usize> {
        /// The lowest bit set at or above `from` in a row of words.
        fn bit_from(row: &[u64], from: usize) -> Option<usize> {
            let first = row.get(from / 64)? & (u64::MAX << (from % 64));
            (first != 0).then(|| from / 64 * 64 + first.trailing_zeros() as usize)
        }
        bit_from(self.words, from).or_else(|| {
            let w = bit_from(self.summary, from / 64 + 1).or_else(|| {
                let rest = from / 4096 + 1;
                let s = bit_from(self.top, rest).or_else(|| {
                    let next = (rest / 64 + 1).min(self.top.len());
                    let t = next + self.top[next..].iter().position(|t| *t != 0)?;
                    bit_from(self.top, t * 64)
                })?;
                bit_from(self.summary, s * 64)
            })?;
            bit_from(self.words, w * 64)
        })
    }

    /// Takes the free frames `mask` of word `w`.
    #[inline]
    fn clear(&mut self, w: usize, mask: u64) {
        self.words[w] &= !mask;
        self.free -= mask.count_ones() as usize;
        if self.words[w] == 0 {
            let s = w / 64;
            self.summary[s] &= !(1 << (w % 64));
            if self.summary[s] == 0 {
                self.top[s / 64] &= !(1 << (s % 64));
            }
        }
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

    /// Every level agrees with the one below, and the count with the bits.
    fn check(b: &Bitmap) {
        for (w, word) in b.words.iter().enumerate() {
            assert_eq!(b.summary[w / 64] >> (w % 64) & 1 != 0, *word != 0, "word {w}");
        }
        for (s, word) in b.summary.iter().enumerate() {
            assert_eq!(b.top[s / 64] >> (s % 64) & 1 != 0, *word != 0, "summary {s}");
        }
        let ones: usize = b.words.iter().map(|w| w.count_ones() as usize).sum();
        assert_eq!(b.free, ones);
        assert!(b.top[..b.hint].iter().all(|t| *t == 0));
    }

    #[test]
    fn ranges_are_released_whole_or_not_at_all() {
        let mut b = bitmap(10_000);
        assert!(b.release_range(60..130));
        assert!(b.release_range(128 + 2..128 + 2));
        assert!(!b.release_range(0..61));
        assert!(!b.release_range(129..300));
        assert!(!b.release_range(9_999..20_000));
        assert_eq!(b.free_count(), 70);
        assert!(b.release_range(0..60));
        assert!(b.release_range(130..10_000));
        check(&b);
        assert_eq!(b.take_run(10_000, 1), Some(0));
        check(&b);
        assert_eq!((b.free_count(), b.take(), b.take_run(1, 1)), (0, None, None));
    }

    /// 1 TiB: 3 GiB below 4 GiB, a hole to 4 GiB, a hole of 7 frames every GiB above, and nothing from 1,000 to
    /// 1,020 GiB.
    #[test]
    fn one_tib_with_holes() {
        const GIB: usize = 1 << 18;
        let frames = 1024 * GIB;
        assert_eq!(Bitmap::storage_words(frames), (1 << 22) + (1 << 16) + (1 << 10));
        let mut b = bitmap(frames);
        let mut ranges = vec![1..159, 256..3 * GIB - 5];
        let nothing = 1000..1020;
        ranges.extend(
            (4..1024)
                .filter(|g| !nothing.contains(g))
                .map(|g| g * GIB..(g + 1) * GIB - 7),
        );
        for r in &ranges {
            assert!(b.release_range(r.clone()));
        }
        check(&b);
        let all = ranges.iter().map(Range::len).sum::<usize>();
        assert_eq!(b.free_count(), all);
        for hole in [
            0,
            159,
            255,
            3 * GIB - 5,
            4 * GIB - 1,
            5 * GIB - 1,
            5 * GIB - 7,
            1000 * GIB,
            frames - 1,
        ] {
            assert_eq!(b.words[hole / 64] >> (hole % 64) & 1, 0, "frame {hole} is a hole");
        }
        // First fit: behind the hole below 1 MiB, then above 4 GiB, then what no GiB has.
        assert_eq!(b.take_run(512, 512), Some(512));
        assert_eq!(b.take_run(2 * GIB, 1), Some(1024));
        assert_eq!(b.take_run(GIB - 7, 1), Some(4 * GIB));
        assert_eq!(b.take_run(GIB - 6, 1), None);
        assert_eq!(b.take_run(GIB - 512, GIB), Some(5 * GIB));
        // Across words and the end of a summary word, at odd places.
        assert!(b.release_range(4_001..4_301));
        assert_eq!(b.take_run(300, 1), Some(4_001));
        check(&b);
        // The rest, one by one at first, then in runs: each frame once, the last of all at last.
        let mut left = b.free_count();
        for want in (1..159).chain(256..512).chain(2 * GIB + 1024..2 * GIB + 1100) {
            assert_eq!(b.take(), Some(want));
            left -= 1;
        }
        for (at, n) in [(2 * GIB + 1100, GIB - 1105), (6 * GIB - 512, 505)] {
            assert_eq!(b.take_run(n, 1), Some(at));
            left -= n;
        }
        for r in &ranges[4..] {
            assert_eq!(b.take(), Some(r.start));
            assert_eq!(b.take_run(r.len() - 1, 1), Some(r.start + 1));
            left -= r.len();
        }
        assert_eq!((left, b.free_count(), b.take()), (0, 0, None));
        check(&b);
    }

    #[test]
    fn agrees_with_a_frame_by_frame_model() {
        const N: usize = 9_000;
        let mut x = 0x9e37_79b9_u64;
        let mut rnd = |n: usize| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as usize % n
        };
        let (mut b, mut model) = (bitmap(N), vec![false; N]);
        for step in 0..20_000 {
            match rnd(4) {
                0 => {
                    let start = rnd(N);
                    let r = start..(start + rnd(300)).min(N);
                    let fits = model[r.clone()].iter().all(|f| !f);
                    assert_eq!(b.release_range(r.clone()), fits);
                    if fits {
                        model[r].fill(true);
                    }
                }
                1 => {
                    let want = model.iter().position(|f| *f);
                    assert_eq!(b.take(), want);
                    want.inspect(|i| model[*i] = false);
                }
                _ => {
                    let (n, align) = (1 + rnd(200), 1 << rnd(8));
                    let fits = |at: &usize| at + n <= N && model[*at..at + n].iter().all(|f| *f);
                    let want = (0..N).step_by(align).find(fits);
                    assert_eq!(b.take_run(n, align), want, "{n} frames at {align}");
                    want.inspect(|at| model[*at..at + n].fill(false));
                }
            }
            if step % 500 == 0 {
                check(&b);
            }
        }
    }
}
