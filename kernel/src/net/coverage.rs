//! Which edges of the program the last frame took: the compiler's counters, one byte for each edge of the control flow.
//!
//! With `--cfg guided` the test program is built with LLVM's coverage pass (`make fuzz`): it adds one to an edge's counter
//! whenever control takes it, and announces at start where the counters are. After a frame they are read and cleared. What
//! counts as new is an edge, or a new order of magnitude of how often it was taken (1, 2, 3, 4, 8, 16, 32, 128: the classes of
//! AFL), so that a loop that runs further is found, too. Without `guided` nothing is ever new.
//!
//! Other threads of the test program count into the same bytes: the fuzzer runs alone, and a foreign edge costs a place in
//! the corpus, no more.

/// What was seen so far.
#[derive(Default)]
pub(super) struct Coverage {
    /// One bit per class, for each counter.
    seen: Vec<u8>,
}

/// The class of a count that is not 0, as a bit.
fn class(count: u8) -> u8 {
    match count {
        0 => 0,
        1..=3 => 1 << (count - 1),
        4..=7 => 1 << 3,
        8..=15 => 1 << 4,
        16..=31 => 1 << 5,
        32..=127 => 1 << 6,
        128.. => 1 << 7,
    }
}

impl Coverage {
    /// Did anything new happen since the last call?
    pub(super) fn news(&mut self) -> bool {
        let mut new = false;
        counters::take(|i, count| {
            if self.seen.len() <= i {
                self.seen.resize(i + 1, 0);
            }
            let class = class(count);
            new |= self.seen[i] & class == 0;
            self.seen[i] |= class;
        });
        new
    }

    /// Edges taken at all.
    pub(super) fn edges(&self) -> usize {
        self.seen.iter().filter(|&&classes| classes != 0).count()
    }
}

#[cfg(not(guided))]
mod counters {
    pub(super) fn take(_: impl FnMut(usize, u8)) {}
}

#[cfg(guided)]
mod counters {
    use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

    static FIRST: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
    static LEN: AtomicUsize = AtomicUsize::new(0);

    /// Called by each object file's constructor; the linker has made one array of all their counters.
    // SAFETY: the name is LLVM's, nobody else defines it here.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_cov_8bit_counters_init(first: *mut u8, end: *mut u8) {
        FIRST.store(first, Ordering::Relaxed);
        LEN.store(end.addr() - first.addr(), Ordering::Relaxed);
    }

    /// Shows every counter that is not 0, and clears it.
    pub(super) fn take(mut f: impl FnMut(usize, u8)) {
        let (first, len) = (FIRST.load(Ordering::Relaxed), LEN.load(Ordering::Relaxed));
        let mut i = 0;
        while i < len {
            // SAFETY: within the array announced at start, which lives as long as the program.
            let at = unsafe { first.add(i) };
            if i + 8 <= len && at.cast::<u64>().is_aligned() {
                // SAFETY: eight counters, aligned; an access torn by another thread's plain one is a count.
                let eight = unsafe { AtomicU64::from_ptr(at.cast()) };
                if eight.load(Ordering::Relaxed) != 0 {
                    let counts = eight.swap(0, Ordering::Relaxed).to_ne_bytes();
                    (i..)
                        .zip(counts)
                        .filter(|(_, n)| *n != 0)
                        .for_each(|(i, n)| f(i, n));
                }
                i += 8;
                continue;
            }
            // SAFETY: as above, a single one at either end.
            let count = unsafe { at.replace(0) };
            if count != 0 {
                f(i, count);
            }
            i += 1;
        }
    }
}
