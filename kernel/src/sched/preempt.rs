//! Preemption: time slices, the timer interrupt, and taking a goroutine off its core in mid-instruction.
//!
//! Each core's LAPIC one-shot is set to the earliest of: the end of the running slice, the next timer of its
//! P (of all idle Ps when it halts and is their `keeper`), sysmon's next tick if this core drives it. It is only ever *lowered*
//! on the switch path, and recomputed when it fires, so switching a thousand times a slice costs nothing.
//!
//! When the handler finds a slice over, and the interrupted code is a goroutine with preempt count 0, it
//! copies the trap frame and the SSE state into the core's spare [`SaveBlock`], gives that to the G, and
//! makes the interrupt return land on g0 as if the goroutine had switched there. Nothing is written to the
//! goroutine's stack. If the count is not 0 it clears the "nobody wants this core" bit instead, and the
//! guard that lowers the count to 0 yields.
//!
//! Save blocks: five to a frame, kept in a list per core; a block travels with its G and joins the list of
//! the core that resumes it. No spare (out of memory): no preemption this time, the timer asks again.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{
    chaos, current, events,
    events::Kind,
    g::{FLAG_BLOCKING, GPtr},
    global, grow, irq_work,
    keeper::Keeper,
    m::{self, M, p_of},
    p,
    p::{P, bump},
    park::switch_to_g0,
    reclaimer,
    state::GState,
    syscall, sysmon,
};
use crate::{
    arch::{
        self,
        x86_64::{
            apic, clock,
            percpu::{self, Core, NO_RESCHED, PostFn},
            switch,
            trap::{FxState, SaveBlock, TrapFrame, VEC_RESCHED},
        },
    },
    lock::{Rank, SpinLock},
    mem::{frames, shrink, stack},
};

/// A goroutine's time slice in nanoseconds.
static SLICE: AtomicU64 = AtomicU64::new(10_000_000);
/// A due timer takes the core from a goroutine that has run this long (ns).
const TIMER_GRACE: u64 = 1_000_000;
/// How long (ns) a running goroutine keeps its core to itself after a device's interrupt.
const IRQ_PATIENCE: u64 = 50_000;

/// The time slice (ns).
#[inline(always)]
pub(crate) fn slice() -> u64 {
    SLICE.load(Ordering::Relaxed)
}

/// Sets the time slice (ns); at least 20 µs. For stress tests. Returns the old one.
pub(crate) fn set_slice(ns: u64) -> u64 {
    SLICE.swap(ns.max(20_000), Ordering::Relaxed)
}

/// A slice of `p` began at `now` (or goes on): the timer must fire by its end, and by its next timer.
#[inline(always)]
pub(crate) fn arm_no_later_than(core: &Core, p: &P, now: u64) {
    let at = (now + slice()).min(p.timer0.load(Ordering::Relaxed));
    if at < core.armed_at.get() {
        arm(core, at.min(chaos_end(p, now)), now);
    }
}

/// With `chaos` the end of a random slice that begins now, else never.
fn chaos_end(p: &P, now: u64) -> u64 {
    if chaos::on() {
        now + chaos::slice(p)
    } else {
        u64::MAX
    }
}

/// Sets this core's one-shot to `at` (ns since boot). Interrupts off, or preemption off and `armed_at`
/// agreed on by the handler (which only recomputes it).
#[cold]
pub(crate) fn arm(core: &Core, at: u64, now: u64) {
    core.armed_at.set(at);
    apic::timer_arm(at.saturating_sub(now).max(1));
}

/// A timer was added to the current P: fire for it in time. Preemption off.
pub(crate) fn timer_added(when: u64) {
    let core = percpu::this();
    if when < core.armed_at.get() {
        let was = arch::irq_save();
        // Again: the handler may have come in between and set an earlier time.
        if when < core.armed_at.get() {
            arm(core, when, clock::now_ns());
        }
        arch::irq_restore(was);
    }
}

/// Who keeps the time for idle Ps.
static KEEPER: Keeper = Keeper::new();

/// The first deadline of the idle Ps.
fn first_idle_timer() -> u64 {
    let at = p::first(global::procs())
        .iter()
        .filter(|p| p.status() == p::PStatus::Idle)
        .fold(u64::MAX, |at, p| at.min(p.timer0.load(Ordering::Relaxed)));
    chaos::gap();
    at
}

