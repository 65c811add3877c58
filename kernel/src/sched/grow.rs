//! Stack growth when frames are short: who waits, who panics, who draws on the last ones.
//!
//! The fault path asks here once its core has no more frames than it keeps back ([`stack::KEEP`]).
//!
//! ```text
//!   fault ──▶ may it leave its core? ──no──▶ draw on the last frames: code under a lock is short. Where a panic is
//!               │ yes                        possible, panic rather than take the very last; else that is fatal
//!               ▼
//!   g0: refill ──▶ frames there ──▶ go on, fault again, be served
//!               └▶ none ──▶ wake the reclaimer; Waits at the end of the global queue; fault again
//!                    └▶ none, and the reclaimer has looked ──▶ Starved: fault again ──▶ panic (out of memory)
//! ```
//! A panic unwinds on stack pages, too, so the goroutine may draw from then on. The last frames suffice for
//! [`AT_ONCE`] panics on their way (three or four pages each); others wait on. If none of the panics has got to its catch
//! frame for a second, one more may start: a drop on the way may wait for its goroutine. When the panic is caught, its goroutine gives back every page
//! below the catch frame, the ones whose growth used memory up among them; and while there is no frame, a goroutine
//! that ends gives back its whole stack. So memory comes back by itself.
//!
//! Many that grow at once, each by a page or two, are the usual case of want: a burst of requests. So the reclaimer is woken
//! before there is none (`reclaimer::in_time`) and goes first; who draws under a lock leaves the pages on g0 when the lock is
//! released; and as long as its rounds give something back, those who wait do not panic because others were faster.
//!
//! The runtime's own goroutines draw: their panic would be the program's end.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{
    g::{FLAG_BLOCKING, GPtr},
    preempt, reclaimer, try_current,
};
use crate::{
    arch::{
        self,
        x86_64::{
            percpu::{self, NO_RESCHED},
            trap::TrapFrame,
        },
    },
    mem::{frames, stack::Stack},
    panic,
};

/// Panics for want of a frame that may be under way at once.
const AT_ONCE: u32 = 4;
/// Frames that one of them takes.
const EACH: usize = 6;
/// The longest to wait for a panic to be caught (ns).
const PATIENCE: u64 = 1_000_000_000;
/// The longest to wait while rounds of the reclaimer help others (ns).
const LONGEST: u64 = 10_000_000_000;
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);
/// When one was last caught, or let go first for its patience (ns since boot).
static PROGRESS: AtomicU64 = AtomicU64::new(0);

/// A goroutine's want of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// It has none.
    None,
    /// There was no frame: the reclaimer looks for some, or others panic already.
    Waits,
    /// There was no frame: it panics at its next fault.
    Starved,
    /// It panics, and draws on the last frames.
    Panics,
}

/// What a fault does when frames are low.
pub(crate) enum Grow {
    /// Let g0 look for frames.
    OnG0,
    /// Panic.
    Panic,
    /// Take one of the last.
    Draw,
}

/// Is the interrupted code the goroutine's own, where it may be taken off its core or panic? In the handler.
fn quiet(f: &TrapFrame) -> bool {
    percpu::this().preempt.get() & !NO_RESCHED == 1 && f.rflags & 0x200 != 0
}

/// The running goroutine's stack, if that is in the slot that ends at `top`.
pub(crate) fn stack_at(top: usize) -> Option<Stack> {
    let s = try_current()?.stack.get();
    (s.top() == top).then_some(s)
}

/// Is a touch of the overflow reserve of `s` the goroutine's stack overflow? Yes if it is its own, where it may
/// panic, and it is not unwinding already an overflow or, close to the end of its stack, its want of a frame.
pub(crate) fn overflows(s: Stack, f: &TrapFrame) -> bool {
    let Some(g) = try_current() else {
        return false;
    };
    let own = g.stack.get().top() == s.top();
    if !quiet(f) {
        // Code under a lock. What it maps must go again, or the goroutine gets through the reserve without a fault.
        if own && !g.overflow.get() {
            g.overdrawn.set(true);
            let core = percpu::this();
            core.preempt.set(core.preempt.get() & !NO_RESCHED);
        }
        return false;
    }
    if own && g.want.get() == Want::Panics {
        g.overflow.set(true);
    }
    !(own && g.overflow.get())
}

