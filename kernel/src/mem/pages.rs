//! The page allocator: which heap pages are free, found first-fit by address in O(log n).
//!
//! One bit a page, 512 pages (4 MiB) to a *chunk*, and above the chunks a tree of summaries with eight children to a
//! node. A summary tells three numbers about its pages: the free run at its start, the longest free run inside, the free
//! run at its end. That is enough to walk down to the lowest run of n pages: at each node look at the children from
//! left to right, keeping the run that ends at the border; either that run plus the next child's start is long enough, or the
//! child's longest is and we go down into it.
//!
//! ```text
//!                       [start 0, max 700, end 512]                       level 1: 8 chunks
//!        ┌──────────────────────┼───────────────────────┐
//!  [0, 30, 0]            [0, 188, 188]          [512, 512, 512]  …        level 0: a chunk
//!  0110…11               000…1111               1111…                     bits, 1 = free
//! ```
//! A search for 600 pages: child 0 cannot, its end is 0; child 1 cannot, its end run is 188; child 2 starts with 512:
//! 188 + 512 ≥ 600, so the run begins 188 pages before child 2.
//!
//! First fit by address keeps the low end dense and the high end free, which is what the scavenger and big requests want.
//! Refused: size-ordered free lists of runs (coalescing needs border tags in pages that may be unmapped).
//!
//! Beside "free" two more bits a page are kept. *Released*: no frame is behind the page. *Young*: it became free since the
//! scavenger's last pass. All under the page heap's lock; nothing here knows of it.
#![forbid(unsafe_code)]

/// Pages of a chunk.
pub const CHUNK: usize = 512;
const WORDS: usize = CHUNK / 64;
const FANOUT: usize = 8;
/// Enough for 8^8 chunks.
const LEVELS: usize = 9;

/// A free-page summary; see the file head. In pages.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Summary {
    start: u32,
    max: u32,
    end: u32,
}

/// The three bits of each page of a chunk.
#[derive(Clone, Copy)]
pub struct Chunk {
    free: [u64; WORDS],
    released: [u64; WORDS],
    young: [u64; WORDS],
}

impl Chunk {
    /// No page free, all without a frame.
    pub const EMPTY: Chunk = Chunk {
        free: [0; WORDS],
        released: [u64::MAX; WORDS],
        young: [0; WORDS],
    };

    fn summary(&self) -> Summary {
        let (mut max, mut run, mut start) = (0, 0, None);
        for &w in &self.free {
            if w == u64::MAX {
                run += 64;
                continue;
            }
            // The run that comes in from below ends in this word.
            run += w.trailing_ones();
            start.get_or_insert(run);
            max = max.max(run);
            // Runs inside: shrink all of them bit by bit until none is left (at most 62 steps, usually few).
            let mut inner = w & (u64::MAX >> w.leading_ones()) & (u64::MAX << w.trailing_ones());
            let mut len = 0;
            while inner != 0 {
                inner &= inner << 1;
                len += 1;
            }
            max = max.max(len);
            run = w.leading_ones();
        }
        Summary {
            start: start.unwrap_or(run),
            max: max.max(run),
            end: run,
        }
    }

    /// The lowest run of `n` free pages, known to be inside.
    fn find(&self, n: usize) -> Option<usize> {
        let (mut run, mut i) = (0, 0);
        while i < CHUNK {
            let w = self.free[i / 64] >> (i % 64);
            if w & 1 != 0 {
                // Bits shifted in from above are 0, so a run never leaves its word here.
                let ones = (w.trailing_ones() as usize).min(64 - i % 64);
                run += ones;
                i += ones;
                if run >= n {
                    return Some(i - run);
                }
            } else {
                run = 0;
                i += (w.trailing_zeros() as usize).min(64 - i % 64);
            }
        }
        None
    }
}

/// `n` ones from bit `at` on.
fn mask(at: usize, n: usize) -> u64 {
    (u64::MAX >> (64 - n)) << at
}

/// The pieces of `page..page + n` word by word: chunk, word, mask.
fn pieces(mut page: usize, n: usize) -> impl Iterator<Item = (usize, usize, u64)> {
    let end = page + n;
    core::iter::from_fn(move || {
        if page >= end {
            return None;
        }
        let len = (end - page).min(64 - page % 64);
        let piece = (page / CHUNK, page % CHUNK / 64, mask(page % 64, len));
        page += len;
        Some(piece)
    })
}

/// A word of 64 pages taken at once, for a P's page cache.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Word {
    /// First page, a multiple of 64.
    pub base: usize,
    /// Which are free.
    pub free: u64,
    /// Which have no frame.
    pub released: u64,
}