/// About to halt: set the one-shot to the earliest deadline this core must not sleep through: sysmon's tick if it drives
/// that, the timers of idle Ps if it keeps those. `true` if it has passed already. Interrupts off.
pub(crate) fn arm_idle(core: &Core) -> bool {
    sysmon::rest(core);
    chaos::gap();
    let at = sysmon::next_tick(core).min(KEEPER.halting(core.index(), first_idle_timer));
    if at == u64::MAX {
        if core.armed_at.replace(u64::MAX) != u64::MAX {
            apic::timer_disarm();
        }
        return false;
    }
    let now = clock::now_ns();
    if at <= now {
        return true;
    }
    if at != core.armed_at.get() {
        arm(core, at, now);
    }
    false
}

/// Awake to stay: what this core kept as the keeper it goes on keeping. Interrupts off.
pub(crate) fn leave_idle(core: &Core) {
    if KEEPER.leaving(core.index()) {
        let at = first_idle_timer();
        if at < core.armed_at.get() {
            arm(core, at, clock::now_ns());
        }
    }
}

/// LAPIC timer interrupt.
pub(crate) fn on_timer(f: &mut TrapFrame, fx: &FxState) {
    let core = percpu::this();
    bump(&m::get(core.index()).timer_irqs);
    let now = clock::now_ns();
    sysmon::tick(core, now);
    if core.g.get().is_null() {
        return; // g0, in its halt: it looks for itself
    }
    // A device's work that no g0 took yet (`divert_for_irq`): another core's, if one sleeps, else this one's.
    let irq = irq_work::has_irq_work() && !sysmon::kick_idle_core();
    let mut at = sysmon::next_tick(core);
    if let Some(p) = p_of(core) {
        let start = p.slice_start.load(Ordering::Relaxed);
        let end = start.wrapping_add(slice());
        let timer = p.timer0.load(Ordering::Relaxed);
        // A due timer of an idle P for which no core is idle either: this core's g0 runs it.
        let (t, unserved) = idle_timers(now);
        if unserved {
            irq_work::ask_for_irq_work();
        }
        let grace = start.wrapping_add(TIMER_GRACE.min(slice()));
        let due = unserved || timer <= now;
        let want = now >= end || irq || chaos::on() || due && now >= grace;
        // Once it is wanted off, the goroutine goes now or when its count falls to 0: nothing sooner helps, and
        // firing again at once would leave it no time to get there.
        at = at.min(t).min(match (want, due) {
            (true, _) => (now + slice()).min(chaos_end(p, now)),
            (false, true) => grace,
            (false, false) => end.min(timer),
        });
        if want {
            request(core, f, fx);
        }
    } else {
        // Inside `blocking`, without a P: it may be the one core that was armed for a timer it added.
        let (t, unserved) = idle_timers(now);
        at = at.min(if unserved { now + slice() } else { t });
        if irq || core.preempt_req.load(Ordering::Relaxed) {
            request(core, f, fx);
        }
    }
    if at != u64::MAX && at < core.armed_at.get() {
        arm(core, at.max(now + 5_000), now);
    }
}

/// The timers of idle Ps, whose own cores are busy elsewhere: wakes a core for those that are due, and
/// returns when to look again, and whether some are due but no core was asleep to be woken.
fn idle_timers(now: u64) -> (u64, bool) {
    let (mut at, mut unserved) = (u64::MAX, false);
    for q in p::first(global::procs()) {
        let t = q.timer0.load(Ordering::Relaxed);
        if t == u64::MAX || q.status() != p::PStatus::Idle {
            continue;
        }
        if t <= now {
            unserved |= !sysmon::kick_idle_core();
            at = at.min(now + slice());
        } else {
            at = at.min(t);
        }
    }
    (at, unserved)
}

/// The running goroutine got a P in mid-flight (back from `blocking`): the one-shot was not kept for its
/// slice and timers meanwhile. `fresh`: the slice begins now. Preemption off.
pub(crate) fn resume_slice(core: &Core, p: &P, fresh: bool) {
    let was = arch::irq_save();
    let now = clock::now_ns();
    if fresh {
        p.slice_start.store(now, Ordering::Relaxed);
    }
    let end = p.slice_start.load(Ordering::Relaxed).wrapping_add(slice());
    let at = end.min(p.timer0.load(Ordering::Relaxed)).max(now + 1);
    if at < core.armed_at.get() {
        arm(core, at, now);
    }
    arch::irq_restore(was);
}