/// The running goroutine has released the lock under which it drew on its reserve, and g0 has taken the pages back, but not
/// those it stands on: what it touches next may be mapped, and so could each call creep a little further under the next lock,
/// without a fault of its own, until the reserve ends. So if it stands in the reserve, that is its stack overflow, here.
pub(crate) fn check_overdrawn(g: GPtr) {
    let here = 0u8;
    let (at, s) = (core::ptr::addr_of!(here) as usize, g.stack.get());
    let allowed = g.overflow.get() || g.want.get() == Want::Panics || panic::panicking();
    if (s.floor()..s.bottom()).contains(&at) && !allowed {
        g.overflow.set(true);
        panic::fault::raise(panic::Kind::StackOverflow {
            goid: g.id(),
            size: s.size(),
        });
    }
}

/// Frames there should be before a panic starts: those under way, and one on each core that starts without asking.
fn enough() -> usize {
    EACH * (AT_ONCE as usize + arch::core_count())
}

/// What to do with a fault; frames are low on this core.
pub(crate) fn when_low(f: &TrapFrame) -> Grow {
    let core = percpu::this();
    let g = try_current();
    let want = g.map_or(Want::None, |g| g.want.get());
    if want == Want::Panics {
        return Grow::Draw; // and on with it: the sooner it is caught, the better
    }
    if let Some(g) = g
        && quiet(f)
        && !g.is_system()
    {
        if want == Want::Starved {
            return Grow::Panic;
        }
        // Without a save block (there is no frame for more) or a P it cannot leave.
        if g.flags.load(Ordering::Relaxed) & FLAG_BLOCKING == 0 && !core.spare.get().is_null() {
            return Grow::OnG0;
        }
        if frames::reserve() <= enough() && UNDER_WAY.load(Ordering::Relaxed) < AT_ONCE {
            return Grow::Panic;
        }
    }
    // Have the goroutine pass by g0 as soon as it can, and leave there what it draws: a thousand that draw under locks, one
    // after the other, would else use up what is for one.
    if let Some(g) = g
        && !quiet(f)
    {
        g.overdrawn.set(true);
    }
    core.preempt.set(core.preempt.get() & !NO_RESCHED);
    Grow::Draw
}

/// On g0, after the refill, which found `frames` or not: `true` if the goroutine has to wait.
pub(crate) fn must_wait(g: GPtr, frames: bool, now: u64) -> bool {
    let since = g.wait_since.load(Ordering::Relaxed);
    let want = if frames {
        Want::None
    } else if g.want.get() != Want::Waits {
        g.wait_since.store(now, Ordering::Relaxed);
        reclaimer::wake();
        Want::Waits
    } else if reclaimer::last_round() > since
        && reclaimer::helped_lately()
        && now.saturating_sub(since) < LONGEST
    {
        reclaimer::wake(); // there were some, and others were faster
        Want::Waits
    } else if now.saturating_sub(since.max(PROGRESS.load(Ordering::Relaxed))) > PATIENCE {
        PROGRESS.store(now, Ordering::Relaxed);
        Want::Starved
    } else if reclaimer::last_round() <= since {
        Want::Waits
    } else if UNDER_WAY.load(Ordering::Relaxed) < AT_ONCE && frames::reserve() >= enough() {
        Want::Starved
    } else {
        reclaimer::wake();
        Want::Waits
    };
    g.want.set(want);
    want == Want::Waits
}

/// The running goroutine got its frame after all.
pub(crate) fn served() {
    if let Some(g) = try_current()
        && matches!(g.want.get(), Want::Waits | Want::Starved)
    {
        g.want.set(Want::None);
    }
}

/// The running goroutine panics because there is no frame.
pub(crate) fn panics(g: GPtr) {
    if g.want.replace(Want::Panics) != Want::Panics {
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
    }
}

/// Is it panicking because there is no frame?
pub(crate) fn panicking() -> bool {
    try_current().is_some_and(|g| g.want.get() == Want::Panics)
}

/// That panic has been caught: what is below goes back.
pub(crate) fn caught() {
    if let Some(g) = try_current()
        && g.want.get() == Want::Panics
    {
        preempt::give_back_unused();
        g.want.set(Want::None);
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        PROGRESS.store(super::now_ns(), Ordering::Relaxed);
    }
}
