//! The word of a `RawRwLock`: who is in, who waits, and every step from one state to the next.
//!
//! ```text
//!   63      62       61       60 ………… 30       29 ……… 0
//!  WRITER  PENDING  LIMITED   readers          active
//! ```
//! `readers` are in or wait; `active` of them are in. A writer *announces* itself (WRITER); from then on no reader comes in.
//! It has the lock once nobody is active; until then it is PENDING. LIMITED: it may give up.
//!
//! | state | `active` | leaves by |
//! | --- | --- | --- |
//! | no writer | = `readers` | `announce` |
//! | WRITER, PENDING | those before the writer | the last of them: `grant` → not PENDING; `retract` → no writer |
//! | WRITER | 0, but for moments | `release` → no writer |
//!
//! A reader's way in is one addition to both counts, its way out one subtraction, and the sign says whether there is more
//! to do. Who came in vain takes itself off `active` (`queue`) and waits. For the moment between the two steps it counts as
//! active beside a writer; so it may be *its* second step that leaves nobody active, and then it is the one that grants.
//!
//! **Every way out of WRITER sets `active` to `readers` in one exchange**, and that many permits as the difference are
//! owed: all who wait are in from that moment, whatever announces itself next. Who was between its two steps finds the
//! writer gone and is in without a permit. So both counts are exact at every moment, and an announcement can be taken back
//! as exactly as a lock can be released. (Refused: one count less the writer, and a second word for those who leave, as
//! Go does it. There who leaves does it in two steps, and between them nobody knows whom he counts for; a writer that
//! goes back cannot tell who waits.)
//!
//! A waiting reader may give up as long as a permit is missing (`readers` > `active`): permits are as good as each other, so
//! whose it was does not matter. If none is missing, one for it is on its way.
//!
//! Memory ordering: a way in is Acquire and pairs with the Release of `release`; a way out is Release and pairs with the
//! Acquire of `announce` and `grant`. All steps are read-modify-writes of this one word, so each keeps the release
//! sequences of those before it.
#![forbid(unsafe_code)]

use crate::{
    sched::sync_point,
    shim::{AtomicU64, Ordering},
};

const ACTIVE: u64 = 1;
const READER: u64 = 1 << 30;
const LIMITED: u64 = 1 << 61;
const PENDING: u64 = 1 << 62;
const WRITER: u64 = 1 << 63;

fn active(word: u64) -> u64 {
    word & (READER - 1)
}

fn readers(word: u64) -> u64 {
    (word & (LIMITED - 1)) / READER
}

/// What came of it that a reader left.
#[must_use]
pub(super) enum Left {
    Out,
    /// The last one before a writer, who has the lock now and is to be woken.
    Last,
    /// There was no reader.
    Nobody,
}

pub(super) struct Word(AtomicU64);

impl Word {
    shim_const_fn! {
        pub(super) fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    /// A reader comes. `false`: there is a writer; `queue` is to follow, or `leave`.
    #[inline(always)]
    #[must_use]
    pub(super) fn enter(&self) -> bool {
        let step = READER + ACTIVE;
        // Acquire: see the file head.
        self.0.fetch_add(step, Ordering::Acquire).wrapping_add(step) & WRITER == 0
    }

    /// A reader comes in, if there is no writer.
    #[inline]
    pub(super) fn try_enter(&self) -> bool {
        let mut old = self.0.load(Ordering::Relaxed);
        while old & WRITER == 0 {
            let new = old + READER + ACTIVE;
            // Acquire: see the file head.
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// The reader that found a writer waits for a permit. `None`: the writer has gone, the reader is in. `Some(true)`: by
    /// this the writer has the lock, and is to be woken.
    #[must_use]
    pub(super) fn queue(&self) -> Option<bool> {
        sync_point();
        // Acquire: as `enter`.
        let mut old = self.0.load(Ordering::Acquire);
        while old & WRITER != 0 {
            match self
                .0
                .compare_exchange(old, old - ACTIVE, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(self.grant()),
                Err(now) => old = now,
            }
        }
        None
    }

    /// A waiting reader gives up. `false`: it cannot, a permit is on its way.
    #[must_use]
    pub(super) fn unqueue(&self) -> bool {
        sync_point();
        let mut old = self.0.load(Ordering::Relaxed);
        while readers(old) > active(old) {
            match self
                .0
                .compare_exchange(old, old - READER, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// A reader leaves.
    #[inline(always)]
    pub(super) fn leave(&self) -> Left {
        // Release: see the file head.
        let old = self.0.fetch_sub(READER + ACTIVE, Ordering::Release);
        if old.wrapping_sub(READER + ACTIVE) & WRITER == 0 {
            return Left::Out;
        }
        self.leave_slow(old)
    }

    #[cold]
    fn leave_slow(&self, old: u64) -> Left {
        if active(old) == 0 {
            Left::Nobody
        } else if self.grant() {
            Left::Last
        } else {
            Left::Out
        }
    }

    /// Gives the lock to the writer that waits for it, if nobody is active. `true`: it is to be woken.
    fn grant(&self) -> bool {
        sync_point();
        let mut old = self.0.load(Ordering::Relaxed);
        while old & (WRITER | PENDING) == WRITER | PENDING && active(old) == 0 {
            // AcqRel: what the readers did passes through us to the writer.
            match self
                .0
                .compare_exchange(old, old & !PENDING, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// A writer has the lock, if it is free.
    #[inline]
    pub(super) fn try_write(&self) -> bool {
        // Acquire: see the file head.
        self.0
            .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// A writer comes; no other may until it has gone. `true`: it has the lock. `false`: it waits for a permit.
    #[must_use]
    pub(super) fn announce(&self, limited: bool) -> bool {
        sync_point();
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let free = active(old) == 0;
            let new = old | WRITER | if free { 0 } else { PENDING } | if limited { LIMITED } else { 0 };
            // Acquire: see the file head.
            match self
                .0
                .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return free,
                Err(now) => old = now,
            }
        }
    }

    /// The waiting writer gives up; so many readers are to be given a permit. `None`: it cannot, its permit is on its way.
    #[must_use]
    pub(super) fn retract(&self) -> Option<u64> {
        sync_point();
        let mut old = self.0.load(Ordering::Relaxed);
        while old & PENDING != 0 {
            let n = readers(old);
            match self
                .0
                .compare_exchange(old, n * (READER + ACTIVE), Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(n - active(old)),
                Err(now) => old = now,
            }
        }
        None
    }

    /// The writer leaves, or goes on as a reader; so many readers are to be given a permit. `None`: there was no writer.
    #[must_use]
    pub(super) fn release(&self, stay: bool) -> Option<u64> {
        sync_point();
        let mut old = self.0.load(Ordering::Relaxed);
        while old & (WRITER | PENDING) == WRITER {
            let n = readers(old);
            // Release: see the file head.
            match self.0.compare_exchange(
                old,
                (n + u64::from(stay)) * (READER + ACTIVE),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(n - active(old)),
                Err(now) => old = now,
            }
        }
        None
    }

    pub(super) fn is_free(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    pub(super) fn has_writer(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WRITER != 0
    }

    /// Is there a writer that does not give up?
    pub(super) fn has_patient_writer(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (WRITER | LIMITED) == WRITER
    }
}
