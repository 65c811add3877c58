//! Frames taken out of circulation, so that tests see what happens when there are none.
//!
//! The frames hold their own list: the first word of each is the address of the next. So a hoard needs no memory.

use super::frames;
use crate::arch::phys_to_virt;

/// Frames that nobody can have until this is dropped.
#[derive(Debug)]
pub struct Hoard {
    /// Physical address of the first, 0 if none.
    first: u64,
    len: usize,
}

fn link(frame: u64) -> *mut u64 {
    phys_to_virt(frame).cast()
}

impl Hoard {
    /// Takes frames until the allocator has no more than `keep`.
    pub fn all_but(keep: usize) -> Hoard {
        let mut hoard = Hoard { first: 0, len: 0 };
        let mut batch = [0; 64];
        loop {
            let want = frames::free_count().saturating_sub(keep).min(batch.len());
            let n = frames::alloc_many(&mut batch[..want], 0);
            if n == 0 {
                return hoard;
            }
            for &frame in &batch[..n] {
                // SAFETY: a frame of ours, in the direct map.
                unsafe { link(frame).write(hoard.first) };
                hoard.first = frame;
            }
            hoard.len += n;
        }
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Does it hold none?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        let mut batch = heapless::Vec::<u64, 64>::new();
        while self.first != 0 {
            let _ = batch.push(self.first); // emptied below when full
            // SAFETY: a frame of ours; written when it was taken.
            self.first = unsafe { link(self.first).read() };
            if batch.is_full() || self.first == 0 {
                frames::free_many(&batch);
                batch.clear();
            }
        }
    }
}