/// The free pages of the heap. Storage is lent.
pub struct PageAlloc {
    chunks: &'static mut [Chunk],
    /// `tree[l]`: summaries of level l; level 0 has one per chunk.
    tree: [&'static mut [Summary]; LEVELS],
    levels: usize,
    free: usize,
    free_released: usize,
}

/// How many summaries `chunks` chunks need over all levels.
pub const fn summaries_for(chunks: usize) -> usize {
    let (mut n, mut sum) = (chunks, chunks);
    while n > 1 {
        n = n.div_ceil(FANOUT);
        sum += n;
    }
    sum
}

impl PageAlloc {
    /// One that has no pages.
    pub const fn empty() -> Self {
        PageAlloc {
            chunks: &mut [],
            tree: [
                &mut [],
                &mut [],
                &mut [],
                &mut [],
                &mut [],
                &mut [],
                &mut [],
                &mut [],
                &mut [],
            ],
            levels: 0,
            free: 0,
            free_released: 0,
        }
    }

    /// For `chunks.len()` chunks, no page free. `summaries` has [`summaries_for`] that many.
    pub fn new(chunks: &'static mut [Chunk], mut summaries: &'static mut [Summary]) -> Self {
        chunks.fill(Chunk::EMPTY);
        summaries.fill(Summary::default());
        let mut a = PageAlloc {
            chunks,
            ..Self::empty()
        };
        let mut n = a.chunks.len();
        loop {
            let (level, rest) = summaries.split_at_mut(n);
            a.tree[a.levels] = level;
            a.levels += 1;
            summaries = rest;
            if n <= 1 {
                break;
            }
            n = n.div_ceil(FANOUT);
        }
        a
    }

    /// Pages it can describe.
    pub fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }
    /// Free pages, and how many of them have no frame.
    pub fn free_count(&self) -> (usize, usize) {
        (self.free, self.free_released)
    }
    /// The longest run of free pages.
    pub fn longest_run(&self) -> usize {
        match self.levels {
            0 => 0,
            n => self.tree[n - 1].first().map_or(0, |s| s.max as usize),
        }
    }

    /// Pages of level-`l` node.
    fn span_of(l: usize) -> usize {
        CHUNK * FANOUT.pow(l as u32)
    }

    /// Recomputes the summaries over the chunks of `page..page + n`.
    fn update(&mut self, page: usize, n: usize) {
        let (mut lo, mut hi) = (page / CHUNK, (page + n - 1) / CHUNK);
        for c in lo..=hi {
            self.tree[0][c] = self.chunks[c].summary();
        }
        for l in 1..self.levels {
            (lo, hi) = (lo / FANOUT, hi / FANOUT);
            let full = Self::span_of(l - 1) as u32;
            let (below, this) = self.tree.split_at_mut(l);
            let below = &below[l - 1];
            let mut changed = false;
            for i in lo..=hi {
                let kids = &below[i * FANOUT..((i + 1) * FANOUT).min(below.len())];
                let s = merge(kids, full);
                changed |= this[0][i] != s;
                this[0][i] = s;
            }
            if !changed {
                break;
            }
        }
    }

    fn mark_used(&mut self, page: usize, n: usize) {
        for (c, w, m) in pieces(page, n) {
            let chunk = &mut self.chunks[c];
            debug_assert!(chunk.free[w] & m == m, "page taken twice");
            chunk.free[w] &= !m;
            chunk.young[w] &= !m;
            self.free_released -= (chunk.released[w] & m).count_ones() as usize;
        }
        self.free -= n;
        self.update(page, n);
    }

    /// Makes `page..page + n` free. Pages with no frame must have been marked so.
    ///
    /// # Panics
    /// In debug builds if one is free already.
    pub fn release(&mut self, page: usize, n: usize) {
        for (c, w, m) in pieces(page, n) {
            let chunk = &mut self.chunks[c];
            debug_assert!(chunk.free[w] & m == 0, "page freed twice");
            chunk.free[w] |= m;
            chunk.young[w] |= m;
            self.free_released += (chunk.released[w] & m).count_ones() as usize;
        }
        self.free += n;
        self.update(page, n);
    }

    /// Takes the lowest run of `n` pages whose first is a multiple of `align` (a power of two).
    pub fn take(&mut self, n: usize, align: usize) -> Option<usize> {
        // A run this long holds an aligned one.
        let at = self.find(n + align - 1)?.next_multiple_of(align);
        self.mark_used(at, n);
        Some(at)
    }

    /// Takes exactly `page..page + n` if all of it is free: a span grows in place.
    pub fn take_at(&mut self, page: usize, n: usize) -> bool {
        let fits =
            page + n <= self.capacity() && pieces(page, n).all(|(c, w, m)| self.chunks[c].free[w] & m == m);
        if fits {
            self.mark_used(page, n);
        }
        fits
    }

    /// Takes all free pages of the lowest word that has any.
    pub fn take_word(&mut self) -> Option<Word> {
        let base = self.find(1)? & !63;
        let chunk = &mut self.chunks[base / CHUNK];
        let w = base % CHUNK / 64;
        let (free, released) = (chunk.free[w], chunk.released[w] & chunk.free[w]);
        chunk.free[w] = 0;
        chunk.young[w] &= !free;
        chunk.released[w] &= !released;
        self.free -= free.count_ones() as usize;
        self.free_released -= released.count_ones() as usize;
        self.update(base, 64);
        Some(Word { base, free, released })
    }

