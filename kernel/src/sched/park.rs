//! Park and ready: how a goroutine leaves its core of its own will, and how it comes back.
//!
//! The danger is a waker that finds the goroutine before it is off its stack. So the goroutine is published
//! as `Waiting` only by its *commit step*, which g0 runs after the switch: state first, then whatever makes
//! it findable is released (usually: the lock of the queue it sits on). Until then it holds that lock, and a
//! waker cannot get at it. After the commit step nobody but the waker may touch the goroutine.
//!
//! ```text
//!  goroutine: lock queue · enqueue self · cli · switch ──▶ g0: state = Waiting · unlock queue · schedule
//!  waker:                                                      lock queue · dequeue · unlock · ready(g)
//! ```

use core::sync::atomic::Ordering;

use super::{
    WaitReason, current, events,
    events::Kind,
    find,
    g::{CommitFn, FLAG_BLOCKING, GPtr},
    global, m, profile,
    state::GState,
    syscall,
};
use crate::{
    arch::{
        self,
        x86_64::{percpu, percpu::PostFn, switch},
    },
    lock::RawSpinLock,
};

/// Switches to g0, which runs `post(current G, arg)`. Returns when somebody made the goroutine runnable and
/// a core picked it. The preempt count must be 1; it is 0 again (and interrupts are on) afterwards.
#[inline(always)]
pub(crate) fn switch_to_g0(post: PostFn, arg: *mut ()) {
    debug_assert_eq!(
        arch::preempt_count(),
        1,
        "a goroutine that leaves its core must hold nothing"
    );
    arch::irq_off();
    let core = percpu::this();
    core.post.set(Some(post));
    core.post_arg.set(arg);
    let g = current();
    // SAFETY: 1. g0's frame was left by its own `switch`, on this core; 2. count 1, interrupts off.
    unsafe { switch::switch(g.sp.as_ptr(), core.g0_sp.get()) };
    arch::irq_on();
    arch::preempt_enable();
}

/// [`switch_to_g0`], into the block profile if there is one. The reason is needed afterwards only then.
#[inline(always)]
fn switch_timed(reason: WaitReason, post: PostFn, arg: *mut ()) {
    if profile::blocks_are_timed() {
        return profile::timed(reason, || switch_to_g0(post, arg));
    }
    switch_to_g0(post, arg);
}

#[inline(always)]
fn before_wait(g: GPtr, reason: WaitReason) {
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        syscall::leave_early();
    }
    g.reason.store(reason as u8, Ordering::Relaxed);
}

/// On g0: the goroutine is off its stack, say so. Returns it.
#[inline(always)]
fn publish_waiting(g: *mut ()) -> GPtr {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("parked nobody")
    };
    g.wait_since
        .store(m::get(percpu::core_index()).now.get(), Ordering::Relaxed);
    events::emit(Kind::Block, g.id(), g.reason.load(Ordering::Relaxed) as u64);
    g.set_state(GState::Running, GState::Waiting);
    g
}

/// Parks the running goroutine. Once its context is saved, g0 calls `commit(g, arg)`, interrupts off: it
/// makes the goroutine findable for its waker, or returns `false` to go on at once.
///
/// Returns when [`ready`] was called for it. Must be called with preemption on.
pub fn park(reason: WaitReason, commit: CommitFn, arg: *mut ()) {
    park_for(reason, commit, arg, core::ptr::null());
}

/// As [`park`], and leaves word for `leak` what is waited for; what that is depends on the reason.
pub(crate) fn park_for(reason: WaitReason, commit: CommitFn, arg: *mut (), what: *const ()) {
    let g = current();
    g.waits_for.set(what);
    before_wait(g, reason);
    arch::preempt_disable();
    g.commit.set(Some(commit));
    g.commit_arg.set(arg);
    switch_timed(reason, park_post, core::ptr::null_mut());
}

unsafe fn park_post(g: *mut (), _: *mut ()) {
    let Some(gp) = GPtr::from_raw(g.cast()) else {
        unreachable!("parked nobody")
    };
    let (Some(commit), arg) = (gp.commit.take(), gp.commit_arg.get()) else {
        unreachable!("no commit step")
    };
    let g = publish_waiting(g);
    // SAFETY: the commit step and its argument come as a pair from `park`.
    if !unsafe { commit(g, arg) } {
        ready(g);
    }
}

/// Parks the running goroutine and releases `lock`, which it holds, once its context is saved.
#[inline]
pub fn park_unlock(reason: WaitReason, lock: &RawSpinLock) {
    park_unlock_for(reason, lock, core::ptr::null());
}

