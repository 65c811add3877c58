//! `lock_os_thread`: a goroutine and a core that belong together for a while.
//!
//! While G is locked to core C, only C runs G, and C runs nothing else as long as there is another core to do
//! it. When G leaves C (it parks, yields, is preempted), C gives its P with everything queued there to an idle
//! core, or to the idle list and the global queue, and sleeps, off the mask of idle cores. A core that picks G
//! puts it into C's mailbox, gives C a P (its own if none is idle) and wakes it.
//!
//! There is no spare core to be had here (DECISIONS 7): if every other core is locked, too, or there is none, C
//! serves others until G is runnable again.
//!
//! A mailbox holds one goroutine that is on no queue. It is filled, emptied and given up (by a core about to
//! sleep without a P) under the scheduler lock, so a goroutine in it is never left behind.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::{
    current, find,
    g::GPtr,
    global::{SCHED, SPINNERS, STW, Sched},
    m::{self, M, p_of},
    preempt,
    state::GState,
    world,
};
use crate::arch::{
    self,
    x86_64::percpu::{self, Core},
};

/// Pins the running goroutine to its core and keeps every other goroutine off it as long as another core can
/// serve. Nests: as many [`unlock_os_thread`] undo it. Ends with the goroutine.
///
/// ```
/// burrow::runtime::lock_os_thread();
/// burrow::runtime::unlock_os_thread();
/// ```
pub fn lock_os_thread() {
    let g = current();
    arch::preempt_disable();
    let core = percpu::this();
    g.locks.set(g.locks.get() + 1);
    if g.locks.get() == 1 {
        g.locked_core.store(core.index() as u8 + 1, Ordering::Relaxed);
        m::get(core.index()).locked_g.store(g.raw(), Ordering::Release);
    }
    arch::preempt_enable();
}

/// Undoes one [`lock_os_thread`]. Without one it does nothing.
///
/// ```
/// burrow::runtime::lock_os_thread();
/// burrow::runtime::lock_os_thread();
/// burrow::runtime::unlock_os_thread();
/// burrow::runtime::unlock_os_thread(); // as often as locked
/// burrow::runtime::unlock_os_thread(); // nothing
/// ```
pub fn unlock_os_thread() {
    let g = current();
    match g.locks.get() {
        0 => {}
        1 => release(g),
        n => g.locks.set(n - 1),
    }
}