    /// Gives back what is left of a word.
    pub fn put_word(&mut self, word: Word) {
        let chunk = &mut self.chunks[word.base / CHUNK];
        let w = word.base % CHUNK / 64;
        debug_assert!(chunk.free[w] & word.free == 0, "word freed twice");
        chunk.free[w] |= word.free;
        chunk.young[w] |= word.free;
        chunk.released[w] |= word.released;
        self.free += word.free.count_ones() as usize;
        self.free_released += word.released.count_ones() as usize;
        self.update(word.base, 64);
    }

    /// First-fit search; see the file head.
    fn find(&self, n: usize) -> Option<usize> {
        if n == 0 || n > self.longest_run() {
            return None;
        }
        let (mut level, mut node) = (self.levels - 1, 0);
        'down: while level > 0 {
            level -= 1;
            let full = Self::span_of(level);
            let kids = &self.tree[level];
            let first = node * FANOUT;
            // Free pages right before the child, within this node.
            let mut run = 0;
            for i in first..(first + FANOUT).min(kids.len()) {
                let s = kids[i];
                if run + s.start as usize >= n {
                    return Some(i * full - run);
                }
                if s.max as usize >= n {
                    node = i;
                    continue 'down;
                }
                run = if s.end as usize == full {
                    run + full
                } else {
                    s.end as usize
                };
            }
            return None;
        }
        self.chunks[node].find(n).map(|i| node * CHUNK + i)
    }

    /// Marks pages in use as having no frame (they were never given one), or undoes it.
    pub fn set_released(&mut self, page: usize, n: usize, on: bool) {
        for (c, w, m) in pieces(page, n) {
            let chunk = &mut self.chunks[c];
            debug_assert!(chunk.free[w] & m == 0, "a free page changes under its owner");
            if on {
                chunk.released[w] |= m;
            } else {
                chunk.released[w] &= !m;
            }
        }
    }

    /// How many of `page..page + n` have no frame.
    pub fn released_in(&self, page: usize, n: usize) -> usize {
        pieces(page, n)
            .map(|(c, w, m)| (self.chunks[c].released[w] & m).count_ones() as usize)
            .sum()
    }

    /// Takes `n` free neighbours that all have frames, for when there are no more: the lowest such run, by looking at every
    /// word below `end`. Slow.
    pub fn take_run_backed(&mut self, n: usize, align: usize, end: usize) -> Option<usize> {
        let (mut at, mut run) = (0, 0);
        while let Some((page, len)) = self.next_set(at, end, |c, w| c.free[w] & !c.released[w]) {
            run = if page == at && run > 0 { run + len } else { len };
            at = page + len;
            let first = (at - run).next_multiple_of(align);
            if first + n <= at {
                self.mark_used(first, n);
                return Some(first);
            }
        }
        None
    }

    /// The first run of pages in `page..end` that have no frame, within one word.
    pub fn next_released(&self, page: usize, end: usize) -> Option<(usize, usize)> {
        self.next_set(page, end, |c, w| c.released[w])
    }

    fn next_set(
        &self,
        mut page: usize,
        end: usize,
        bits: impl Fn(&Chunk, usize) -> u64,
    ) -> Option<(usize, usize)> {
        while page < end {
            let w = bits(&self.chunks[page / CHUNK], page % CHUNK / 64) >> (page % 64);
            if w == 0 {
                page = (page | 63) + 1;
                continue;
            }
            page += w.trailing_zeros() as usize;
            let n = (w >> w.trailing_zeros()).trailing_ones() as usize;
            return (page < end).then(|| (page, n.min(end - page)));
        }
        None
    }

    /// Takes up to `most` free pages of `from..end` that have a frame, for the scavenger: a run within a word. With
    /// `old` only those that were free at the last [`PageAlloc::age`] already.
    pub fn take_backed(&mut self, from: usize, end: usize, most: usize, old: bool) -> Option<(usize, usize)> {
        let (page, n) = self.next_set(from, end, |c, w| {
            c.free[w] & !c.released[w] & if old { !c.young[w] } else { u64::MAX }
        })?;
        let n = n.min(most);
        self.mark_used(page, n);
        Some((page, n))
    }

    /// Everything free now below `end` counts as old from here on.
    pub fn age(&mut self, end: usize) {
        for c in self.chunks[..end.div_ceil(CHUNK)].iter_mut() {
            c.young = [0; WORDS];
        }
    }
}

/// The summary of neighbours of `full` pages each (the last node of a level may have fewer).
fn merge(kids: &[Summary], full: u32) -> Summary {
    let mut s = Summary::default();
    let (mut run, mut whole) = (0, true);
    for k in kids {
        if whole {
            s.start = run + k.start;
        }
        s.max = s.max.max(run + k.start).max(k.max);
        if k.end == full {
            run += full;
        } else {
            run = k.end;
            whole = false;
        }
    }
    s.end = run;
    s.max = s.max.max(run);
    s
}

#[cfg(test)]
#[path = "pages_tests.rs"]
pub(super) mod tests;
