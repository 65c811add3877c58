//! The per-core block, reached through GS, and the preempt count.
//!
//! Each core's GS base points at its [`Core`] for ever (there is no user mode, so no `swapgs`). What a
//! goroutine may read of it without pinning itself down is exactly what moves with it: the current G and
//! the preempt count. Both are read and written by *one* `gs:[offset]` instruction: loading the block's
//! address first and the field second could be split by a preemption and a migration, and would then touch
//! another core's block.
//!
//! The preempt word holds the count in its low 31 bits and "nobody wants this core" in the top bit. So the
//! hot question, asked each time a guard is dropped, "count is 0 *and* a preemption is wanted", is the zero
//! flag of the `dec` that lowered the count.

use core::{
    arch::asm,
    cell::{Cell, UnsafeCell},
    mem::offset_of,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use super::trap::SaveBlock;

/// The most cores Burrow runs on.
pub const MAX_CORES: usize = 64;

/// The top bit of the preempt word: no preemption is wanted.
pub const NO_RESCHED: u32 = 0x8000_0000;

/// What the scheduler runs on g0 once the goroutine it left is safely off its stack.
pub type PostFn = unsafe fn(*mut (), *mut ());

/// One core's block.
///
/// | field | who | when |
/// | --- | --- | --- |
/// | `g`, `preempt` | the goroutine or g0 on this core | any time, one instruction |
/// | `p`, `mcache`, `post*`, `g0_sp`, `spare` | this core | preemption off |
/// | `preempt_req`, `kick`, `frozen*`, `tlb_seen` | any core | atomics |
#[repr(C, align(128))]
pub struct Core {
    this: Cell<*const Core>,
    /// The running goroutine, null on g0.
    pub(crate) g: Cell<*mut ()>,
    pub(crate) preempt: Cell<u32>,
    index: Cell<u32>,
    /// Where `switch` left g0.
    pub(crate) g0_sp: Cell<usize>,
    /// The P this core holds, null if none.
    pub(crate) p: Cell<*const ()>,
    /// The P's cache of the heap; `mem` fills it in.
    pub(crate) mcache: Cell<*mut ()>,
    /// Commit step of the switch to g0 under way, with its argument.
    pub(crate) post: Cell<Option<PostFn>>,
    pub(crate) post_arg: Cell<*mut ()>,
    /// An empty save block for the next asynchronous preemption.
    pub(crate) spare: Cell<*mut SaveBlock>,
    /// In an interrupt or exception handler (depth).
    pub(crate) in_irq: Cell<u32>,
    /// What the LAPIC one-shot is set to (ns; `u64::MAX` = off).
    pub(crate) armed_at: Cell<u64>,
    apic_id: AtomicU32,
    online: AtomicBool,
    /// Another core wants the running goroutine off.
    pub(crate) preempt_req: AtomicBool,
    /// Idle protocol, see `sched::idle`.
    pub(crate) park: AtomicU32,
    /// Frozen by a fatal error elsewhere, with where it was.
    pub(crate) frozen: AtomicBool,
    pub(crate) frozen_rip: AtomicUsize,
    /// Last TLB generation this core has flushed for.
    pub(crate) tlb_seen: AtomicU64,
    /// The M of the scheduler.
    pub(crate) m: AtomicPtr<()>,
}

/// The blocks of all cores.
struct Cores([UnsafeCell<Core>; MAX_CORES]);
// SAFETY: the non-atomic fields of block i are touched by core i alone (table above).
unsafe impl Sync for Cores {}

static CORES: Cores = Cores(
    [const {
        UnsafeCell::new(Core {
            this: Cell::new(core::ptr::null()),
            g: Cell::new(core::ptr::null_mut()),
            preempt: Cell::new(NO_RESCHED | 1),
            index: Cell::new(0),
            g0_sp: Cell::new(0),
            p: Cell::new(core::ptr::null()),
            mcache: Cell::new(core::ptr::null_mut()),
            post: Cell::new(None),
            post_arg: Cell::new(core::ptr::null_mut()),
            spare: Cell::new(core::ptr::null_mut()),
            in_irq: Cell::new(0),
            armed_at: Cell::new(u64::MAX),
            apic_id: AtomicU32::new(u32::MAX),
            online: AtomicBool::new(false),
            preempt_req: AtomicBool::new(false),
            park: AtomicU32::new(0),
            frozen: AtomicBool::new(false),
            frozen_rip: AtomicUsize::new(0),
            tlb_seen: AtomicU64::new(0),
            m: AtomicPtr::new(core::ptr::null_mut()),
        })
    }; MAX_CORES],
);

static ONLINE: AtomicUsize = AtomicUsize::new(0);

/// Makes core `index`'s block this core's and points GS at it. First step of every core: until then
/// nothing may take a lock.
pub fn init(index: usize, apic_id: u32) {
    let core = CORES.0[index].get();
    // SAFETY: the block lives for ever; only this core writes its cells.
    let block = unsafe { &*core };
    block.this.set(core);
    block.index.set(index as u32);
    block.apic_id.store(apic_id, Ordering::Relaxed);
    let addr = core as u64;
    const IA32_GS_BASE: u32 = 0xc000_0101;
    // SAFETY: sets GS base to the block above; nothing else uses GS.
    unsafe {
        asm!("wrmsr", in("ecx") IA32_GS_BASE, in("eax") addr as u32, in("edx") (addr >> 32) as u32,
             options(nostack, preserves_flags))
    };
    block.online.store(true, Ordering::Release); // pairs with the Acquire load in `is_online`
    ONLINE.fetch_max(index + 1, Ordering::AcqRel);
}

/// Number of cores that have come up.
#[inline(always)]
pub fn core_count() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// The block of any core; only its atomics may be touched from elsewhere.
pub fn core(index: usize) -> &'static Core {
    // SAFETY: blocks live for ever and are shared by the table's rules.
    unsafe { &*CORES.0[index].get() }
}