pub(crate) fn release(g: GPtr) {
    g.locks.set(0);
    let core = g.locked_core.load(Ordering::Relaxed);
    if core != 0 {
        // The core first: while the goroutine is still bound to it, this runs there. Another goroutine may
        // have locked itself to the same core since; its claim stays.
        let _ = m::get(core as usize - 1).locked_g.compare_exchange(
            g.raw(),
            core::ptr::null_mut(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        g.locked_core.store(0, Ordering::Relaxed);
    }
}

/// What a core does about its locked goroutine before it picks.
pub(crate) enum Turn {
    /// It has none, or must serve others: pick.
    Serve,
    /// Run this one, the locked goroutine.
    Run(GPtr),
    /// It stood back and slept: start over.
    Again,
}

/// g0 before it picks, with a P.
#[inline(always)]
pub(crate) fn before_pick(core: &'static Core, m: &M) -> Turn {
    if m.locked_g.load(Ordering::Relaxed).is_null() && m.mailbox.load(Ordering::Relaxed).is_null() {
        return Turn::Serve;
    }
    locked_turn(core, m)
}

#[cold]
fn locked_turn(core: &'static Core, m: &M) -> Turn {
    if let Some(g) = take_mail(m, &mut SCHED.lock()) {
        return Turn::Run(g);
    }
    match GPtr::from_raw(m.locked_g.load(Ordering::Acquire)) {
        // On its way through a queue: it comes by, here or where it is sent home from.
        Some(g) if g.state() == GState::Runnable => Turn::Serve,
        Some(_) if stand_back(core, m, None) => Turn::Again,
        _ => Turn::Serve,
    }
}

/// Takes the goroutine that was sent home to this core. Under the scheduler lock.
pub(crate) fn take_mail(m: &M, _: &mut Sched) -> Option<GPtr> {
    GPtr::from_raw(m.mailbox.swap(core::ptr::null_mut(), Ordering::AcqRel))
}

/// A core that sleeps without a P leaves no mail behind. Under the scheduler lock.
pub(crate) fn forward_mail(m: &M, s: &mut Sched) {
    if let Some(g) = take_mail(m, s) {
        s.push(g.raw());
    }
}

/// Gives the P, its queue and `picked` to others and sleeps until the locked goroutine is sent home. `false`:
/// it must serve after all, because no other core can, or the world stops; `picked` is then still the caller's.
fn stand_back(core: &'static Core, m: &M, picked: Option<GPtr>) -> bool {
    let me = core.index();
    let free = |i: &usize| *i != me && m::get(*i).locked_g.load(Ordering::Relaxed).is_null();
    if !(0..arch::core_count()).any(|i| free(&i)) {
        return false;
    }
    let Some(p) = p_of(core) else { return false };
    let (other, searched) = {
        let mut s = SCHED.lock();
        if STW.load(Ordering::Relaxed) || !m.mailbox.load(Ordering::Relaxed).is_null() {
            return false;
        }
        if let Some(g) = picked {
            s.push(g.raw());
        }
        m::clear_p(core);
        let other = s.take_idle_m();
        match other {
            Some(i) => find::hand_over(i, p, false),
            None => {
                world::drain(p, &mut |g| s.push(g));
                s.put_idle_p(p);
            }
        }
        s.locked_ms |= 1 << me;
        (other, m.spinning.replace(false)) // while it is ours: see `hand_over`
    };
    if searched {
        SPINNERS.stop();
    }
    match other {
        Some(i) => find::kick(i),
        None => find::wake_for_work(),
    }
    find::core_sleep(core, m);
    true
}

/// A G was picked: may this core run it? `None`: it was sent where it belongs, or others will run it.
#[inline(always)]
pub(crate) fn divert(core: &'static Core, m: &M, g: GPtr) -> Option<GPtr> {
    let at = g.locked_core.load(Ordering::Relaxed);
    if at == 0 && m.locked_g.load(Ordering::Relaxed).is_null() || at as usize == core.index() + 1 {
        return Some(g);
    }
    elsewhere(core, m, g, at as usize)
}

#[cold]
fn elsewhere(core: &'static Core, m: &M, g: GPtr, at: usize) -> Option<GPtr> {
    if at != 0 {
        send_home(core, g, at - 1);
        return None;
    }
    // This core keeps others off for its own locked goroutine, if it can.
    if stand_back(core, m, Some(g)) {
        return None;
    }
    if m.mailbox.load(Ordering::Relaxed).is_null() {
        return Some(g);
    }
    SCHED.lock().push(g.raw());
    None
}

/// Puts `g` into its core's mailbox, with a P if that core sleeps: an idle one, else this core's own.
#[cold]
fn send_home(core: &'static Core, g: GPtr, home: usize) {
    let m = m::get(home);
    let mut s = SCHED.lock();
    if STW.load(Ordering::Relaxed) || !m.mailbox.load(Ordering::Relaxed).is_null() {
        s.push(g.raw());
        return;
    }
    m.mailbox.store(g.raw(), Ordering::Release); // pairs with the AcqRel swap in `take_mail`
    let bit = 1 << home;
    if (s.idle_ms | s.locked_ms) & bit == 0 {
        drop(s);
        preempt::preempt_core(home); // awake: it looks into the mailbox when it schedules next
        return;
    }
    let p = s.take_idle_p(Some(m.last_p.get())).or_else(|| {
        let mine = p_of(core);
        m::clear_p(core);
        mine
    });
    let Some(p) = p else {
        unreachable!("a core picked without a P")
    };
    s.idle_ms &= !bit;
    s.locked_ms &= !bit;
    find::hand_over(home, p, false);
    drop(s);
    find::kick(home);
}
