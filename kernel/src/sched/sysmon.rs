//! sysmon: the watcher that needs neither a P nor a core of its own.
//!
//! A tick of the LAPIC timer on one core, its *driver*: the core that last left idle when sysmon slept, or
//! that last entered `blocking`. The tick (an interrupt) only reads counters, sets flags and sends IPIs; a
//! core that runs g0 does the rest: it finds the bits of the Ps to retake in [`RETAKE`].
//!
//! Period: 20 µs at first, doubled after 50 rounds without work, up to 10 ms; never below a hundred times
//! its own measured cost, so it takes at most 1 % of a core. It sleeps when every P is idle.
//!
//! Retaking P from a core in `blocking`: the tick must have seen the same call twice and there must be work
//! (its queue, the global queue, a due timer). If a core is idle, wake it: it takes the P over. Else, if
//! another core runs goroutines, divert that one: its g0 moves the P's queue to the global queue. Else the
//! blocking goroutine sits on the last core: preempt it.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use super::{
    find,
    global::{self, IDLE_PS, LEN, SCHED, STW},
    irq_work,
    m::{self, p_of},
    net_work,
    p::{self, P, PStatus},
    preempt,
};
use crate::arch::x86_64::{apic, clock, percpu, percpu::Core, trap::VEC_RESCHED};

const MIN_PERIOD: u64 = 20_000;
const MAX_PERIOD: u64 = 10_000_000;

/// Core that drives the tick, + 1; 0 while sysmon sleeps.
static DRIVER: AtomicU32 = AtomicU32::new(0);
static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);
static PERIOD: AtomicU64 = AtomicU64::new(MIN_PERIOD);
static IDLE_ROUNDS: AtomicU32 = AtomicU32::new(0);
/// Measured cost of a tick (ns), a moving average.
static COST: AtomicU64 = AtomicU64::new(0);
static TICKING: AtomicBool = AtomicBool::new(false);
/// Ps to take from their cores, by bit.
static RETAKE: AtomicU64 = AtomicU64::new(0);

/// When this core must tick next, if it drives.
#[inline(always)]
pub(crate) fn next_tick(core: &Core) -> u64 {
    if DRIVER.load(Ordering::Relaxed) == core.index() as u32 + 1 {
        NEXT.load(Ordering::Relaxed)
    } else {
        u64::MAX
    }
}

fn floor() -> u64 {
    MIN_PERIOD.max(100 * COST.load(Ordering::Relaxed))
}

/// The lower bound of the period now (ns), as measured.
pub(crate) fn min_period() -> u64 {
    floor()
}

/// This core enters `blocking`: it drives the tick from now on, at the shortest period.
pub(crate) fn drive_from(core: &Core) {
    let now = clock::now_ns();
    PERIOD.store(floor(), Ordering::Relaxed);
    IDLE_ROUNDS.store(0, Ordering::Relaxed);
    NEXT.store(now + floor(), Ordering::Relaxed);
    DRIVER.store(core.index() as u32 + 1, Ordering::Release);
    preempt::timer_added(now + floor());
}

/// A core stops being idle: if sysmon sleeps, this core wakes and drives it. Interrupts off.
pub(crate) fn leave_idle(core: &Core) {
    fence(Ordering::SeqCst); // after the P was taken; partner: the one in `rest`
    drive(core);
}