/// As [`park_unlock`], and leaves word for `leak`, as [`park_for`] does.
#[inline]
pub(crate) fn park_unlock_for(reason: WaitReason, lock: &RawSpinLock, what: *const ()) {
    let g = current();
    g.waits_for.set(what);
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        syscall::leave_early();
    }
    g.reason.store(reason as u8, Ordering::Relaxed);
    switch_timed(reason, unlock_post, lock as *const RawSpinLock as *mut ());
}

unsafe fn unlock_post(g: *mut (), lock: *mut ()) {
    publish_waiting(g);
    // SAFETY: `park_unlock` passed a lock that its caller keeps alive while anyone can wait on it.
    let lock = unsafe { &*lock.cast::<RawSpinLock>() };
    // SAFETY: 1. the goroutine that just left held it, on this core; g0's own count stays.
    unsafe { lock.release() };
}

/// Makes a waiting goroutine runnable: it becomes the next to run on the current P. Wakes a core if one
/// sleeps and nobody searches. Not from interrupts.
#[inline]
pub fn ready(g: GPtr) {
    arch::preempt_disable();
    let core = percpu::this();
    g.set_state(GState::Waiting, GState::Runnable);
    events::emit(Kind::Unblock, g.id(), 0);
    match m::p_of(core) {
        Some(p) => {
            p.put(g, true);
            find::wake_for_work();
        }
        None => global::push_one(g),
    }
    arch::preempt_enable();
}

/// Makes a list of waiting goroutines runnable and wakes one core for all of them; who it wakes wakes the next. A single
/// one is run by the caller's core itself if that is on g0 and has nothing else to run: the netpoller's usual case,
/// where a second core would only be woken to find nothing. Not from interrupts.
pub(crate) fn ready_all(list: &[GPtr]) {
    let [first, rest @ ..] = list else { return };
    if rest.is_empty() && !is_ours_to_run() {
        return ready(*first);
    }
    arch::preempt_disable();
    for g in list {
        g.set_state(GState::Waiting, GState::Runnable);
        events::emit(Kind::Unblock, g.id(), 0);
    }
    match m::p_of(percpu::this()) {
        // All at the tail: a burst is no reason to overtake what is queued.
        Some(p) => list.iter().for_each(|&g| p.put(g, false)),
        None => {
            let mut s = global::SCHED.lock();
            list.iter().for_each(|g| s.push(g.raw()));
        }
    }
    if !rest.is_empty() {
        find::wake_for_work();
    }
    arch::preempt_enable();
}

/// Is this g0, with a P that has nothing to run yet? It goes on to `schedule`, whatever it does now.
fn is_ours_to_run() -> bool {
    let core = percpu::this();
    core.g.get().is_null() && m::p_of(core).is_some_and(|p| p.runq.is_empty())
}

/// Lets others run: the goroutine goes behind those that wait, to the tail of its P's queue or, if others wait
/// there, of the global queue.
///
/// ```
/// use core::sync::atomic::{AtomicBool, Ordering};
/// static FLAG: AtomicBool = AtomicBool::new(false);
/// burrow::go(|| FLAG.store(true, Ordering::Release));
/// while !FLAG.load(Ordering::Acquire) {
///     burrow::yield_now();
/// }
/// ```
pub fn yield_now() {
    let g = current();
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        return;
    }
    arch::preempt_disable();
    switch_to_g0(yield_post, core::ptr::null_mut());
}

unsafe fn yield_post(g: *mut (), _: *mut ()) {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("yield of nobody")
    };
    g.set_state(GState::Running, GState::Runnable);
    // Alone on its P with an empty global queue the trip through the lock buys nothing.
    let core = percpu::this();
    match m::p_of(core) {
        Some(p) if global::LEN.load(Ordering::Relaxed) == 0 && p.runq.len() < super::runq::CAP / 2 => {
            p.put(g, false);
        }
        _ => global::push_one(g),
    }
}

/// May spinning for a moment pay, for something that a goroutine on another core is about to do? Go's conditions: another
/// P is busy and not just searching, and nothing waits to run on this one. A hint.
pub(crate) fn worth_spinning() -> bool {
    let others = global::IDLE_PS.load(Ordering::Relaxed) + global::SPINNERS.count() + 1;
    arch::core_count() > 1
        && global::procs() as u32 > others
        && m::p_of(percpu::this()).is_some_and(|p| p.runq.is_empty())
}
