//! How a core goes to sleep and is woken, without losing a wake-up.
//!
//! Two small protocols, kept apart from the scheduler so that loom can model them.
//!
//! **The park slot** (one per core) is a three-state word: EMPTY, HALTED, KICKED. The core, interrupts off,
//! moves EMPTY → HALTED and then executes `sti; hlt` (the CPU takes no interrupt between the two). A waker
//! swaps in KICKED; if it found HALTED it also sends an IPI. Cases: the swap comes before the core's CAS:
//! the CAS fails and the core does not halt. It comes after: the IPI is pending at, or arrives during, the
//! `hlt`. A kick is sticky until consumed, so a core that woke for another reason finds it, too.
//!
//! **The spinner count** answers "is somebody looking for work already?". Submitter: (S1) publish work,
//! (S2) `fence(SeqCst)`, (S3) load the count; 0 and an idle P → wake one. Searcher that found nothing:
//! (I1) decrement the count, (I2) `fence(SeqCst)`, (I3) look at every queue once more. In the single order
//! of the two fences either S2 is first, then I3 sees the work; or I2 is first, then S3 sees the count
//! already lowered and wakes somebody (unless another searcher is still counted, of whom the same holds).
//! A searcher that finds work and was the last one wakes another before it runs it, so that a burst of
//! work fans out. A P is put on the idle list *before* I1, so S3 finds it there.
//!
//! Whether a core is one of those counted is a flag of its own, which a waker sets anew for a core that it takes off the mask
//! of sleepers. Hence a core that goes on the mask takes its flag down *first*, and pays the count (I1) afterwards by what the
//! flag was. Were it to look at the flag afterwards, too, a waker could have cleared it in between: the count would stay one too
//! high for ever, every submitter would rely on a searcher that is none, and the machine would sleep beside its work.
#![forbid(unsafe_code)]

use crate::shim::{AtomicU32, Ordering, fence};

const EMPTY: u32 = 0;
const HALTED: u32 = 1;
const KICKED: u32 = 2;

/// What the waker has to do after [`ParkSlot::kick`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a halted core needs its interrupt"]
pub(crate) enum Kick {
    /// The core was awake and will see the kick.
    Seen,
    /// The core has halted, or is about to: send it an interrupt.
    SendIpi,
}

/// One core's place to sleep, a view of its `park` word.
pub(crate) struct ParkSlot<'a>(pub &'a AtomicU32);

