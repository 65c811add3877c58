//! Birth and death of a goroutine.
//!
//! A spawn allocates nothing on the heap: the closure is written to the top of the new goroutine's own
//! stack (one that is larger than half a page is boxed), below it the frame that `switch` starts. Dead Gs,
//! with their stacks and the pages they had mapped, wait on a list of the P that saw them die; long lists
//! go to a global one in halves, short ones are filled from it, an empty one makes a slab of new Gs.
//!
//! Without memory it waits, if it may, for a round of the reclaimer and tries once more.
//!
//! Death: the entry function returns, the commit step on g0 marks the G dead and puts it on the list. From
//! then on its stack may be somebody else's.

use core::{
    mem::{ManuallyDrop, align_of, size_of},
    panic::Location,
    ptr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{
    current, events,
    events::Kind,
    find,
    g::{FLAG_SYSTEM, G, GPtr},
    m::p_of,
    p::{P, bump},
    park::switch_to_g0,
    preempt,
    state::GState,
};
use crate::{
    arch::{
        self,
        x86_64::{percpu, switch},
    },
    lock::{Rank, SpinLock},
    mem::{frames, stack, stack_big},
    panic::{Unwound, catch, crash},
};

/// A closure larger than this is boxed rather than laid on the new stack.
const INLINE_CLOSURE: usize = 1024;
/// Dead Gs a P keeps.
const LOCAL_DEAD: u32 = 64;
/// Gs made at once.
const SLAB: usize = 4096 * 4 / size_of::<G>();

/// Why a goroutine could not be started.
///
/// ```
/// let e = burrow::Builder::new().stack_size(2 << 30).spawn(|| ()).unwrap_err();
/// assert_eq!(e, burrow::SpawnError::StackTooLarge);
/// assert_eq!(e.to_string(), "stack size above 1 GiB");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// No memory for the goroutine or its stack.
    OutOfMemory,
    /// The stack size asked for is above 1 GiB.
    StackTooLarge,
}

impl core::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            SpawnError::OutOfMemory => "out of memory for a goroutine",
            SpawnError::StackTooLarge => "stack size above 1 GiB",
        })
    }
}

impl core::error::Error for SpawnError {}

/// How to start a goroutine.
#[derive(Clone, Copy, Default)]
pub(crate) struct How<'a> {
    pub(crate) system: bool,
    pub(crate) stack_size: Option<usize>,
    pub(crate) name: Option<&'a str>,
}

struct DeadList {
    head: *mut G,
    len: usize,
}
// SAFETY: dead Gs on the list belong to the lock's holder.
unsafe impl Send for DeadList {}

static DEAD: SpinLock<DeadList> = SpinLock::new(
    Rank::DeadGs,
    DeadList {
        head: ptr::null_mut(),
        len: 0,
    },
);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// All slabs ever made, for dumps and statistics.
pub(crate) struct Slabs {
    list: [core::sync::atomic::AtomicPtr<G>; MAX_SLABS],
    len: AtomicUsize,
}
const MAX_SLABS: usize = 64 * 1024;
pub(crate) static SLABS: Slabs = Slabs {
    list: [const { core::sync::atomic::AtomicPtr::new(ptr::null_mut()) }; MAX_SLABS],
    len: AtomicUsize::new(0),
};

/// Calls `f` for every G ever made, dead ones included.
pub(crate) fn for_each_g(mut f: impl FnMut(GPtr)) {
    let n = SLABS.len.load(Ordering::Acquire); // pairs with the Release in `new_slab`
    for s in &SLABS.list[..n] {
        let base = s.load(Ordering::Relaxed);
        for i in 0..SLAB {
            // SAFETY: slabs hold SLAB initialised Gs and live for ever.
            if let Some(g) = GPtr::from_raw(unsafe { base.add(i) }) {
                f(g);
            }
        }
    }
}

