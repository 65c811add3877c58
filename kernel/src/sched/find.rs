//! `schedule`: which goroutine runs next on this core, and what a core does when there is none.
//!
//! All of this runs on g0 with interrupts off. The order of looking: the stopped world, work left by
//! interrupts, due timers, every 61st time the global queue, `runnext`, the local queue, the global queue,
//! other Ps. Then the core gives its P back, looks at everything once more (see `idle` for why that is
//! enough) and halts.
//!
//! Who wakes whom: who makes a G runnable calls [`wake_for_work`]; it hands an idle P to an idle core if
//! nobody is searching yet. A searcher that found something wakes the next one. An idle core's LAPIC is set
//! to the earliest deadline of any idle P, so timers of sleeping Ps are never nobody's.
//!
//! Lock order here: timers before the scheduler lock; nothing is taken under the latter.

use core::{
    arch::asm,
    sync::atomic::{Ordering, fence},
};

use super::{
    chaos::gap,
    deadlock, events,
    events::Kind,
    g::GPtr,
    global::{self, IDLE_PS, LEN, SCHED, SPINNERS, STW},
    idle::{Kick, ParkSlot},
    irq_work::{ask_for_irq_work, drain_irq_work, has_irq_work},
    m::{self, M, p_of},
    osthread::{self, Turn},
    p::{self, P, PStatus, bump},
    preempt, reclaimer,
    state::GState,
    sysmon, world,
};
use crate::{
    arch::x86_64::{
        apic, clock,
        percpu::{self, Core, NO_RESCHED},
        switch,
        trap::VEC_RESCHED,
    },
    mem::frames,
};

/// g0's life: run one goroutine after the other.
pub(crate) fn run(core: &'static Core) -> ! {
    let m = m::get(core.index());
    let mut first = true;
    loop {
        let (p, g, inherit) = next(core, m);
        execute(core, m, p, g, inherit && !first);
        first = false;
        // The goroutine is off its stack. From here on only its commit step may touch it.
        let g = core.g.replace(core::ptr::null_mut());
        let Some(post) = core.post.take() else {
            unreachable!("switched to g0 without a commit step");
        };
        // SAFETY: whoever switched set `post` together with its argument for this goroutine.
        unsafe { post(g, core.post_arg.get()) };
    }
}

