//! Size classes: what a small request is rounded up to, as a `const fn`.
//!
//! Small objects (up to 32 KiB) come in 67 sizes. A *span* of whole 8 KiB pages is cut into objects of one size.
//! More classes waste less inside an object and more on half-empty spans; 67 is Go's and tcmalloc's compromise. The sizes
//! are computed here instead of pasted, by this rule:
//!
//! - 8, 16, 24, 32, 48, 64, 80, 96, 112, 128: word steps, then steps of a cache-line quarter;
//! - from 128 to 1024 eight equal steps per doubling (128, 144, … 256, 288, …);
//! - from 1024 on seven, from 8192 on six *geometric* steps per doubling: `2^k · 2^(i/s)`, rounded up to a multiple of 64
//!   (128 from 8192 on), so that neighbours differ by at most 1/7 everywhere above 128 bytes.
//!
//! A class's span has the fewest pages that hold 16 objects (12 from 2 KiB on) with a tail (what is left behind the last
//! object) of at most 1/8 of the span. So the slow path, which handles whole spans, is taken at most every twelfth time even by
//! a program that frees in the order it allocates. Refused: a fixed span size (tails of up to a half for the big classes);
//! fewest pages alone, as Go has it (one 32 KiB object to a span: each allocation and each free was a slow one).
//!
//! **Alignment.** A span starts on a page, objects lie at multiples of their size. So an object is aligned to `a` if its
//! class's size is a multiple of `a`; [`class_of`] looks for such a class. Powers of two are classes of their own, hence
//! every alignment up to a page is served here.
//!
//! ```text
//! class_of(100, 8) = the class of 112;   class_of(100, 64) = the class of 128;   class_of(33_000, 8) = none: whole pages
//! ```
#![forbid(unsafe_code)]

/// Bytes of a heap page.
pub const PAGE: usize = 8192;
/// `log2(PAGE)`.
pub const PAGE_SHIFT: u32 = 13;
/// The largest small object.
pub const MAX_SMALL: usize = 32 * 1024;
/// Number of size classes.
pub const CLASSES: usize = 67;
/// The most objects a span of a size class holds.
pub const MAX_OBJECTS: usize = 1024;

/// What is known of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Bytes of an object.
    pub size: u32,
    /// Pages of a span.
    pub pages: u32,
    /// Objects in a span.
    pub objects: u32,
}

impl Class {
    /// Bytes behind the last object of a span.
    pub const fn tail(&self) -> usize {
        self.pages as usize * PAGE - self.size as usize * self.objects as usize
    }
}

/// The largest `x` with `x^s <= n`.
const fn root(n: u128, s: u32) -> u64 {
    let (mut lo, mut hi) = (1u64, 1 << 16);
    while lo + 1 < hi {
        let mid = (lo + hi) / 2;
        if (mid as u128).pow(s) <= n {
            lo = mid
        } else {
            hi = mid
        }
    }
    lo
}

const fn class(size: u64) -> Class {
    let size = size as usize;
    let least = if size <= 2048 { 16 } else { 12 };
    let mut pages = 1;
    while (pages * PAGE) % size > pages * PAGE / 8 || pages * PAGE < size * least {
        pages += 1;
    }
    Class {
        size: size as u32,
        pages: pages as u32,
        objects: (pages * PAGE / size) as u32,
    }
}

const fn generate() -> [Class; CLASSES] {
    let mut out = [class(8); CLASSES];
    let mut n = 1;
    let mut size = 16;
    while size <= 128 {
        out[n] = class(size);
        n += 1;
        size += if size < 32 { 8 } else { 16 };
    }
    let mut log = 7;
    while log < 15 {
        let steps = if log < 10 {
            8
        } else if log < 13 {
            7
        } else {
            6
        };
        let mut i = 1;
        while i <= steps {
            let size = if log < 10 {
                (1 << log) + ((i as u64) << (log - 3))
            } else {
                let exact = root(1 << (log * steps + i), steps);
                exact.next_multiple_of(if log < 13 { 64 } else { 128 })
            };
            out[n] = class(size);
            n += 1;
            i += 1;
        }
        log += 1;
    }
    assert!(n == CLASSES);
    out
}