/// Makes SLAB new Gs, each with its stack slot, and puts them on the dead list.
#[cold]
fn new_slab(dead: &mut DeadList) -> Result<(), SpawnError> {
    let n = SLABS.len.load(Ordering::Relaxed);
    if n == MAX_SLABS {
        return Err(SpawnError::OutOfMemory);
    }
    let mem = frames::alloc_contig(4).ok_or(SpawnError::OutOfMemory)?;
    let Some(stacks) = stack::reserve_default(SLAB) else {
        frames::free_contig(mem, 4);
        return Err(SpawnError::OutOfMemory);
    };
    let base = mem.as_ptr().cast::<G>();
    for i in 0..SLAB {
        // SAFETY: inside the four frames, which are ours.
        let g = unsafe { base.add(i) };
        // SAFETY: as above; G's alignment divides a page's.
        unsafe { g.write(G::new(stack::default_slot(stacks + i))) };
        // SAFETY: just written.
        unsafe { (*g).link.set(dead.head) };
        dead.head = g;
        dead.len += 1;
    }
    SLABS.list[n].store(base, Ordering::Relaxed);
    SLABS.len.store(n + 1, Ordering::Release); // pairs with the Acquire in `for_each_g`
    Ok(())
}

/// A dead G of this P, from the global list if it has none, new if there is none.
#[inline]
fn take_dead(p: &P) -> Result<GPtr, SpawnError> {
    if p.gfree.get().is_null() {
        fill_dead(p)?;
    }
    let g = p.gfree.get();
    // SAFETY: a dead G on our P's list.
    p.gfree.set(unsafe { (*g).link.get() });
    p.gfree_len.set(p.gfree_len.get() - 1);
    GPtr::from_raw(g).ok_or(SpawnError::OutOfMemory)
}

#[cold]
fn fill_dead(p: &P) -> Result<(), SpawnError> {
    let mut dead = DEAD.lock();
    if dead.head.is_null() {
        new_slab(&mut dead)?;
    }
    while p.gfree_len.get() < LOCAL_DEAD / 2 && !dead.head.is_null() {
        let g = dead.head;
        // SAFETY: a dead G on the global list, whose lock we hold.
        dead.head = unsafe { (*g).link.get() };
        dead.len -= 1;
        // SAFETY: as above, now ours.
        unsafe { (*g).link.set(p.gfree.get()) };
        p.gfree.set(g);
        p.gfree_len.set(p.gfree_len.get() + 1);
    }
    Ok(())
}

fn give_dead(p: &P, g: GPtr) {
    g.link.set(p.gfree.get());
    p.gfree.set(g.raw());
    p.gfree_len.set(p.gfree_len.get() + 1);
    if p.gfree_len.get() >= LOCAL_DEAD {
        flush_dead(p, LOCAL_DEAD / 2);
    }
}

/// A dead G straight from the global list.
#[cold]
fn take_dead_orphan() -> Result<GPtr, SpawnError> {
    let mut dead = DEAD.lock();
    if dead.head.is_null() {
        new_slab(&mut dead)?;
    }
    let g = GPtr::from_raw(dead.head).ok_or(SpawnError::OutOfMemory)?;
    dead.head = g.link.get();
    dead.len -= 1;
    Ok(g)
}

fn give_dead_orphan(g: GPtr) {
    g.link.set(ptr::null_mut());
    put_dead_batch(g.raw());
}

/// Moves dead Gs of `p` to the global list until `keep` are left.
#[cold]
pub(crate) fn flush_dead(p: &P, keep: u32) {
    let mut dead = DEAD.lock();
    while p.gfree_len.get() > keep {
        let g = p.gfree.get();
        // SAFETY: a dead G on our P's list.
        p.gfree.set(unsafe { (*g).link.get() });
        p.gfree_len.set(p.gfree_len.get() - 1);
        // SAFETY: as above; it becomes the global list's.
        unsafe { (*g).link.set(dead.head) };
        dead.head = g;
        dead.len += 1;
    }
}

/// Takes up to `n` dead Gs off the global list (linked), for the stack reclaimer.
pub(crate) fn take_dead_batch(n: usize) -> *mut G {
    let mut dead = DEAD.lock();
    let mut out = ptr::null_mut();
    for _ in 0..n {
        let g = dead.head;
        if g.is_null() {
            break;
        }
        // SAFETY: a dead G on the list whose lock we hold.
        dead.head = unsafe { (*g).link.get() };
        dead.len -= 1;
        // SAFETY: as above, now ours.
        unsafe { (*g).link.set(out) };
        out = g;
    }
    out
}

