//! `blocking(f)`: a call that may hold its core for long.
//!
//! The goroutine keeps its core and leaves its P in status Syscall, where anyone may CAS it away. Coming
//! back it takes the same P if still there, else any idle one, else it queues globally and the core goes
//! without. sysmon's tick notices a P that stayed in Syscall for a whole tick while there is work, and has a
//! core retake it (see `sysmon`).
//!
//! There is no spare core (DECISIONS 7): if no core is idle, the P's queue goes to the global queue, and if
//! no *other* core holds a P at all, the caller is preempted inside `f` like any goroutine; it then goes on
//! as an ordinary one. The same happens when `f` itself parks.

use core::sync::atomic::Ordering;

use super::{
    current, events,
    events::Kind,
    g::{FLAG_BLOCKING, GPtr},
    global::{self, SCHED, STW},
    m::{self, p_of},
    p::PStatus,
    park::switch_to_g0,
    preempt,
    state::GState,
    sysmon,
};
use crate::arch::{self, x86_64::percpu};

/// Runs `f`, which may keep its core busy for long (a polling driver, a long computation that must not be
/// preempted for others' sake), and lets another core take over the goroutines that wait behind it.
///
/// Blocks the core, not the program. `f` may use any Burrow operation; one that parks ends the special
/// treatment early. Panics of `f` pass through. Go's counterpart is a system call.
///
/// ```
/// use burrow::blocking;
/// let sum: u64 = blocking(|| (0..1000u64).sum());
/// assert_eq!(sum, 499_500);
/// ```
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            leave();
        }
    }
    if !enter() {
        return f();
    }
    let _leave = Leave;
    f()
}

fn set_blocking(g: GPtr, on: bool) {
    let f = g.flags.load(Ordering::Relaxed);
    g.flags.store(
        if on { f | FLAG_BLOCKING } else { f & !FLAG_BLOCKING },
        Ordering::Relaxed,
    );
}

/// `false`: already inside.
fn enter() -> bool {
    let g = current();
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        return false;
    }
    arch::preempt_disable();
    let core = percpu::this();
    let Some(p) = p_of(core) else {
        unreachable!("a running goroutine without a P")
    };
    set_blocking(g, true);
    g.set_state(GState::Running, GState::Syscall);
    events::emit(Kind::SyscallEnter, g.id(), p.id() as u64);
    p.syscalltick.store(
        p.syscalltick.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
    m::get(core.index()).syscall_p.set(Some(p));
    m::clear_p(core);
    p.set_status(PStatus::Syscall); // from here on the P may be taken
    sysmon::drive_from(core);
    arch::preempt_enable();
    true
}

/// Back to an ordinary running goroutine; the core may be left without a P (then it must switch away at
/// once). Preemption off.
fn retake_own(g: GPtr) -> bool {
    let core = percpu::this();
    set_blocking(g, false);
    g.set_state(GState::Syscall, GState::Running);
    match m::get(core.index()).syscall_p.take() {
        Some(p) if p.cas_status(PStatus::Syscall, PStatus::Running) => {
            m::set_p(core, p);
            preempt::resume_slice(core, p, false);
            true
        }
        _ => false,
    }
}

/// `f` is about to park: it is no system call any more. The caller switches to g0 right after.
#[cold]
pub(crate) fn leave_early() {
    arch::preempt_disable();
    let g = current();
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        retake_own(g);
    }
    arch::preempt_enable();
}

fn leave() {
    arch::preempt_disable();
    let g = current();
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING == 0 {
        arch::preempt_enable();
        return; // preempted or parked inside: an ordinary goroutine since
    }
    events::emit(Kind::SyscallExit, g.id(), 0);
    if retake_own(g) {
        arch::preempt_enable();
        return;
    }
    let core = percpu::this();
    let p = {
        let mut s = SCHED.lock();
        if STW.load(Ordering::Relaxed) {
            None
        } else {
            s.take_idle_p(None)
        }
    };
    if let Some(p) = p {
        m::set_p(core, p);
        preempt::resume_slice(core, p, true);
        arch::preempt_enable();
        return;
    }
    switch_to_g0(no_p_post, core::ptr::null_mut());
}

/// Commit step of a return without a P: the global queue.
unsafe fn no_p_post(g: *mut (), _: *mut ()) {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("nobody returned")
    };
    g.set_state(GState::Running, GState::Runnable);
    global::push_one(g);
}

/// On g0: the goroutine was preempted inside `f`.
pub(crate) fn preempted(g: GPtr) {
    let core = percpu::this();
    set_blocking(g, false);
    g.set_state(GState::Syscall, GState::Preempted);
    if let Some(p) = m::get(core.index()).syscall_p.take()
        && p.cas_status(PStatus::Syscall, PStatus::Running)
    {
        m::set_p(core, p);
        preempt::resume_slice(core, p, false);
    }
}

/// Makes sure the running goroutine's core has a P (it may have lost it in `blocking`). Preemption on.
pub(crate) fn require_p() {
    let g = current();
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        leave();
        return;
    }
    arch::preempt_disable();
    if p_of(percpu::this()).is_some() {
        arch::preempt_enable();
        return;
    }
    switch_to_g0(no_p_post, core::ptr::null_mut());
}
