//! Stopping the world, and `gomaxprocs`.
//!
//! The stopper, a goroutine with preemption off and no lock held, raises `STW`, takes every idle P and every
//! P in a call, asks every running core's goroutine off, and waits until the last P has stopped. A core that
//! finds `STW` set in `schedule` hands in its P and sleeps. Cores in `blocking` go on without a P and find
//! none when they return; they sleep, too. Start gives Ps with work to idle cores, the rest to the idle list.
#![forbid(unsafe_code)]

use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    find,
    g::G,
    global::{GOMAXPROCS, SCHED, STW},
    m::{self, M, p_of},
    p::{self, P, PStatus},
    preempt, spawn,
};
use crate::arch::{
    self,
    x86_64::percpu::{self, Core},
};

/// One stopper at a time. Waited for by yielding: it is rare and short.
static STOPPER: AtomicBool = AtomicBool::new(false);

/// g0 of a core that finds the world stopping: hand in the P, sleep until it starts.
pub(crate) fn stop_here(core: &'static Core, m: &M) {
    if m.spinning.replace(false) {
        super::global::SPINNERS.stop();
    }
    {
        let mut s = SCHED.lock();
        if !STW.load(Ordering::Relaxed) {
            return;
        }
        if let Some(p) = p_of(core) {
            m::clear_p(core);
            p.set_status(PStatus::GcStop);
            s.stop_wait -= 1;
        }
        super::osthread::forward_mail(m, &mut s);
        s.idle_ms |= 1 << core.index();
    }
    find::core_sleep(core, m);
}

/// Stops the world around `f`, which runs on this core with preemption off.
pub(crate) fn stopped<R>(f: impl FnOnce() -> R) -> R {
    // Acquire: pairs with the Release store below.
    while STOPPER
        .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        spin_loop();
        super::yield_now();
    }
    super::syscall::require_p();
    arch::preempt_disable();
    stop();
    let r = f();
    start();
    arch::preempt_enable();
    STOPPER.store(false, Ordering::Release);
    r
}

/// Does the world stand? Meant for assertions.
pub(crate) fn is_stopped() -> bool {
    STW.load(Ordering::Relaxed)
}

fn stop() {
    let core = percpu::this();
    let n = GOMAXPROCS.load(Ordering::Relaxed) as usize;
    {
        let mut s = SCHED.lock();
        STW.store(true, Ordering::SeqCst);
        s.stop_wait = n as u32 - 1; // all but our own
        while let Some(p) = s.take_idle_p(None) {
            p.set_status(PStatus::GcStop);
            s.stop_wait -= 1;
        }
        for p in p::first(n) {
            if p.cas_status(PStatus::Syscall, PStatus::GcStop) {
                s.stop_wait -= 1;
            }
        }
    }
    let mut spins = 0u32;
    loop {
        if spins.is_multiple_of(1 << 16) {
            for p in p::first(n) {
                let c = p.core.load(Ordering::Relaxed);
                if p.status() == PStatus::Running && c != 0 && c as usize - 1 != core.index() {
                    preempt::preempt_core(c as usize - 1);
                }
            }
        }
        if spins.is_multiple_of(64) {
            let mut s = SCHED.lock();
            for p in p::first(n) {
                if p.cas_status(PStatus::Syscall, PStatus::GcStop) {
                    s.stop_wait -= 1;
                }
            }
            if s.stop_wait == 0 {
                return;
            }
        }
        spins = spins.wrapping_add(1);
        spin_loop();
    }
}

fn start() {
    let core = percpu::this();
    let Some(mine) = p_of(core) else {
        unreachable!("the stopper has a P")
    };
    let n = GOMAXPROCS.load(Ordering::Relaxed) as usize;
    let mut kicks = 0u64;
    {
        let mut s = SCHED.lock();
        for p in p::first(n).iter().filter(|p| p.id() != mine.id()) {
            if !p.runq.is_empty()
                && let Some(i) = s.take_idle_m()
            {
                find::hand_over(i, p, false);
                kicks |= 1 << i;
                continue;
            }
            let mut spill = |g: *mut G| s.push(g);
            drain(p, &mut spill);
            s.put_idle_p(p);
        }
        STW.store(false, Ordering::SeqCst);
    }
    while kicks != 0 {
        find::kick(kicks.trailing_zeros() as usize);
        kicks &= kicks - 1;
    }
    // Cores that fell asleep meanwhile did not arm for the timers of stopped Ps: this one does.
    let first = p::first(n).iter().map(|p| p.timer0.load(Ordering::Relaxed)).min();
    preempt::timer_added(first.unwrap_or(u64::MAX));
    find::wake_for_work();
}

pub(super) fn drain(p: &P, to: &mut impl FnMut(*mut G)) {
    loop {
        let mut g = p.runq.take_next();
        if g.is_null() {
            g = p.runq.pop();
        }
        if g.is_null() {
            return;
        }
        to(g);
    }
}

/// Sets the number of Ps and returns the previous one; 0 only asks. At most the number of cores.
pub(crate) fn set_procs(n: usize) -> usize {
    let old = GOMAXPROCS.load(Ordering::Relaxed) as usize;
    if n == 0 {
        return old;
    }
    let n = n.min(arch::core_count());
    stopped(|| {
        let old = GOMAXPROCS.load(Ordering::Relaxed) as usize;
        resize(old, n);
        old
    })
}

/// The world stands: from `old` to `new` Ps.
pub(crate) fn resize(old: usize, new: usize) {
    let core = percpu::this();
    for id in old..new {
        let p = p::get(id);
        if p.rng.get() == 0 {
            p.init(id, super::seed());
        }
        p.set_status(PStatus::GcStop);
    }
    if let Some(mine) = p_of(core)
        && mine.id() >= new
    {
        // Swap ours for P 0, which stands like all others.
        mine.set_status(PStatus::GcStop);
        m::set_p(core, p::get(0));
    }
    for id in new..old {
        let p = p::get(id);
        let mut s = SCHED.lock();
        drain(p, &mut |g| s.push(g));
        drop(s);
        crate::time::move_timers(&p.timers, &p::get(0).timers);
        spawn::flush_dead(p, 0);
        crate::mem::flush_p(id);
        p.set_status(PStatus::Dead);
        p.core.store(0, Ordering::Relaxed);
    }
    GOMAXPROCS.store(new as u32, Ordering::Relaxed);
}

/// The `i`-th (modulo their number) stride that is coprime to `n`.
pub(crate) fn coprime(n: usize, i: usize) -> usize {
    if n <= 2 {
        return 1;
    }
    let start = 1 + i % (n - 1);
    (start..n).chain(1..start).find(|&k| gcd(k, n) == 1).unwrap_or(1)
}

fn gcd(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