/// This core's block. Valid only while preemption is off.
#[inline(always)]
pub fn this() -> &'static Core {
    let p: *const Core;
    // SAFETY: `this` was set by `init`; a plain load.
    unsafe {
        asm!("mov {}, gs:[{off}]", out(reg) p, off = const offset_of!(Core, this),
             options(nostack, preserves_flags, readonly))
    };
    // SAFETY: points at this core's static block.
    unsafe { &*p }
}

impl Core {
    /// Index of the core, 0 is the boot core.
    pub fn index(&self) -> usize {
        self.index.get() as usize
    }
    /// The local APIC id, which is not the index.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }
    /// Has the core come up?
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire) // pairs with the Release store in `init`
    }
}

/// Index of the core this runs on; stable only while preemption is off.
#[inline(always)]
pub fn core_index() -> usize {
    let i: u32;
    // SAFETY: a plain load of this core's index.
    unsafe {
        asm!("mov {:e}, gs:[{off}]", out(reg) i, off = const offset_of!(Core, index),
             options(nostack, preserves_flags, readonly))
    };
    i as usize
}

/// The running goroutine, null on g0. Moves with the goroutine, so always valid in one.
#[inline(always)]
pub fn current_g() -> *mut () {
    let g: *mut ();
    // SAFETY: a plain load.
    unsafe {
        asm!("mov {}, gs:[{off}]", out(reg) g, off = const offset_of!(Core, g),
             options(nostack, preserves_flags, readonly))
    };
    g
}

/// The cache of the heap that this core allocates from; valid only while preemption is off.
#[inline(always)]
pub fn mcache() -> *mut () {
    let c: *mut ();
    // SAFETY: a plain load.
    unsafe {
        asm!("mov {}, gs:[{off}]", out(reg) c, off = const offset_of!(Core, mcache),
             options(nostack, preserves_flags, readonly))
    };
    c
}