impl ParkSlot<'_> {
    /// About to halt. `false`: a kick came first, do not. Own core only, interrupts off.
    #[must_use]
    pub(crate) fn prepare(&self) -> bool {
        // Acquire on failure: pairs with the Release half of `kick`: what the waker wrote is visible.
        self.0
            .compare_exchange(EMPTY, HALTED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Awake again: was there a kick? Clears it. Own core only.
    pub(crate) fn finish(&self) -> bool {
        self.0.swap(EMPTY, Ordering::AcqRel) == KICKED
    }

    /// Wakes the core, from any core.
    pub(crate) fn kick(&self) -> Kick {
        // Release: publishes what the waker prepared for the core. Acquire: sees HALTED's prelude.
        if self.0.swap(KICKED, Ordering::AcqRel) == HALTED {
            Kick::SendIpi
        } else {
            Kick::Seen
        }
    }
}

/// The number of Ms that are searching for work.
pub(crate) struct Spinners(AtomicU32);

impl Spinners {
    shim_const_fn! {
        /// Nobody searches.
        pub(crate) fn new() -> Self {
            Self(AtomicU32::new(0))
        }
    }

    /// Ms searching now.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// The submitter's steps S2 and S3, after it published work: should it try to wake somebody?
    /// `idle_ps` is the mirror of the idle P count, read after the fence.
    #[inline]
    pub(crate) fn submitter_should_wake(&self, idle_ps: &AtomicU32) -> bool {
        fence(Ordering::SeqCst); // S2, partner: I2 in `stop`
        idle_ps.load(Ordering::Relaxed) != 0 && self.0.load(Ordering::Relaxed) == 0
    }

    /// Becomes the one searcher on behalf of a submitter. `false`: somebody else did.
    pub(crate) fn claim_first(&self) -> bool {
        self.0
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// One more searcher, if at most half of the busy Ps would search.
    pub(crate) fn try_start(&self, busy_ps: u32) -> bool {
        if 2 * self.0.load(Ordering::Relaxed) < busy_ps {
            self.0.fetch_add(1, Ordering::AcqRel);
            return true;
        }
        false
    }

    /// One more searcher, unconditionally (a core that found work while it was about to sleep).
    pub(crate) fn start(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// A searcher stops, either with work or before it sleeps. Returns whether it was the last. The caller
    /// that stops without work must look at every queue again afterwards (I3).
    pub(crate) fn stop(&self) -> bool {
        let before = self.0.fetch_sub(1, Ordering::AcqRel); // I1
        debug_assert!(before > 0, "more searchers stopped than started");
        fence(Ordering::SeqCst); // I2, partner: S2 in `submitter_should_wake`
        before == 1
    }
}

impl Default for Spinners {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    /// A kick is never lost: either the core does not halt, or the waker knows to send an IPI.
    #[test]
    fn loom_park_slot_loses_no_kick() {
        loom::model(|| {
            let word = Arc::new(AtomicU32::new(EMPTY));
            let ipi = Arc::new(AtomicU32::new(0));
            let (w2, i2) = (word.clone(), ipi.clone());
            let waker = loom::thread::spawn(move || {
                if ParkSlot(&w2).kick() == Kick::SendIpi {
                    i2.store(1, Ordering::Release);
                }
            });
            let slot = ParkSlot(&word);
            if slot.prepare() {
                // "hlt": only the IPI ends it. loom reports a deadlock if it never comes.
                while ipi.load(Ordering::Acquire) == 0 {
                    loom::thread::yield_now();
                }
            }
            assert!(slot.finish());
            waker.join().unwrap();
        });
    }

    /// One submitter, one searcher about to sleep: the work is found, or the submitter wakes somebody.
    #[test]
    fn loom_idle_protocol_loses_no_work() {
        loom::model(|| {
            let spin = Arc::new(Spinners::new());
            let work = Arc::new(AtomicU32::new(0));
            let idle = Arc::new(AtomicU32::new(0));
            spin.start();
            let (s2, w2, i2) = (spin.clone(), work.clone(), idle.clone());
            let submitter = loom::thread::spawn(move || {
                w2.store(1, Ordering::Release); // S1
                s2.submitter_should_wake(&i2)
            });
            // Found nothing so far: P to the idle list, stop, look again.
            let seen_first = work.load(Ordering::Acquire) == 1;
            let mut found = seen_first;
            if !seen_first {
                idle.store(1, Ordering::Release);
                spin.stop();
                found = work.load(Ordering::Acquire) == 1; // I3
            }
            let woke = submitter.join().unwrap();
            assert!(
                found || woke,
                "work is on a queue, everybody sleeps, nobody was woken"
            );
        });
    }

    /// A submitter that claimed the search but found no idle core gives the claim back under the scheduler
    /// lock. Had it done so after the lock, a second submitter could rely on the claim after the last core
    /// had looked for the last time.
    #[test]
    fn loom_failed_claim_loses_no_work() {
        loom::model(|| {
            let spin = Arc::new(Spinners::new());
            let work = Arc::new(AtomicU32::new(0));
            let idle_ps = Arc::new(AtomicU32::new(1)); // an idle P, but at first no idle core
            let idle_ms = Arc::new(loom::sync::Mutex::new(0u32));
            // First submitter (its own work is another matter): `wake_slow`.
            let (s1, m1) = (spin.clone(), idle_ms.clone());
            let claimer = loom::thread::spawn(move || {
                if s1.claim_first() {
                    let m = m1.lock().unwrap();
                    let woke = *m != 0;
                    if !woke {
                        s1.stop();
                    }
                    return woke; // a core woken this way searches
                }
                false
            });
            let (s2, w2, i2, m2) = (spin.clone(), work.clone(), idle_ps.clone(), idle_ms.clone());
            let submitter = loom::thread::spawn(move || {
                w2.store(1, Ordering::Release); // S1
                s2.submitter_should_wake(&i2) && s2.claim_first() && {
                    let m = m2.lock().unwrap();
                    if *m == 0 {
                        s2.stop();
                    }
                    *m != 0
                }
            });
            // A core that never got to search goes idle: `go_idle`.
            *idle_ms.lock().unwrap() = 1;
            fence(Ordering::SeqCst);
            let found = work.load(Ordering::Acquire) == 1; // I3
            let woke = claimer.join().unwrap() | submitter.join().unwrap();
            assert!(
                found || woke,
                "work is on a queue, the core sleeps, nobody woke it"
            );
        });
    }

    /// A core that searched goes on the mask of sleepers while another takes it off again, to give it a P without a search
    /// (`stand_back`, `send_home`, the end of a stop of the world). Who is counted and whose flag is up stay the same. With
    /// the flag taken down after the lock, as it once was, the count was left at one: nobody was woken any more.
    #[test]
    fn loom_a_core_on_its_way_to_sleep_is_given_a_p() {
        loom::model(|| {
            let spin = Arc::new(Spinners::new());
            let flag = Arc::new(AtomicU32::new(1)); // `M::spinning`
            let mask = Arc::new(loom::sync::Mutex::new(0u32));
            spin.start();
            let (f2, m2) = (flag.clone(), mask.clone());
            let giver = loom::thread::spawn(move || {
                let mut mask = m2.lock().unwrap();
                if *mask != 0 {
                    *mask = 0;
                    f2.store(0, Ordering::Relaxed); // `hand_over`, without a search
                }
            });
            // `go_idle`, `stand_back`.
            let searched = {
                let mut mask = mask.lock().unwrap();
                *mask = 1;
                flag.swap(0, Ordering::Relaxed)
            };
            if searched != 0 {
                spin.stop();
            }
            giver.join().unwrap();
            assert_eq!(spin.count(), flag.load(Ordering::Relaxed));
        });
    }
}