/// Puts back what [`take_dead_batch`] gave.
pub(crate) fn put_dead_batch(mut list: *mut G) {
    let mut dead = DEAD.lock();
    while !list.is_null() {
        // SAFETY: a dead G of the caller's list.
        let next = unsafe { (*list).link.get() };
        // SAFETY: as above.
        unsafe { (*list).link.set(dead.head) };
        dead.head = list;
        dead.len += 1;
        list = next;
    }
}

/// Were all numbers ever given smaller than `n`?
pub(crate) fn ids_below(n: u64) -> bool {
    NEXT_ID.load(Ordering::Relaxed) <= n
}

fn new_id(p: &P) -> u64 {
    if p.goid_next.get() == p.goid_end.get() {
        let first = NEXT_ID.fetch_add(16, Ordering::Relaxed);
        p.goid_next.set(first);
        p.goid_end.set(first + 16);
    }
    let id = p.goid_next.get();
    p.goid_next.set(id + 1);
    id
}

/// Where a new goroutine starts: calls the closure that lies at `arg`.
extern "C-unwind" fn entry<F: FnOnce() + Send>(arg: *mut ()) {
    // SAFETY: `start` wrote an F there and nobody else reads it.
    let f = unsafe { arg.cast::<F>().read() };
    match catch(f) {
        Ok(()) | Err(Unwound::Goexit) => {}
        Err(Unwound::Panic(p)) => crash(p),
    }
    exit_current();
}

/// Starts a goroutine that runs `f` and returns its number. `f` must not unwind except by panicking the program (`go`)
/// or inside its own catch (`spawn`).
#[inline]
pub(crate) fn start<F: FnOnce() + Send>(
    f: F,
    how: How<'_>,
    at: &'static Location<'static>,
) -> Result<u64, SpawnError> {
    if size_of::<F>() > INLINE_CLOSURE || align_of::<F>() > 16 {
        let b = crate::mem::try_box(f).map_err(|_| SpawnError::OutOfMemory)?;
        return start_small(b, how, at);
    }
    start_small(f, how, at)
}

fn start_small<F: FnOnce() + Send>(
    f: F,
    how: How<'_>,
    at: &'static Location<'static>,
) -> Result<u64, SpawnError> {
    let mut f = ManuallyDrop::new(f);
    arch::preempt_disable();
    let core = percpu::this();
    let p = p_of(core);
    if p.is_none() && !core.g.get().is_null() {
        arch::preempt_enable();
        return start_without_p(ManuallyDrop::into_inner(f), how, at);
    }
    let mut r = start_on(p, &f, how, at);
    arch::preempt_enable();
    if r == Err(SpawnError::OutOfMemory) && super::reclaimer::round() {
        arch::preempt_disable();
        r = start_on(p_of(percpu::this()), &f, how, at);
        arch::preempt_enable();
    }
    if r.is_err() {
        // SAFETY: `start_on` copies the closure only when it succeeds. Its drop is user code: not before now.
        unsafe { ManuallyDrop::drop(&mut f) };
    }
    r
}

/// Inside `blocking`, after its P was taken: get one by a trip through the scheduler.
#[cold]
fn start_without_p<F: FnOnce() + Send>(
    f: F,
    how: How<'_>,
    at: &'static Location<'static>,
) -> Result<u64, SpawnError> {
    super::syscall::require_p();
    start_small(f, how, at)
}

