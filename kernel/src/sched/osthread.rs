//! `lock_os_thread`: a goroutine and a core that belong together for a while.
//!
//! While G is locked to core C, only C runs G; and while G runs or another core could serve, C runs nothing
//! else. There is no spare core to be had here (DECISIONS 7): if G is parked and no other core is idle to
//! take over C's P, C serves others until G is runnable again.
//!
//! A core that picks a G locked elsewhere puts it back on the global queue and hands its own P to the locked
//! core if that one sleeps, else asks it to look.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::{
    current, find,
    g::GPtr,
    global::SCHED,
    m::{self, M, p_of},
    preempt,
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

/// g0 before it picks: a core whose locked G is not here gives its P to an idle core, if there is one.
#[inline(always)]
pub(crate) fn before_pick(core: &'static Core, m: &M) {
    if !m.locked_g.load(Ordering::Relaxed).is_null() {
        stand_back(core, m);
    }
}

#[cold]
fn stand_back(core: &'static Core, m: &M) {
    let Some(g) = GPtr::from_raw(m.locked_g.load(Ordering::Acquire)) else {
        return;
    };
    if g.state() == super::state::GState::Runnable {
        return; // it is on its way through a queue: keep serving until it comes by
    }
    let Some(p) = p_of(core) else { return };
    if p.runq.is_empty() {
        return; // nothing to hand over; idling finds its own way
    }
    let other = {
        let mut s = SCHED.lock();
        let Some(i) = s.take_idle_m() else { return };
        if super::global::STW.load(Ordering::Relaxed) {
            s.idle_ms |= 1 << i;
            return;
        }
        m::clear_p(core);
        if m.spinning.replace(false) {
            super::global::SPINNERS.stop();
        }
        find::hand_over(i, p, false);
        i
    };
    find::kick(other);
}

/// A G was picked: may this core run it? `None`: it was sent where it belongs.
#[inline(always)]
pub(crate) fn divert(core: &'static Core, g: GPtr) -> Option<GPtr> {
    let at = g.locked_core.load(Ordering::Relaxed);
    if at == 0 || at as usize == core.index() + 1 {
        return Some(g);
    }
    send_home(core, g, at as usize - 1);
    None
}

#[cold]
fn send_home(core: &'static Core, g: GPtr, home: usize) {
    let mut s = SCHED.lock();
    s.push(g.raw());
    let asleep = s.idle_ms & 1 << home != 0;
    if asleep && !super::global::STW.load(Ordering::Relaxed) {
        let mine = p_of(core);
        let p = match s.take_idle_p(Some(m::get(home).last_p.get())) {
            Some(p) => Some(p),
            None => {
                m::clear_p(core);
                mine
            }
        };
        if let Some(p) = p {
            s.idle_ms &= !(1 << home);
            find::hand_over(home, p, false);
            drop(s);
            find::kick(home);
            return;
        }
    }
    drop(s);
    preempt::preempt_core(home);
    for _ in 0..32 {
        core::hint::spin_loop();
    }
}
