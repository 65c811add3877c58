//! Who owns a span, and what others have freed in it: one word, changed by compare-and-swap.
//!
//! A span of small objects has a *local* free list that only its owner touches, with plain loads and stores. Everyone else
//! who frees an object in it pushes it onto the span's *remote* list. The word holds both the owner and the remote list, so
//! that no push can fall between "nobody has freed anything" and "I give it up".
//!
//! ```text
//!   63      48 47      32 31      16 15       0
//!  ┌──────────┬──────────┬──────────┬──────────┐
//!  │ owner    │ live     │ count    │ head     │   head: index + 1 of the first object of the remote list,
//!  └──────────┴──────────┴──────────┴──────────┘   count: its length; live: see Central
//! ```
//! | owner | who may free locally | on a list | who moves it on |
//! | --- | --- | --- | --- |
//! | `P i` | the core that holds P i | it is P i's current span, or in its partial list | that core |
//! | `FULL` | nobody | none; nobody polls it | the first to free an object in it *adopts* it |
//! | `CENTRAL` + class | nobody | mcentral's list of that class | a taker, or who frees its last live object |
//! | `NOT_SMALL` | – | – | large and dead spans: frees go another way |
//!
//! ```text
//!              (1) mheap hands out a fresh span
//!                          ▼
//!   (3) adopt      ┌────► P i ────┐ (2) no object left
//!                FULL ◄───────────┘
//!                          P i ───► CENTRAL (4) too many partial spans, or the P goes away
//!                          P j ◄─── CENTRAL (5) P j needs a span
//!              P i, CENTRAL ──► mheap (6) the last object was freed
//! ```
//! **Why nothing is lost.** (2) succeeds only if the remote list is empty at that very moment: a free that came before makes
//! it fail (the owner then takes the list), a free that comes after sees `FULL` and adopts. (4) moves the remote list along
//! unchanged and stores in `live` how many objects are neither on it nor on the local list; each later push lowers `live`, so
//! exactly one push makes it 0, and that one *reaps* the span, under mcentral's lock, if nobody has taken it first.
//!
//! **Ordering.** The owner's plain fields (local list, counts) change hands with the word: (2) and (4) release, (3) and (5)
//! acquire. A push releases the object's contents and link, [`Owner::take_remote`] acquires them. There is no ABA: head is
//! compared together with count and owner, and a push only needs that `head` is the list's head when it succeeds, not that
//! it never changed. Modelled under loom: `owner_tests.rs`.
//!
//! Bit 14 of the owner says that a sampled object lives here (`profile.rs`): the owner's fast path compares the whole field, so
//! this bit sends it the slow way without a further test.
#![cfg_attr(not(test), forbid(unsafe_code))] // the models need cells

use crate::shim::{AtomicU64, Ordering};

/// Nobody's, no object free.
pub(crate) const FULL: u16 = 0;
/// The tag of the cache that stands in where no P is held.
pub(crate) const SHARED: u16 = 0xff;
/// In mcentral's list of this class. The class is part of the owner, so that [`mcentral::reap`](super::mcentral::reap) sees
/// both in one load.
pub(crate) const fn central(class: usize) -> u16 {
    CENTRAL | class as u16
}
const CENTRAL: u16 = 0x100;
/// Not a span of small objects.
pub(crate) const NOT_SMALL: u16 = 0x200;
/// Added to an owner: the span holds a sampled object.
pub(crate) const SAMPLED: u16 = 0x4000;

/// The word, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    pub(crate) owner: u16,
    pub(crate) live: u16,
    pub(crate) count: u16,
    pub(crate) head: u16,
}

impl Word {
    fn in_central(self) -> bool {
        self.owner & 0xff80 == CENTRAL
    }
    fn unpack(w: u64) -> Word {
        Word {
            owner: (w >> 48) as u16 & !SAMPLED,
            live: (w >> 32) as u16,
            count: (w >> 16) as u16,
            head: w as u16,
        }
    }
    fn pack(self, sampled: u64) -> u64 {
        u64::from(self.owner) << 48
            | sampled
            | u64::from(self.live) << 32
            | u64::from(self.count) << 16
            | u64::from(self.head)
    }
}

const SAMPLED_BIT: u64 = (SAMPLED as u64) << 48;