/// RESCHED IPI: somebody wants this core to look again, or its goroutine off.
pub(crate) fn on_resched(f: &mut TrapFrame, fx: &FxState) {
    let core = percpu::this();
    // STW, too: `execute` may have cleared the flag that was set while this core was choosing a goroutine.
    let wanted = core.preempt_req.load(Ordering::Acquire) || global::STW.load(Ordering::Relaxed);
    if !core.g.get().is_null() && wanted {
        request(core, f, fx);
    }
}

/// A device's interrupt handler made work for g0 (see `irq_work::set_irq_hook`): get there soon. The goroutine that runs here
/// most likely parks by itself before `IRQ_PATIENCE` is over; to wake another core for it would cost more than that.
pub(crate) fn divert_for_irq() {
    irq_work::ask_for_irq_work();
    let core = percpu::this();
    if core.g.get().is_null() {
        return;
    }
    let now = clock::now_ns();
    if now + IRQ_PATIENCE < core.armed_at.get() {
        arm(core, now + IRQ_PATIENCE, now);
    }
}

/// Asks the goroutine on another core to leave it.
pub(crate) fn preempt_core(core: usize) {
    let c = percpu::core(core);
    c.preempt_req.store(true, Ordering::Release); // pairs with the Acquire in `on_resched`
    apic::send_ipi(c.apic_id(), VEC_RESCHED);
}

/// In the handler, on a goroutine: take it off now if that is allowed, else leave the request standing.
fn request(core: &Core, f: &mut TrapFrame, fx: &FxState) {
    let word = core.preempt.get() - 1; // the handler itself raised it
    let spare = core.spare.get();
    if word & !NO_RESCHED != 0 || f.rflags & 0x200 == 0 || spare.is_null() || super::opts::asyncpreempt_off()
    {
        core.preempt.set((word & !NO_RESCHED) + 1);
        return;
    }
    take_off(core, spare, f, fx, preempted_post);
}

/// In a handler: saves the interrupted goroutine in `spare` and makes the interrupt return to g0, which runs
/// `post`. The goroutine was interrupted with count 0 and interrupts on.
fn take_off(core: &Core, spare: *mut SaveBlock, f: &mut TrapFrame, fx: &FxState, post: PostFn) {
    let Some(g) = GPtr::from_raw(core.g.get().cast()) else {
        return;
    };
    core.spare.set(core::ptr::null_mut());
    // SAFETY: the spare is ours alone.
    unsafe { (*spare).frame = *f };
    // SAFETY: as above.
    unsafe { (*spare).fx = *fx };
    g.save.set(spare);
    core.post.set(Some(post));
    core.post_arg.set(core::ptr::null_mut());
    // Return to g0 as `switch` would: its frame is at g0_sp, interrupts stay off, count 1.
    f.rip = switch::switch_tail as *const () as u64;
    f.rsp = core.g0_sp.get() as u64;
    f.rflags = 2;
    core.preempt.set((NO_RESCHED | 1) + 1);
}

/// Page-fault handler: the goroutine waits on g0 until the frame cache is full again. `grow::when_low` said
/// that this is possible here.
pub(crate) fn grow_on_g0(f: &mut TrapFrame, fx: &FxState) {
    let core = percpu::this();
    take_off(core, core.spare.get(), f, fx, grow_post);
}

/// Commit step of a growth: refill, and go on with the same goroutine. Without frames it panics or waits.
unsafe fn grow_post(g: *mut (), _: *mut ()) {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("nobody grows")
    };
    let core = percpu::this();
    g.set_state(GState::Running, GState::Growing);
    frames::refill(core.index());
    let wait = grow::must_wait(g, frames::cached(core.index()) > stack::KEEP, clock::now_ns());
    g.set_state(GState::Growing, GState::Runnable);
    match p_of(core) {
        Some(p) if !wait => p.put(g, true),
        _ => global::push_one(g),
    }
}

/// Gives back the stack pages below the running goroutine's stack pointer, which g0 does for it: there it stands on
/// none of them. Not inside `blocking`.
pub(crate) fn give_back_unused() {
    if current().flags.load(Ordering::Relaxed) & FLAG_BLOCKING == 0 {
        arch::preempt_disable();
        switch_to_g0(give_back_post, core::ptr::null_mut());
    }
}

/// On g0: gives back pages of the stack of the goroutine that has just left it, with interrupts on for a moment. A timer
/// interrupt that found g0 meanwhile has disarmed the one-shot, and a slice that goes on does not arm it.
pub(crate) fn give_back(low: usize, high: usize) {
    shrink::on_g0(low, high);
    let core = percpu::this();
    if let Some(p) = p_of(core) {
        resume_slice(core, p, false);
    }
}

