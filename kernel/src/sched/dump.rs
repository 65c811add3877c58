//! Goroutine dumps: what Ctrl-\, a deadlock and a fatal error print, and what `ps` lists.

use core::{
    fmt::{self, Write},
    sync::atomic::Ordering,
};

use super::{for_each_g, g::GPtr, state::GState, stats::core_of};
use crate::{
    arch::x86_64::{clock, percpu, switch::SwitchFrame},
    panic::backtrace,
};

/// What a listing shows of one goroutine.
#[derive(Clone, Debug)]
pub(crate) struct GInfo {
    /// Goroutine id.
    pub id: u64,
    /// Name, empty if none.
    pub name: heapless::String<32>,
    /// State.
    pub state: GState,
    /// Wait reason, if it waits.
    pub reason: Option<super::WaitReason>,
    /// How long it has been waiting (ns); 0 if it does not.
    pub age_ns: u64,
    /// The core it runs on.
    pub core: Option<usize>,
    /// One of the runtime's own?
    pub system: bool,
    /// Where it was started.
    pub created_at: Option<&'static core::panic::Location<'static>>,
}

/// Goroutines alive, at most `most` of them. The world stops for it: all lines are of one moment.
pub(crate) fn goroutines(most: usize) -> alloc::vec::Vec<GInfo> {
    let mut v = alloc::vec::Vec::with_capacity(most.min(super::num_goroutine() + 16));
    super::world::stopped(|| {
        let now = clock::now_ns();
        for_each_g(|g| {
            let state = g.state();
            if state == GState::Dead || v.len() == v.capacity() {
                return;
            }
            let waiting = state == GState::Waiting;
            v.push(GInfo {
                id: g.id(),
                name: g.name.with(|n| heapless::String::try_from(n).unwrap_or_default()),
                state,
                reason: waiting.then(|| g.wait_reason()),
                age_ns: if waiting {
                    now.saturating_sub(g.wait_since.load(Ordering::Relaxed))
                } else {
                    0
                },
                core: core_of(g),
                system: g.is_system(),
                created_at: g.created_at.get(),
            });
        });
    });
    v
}

/// `goroutine 7 [chan receive, 3 minutes]:`
fn write_header(w: &mut dyn Write, g: GPtr) -> fmt::Result {
    let state = g.state();
    write!(w, "goroutine {} [", g.id())?;
    if state == GState::Waiting {
        write!(w, "{}", g.wait_reason())?;
        if g.is_leaked() {
            w.write_str(" (leaked)")?;
        }
        let mins = clock::now_ns().saturating_sub(g.wait_since.load(Ordering::Relaxed)) / 60_000_000_000;
        if mins > 0 {
            write!(w, ", {mins} minutes")?;
        }
    } else {
        write!(w, "{state}")?;
    }
    if g.is_system() {
        w.write_str(", system")?;
    }
    if g.locks.get() != 0 {
        w.write_str(", locked to core")?;
    }
    if g.name.is_set() {
        g.name.with(|n| writeln!(w, "] {n:?}:"))
    } else {
        w.write_str("]:\n")
    }
}

/// One goroutine: header, frames, creator. The goroutine should not be running (a fatal error stopped it, or
/// it is parked); if it is, only the header is shown.
pub(crate) fn write_g(w: &mut dyn Write, g: GPtr) -> fmt::Result {
    write_header(w, g)?;
    let s = g.stack.get();
    let stack = s.floor()..s.top();
    let save = g.save.get();
    if core_of(g).is_some() {
        let rip = core_of(g).map_or(0, |c| percpu::core(c).frozen_rip.load(Ordering::Relaxed));
        writeln!(w, "\t(on core {}{})", core_of(g).unwrap_or(0), Rip(rip))?;
    } else if !save.is_null() {
        // SAFETY: a preempted goroutine's block, which stays until it is resumed.
        let f = unsafe { (*save).frame };
        backtrace::write_frames(
            w,
            backtrace::from_regs(f.rip as usize, f.rsp as usize, f.rbp as usize, stack),
        )?;
    } else {
        let sp = g.sp.load(Ordering::Relaxed);
        if stack.contains(&sp) {
            // SAFETY: a parked goroutine's switch frame lies at its saved stack pointer.
            let f = unsafe { (sp as *const SwitchFrame).read() };
            let rsp = sp + size_of::<SwitchFrame>();
            backtrace::write_frames(
                w,
                backtrace::from_regs(f.rip as usize, rsp, f.rbp as usize, stack),
            )?;
        }
    }
    if let Some(at) = g.created_at.get() {
        writeln!(w, "created by goroutine {}\n\t{at}", g.parent_id.get())?;
    }
    w.write_char('\n')
}

struct Rip(usize);
impl fmt::Display for Rip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 != 0 {
            write!(f, ", at {:#x}", self.0)
        } else {
            Ok(())
        }
    }
}

/// Every goroutine alive but `skip`. At most 200 in full: a million would say no more.
pub(crate) fn write_all(w: &mut dyn Write, skip: Option<GPtr>) -> fmt::Result {
    let mut r = Ok(());
    let (mut shown, mut more) = (0, 0);
    for_each_g(|g| {
        if r.is_err() || g.state() == GState::Dead || Some(g) == skip {
            return;
        }
        if shown == 200 {
            more += 1;
            return;
        }
        shown += 1;
        r = write_g(w, g);
    });
    if more > 0 {
        writeln!(w, "... and {more} more goroutines")?;
    }
    r
}

/// `main` returned: the program is over, whatever else runs (Go's rule).
pub(crate) fn on_main_return() {
    crate::arch::x86_64::exit(0);
}