/// What a free by somebody who does not own the span came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "an adopted or emptied span must be taken care of"]
pub(crate) enum Freed {
    /// On the remote list. Nothing to do.
    Pushed,
    /// The span was full and is the caller's now; the object is not freed yet.
    Adopted,
    /// On the remote list, and it was the last live object of a span in mcentral: reap it.
    Emptied,
}

/// The word of a span.
pub(crate) struct Owner(AtomicU64);

impl Owner {
    shim_const_fn! {
        /// A span that belongs to `tag`.
        pub(crate) fn new(tag: u16) -> Self {
            Owner(AtomicU64::new((tag as u64) << 48))
        }
    }

    /// Sets the owner of a span that nobody else knows.
    pub(crate) fn reset(&self, tag: u16) {
        self.0.store(u64::from(tag) << 48, Ordering::Release); // pairs with the Acquire of whoever finds the span
    }

    /// Is it `tag`'s, with no sampled object? Then `tag` may free locally: only the owner itself changes that.
    #[inline(always)]
    pub(crate) fn is_plainly(&self, tag: u16) -> bool {
        // Relaxed: if it is ours, we wrote it.
        (self.0.load(Ordering::Relaxed) >> 48) as u16 == tag
    }

    /// The word now, without the sampled bit.
    pub(crate) fn get(&self) -> Word {
        Word::unpack(self.0.load(Ordering::Acquire))
    }

    /// Does a sampled object live here?
    pub(crate) fn is_sampled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SAMPLED_BIT != 0
    }
    /// Says whether a sampled object lives here.
    pub(crate) fn set_sampled(&self, on: bool) {
        if on {
            self.0.fetch_or(SAMPLED_BIT, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!SAMPLED_BIT, Ordering::Relaxed);
        }
    }

    /// Changes the word by `f` until it sticks; gives up when `f` says `None`. Returns the word before.
    fn change(&self, mut f: impl FnMut(Word) -> Option<Word>) -> Result<Word, Word> {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let w = Word::unpack(old);
            let Some(new) = f(w) else { return Err(w) };
            // AcqRel: the pairs are told in the file head.
            match self.0.compare_exchange_weak(
                old,
                new.pack(old & SAMPLED_BIT),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(w),
                Err(now) => old = now,
            }
            crate::shim::spin_loop();
        }
    }

    /// Frees object `index` for `tag`, who does not own the span: adopts it if it is full, else pushes. `link` is called
    /// with the index + 1 of the next object on the list (0 = none) before the object can be seen there.
    pub(crate) fn free(&self, tag: u16, index: u16, mut link: impl FnMut(u16)) -> Freed {
        let before = self.change(|w| {
            if w.owner == FULL {
                return Some(Word { owner: tag, ..w });
            }
            link(w.head);
            Some(Word {
                owner: w.owner,
                live: w.live - u16::from(w.in_central()),
                count: w.count + 1,
                head: index + 1,
            })
        });
        let Ok(w) = before else { return Freed::Pushed }; // never: the change has no way out
        match w.owner {
            FULL => Freed::Adopted,
            _ if w.in_central() && w.live == 1 => Freed::Emptied,
            _ => Freed::Pushed,
        }
    }

    /// (2): the owner `tag` has no object left. False if somebody freed one meanwhile.
    pub(crate) fn give_up_full(&self, tag: u16) -> bool {
        self.change(|w| (w.owner == tag && w.count == 0).then_some(Word { owner: FULL, ..w }))
            .is_ok()
    }

    /// The owner takes the remote list: its head (index + 1) and length.
    pub(crate) fn take_remote(&self) -> (u16, u16) {
        let taken = self.change(|w| {
            (w.count > 0).then_some(Word {
                count: 0,
                head: 0,
                ..w
            })
        });
        taken.map_or((0, 0), |w| (w.head, w.count))
    }

    /// (4): the owner, who counts `used` objects as handed out, gives the span to mcentral's list of `class`. False if none of
    /// them is live any more: then it stays the owner's, who should empty it.
    pub(crate) fn to_central(&self, used: u16, class: usize) -> bool {
        self.change(|w| {
            (used > w.count).then_some(Word {
                owner: central(class),
                live: used - w.count,
                ..w
            })
        })
        .is_ok()
    }

    /// (5): takes it from mcentral, under mcentral's lock. The remote list stays for [`Owner::take_remote`].
    pub(crate) fn take_central(&self, tag: u16) {
        let _ = self.change(|w| {
            Some(Word {
                owner: tag,
                live: 0,
                ..w
            })
        });
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