/// Drives, if nobody does.
fn drive(core: &Core) {
    if DRIVER.load(Ordering::Relaxed) == 0
        && DRIVER
            .compare_exchange(0, core.index() as u32 + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    {
        PERIOD.store(floor(), Ordering::Relaxed);
        IDLE_ROUNDS.store(0, Ordering::Relaxed);
        NEXT.store(clock::now_ns() + MAX_PERIOD, Ordering::Relaxed);
    }
}

/// About to halt: there is nothing to watch if all Ps are idle, so the driver needs no tick to find that out.
pub(crate) fn rest(core: &Core) {
    let me = core.index() as u32 + 1;
    if DRIVER.load(Ordering::Relaxed) == me && IDLE_PS.load(Ordering::Relaxed) as usize == global::procs() {
        // Only if it is still ours, as in `tick`.
        let _ = DRIVER.compare_exchange(me, 0, Ordering::AcqRel, Ordering::Relaxed);
        // A core that took a P meanwhile may have seen us drive: in the order of the two fences it sees that we do not, or
        // we see its P.
        fence(Ordering::SeqCst);
        if IDLE_PS.load(Ordering::Relaxed) as usize != global::procs() {
            drive(core);
        }
    }
}

/// The tick, in the timer interrupt.
pub(crate) fn tick(core: &Core, now: u64) {
    if next_tick(core) > now || TICKING.swap(true, Ordering::Acquire) {
        return;
    }
    let n = global::procs();
    if IDLE_PS.load(Ordering::Relaxed) as usize == n {
        // Only if it is still ours: a core that enters `blocking` at this moment drives from then on.
        let _ = DRIVER.compare_exchange(core.index() as u32 + 1, 0, Ordering::AcqRel, Ordering::Relaxed);
        TICKING.store(false, Ordering::Release);
        return;
    }
    let mut acted = false;
    let mut calls = false;
    for p in p::first(n) {
        match p.status() {
            PStatus::Syscall => {
                calls = true;
                acted |= look_at_call(core, p, now);
            }
            PStatus::Running => acted |= look_at_slice(core, p, now),
            _ => {}
        }
    }
    super::scavenger::notice();
    acted |= look_at_network(core);
    // With no call to watch only slices matter, and those are 10 ms long.
    let period = if acted {
        IDLE_ROUNDS.store(0, Ordering::Relaxed);
        floor()
    } else {
        let rounds = IDLE_ROUNDS.load(Ordering::Relaxed) + 1;
        IDLE_ROUNDS.store(rounds, Ordering::Relaxed);
        let p = PERIOD.load(Ordering::Relaxed);
        if !calls {
            MAX_PERIOD
        } else if rounds > 50 {
            (p * 2).min(MAX_PERIOD)
        } else {
            p.max(floor())
        }
    };
    let end = clock::now_ns();
    let cost = COST.load(Ordering::Relaxed);
    COST.store(cost - cost / 8 + end.saturating_sub(now) / 8, Ordering::Relaxed);
    if DRIVER.load(Ordering::Acquire) == core.index() as u32 + 1 {
        PERIOD.store(period, Ordering::Relaxed);
        NEXT.store(end + period, Ordering::Relaxed);
    }
    TICKING.store(false, Ordering::Release); // pairs with the Acquire swap above
}

fn look_at_call(core: &Core, p: &P, now: u64) -> bool {
    let tick = p.syscalltick.load(Ordering::Relaxed);
    if p.seen_syscalltick.replace(tick) != tick {
        return false; // began since the last tick
    }
    let work =
        !p.runq.is_empty() || LEN.load(Ordering::Relaxed) != 0 || p.timer0.load(Ordering::Relaxed) <= now;
    if !work {
        return false;
    }
    RETAKE.fetch_or(1 << p.id(), Ordering::AcqRel);
    if kick_idle_core() {
        return true;
    }
    // Nobody idle: divert a core that runs goroutines, or the caller itself if it has the last one.
    let others = p::first(global::procs())
        .iter()
        .find(|q| q.status() == PStatus::Running);
    let target = match others {
        Some(q) => q.core.load(Ordering::Relaxed),
        None => p.core.load(Ordering::Relaxed),
    };
    if target != 0 {
        ask(core, target as usize - 1);
    }
    true
}

fn look_at_slice(core: &Core, p: &P, now: u64) -> bool {
    let tick = p.schedtick.load(Ordering::Relaxed);
    if p.seen_schedtick.replace(tick) != tick {
        p.seen_schedwhen.set(now);
        return false;
    }
    if now.wrapping_sub(p.seen_schedwhen.get()) < preempt::slice() {
        return false;
    }
    let target = p.core.load(Ordering::Relaxed);
    if target == 0 || p.runq.is_empty() && LEN.load(Ordering::Relaxed) == 0 {
        return false;
    }
    ask(core, target as usize - 1);
    true
}

/// Frames that came before the last tick and that no g0 took: send one to look.
fn look_at_network(core: &Core) -> bool {
    static SEEN: AtomicBool = AtomicBool::new(false);
    let waits = net_work::pending();
    if !SEEN.swap(waits, Ordering::Relaxed) || !waits {
        return false;
    }
    irq_work::ask_for_irq_work();
    let busy = || {
        p::first(global::procs())
            .iter()
            .find(|q| q.status() == PStatus::Running)
    };
    if !kick_idle_core()
        && let Some(q) = busy()
    {
        let target = q.core.load(Ordering::Relaxed);
        if target != 0 {
            ask(core, target as usize - 1);
        }
    }
    true
}

/// Wants the goroutine off `target`. From the interrupt: on this core the flag is enough, `on_timer` acts.
fn ask(core: &Core, target: usize) {
    if target == core.index() {
        core.preempt_req.store(true, Ordering::Relaxed);
    } else {
        preempt::preempt_core(target);
    }
}

/// Wakes some halted core, not for a P of its own but to look around. From interrupts, too. `false`: none.
pub(crate) fn kick_idle_core() -> bool {
    for i in 0..crate::arch::core_count() {
        let c = percpu::core(i);
        // HALTED is a hint here: the interrupt makes the core look, it is no kick.
        let keeps_off = !m::get(i).locked_g.load(Ordering::Relaxed).is_null();
        if c.g.get().is_null() && c.park.load(Ordering::Acquire) == 1 && c.is_online() && !keeps_off {
            apic::send_ipi(c.apic_id(), VEC_RESCHED);
            return true;
        }
    }
    false
}

/// Is some P to be retaken?
pub(crate) fn retakes_pending() -> bool {
    RETAKE.load(Ordering::Relaxed) != 0
}

/// On g0: takes the Ps the tick marked, if their cores are still in the call. `true`: this core may hold
/// another P than before, whose slice did not begin here.
#[inline(always)]
pub(crate) fn handle_retakes(core: &'static Core) -> bool {
    if !retakes_pending() {
        return false;
    }
    retake(core);
    true
}

#[cold]
fn retake(core: &'static Core) {
    let mut bits = RETAKE.swap(0, Ordering::AcqRel);
    while bits != 0 {
        let p = p::get(bits.trailing_zeros() as usize);
        bits &= bits - 1;
        let mut s = SCHED.lock();
        // A stopping world takes Ps in calls by itself, and counts them.
        if STW.load(Ordering::Relaxed) || !p.cas_status(PStatus::Syscall, PStatus::Running) {
            continue;
        }
        if p_of(core).is_none() {
            drop(s);
            m::set_p(core, p);
            continue;
        }
        // We have a P already: the queue goes to the global queue, the P to the idle list.
        loop {
            let mut g = p.runq.take_next();
            if g.is_null() {
                g = p.runq.pop();
            }
            if g.is_null() {
                break;
            }
            s.push(g);
        }
        s.put_idle_p(p);
        drop(s);
        find::wake_for_work();
    }
}