/// Commit step of that: the goroutine goes on at once, and the frames are there for whoever starves.
unsafe fn give_back_post(g: *mut (), _: *mut ()) {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("nobody gives back")
    };
    let core = percpu::this();
    let sp = g.sp.load(Ordering::Relaxed);
    give_back(g.stack.get().floor(), sp & !(stack::PAGE - 1));
    frames::refill(core.index());
    g.set_state(GState::Running, GState::Runnable);
    match p_of(core) {
        Some(p) => p.put(g, true),
        None => global::push_one(g),
    }
}

/// Commit step of a preemption: to the global queue with it.
unsafe fn preempted_post(g: *mut (), _: *mut ()) {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("preempted nobody")
    };
    let core = percpu::this();
    core.preempt_req.store(false, Ordering::Relaxed);
    if let Some(p) = p_of(core) {
        bump(&p.count.preempts);
    }
    events::emit(Kind::Preempt, g.id(), 0);
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        syscall::preempted(g);
    } else {
        g.set_state(GState::Running, GState::Preempted);
    }
    g.set_state(GState::Preempted, GState::Runnable);
    if reclaimer::is(g) {
        return reclaimer::first(g);
    }
    global::push_one(g);
}

/// What a guard calls that lowered the count to 0 and found a preemption wanted.
pub(crate) fn yield_preempted() {
    let g = current();
    if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING != 0 {
        return;
    }
    if g.overdrawn.take() {
        give_back_unused();
        return grow::check_overdrawn(g);
    }
    arch::preempt_disable();
    switch_to_g0(preempted_post, core::ptr::null_mut());
}

static BLOCKS: SpinLock<Blocks> = SpinLock::new(Rank::DeadGs, Blocks(core::ptr::null_mut()));
struct Blocks(*mut SaveBlock);
// SAFETY: empty save blocks on the list belong to the lock's holder.
unsafe impl Send for Blocks {}

fn link(b: *mut SaveBlock) -> *mut *mut SaveBlock {
    b.cast()
}

/// g0, before it runs a goroutine: have a spare block.
#[inline(always)]
pub(crate) fn ensure_spare(core: &Core, m: &M) {
    if core.spare.get().is_null() {
        refill_spare(core, m);
    }
}

#[cold]
fn refill_spare(core: &Core, m: &M) {
    if m.blocks.get().is_null() {
        let mut list = BLOCKS.lock();
        if !list.0.is_null() {
            m.blocks.set(list.0);
            m.blocks_len.set(1);
            // SAFETY: a block on the list; its link is its first word.
            list.0 = unsafe { link(list.0).read() };
            // SAFETY: now ours.
            unsafe { link(m.blocks.get()).write(core::ptr::null_mut()) };
        }
    }
    // One of the last frames, too: those who wait in its blocks take none.
    if m.blocks.get().is_null()
        && let Some(frame) = frames::alloc().or_else(|| frames::fault_pop(core.index()))
    {
        let base = frame.as_ptr();
        for i in 0..4096 / size_of::<SaveBlock>() {
            // SAFETY: inside the frame, which is ours.
            let b = unsafe { base.add(i * size_of::<SaveBlock>()) }.cast::<SaveBlock>();
            give_block(m, b);
        }
    }
    let b = m.blocks.get();
    if !b.is_null() {
        // SAFETY: a block on this core's list.
        m.blocks.set(unsafe { link(b).read() });
        m.blocks_len.set(m.blocks_len.get() - 1);
        core.spare.set(b);
    }
}

fn give_block(m: &M, b: *mut SaveBlock) {
    if m.blocks_len.get() >= 64 {
        let mut list = BLOCKS.lock();
        // SAFETY: an empty block, ours to link.
        unsafe { link(b).write(list.0) };
        list.0 = b;
        return;
    }
    // SAFETY: as above.
    unsafe { link(b).write(m.blocks.get()) };
    m.blocks.set(b);
    m.blocks_len.set(m.blocks_len.get() + 1);
}

/// g0, about to resume from `block`: it becomes the spare, the old spare goes to the list.
pub(crate) fn swap_spare(core: &Core, m: &M, block: *mut SaveBlock) {
    let old = core.spare.replace(block);
    if !old.is_null() {
        give_block(m, old);
    }
}
