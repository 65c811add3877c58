//! G: one goroutine.
//!
//! G structs are type-stable: made in slabs, reused through free lists, never given back, so a stale
//! [`GPtr`] may look at a later goroutine but never at freed memory. Each is bound to a default stack slot
//! for life; a goroutine with a custom stack size borrows another slot for the time being.
//!
//! Who may touch what:
//!
//! | fields | who | when |
//! | --- | --- | --- |
//! | `state`, `id`, `flags`, `reason`, `wait_since`, `runs` | anyone reads | atomics |
//! | `sp`, `save`, `link` | whoever owns the G: its core, or the holder of the queue it is on; `mem::shrink` reads `sp` | never two at once |
//! | `commit`, `commit_arg`, `waits_for` | the G before it switches, g0 of its core after; `leak` reads `waits_for` | same core, in that order |
//! | `panic`, `locks`, `scopes`, `overflow` | the goroutine itself; `leak` reads `scopes` | running |
//! | `want`, `overdrawn` | the goroutine, its fault handler, g0 of its core in Growing | never two at once |
//! | `stack` | spawn and exit; the fault path reads | |

use core::{
    cell::{Cell, UnsafeCell},
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use super::{WaitReason, grow::Want, state::GState};
use crate::{arch::x86_64::trap::SaveBlock, mem::stack::Stack, panic::PanicState};

/// The goroutine is the runtime's own: it does not count for deadlock detection.
pub(crate) const FLAG_SYSTEM: u32 = 1;
/// Inside `blocking`.
pub(crate) const FLAG_BLOCKING: u32 = 2;
/// Found to be leaked: for dumps. It waits for good, so the flag stays.
pub(crate) const FLAG_LEAKED: u32 = 4;

/// Commit step of a park: `false` cancels it.
pub(crate) type CommitFn = unsafe fn(GPtr, *mut ()) -> bool;

/// One goroutine. See the table in the file head.
#[repr(C)]
pub struct G {
    pub(crate) sp: AtomicUsize,
    pub(crate) save: Cell<*mut SaveBlock>,
    pub(crate) link: Cell<*mut G>,
    pub(crate) state: AtomicU32,
    pub(crate) flags: AtomicU32,
    pub(crate) commit: Cell<Option<CommitFn>>,
    pub(crate) commit_arg: Cell<*mut ()>,
    /// What it waits for, by its reason: see `leak::census`. Null: nobody knows.
    pub(crate) waits_for: Cell<*const ()>,
    pub(crate) id: AtomicU64,
    pub(crate) wait_since: AtomicU64,
    pub(crate) reason: AtomicU8,
    /// Core + 1 this G is locked to, 0 if none.
    pub(crate) locked_core: AtomicU8,
    pub(crate) locks: Cell<u32>,
    /// `scope`s open: while there are, others may borrow from its stack.
    pub(crate) scopes: Cell<u32>,
    /// The overflow reserve is open.
    pub(crate) overflow: Cell<bool>,
    /// Code under a lock went into the reserve.
    pub(crate) overdrawn: Cell<bool>,
    /// Its stack could not grow.
    pub(crate) want: Cell<Want>,
    /// How often it was put on a core; wraps.
    pub(crate) runs: AtomicU32,
    pub(crate) stack: Cell<Stack>,
    pub(crate) default_stack: Cell<Stack>,
    pub(crate) parent_id: Cell<u64>,
    pub(crate) created_at: Cell<Option<&'static Location<'static>>>,
    pub(crate) name: Name,
    pub(crate) panic: UnsafeCell<PanicState>,
}

/// A goroutine's name, cut to what fits: a dump may read it at any time, so it is part of the G.
pub(crate) struct Name([AtomicU64; Name::BYTES / 8]);

impl Name {
    const BYTES: usize = 32;

    const fn none() -> Name {
        Name([const { AtomicU64::new(0) }; Name::BYTES / 8])
    }

    /// Sets the name; the end that does not fit is lost.
    pub(crate) fn set(&self, name: &str) {
        let mut bytes = [0u8; Name::BYTES];
        let n = name.floor_char_boundary(Name::BYTES);
        bytes[..n].copy_from_slice(&name.as_bytes()[..n]);
        for (w, b) in self.0.iter().zip(bytes.as_chunks::<8>().0) {
            w.store(u64::from_le_bytes(*b), Ordering::Relaxed);
        }
    }

    /// Has it one?
    pub(crate) fn is_set(&self) -> bool {
        self.0[0].load(Ordering::Relaxed) != 0
    }

    /// Calls `f` with the name. One that is being set meanwhile may be cut.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        let mut bytes = [0u8; Name::BYTES];
        for (w, b) in self.0.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *b = w.load(Ordering::Relaxed).to_le_bytes();
        }
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(Name::BYTES);
        f(str::from_utf8(&bytes[..end]).unwrap_or("?"))
    }
}

