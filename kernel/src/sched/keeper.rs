//! The keeper: the one idle core that keeps the time for all idle Ps.
//!
//! Every timer is in some P's heap. The P of a busy core is that core's affair; the timers of idle Ps belong to nobody
//! in particular. If every idle core armed its one-shot for the first of them, one deadline would wake all. So the
//! first that halts becomes the *keeper*, named in one word together with the deadline it is armed for; another arms
//! nothing as long as the keeper's deadline is no later than what it finds itself, else it takes over.
//!
//! | a core | does | in this order |
//! | --- | --- | --- |
//! | about to halt | if it was the keeper: nobody is. Is the keeper early enough? If not, becomes it and arms | its P is on the idle list, the word is cleared · `fence(SeqCst)` · read the word, look at the idle Ps |
//! | awake to stay | if it is the keeper: nobody is; arms for the first deadline of the idle Ps, to keep it as a busy core | clear the word · `fence(SeqCst)` · look at the idle Ps |
//! | busy | keeps what it is armed for: the one-shot is only ever lowered, and looks at idle Ps when it fires (`preempt::on_timer`) | – |
//!
//! **No deadline is lost.** Always some core is armed for the first deadline of the idle Ps, or awake and about to look.
//! The one race is a halting core A that trusts the keeper K, while K wakes up for something else, or wakes up for nothing
//! (another core took the P whose timer woke it) and halts again. In the order of the two
//! fences either A's is first, then K's look finds A's P and its timers; or K's is first, then A finds nobody and
//! becomes the keeper. (Loom models below.) Hence K gives up the word also before it looks in order to halt again. It
//! once did not: A trusted the deadline of before, K replaced it by a later one, and the machine slept for ever. A keeper that was replaced, because somebody had an earlier deadline, stays
//! armed for its own, and wakes once for little. So does one whose timer was stopped meanwhile.
//!
//! The word is `deadline << 6 | core`: 2^58 ns are nine years; later deadlines are kept as that, by a keeper that then
//! looks again.
#![forbid(unsafe_code)]

use crate::shim::{AtomicU64, Ordering, fence};

const NOBODY: u64 = u64::MAX;
const LATEST: u64 = (1 << 58) - 2;

pub(crate) struct Keeper(AtomicU64);

impl Keeper {
    shim_const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicU64::new(NOBODY))
        }
    }

    /// `core` is about to halt; `first` looks for the first deadline of the idle Ps, its own included. When this core must
    /// be armed: `u64::MAX` if not at all. It is the keeper then, or there is nothing to keep, or somebody else is early
    /// enough.
    #[must_use = "it answers for this deadline from here on"]
    pub(crate) fn halting(&self, core: usize, first: impl Fn() -> u64) -> u64 {
        self.give_up(core); // who goes idle during the look below must not trust what this core kept until now
        fence(Ordering::SeqCst); // partners: this one in another core, and the one in `leaving`
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let at = first();
            if at == u64::MAX || word != NOBODY && word >> 6 <= at {
                return u64::MAX;
            }
            let at = at.min(LATEST);
            match self
                .0
                .compare_exchange(word, at << 6 | core as u64, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return at,
                Err(now) => word = now,
            }
        }
    }

    /// `core` will be busy. `true`: it was the keeper; it looks at the idle Ps now, and is armed for what it finds.
    #[must_use = "nobody else is armed"]
    pub(crate) fn leaving(&self, core: usize) -> bool {
        let was = self.give_up(core);
        if was {
            fence(Ordering::SeqCst); // partner: the one in `halting`
        }
        was
    }

    /// If `core` is the keeper, nobody is.
    fn give_up(&self, core: usize) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        // The exchange fails if somebody has taken over: he answers for it.
        word != NOBODY
            && word as usize & 63 == core
            && self
                .0
                .compare_exchange(word, NOBODY, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    /// The keeper (core 0, armed for 5) gets busy while core 1 halts with a timer for 7, then core 2 with one for 6. Somebody
    /// is armed for 6 or earlier.
    #[test]
    fn loom_keeper_loses_no_deadline() {
        loom::model(|| {
            let keeper = Arc::new(Keeper::new());
            let idle = Arc::new([
                AtomicU64::new(5),
                AtomicU64::new(u64::MAX),
                AtomicU64::new(u64::MAX),
            ]);
            let first = |idle: &[AtomicU64; 3]| {
                let of = |t: &AtomicU64| t.load(Ordering::Relaxed);
                idle.iter().map(of).min().unwrap_or(u64::MAX)
            };
            assert_eq!(keeper.halting(0, || first(&idle)), 5);
            let halt = |core: usize, at: u64| {
                let (k, i) = (keeper.clone(), idle.clone());
                loom::thread::spawn(move || {
                    i[core].store(at, Ordering::Relaxed); // its P goes idle
                    k.halting(core, || first(&i))
                })
            };
            let (a, b) = (halt(1, 7), halt(2, 6));
            // Core 0 takes its own P back and runs it; its timer fired.
            idle[0].store(u64::MAX, Ordering::Relaxed);
            let mine = if keeper.leaving(0) { first(&idle) } else { u64::MAX };
            let armed = mine.min(a.join().unwrap()).min(b.join().unwrap());
            assert!(armed <= 6, "6 is due, and nobody wakes before {armed}");
        });
    }

    /// The keeper (core 0) woke for 5, but another core took the P with that timer. It halts again, while core 1 halts with
    /// a timer for 7. Somebody is armed for that.
    #[test]
    fn loom_keeper_that_halts_again_loses_no_deadline() {
        loom::model(|| {
            let keeper = Arc::new(Keeper::new());
            let idle = Arc::new([AtomicU64::new(5), AtomicU64::new(u64::MAX)]);
            let first = |idle: &[AtomicU64; 2]| {
                let of = |t: &AtomicU64| t.load(Ordering::Relaxed);
                idle.iter().map(of).min().unwrap_or(u64::MAX)
            };
            assert_eq!(keeper.halting(0, || first(&idle)), 5);
            idle[0].store(u64::MAX, Ordering::Relaxed);
            let (k, i) = (keeper.clone(), idle.clone());
            let other = loom::thread::spawn(move || {
                i[1].store(7, Ordering::Relaxed);
                k.halting(1, || first(&i))
            });
            let mine = keeper.halting(0, || first(&idle));
            let armed = mine.min(other.join().unwrap());
            assert_eq!(armed, 7, "7 is due, and nobody wakes before {armed}");
        });
    }
}