/// Raises the preempt count.
#[inline(always)]
pub fn preempt_disable() {
    // SAFETY: one instruction on this core's own word; not `nomem`, so a compiler barrier too.
    unsafe { asm!("inc dword ptr gs:[{off}]", off = const offset_of!(Core, preempt), options(nostack)) };
}

/// Lowers the preempt count; yields if it became 0 and a preemption is wanted.
#[inline(always)]
pub fn preempt_enable() {
    // SAFETY: one instruction on this core's own word; jumps to ordinary Rust code.
    unsafe {
        asm!("dec dword ptr gs:[{off}]", "jz {slow}", off = const offset_of!(Core, preempt),
             slow = label { preempt_wanted() }, options(nostack))
    };
}

/// Lowers the preempt count; true if it became 0 and a preemption is wanted: the caller then calls [`preempt_wanted`],
/// at a place that suits it.
#[inline(always)]
pub fn preempt_lower() -> bool {
    // SAFETY: one instruction on this core's own word.
    unsafe {
        asm!("dec dword ptr gs:[{off}]", "jz {slow}", off = const offset_of!(Core, preempt),
             slow = label { return true }, options(nostack))
    };
    false
}

/// The preempt count, without the flag.
#[inline(always)]
pub fn preempt_count() -> u32 {
    let w: u32;
    // SAFETY: a plain load.
    unsafe {
        asm!("mov {:e}, gs:[{off}]", out(reg) w, off = const offset_of!(Core, preempt),
             options(nostack, preserves_flags, readonly))
    };
    w & !NO_RESCHED
}

/// Sets what `preempt_enable` calls when it finds a preemption wanted (the scheduler's yield).
pub fn set_preempt_hook(f: fn()) {
    PREEMPT_HOOK.store(f as *mut (), Ordering::Release); // pairs with the Acquire in `preempt_wanted`
}

static PREEMPT_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Yields, if this is a place for that. It saves what it uses of the caller's registers (`rust-cold`): a guard that is
/// dropped costs its function no register for a call that hardly ever comes.
#[cold]
#[inline(never)]
pub extern "rust-cold" fn preempt_wanted() {
    // With interrupts off, or in a handler, the request stays pending: the next lowering sees it.
    if !irqs_on() || current_g().is_null() {
        return;
    }
    let f = PREEMPT_HOOK.load(Ordering::Acquire);
    if !f.is_null() {
        // SAFETY: only `set_preempt_hook` stores here, and it stores a `fn()`.
        let f = unsafe { core::mem::transmute::<*mut (), fn()>(f) };
        f();
    }
}

/// Are interrupts on?
#[inline(always)]
pub fn irqs_on() -> bool {
    let f: u64;
    // SAFETY: reads the flags through the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) f, options(preserves_flags)) };
    f & 0x200 != 0
}

/// Turns interrupts off.
#[inline(always)]
pub fn irq_off() {
    // SAFETY: `cli`; not `nomem`, so a compiler barrier.
    unsafe { asm!("cli", options(nostack)) };
}

/// Turns interrupts on.
#[inline(always)]
pub fn irq_on() {
    // SAFETY: `sti`; not `nomem`, so a compiler barrier.
    unsafe { asm!("sti", options(nostack)) };
}

/// Turns interrupts off and says whether they were on.
#[inline(always)]
pub fn irq_save() -> bool {
    let on = irqs_on();
    irq_off();
    on
}

/// Undoes [`irq_save`].
#[inline(always)]
pub fn irq_restore(was_on: bool) {
    if was_on {
        irq_on();
    }
}

/// Is this code part of the runtime (g0, an interrupt, or preemption off)? A panic here is fatal.
pub fn in_runtime_context() -> bool {
    preempt_count() != 0 || current_g().is_null() || !irqs_on()
}
