//! M: one core, as the scheduler sees it.
//!
//! | fields | who |
//! | --- | --- |
//! | `now`, `syscall_p`, `blocks` | g0 or the goroutine of this core, preemption off |
//! | `spinning` | g0 of this core; from when it goes on a mask of sleepers (`Sched::idle_ms`, `locked_ms`) to its kick: the waker that takes it off |
//! | `locked_g` | set by the goroutine locked here, read by all |
//! | `mailbox` | any core under the scheduler lock |
//! | `next_p` | a waker under the scheduler lock; consumed by this core after its kick |

use core::{
    cell::Cell,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

use super::{
    g::G,
    p::{self, P},
};
use crate::arch::{
    MAX_CORES,
    x86_64::{percpu::Core, trap::SaveBlock},
};

/// One core's scheduler state.
pub(crate) struct M {
    /// Counted in `SPINNERS`.
    pub(crate) spinning: Cell<bool>,
    /// Time at the last time slice's start; what dumps call "now" cheaply.
    pub(crate) now: Cell<u64>,
    /// The P it left in syscall status.
    pub(crate) syscall_p: Cell<Option<&'static P>>,
    /// The P it held last.
    pub(crate) last_p: Cell<usize>,
    /// Empty save blocks, linked through their first word.
    pub(crate) blocks: Cell<*mut SaveBlock>,
    pub(crate) blocks_len: Cell<u32>,
    /// The goroutine locked to this core.
    pub(crate) locked_g: AtomicPtr<G>,
    /// A goroutine locked to this core, sent home to it (see `osthread`).
    pub(crate) mailbox: AtomicPtr<G>,
    /// P id + 1 that a waker gave it.
    pub(crate) next_p: AtomicU32,
    /// Timer interrupts taken; this core's handler counts.
    pub(crate) timer_irqs: AtomicU64,
}

// SAFETY: cells are this core's alone (table above).
unsafe impl Sync for M {}

static MS: [M; MAX_CORES] = [const {
    M {
        spinning: Cell::new(false),
        now: Cell::new(0),
        syscall_p: Cell::new(None),
        last_p: Cell::new(0),
        blocks: Cell::new(ptr::null_mut()),
        blocks_len: Cell::new(0),
        locked_g: AtomicPtr::new(ptr::null_mut()),
        mailbox: AtomicPtr::new(ptr::null_mut()),
        next_p: AtomicU32::new(0),
        timer_irqs: AtomicU64::new(0),
    }
}; MAX_CORES];

/// The M of a core.
#[inline(always)]
pub(crate) fn get(core: usize) -> &'static M {
    &MS[core]
}

/// The P this core holds. Preemption must be off.
#[inline(always)]
pub(crate) fn p_of(core: &Core) -> Option<&'static P> {
    // SAFETY: `p` is null or was stored by `set_p` from a `&'static P`.
    unsafe { core.p.get().cast::<P>().as_ref() }
}

/// Gives this core a P, running.
pub(crate) fn set_p(core: &Core, p: &'static P) {
    p.set_status(p::PStatus::Running);
    p.core.store(core.index() as u32 + 1, Ordering::Relaxed);
    core.p.set(p as *const P as *const ());
    crate::mem::on_set_p(core, p.id());
    get(core.index()).last_p.set(p.id());
}

/// Takes the P off this core.
pub(crate) fn clear_p(core: &Core) {
    core.p.set(ptr::null());
    crate::mem::on_clear_p(core);
}