/// All classes, smallest first.
pub static TABLE: [Class; CLASSES] = generate();

/// The class of a size up to 1024, by 8 bytes.
const SMALL: [u8; 1024 / 8 + 1] = lookup::<{ 1024 / 8 + 1 }>(0, 8);
/// The class of a size from 1024 to 32 KiB, by 64 bytes.
const MEDIUM: [u8; (MAX_SMALL - 1024) / 64 + 1] = lookup::<{ (MAX_SMALL - 1024) / 64 + 1 }>(1024, 64);
static SMALL_TABLE: [u8; SMALL.len()] = SMALL;
static MEDIUM_TABLE: [u8; MEDIUM.len()] = MEDIUM;

const fn lookup<const N: usize>(from: usize, step: usize) -> [u8; N] {
    let classes = generate();
    let (mut out, mut i, mut c) = ([0; N], 0, 0);
    while i < N {
        while (classes[c].size as usize) < from + i * step {
            c += 1;
        }
        out[i] = c as u8;
        i += 1;
    }
    out
}

/// The smallest class for `size` bytes, which are at most [`MAX_SMALL`], aligned to 8 at most.
#[inline(always)]
pub fn by_size(size: usize) -> usize {
    usize::from(if size <= 1024 {
        SMALL_TABLE[size.div_ceil(8)]
    } else {
        MEDIUM_TABLE[(size - (1024 - 63)) / 64] // rounded up
    })
}

/// The class that serves `size` bytes aligned to `align`, or `None`: that takes whole pages.
#[inline(always)]
pub fn class_of(size: usize, align: usize) -> Option<usize> {
    if align > 8 {
        return aligned(size, align);
    }
    (size <= MAX_SMALL).then(|| by_size(size))
}

fn aligned(size: usize, align: usize) -> Option<usize> {
    let need = size.checked_next_multiple_of(align)?.max(align);
    if need > MAX_SMALL || align > PAGE {
        return None;
    }
    (by_size(need)..CLASSES).find(|&c| (TABLE[c].size as usize).is_multiple_of(align))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_keeps_its_promises() {
        assert_eq!(TABLE[0].size, 8);
        assert_eq!(TABLE[CLASSES - 1].size as usize, MAX_SMALL);
        let mut before = 0;
        println!("class    size  pages objects  tail%  worst inside%");
        for (i, c) in TABLE.iter().enumerate() {
            assert!(c.size > before && c.size.is_multiple_of(8), "{c:?}");
            if before >= 128 {
                assert!(
                    (c.size - before) * 7 <= before,
                    "{before} to {} is more than 1/7",
                    c.size
                );
            }
            assert!(c.tail() * 8 <= c.pages as usize * PAGE, "{c:?}");
            assert!(c.objects as usize <= MAX_OBJECTS);
            println!(
                "{i:5} {:7} {:6} {:7} {:6.2} {:9.2}",
                c.size,
                c.pages,
                c.objects,
                100.0 * c.tail() as f64 / (c.pages as usize * PAGE) as f64,
                100.0 * f64::from(c.size - before - 1) / f64::from(c.size),
            );
            before = c.size;
        }
        for k in 3..=15 {
            assert!(TABLE.iter().any(|c| c.size == 1 << k), "2^{k} is no class");
        }
    }

    #[test]
    fn every_layout_gets_the_smallest_class_that_fits() {
        for align in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192] {
            for size in 1..=MAX_SMALL {
                let got = class_of(size, align);
                let want = TABLE.iter().position(|c| {
                    c.size as usize >= size && (align <= 8 || (c.size as usize).is_multiple_of(align))
                });
                assert_eq!(got, want, "{size} aligned to {align}");
            }
        }
        assert_eq!(class_of(MAX_SMALL + 1, 1), None);
        assert_eq!(class_of(1, 16384), None);
        assert_eq!(class_of(usize::MAX, 64), None);
    }
}