// SAFETY: shared by the rules of the table in the file head.
unsafe impl Sync for G {}

/// A goroutine, as the runtime passes it around. Valid for ever (G structs are never freed).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GPtr(NonNull<G>);

// SAFETY: a `&'static G` in all but provenance; G is Sync.
unsafe impl Send for GPtr {}
// SAFETY: as above.
unsafe impl Sync for GPtr {}

impl core::ops::Deref for GPtr {
    type Target = G;
    #[inline(always)]
    fn deref(&self) -> &G {
        // SAFETY: G structs live for ever.
        unsafe { self.0.as_ref() }
    }
}

impl GPtr {
    #[inline(always)]
    pub(crate) fn from_raw(p: *mut G) -> Option<GPtr> {
        NonNull::new(p).map(GPtr)
    }
    #[inline(always)]
    pub(crate) fn raw(self) -> *mut G {
        self.0.as_ptr()
    }
    /// As a number above 2, for words that hold a goroutine or a small state.
    #[inline(always)]
    pub(crate) fn word(self) -> usize {
        self.raw().expose_provenance()
    }
    /// The goroutine behind what `word` returned.
    #[inline(always)]
    pub(crate) fn from_word(w: usize) -> Option<GPtr> {
        Self::from_raw(core::ptr::with_exposed_provenance_mut(w))
    }
    /// A `scope` begins, or ends: the running goroutine's own.
    pub(crate) fn lends(self, begins: bool) {
        let n = self.scopes.get();
        self.scopes.set(if begins { n + 1 } else { n - 1 });
    }
    /// The goroutine id, as in dumps.
    pub fn id(self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }
}

impl G {
    /// A G never used, with its default stack slot.
    pub(crate) fn new(stack: Stack) -> G {
        G {
            sp: AtomicUsize::new(0),
            save: Cell::new(core::ptr::null_mut()),
            link: Cell::new(core::ptr::null_mut()),
            state: AtomicU32::new(GState::Dead as u32),
            flags: AtomicU32::new(0),
            commit: Cell::new(None),
            commit_arg: Cell::new(core::ptr::null_mut()),
            waits_for: Cell::new(core::ptr::null()),
            id: AtomicU64::new(0),
            wait_since: AtomicU64::new(0),
            reason: AtomicU8::new(0),
            locked_core: AtomicU8::new(0),
            locks: Cell::new(0),
            scopes: Cell::new(0),
            overflow: Cell::new(false),
            overdrawn: Cell::new(false),
            want: Cell::new(Want::None),
            runs: AtomicU32::new(0),
            stack: Cell::new(stack),
            default_stack: Cell::new(stack),
            parent_id: Cell::new(0),
            created_at: Cell::new(None),
            name: Name::none(),
            panic: UnsafeCell::new(PanicState::new()),
        }
    }

    /// The state now; a snapshot.
    #[inline(always)]
    pub fn state(&self) -> GState {
        GState::from_word(self.state.load(Ordering::Acquire)) // pairs with the Release in `set_state`
    }

    /// Moves from one state to another. Debug builds check that it was in `from` and that the step is in the
    /// table; who calls owns the G, so a plain store is enough.
    #[inline(always)]
    pub(crate) fn set_state(&self, from: GState, to: GState) {
        debug_assert!(from.may_become(to), "illegal goroutine step {from} -> {to}");
        debug_assert_eq!(
            self.state(),
            from,
            "goroutine {} going {to}",
            self.id.load(Ordering::Relaxed)
        );
        self.state.store(to as u32, Ordering::Release); // pairs with the Acquire in `state`
    }

    /// Why it waits (meaningful in `Waiting`).
    pub fn wait_reason(&self) -> WaitReason {
        WaitReason::from_u8(self.reason.load(Ordering::Relaxed))
    }

    /// Was it found to be leaked?
    pub(crate) fn is_leaked(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FLAG_LEAKED != 0
    }

    /// Is it one of the runtime's own?
    pub fn is_system(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FLAG_SYSTEM != 0
    }
}