/// On success the closure has been moved out of `f`. Without a P on g0 only: a timer that a core fires on its way to
/// sleep.
fn start_on<F: FnOnce() + Send>(
    p: Option<&'static P>,
    f: &ManuallyDrop<F>,
    how: How<'_>,
    at: &'static Location<'static>,
) -> Result<u64, SpawnError> {
    let g = match p {
        Some(p) => take_dead(p)?,
        None => take_dead_orphan()?,
    };
    let give_back = || match p {
        Some(p) => give_dead(p, g),
        None => give_dead_orphan(g),
    };
    if let Some(n) = how.stack_size
        && let Err(e) = use_custom_stack(g, n)
    {
        give_back();
        return Err(e);
    }
    let stack = g.stack.get();
    if !stack::ensure_top(stack) {
        give_back();
        return Err(SpawnError::OutOfMemory);
    }
    let at_f = (stack.top() - size_of::<F>()) & !15;
    // SAFETY: the top page is mapped, the stack is nobody's, the closure fits (INLINE_CLOSURE).
    unsafe { ptr::copy_nonoverlapping(&raw const **f, at_f as *mut F, 1) };
    // SAFETY: 1. the bytes below belong to the same unused stack.
    let sp = unsafe { switch::prepare(at_f, entry::<F>, at_f as *mut ()) };
    g.sp.store(sp, Ordering::Relaxed);
    let id = match p {
        Some(p) => new_id(p),
        None => NEXT_ID.fetch_add(1, Ordering::Relaxed),
    };
    g.id.store(id, Ordering::Relaxed);
    g.flags
        .store(if how.system { FLAG_SYSTEM } else { 0 }, Ordering::Relaxed);
    g.created_at.set(Some(at));
    let me = arch::x86_64::percpu::current_g().cast::<G>();
    g.parent_id.set(GPtr::from_raw(me).map_or(0, |g| g.id()));
    if let Some(name) = how.name {
        g.name.set(name);
    }
    if how.system {
        super::SYSTEM_GS.fetch_add(1, Ordering::Relaxed);
    }
    match p {
        Some(p) => bump(&p.count.created),
        None => _ = super::ORPHAN_STARTS.fetch_add(1, Ordering::Relaxed),
    }
    g.set_state(GState::Dead, GState::Runnable);
    events::emit(Kind::Create, g.id(), 0);
    match p {
        Some(p) => {
            p.put(g, true);
            find::wake_for_work();
        }
        None => super::global::push_one(g),
    }
    // Not `g.id()`: it may have run and ended by now, and be another goroutine.
    Ok(id)
}

#[cold]
fn use_custom_stack(g: GPtr, size: usize) -> Result<(), SpawnError> {
    if size > stack::MAX_SIZE {
        return Err(SpawnError::StackTooLarge);
    }
    if size > stack::DEFAULT_SIZE {
        g.stack
            .set(stack_big::reserve(size).ok_or(SpawnError::OutOfMemory)?);
    }
    Ok(())
}

/// Ends the running goroutine. Nothing of its stack is run or dropped any more.
pub(crate) fn exit_current() -> ! {
    let g = current();
    if g.locks.get() != 0 {
        super::osthread::release(g);
    }
    if g.name.is_set() {
        g.name.set("");
    }
    super::syscall::leave_early();
    arch::preempt_disable();
    switch_to_g0(exit_post, ptr::null_mut());
    unreachable!("a dead goroutine runs");
}

/// Commit step of an exit.
unsafe fn exit_post(g: *mut (), _: *mut ()) {
    let Some(g) = GPtr::from_raw(g.cast()) else {
        unreachable!("nobody died")
    };
    events::emit(Kind::End, g.id(), 0);
    if g.is_system() {
        super::SYSTEM_GS.fetch_sub(1, Ordering::Relaxed);
    }
    g.set_state(GState::Running, GState::Dead);
    let (stack, default) = (g.stack.get(), g.default_stack.get());
    if frames::free_count() == 0 {
        // Nobody may come to scavenge. A big slot's top page holds its place in the list.
        let kept = if stack == default { 0 } else { stack::PAGE };
        preempt::give_back(stack.floor(), stack.top() - kept);
    }
    if stack != default {
        stack_big::release(stack);
        g.stack.set(default);
    }
    let core = percpu::this();
    match p_of(core) {
        Some(p) => {
            bump(&p.count.exited);
            give_dead(p, g);
        }
        None => {
            super::ORPHAN_EXITS.fetch_add(1, Ordering::Relaxed);
            give_dead_orphan(g);
        }
    }
}