/// Continues `g` on this core, which holds `p`; returns when it has left it again.
#[inline(always)]
fn execute(core: &'static Core, m: &M, p: &'static P, g: GPtr, inherit: bool) {
    g.set_state(GState::Runnable, GState::Running);
    let runs = g.runs.load(Ordering::Relaxed).wrapping_add(1);
    g.runs.store(runs, Ordering::Relaxed); // who asks asks after a shootdown: `mem::shrink`
    bump(&p.count.switches);
    if inherit {
        // The slice goes on, and so does a pending request to end it.
        core.preempt.set(core.preempt.get() & NO_RESCHED | 1);
    } else {
        let now = clock::now_ns();
        m.now.set(now);
        p.schedtick.store(
            p.schedtick.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
        p.slice_start.store(now, Ordering::Relaxed);
        core.preempt_req.store(false, Ordering::Relaxed);
        core.preempt.set(NO_RESCHED | 1);
        preempt::arm_no_later_than(core, p, now);
    }
    if frames::refill(core.index()) {
        reclaimer::in_time();
    }
    preempt::ensure_spare(core, m);
    events::emit(Kind::Start, g.id(), p.id() as u64);
    core.g.set(g.raw().cast());
    let save = g.save.get();
    if save.is_null() {
        // SAFETY: 1. the G's frame was left by `switch` or `prepare` and it is ours (Runnable → Running);
        // 2. g0 runs with count 1 and interrupts off.
        unsafe { switch::switch(core.g0_sp.as_ptr(), g.sp.load(Ordering::Relaxed)) };
    } else {
        g.save.set(core::ptr::null_mut());
        preempt::swap_spare(core, m, save);
        // SAFETY: 1. the block holds this G, which is ours; the old spare was put aside; 2. as above.
        unsafe { switch::resume_saved(core.g0_sp.as_ptr(), save) };
    }
}

/// Picks the next goroutine; halts the core while there is none.
#[inline(always)]
fn next(core: &'static Core, m: &M) -> (&'static P, GPtr, bool) {
    // No goroutine ran on this P just now whose slice could go on, and the timer is not armed for one.
    let mut fresh = false;
    loop {
        if STW.load(Ordering::Acquire) {
            world::stop_here(core, m);
        }
        fresh |= drain_irq_work();
        fresh |= sysmon::handle_retakes(core);
        let Some(p) = p_of(core) else {
            acquire_or_sleep(core, m);
            fresh = true;
            continue;
        };
        match osthread::before_pick(core, m) {
            Turn::Serve => {}
            Turn::Run(g) => {
                if m.spinning.get() {
                    stop_spinning(m);
                }
                return (p, g, false);
            }
            Turn::Again => {
                fresh = true;
                continue;
            }
        }
        if p.timer0.load(Ordering::Relaxed) != u64::MAX {
            run_timers(p, clock::now_ns());
        }
        let found = pick(m, p);
        if let Some((g, inherit)) = found {
            if m.spinning.get() {
                stop_spinning(m);
            }
            if let Some(g) = osthread::divert(core, m, g) {
                return (p, g, inherit && !fresh);
            }
            continue;
        }
        if super::scavenger::poll() {
            continue;
        }
        if go_idle(core, m, p) {
            core_sleep(core, m);
        }
        fresh = true;
    }
}

/// Looks everywhere for a runnable goroutine, without giving up the P.
fn pick(m: &M, p: &'static P) -> Option<(GPtr, bool)> {
    if LEN.load(Ordering::Relaxed) != 0 && p.schedtick.load(Ordering::Relaxed).is_multiple_of(61) {
        let g = SCHED.lock().grab(p, 1);
        if let Some(g) = GPtr::from_raw(g) {
            return Some((g, false));
        }
    }
    if let Some(g) = GPtr::from_raw(p.runq.take_next()) {
        return Some((g, true));
    }
    if let Some(g) = GPtr::from_raw(p.runq.pop()) {
        return Some((g, false));
    }
    if LEN.load(Ordering::Relaxed) != 0 {
        let g = SCHED.lock().grab(p, 128);
        if let Some(g) = GPtr::from_raw(g) {
            return Some((g, false));
        }
    }
    let n = global::procs();
    if n > 1 && !super::opts::no_steal() {
        let busy = n as u32 - IDLE_PS.load(Ordering::Relaxed);
        if m.spinning.get() || SPINNERS.try_start(busy) {
            m.spinning.set(true);
            return steal(p, n).map(|g| (g, false));
        }
    }
    None
}

/// Four rounds over all Ps, each in a random order that visits every P once: start anywhere, step by a
/// stride coprime to their number. The last round also runs their due timers and takes their `runnext`.
fn steal(p: &'static P, n: usize) -> Option<GPtr> {
    for round in 0..4 {
        let last = round == 3;
        let r = p.rand();
        let (mut at, step) = (r as usize % n, world::coprime(n, (r >> 16) as usize));
        for _ in 0..n {
            let victim = p::get(at);
            at = (at + step) % n;
            if victim.id() == p.id() {
                continue;
            }
            if STW.load(Ordering::Relaxed) {
                return None;
            }
            if last && victim.timer0.load(Ordering::Relaxed) <= clock::now_ns() {
                run_timers(victim, clock::now_ns());
                if let Some(g) = GPtr::from_raw(p.runq.take_next()).or_else(|| GPtr::from_raw(p.runq.pop())) {
                    return Some(g);
                }
            }
            if victim.status() == PStatus::Idle {
                continue;
            }
            if last && victim.status() == PStatus::Running && victim.runq.has_next() {
                // Its G is likely about to park and run that one itself: give it a moment.
                for _ in 0..64 {
                    core::hint::spin_loop();
                }
            }
            let g = victim.runq.steal_into(&p.runq, last);
            if let Some(g) = GPtr::from_raw(g) {
                bump(&p.count.steals);
                events::emit(Kind::Steal, g.id(), victim.id() as u64);
                return Some(g);
            }
        }
    }
    None
}

/// Runs the due timers of `p`; what they ready goes to this core's own P.
pub(crate) fn run_timers(p: &'static P, now: u64) {
    if p.timer0.load(Ordering::Relaxed) <= now {
        crate::time::run_due(&p.timers, now);
    }
}

fn stop_spinning(m: &M) {
    m.spinning.set(false);
    if SPINNERS.stop() {
        wake_for_work();
    }
}

/// Work became runnable: if a P is idle and nobody searches, wake a core for it. Preemption must be off.
#[inline(always)]
pub(crate) fn wake_for_work() {
    if SPINNERS.submitter_should_wake(&IDLE_PS) {
        wake_slow();
    }
}

#[cold]
fn wake_slow() {
    gap();
    if !SPINNERS.claim_first() {
        return;
    }
    let mut s = SCHED.lock();
    let pair = if s.idle_ps == 0 || STW.load(Ordering::Relaxed) {
        None
    } else {
        s.take_idle_m()
    };
    let Some(core) = pair else {
        // Under the lock: a submitter that relied on our claim published its work before it; a core that
        // goes idle takes the lock after us, and so sees that work in its last look (I3).
        SPINNERS.stop();
        return;
    };
    let Some(p) = s.take_idle_p(Some(m::get(core).last_p.get())) else {
        unreachable!("idle P vanished under the lock")
    };
    hand_over(core, p, true);
    drop(s);
    kick(core);
}

/// Gives `p` to the idle core `core`, which the caller took off the idle mask under the scheduler lock and
/// kicks after releasing it. With `spinning` the core is already counted as a searcher.
pub(crate) fn hand_over(core: usize, p: &'static P, spinning: bool) {
    let m = m::get(core);
    // The target was on a mask and is off it: until its kick, these cells are ours. It may not have halted yet, but a
    // core that goes on a mask has left them before (model `loom_a_core_on_its_way_to_sleep_is_given_a_p` in `idle`).
    m.spinning.set(spinning);
    m.next_p.store(p.id() as u32 + 1, Ordering::Release); // pairs with the Acquire swap in `core_sleep`
}

/// Wakes a parked core.
pub(crate) fn kick(core: usize) {
    let c = percpu::core(core);
    if ParkSlot(&c.park).kick() == Kick::SendIpi {
        apic::send_ipi(c.apic_id(), VEC_RESCHED);
    }
}

/// A core without a P: takes an idle one, or sleeps.
fn acquire_or_sleep(core: &'static Core, m: &M) {
    {
        let mut s = SCHED.lock();
        if !STW.load(Ordering::Relaxed)
            && let Some(p) = s.take_idle_p(Some(m.last_p.get()))
        {
            m::set_p(core, p);
            return;
        }
        osthread::forward_mail(m, &mut s);
        s.idle_ms |= 1 << core.index();
    }
    core_sleep(core, m);
}

/// Gives back the P and becomes idle, unless work turned up. `true`: the core is on the idle list.
fn go_idle(core: &'static Core, m: &M, p: &'static P) -> bool {
    let searched = {
        let mut s = SCHED.lock();
        if STW.load(Ordering::Relaxed)
            || LEN.load(Ordering::Relaxed) != 0
            || !p.runq.is_empty()
            || !m.mailbox.load(Ordering::Relaxed).is_null()
        {
            return false;
        }
        m::clear_p(core);
        s.put_idle_p(p);
        s.idle_ms |= 1 << core.index();
        m.spinning.replace(false) // while it is ours: see `hand_over`
    };
    if searched {
        SPINNERS.stop();
    } else {
        fence(Ordering::SeqCst); // as I2 in `idle`, for a core that never got to search
    }
    gap();
    // I3: everything once more.
    let work = LEN.load(Ordering::Relaxed) != 0
        || has_irq_work()
        || p::first(global::procs()).iter().any(|p| !p.runq.is_empty());
    if !work {
        return true;
    }
    let mut s = SCHED.lock();
    if s.idle_ms & 1 << core.index() == 0 {
        return true; // somebody just gave us a P: its kick ends the sleep at once
    }
    if let Some(p) = s.take_idle_p(Some(p.id())) {
        s.idle_ms &= !(1 << core.index());
        m::set_p(core, p);
        m.spinning.set(true);
        SPINNERS.start();
        return false;
    }
    true
}

/// Halts until kicked with a P, or until a deadline or interrupt makes work for an idle P. On the idle mask
/// when called, off it and usually with a P when it returns.
pub(crate) fn core_sleep(core: &'static Core, m: &M) {
    let slot = ParkSlot(&core.park);
    events::emit(Kind::Idle, 0, core.index() as u64);
    loop {
        deadlock::check(core);
        gap();
        if !slot.prepare() {
            let _ = slot.finish();
            break;
        }
        if preempt::arm_idle(core) {
            sysmon::tick(core, clock::now_ns());
            window();
        } else {
            halt();
        }
        if slot.finish() {
            break;
        }
        if wake_self(core) {
            leave_idle(core);
            return;
        }
    }
    // Acquire: pairs with the Release store in `hand_over`.
    let p = m.next_p.swap(0, Ordering::AcqRel);
    if p != 0 {
        m::set_p(core, p::get(p as usize - 1));
    }
    leave_idle(core);
}

fn leave_idle(core: &'static Core) {
    gap();
    preempt::leave_idle(core);
    gap();
    sysmon::leave_idle(core);
}

/// `sti; hlt; cli`: no interrupt is taken between the first two, so none that came in since the park slot
/// said HALTED can be missed.
fn halt() {
    // SAFETY: g0 may be interrupted here; handlers only edit flags when they find g0.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Lets pending interrupts in (a shootdown waits for every core) without halting.
fn window() {
    // SAFETY: as `halt`; `sti` shields one instruction, so two are needed for a window.
    unsafe { asm!("sti", "pause", "cli", options(nostack)) };
}

/// Awake without a kick: is there a reason to run? Takes itself off the idle list if so.
fn wake_self(core: &'static Core) -> bool {
    let now = clock::now_ns();
    let mut hint = None;
    for p in p::first(global::procs()) {
        if p.timer0.load(Ordering::Relaxed) <= now && p.status() == PStatus::Idle {
            hint = Some(p.id());
            break;
        }
    }
    let retake = sysmon::retakes_pending();
    if hint.is_none() && !has_irq_work() && !retake && LEN.load(Ordering::Relaxed) == 0 {
        return false;
    }
    let mut s = SCHED.lock();
    if s.locked_ms & 1 << core.index() != 0 {
        // Asleep for its locked goroutine: does what needs no P, for the others to pick up.
        drop(s);
        if hint.is_some() {
            ask_for_irq_work();
        }
        drain_irq_work();
        return false;
    }
    if STW.load(Ordering::Relaxed) || s.idle_ms & 1 << core.index() == 0 {
        return false; // the kick that took us off the mask follows
    }
    if let Some(p) = s.take_idle_p(hint) {
        s.idle_ms &= !(1 << core.index());
        m::set_p(core, p);
        return true;
    }
    if retake {
        // `next` takes over a P left in a system call, or comes back here.
        s.idle_ms &= !(1 << core.index());
        return true;
    }
    false
}
