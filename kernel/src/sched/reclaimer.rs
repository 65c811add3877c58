//! The reclaimer: one of the runtime's own goroutines, asleep until frames run out.
//!
//! [`wake`] has it give back every stack page that nobody needs (`mem::shrink`), what the Ps' caches of the heap hold, and every
//! idle page of the heap (`mem::free_os_memory`). It does so for those who cannot: g0, and goroutines whose stacks have no room for it. Who asked compares the time when
//! it asked with [`last_round`], the time at which the last complete round began: if that is later and there still are
//! no frames, there are none. Its own stack is never shrunk, and its first round at boot touches all of it that it
//! needs: it must work when there is no frame left.
//!
//! Sleeping: the reclaimer publishes itself in `SLEEPER`, then looks at `WANTED`; a waker sets `WANTED`, then takes
//! `SLEEPER`. Of the two one sees the other (SeqCst), and the exchange lets only one of them ready it.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering},
};

use super::{
    SpawnError, WaitReason,
    g::{FLAG_BLOCKING, G, GPtr},
    now_ns, park, ready,
    spawn::{self, How},
};
use crate::{
    arch::{in_runtime_context, preempt_disable, preempt_enable},
    mem::free_os_memory,
};

static WANTED: AtomicBool = AtomicBool::new(false);
static SLEEPER: AtomicPtr<G> = AtomicPtr::new(ptr::null_mut());
static LAST_ROUND: AtomicU64 = AtomicU64::new(0);

/// Starts it. Once, at boot.
pub(super) fn start() -> Result<u64, SpawnError> {
    let how = How {
        system: true,
        name: Some("reclaimer"),
        ..How::default()
    };
    spawn::start(run, how, core::panic::Location::caller())
}

fn run() {
    free_os_memory();
    loop {
        park(WaitReason::Idle, sleep, ptr::null_mut());
        let begin = now_ns();
        WANTED.store(false, Ordering::SeqCst);
        free_os_memory();
        LAST_ROUND.store(begin, Ordering::Release); // pairs with the Acquire in `last_round`: the frames are free
    }
}

/// Commit step of its sleep: `false` if somebody wants it already.
unsafe fn sleep(g: GPtr, _: *mut ()) -> bool {
    SLEEPER.store(g.raw(), Ordering::SeqCst);
    !WANTED.load(Ordering::SeqCst) || SLEEPER.swap(ptr::null_mut(), Ordering::SeqCst).is_null()
}

/// Has it make a round, one more if it is at work. On g0 or with preemption off.
pub(super) fn wake() {
    WANTED.store(true, Ordering::SeqCst);
    if let Some(g) = GPtr::from_raw(SLEEPER.swap(ptr::null_mut(), Ordering::SeqCst)) {
        ready(g);
    }
}

/// Has it make a round for somebody who is content without: at most one in `RARELY` is made for such. With preemption off.
pub(crate) fn ask() {
    const RARELY: u64 = 1_000_000_000;
    if now_ns() - last_round().min(now_ns()) > RARELY {
        wake();
    }
}

/// Waits for a round that begins now; `false` where one cannot wait: with preemption off, or inside `blocking`.
#[cold]
pub(crate) fn round() -> bool {
    let Some(g) = super::try_current() else {
        return false;
    };
    if in_runtime_context() || g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        return false;
    }
    let begin = now_ns();
    preempt_disable();
    wake();
    preempt_enable();
    while last_round() <= begin {
        super::yield_now();
    }
    true
}

/// When the last complete round began (ns since boot).
pub(super) fn last_round() -> u64 {
    LAST_ROUND.load(Ordering::Acquire)
}
