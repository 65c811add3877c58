//! The reclaimer: one of the runtime's own goroutines, asleep until frames run out.
//!
//! [`wake`] has it give back every stack page that nobody needs (`mem::shrink`), what the Ps' caches of the heap hold, and every
//! idle page of the heap (`mem::free_os_memory`). It does so for those who cannot: g0, and goroutines whose stacks have no
//! room for it. Who asked compares the time when it asked with [`last_round`], the time at which the last complete round
//! began: if that is later and there still are no frames, there are none. Its own stack is never shrunk, and its first round at boot touches all of it that it
//! needs: it must work when there is no frame left.
//!
//! It goes before everybody else: those who run meanwhile use up the last frames. So who wakes it leaves it in `FIRST` and has
//! the next `schedule` look there, with what interrupts leave to do (`irq_work`); and so does its preemption.
//! It cannot stay there: `FIRST` is filled before the mark is set and emptied after the mark is cleared, so whoever clears the
//! mark that was set for it finds it; and a core looks at the mark once more before it sleeps (`find`).
//!
//! Sleeping: the reclaimer publishes itself in `SLEEPER`, then looks at `WANTED`; a waker sets `WANTED`, then takes
//! `SLEEPER`. Of the two one sees the other (SeqCst), and the exchange lets only one of them ready it.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering},
};

use super::{
    SpawnError, WaitReason, events,
    events::Kind,
    find,
    g::{FLAG_BLOCKING, G, GPtr},
    global, irq_work, m, now_ns, park,
    spawn::{self, How},
    state::GState,
};
use crate::{
    arch::{in_runtime_context, preempt_disable, preempt_enable, x86_64::percpu},
    mem::{free_os_memory, limit},
};

static WANTED: AtomicBool = AtomicBool::new(false);
static SLEEPER: AtomicPtr<G> = AtomicPtr::new(ptr::null_mut());
/// Itself.
static ME: AtomicPtr<G> = AtomicPtr::new(ptr::null_mut());
/// Itself, runnable and on no queue.
static FIRST: AtomicPtr<G> = AtomicPtr::new(ptr::null_mut());
static LAST_ROUND: AtomicU64 = AtomicU64::new(0);
/// When it last gave back more than a little (ns since boot).
static HELPED: AtomicU64 = AtomicU64::new(0);

/// Who is content without has it make a round only so long (ns) after the last.
const RARELY: u64 = 1_000_000_000;
/// A round that gave back less than this (32 pages) was in vain.
const LITTLE: usize = 128 << 10;

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
    ME.store(super::current().raw(), Ordering::Relaxed);
    free_os_memory();
    loop {
        park(WaitReason::Idle, sleep, ptr::null_mut());
        let begin = now_ns();
        WANTED.store(false, Ordering::SeqCst);
        if free_os_memory() >= LITTLE {
            HELPED.store(now_ns(), Ordering::Relaxed);
        }
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
        g.set_state(GState::Waiting, GState::Runnable);
        events::emit(Kind::Unblock, g.id(), 0);
        first(g);
        find::wake_for_work();
    }
}

/// It is runnable, and is to run next. With preemption off.
pub(super) fn first(g: GPtr) {
    FIRST.store(g.raw(), Ordering::Release); // pairs with the swap in `bring_forward`
    irq_work::ask_for_irq_work();
}

/// Is this the reclaimer?
pub(super) fn is(g: GPtr) -> bool {
    ME.load(Ordering::Relaxed) == g.raw()
}

/// On g0: it is next, if it waits for that (`true`). With a slice of its own: that of who ran before may be over.
pub(super) fn bring_forward() -> bool {
    let Some(g) = GPtr::from_raw(FIRST.swap(ptr::null_mut(), Ordering::AcqRel)) else {
        return false;
    };
    match m::p_of(percpu::this()) {
        Some(p) => p.put(g, true),
        None => global::push_one(g),
    }
    true
}

/// Has it make a round for somebody who is content without: at most one in `RARELY` is made for such. With preemption off.
pub(crate) fn ask() {
    if is_long_ago() {
        wake();
    }
}

fn is_long_ago() -> bool {
    now_ns().saturating_sub(last_round()) > RARELY
}

/// Did the last round give back so much that one more may do?
fn helps() -> bool {
    HELPED.load(Ordering::Relaxed) > last_round() // its end, after its begin
}

/// Did a round within the last `RARELY`? The last one may have come before those whom the one before had served could run.
pub(super) fn helped_lately() -> bool {
    let helped = HELPED.load(Ordering::Relaxed);
    helped != 0 && now_ns().saturating_sub(helped) < RARELY
}

/// On g0, which has just taken frames for growing stacks: has it make a round before there are none. Who draws on the last
/// frames under a lock cannot wait for it.
#[cold]
pub(super) fn in_time() {
    if limit::is_low() && (helps() || is_long_ago()) {
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
