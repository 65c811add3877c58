//! Catch frames: where a panic lands, and the storage it travels in.
//!
//! [`catch`] puts a [`CatchFrame`] on the stack and links it into the goroutine's chain; `raise` fills the
//! innermost one and hands its exception header to the unwinder, which runs the landing pads between and
//! comes back to exactly that frame (Rust's only other catcher, std, is not here). The chain is restored on
//! every way out.
//!
//! The closure is called through a pointer the optimizer cannot see through: otherwise it may prove a body
//! that only loads from memory to be `nounwind`, delete the landing pad, and a fault in it would have
//! nowhere to go (DECISIONS 1).

use core::{
    cell::{Cell, UnsafeCell},
    hint::black_box,
    mem::{ManuallyDrop, MaybeUninit},
    ptr,
};

use unwinding::abi::{_Unwind_RaiseException, UnwindException};

use super::{Kind, Panic, Unwound, fatal, seam};

/// "BURROW" and a version: how our exceptions are told from foreign ones.
const CLASS: u64 = u64::from_ne_bytes(*b"BURROW\0\x01");

/// A goroutine's panic state: the chain of its catch frames. Embedded in `G`.
pub struct PanicState {
    innermost: Cell<*const CatchFrame>,
    /// Panics raised and not yet caught.
    depth: Cell<u32>,
}

// SAFETY: only the goroutine itself touches its state.
unsafe impl Sync for PanicState {}
// SAFETY: the state moves with its goroutine; it points only into that goroutine's stack.
unsafe impl Send for PanicState {}

impl PanicState {
    /// No catch frame, no panic.
    pub const fn new() -> Self {
        PanicState {
            innermost: Cell::new(ptr::null()),
            depth: Cell::new(0),
        }
    }

    /// The innermost catch frame.
    pub(super) fn innermost(&self) -> Option<&CatchFrame> {
        // SAFETY: `catch` keeps its frame alive while it is linked.
        unsafe { self.innermost.get().as_ref() }
    }
}

impl Default for PanicState {
    fn default() -> Self {
        Self::new()
    }
}

/// One catch on the stack. The exception header comes first: the unwinder's pointer is the frame's.
#[repr(C)]
pub(super) struct CatchFrame {
    exception: UnsafeCell<MaybeUninit<UnwindException>>,
    outer: *const CatchFrame,
    /// A panic is being built for this frame or on its way to it.
    busy: Cell<bool>,
    /// What is on its way began with a CPU exception.
    fault: Cell<bool>,
    cargo: UnsafeCell<Option<Unwound>>,
}

impl CatchFrame {
    /// Claims the frame for a panic; `false` if one is already on its way to it.
    pub(super) fn claim(&self) -> bool {
        !self.busy.replace(true)
    }

    /// What is on its way here, for the double panic's report.
    pub(super) fn cargo(&self) -> Option<&Unwound> {
        // SAFETY: only this goroutine touches it, and the report keeps the reference short.
        unsafe { (*self.cargo.get()).as_ref() }
    }
}

/// Did the panic that travels in `exception` begin with a CPU exception? For the personality.
///
/// # Safety
/// 1. `exception` is what the unwinder is raising right now.
pub(super) unsafe fn is_fault(class: u64, exception: *const UnwindException) -> bool {
    // SAFETY: 1; with our class it is the header of a catch frame.
    class == CLASS && unsafe { &*exception.cast::<CatchFrame>() }.fault.get()
}

/// Is this goroutine unwinding?
///
/// For a drop that must behave differently then (std's `thread::panicking`).
///
/// ```
/// let p = burrow::recover(|| {
///     burrow::defer! { assert!(burrow::panic::panicking(), "left by the panic") }
///     panic!("no");
/// });
/// assert!(p.is_err() && !burrow::panic::panicking());
/// ```
pub fn panicking() -> bool {
    seam::state().depth.get() != 0
}

/// The goroutine's id, for [`Panic`].
pub(super) fn goid() -> u64 {
    seam::goid()
}

/// Runs `f`; a panic or goexit that leaves it comes back as `Err`.
///
/// The runtime's own catch (a goroutine's entry); users call [`recover`](fn@super::recover), which passes
/// goexit on.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Unwound> {
    let state = seam::state();
    let outer = state.innermost.get();
    let frame = CatchFrame {
        exception: UnsafeCell::new(MaybeUninit::uninit()),
        outer,
        busy: Cell::new(false),
        fault: Cell::new(false),
        cargo: UnsafeCell::new(None),
    };
    let mut call = Call {
        frame: &frame,
        slot: Slot {
            f: ManuallyDrop::new(f),
        },
    };
    state.innermost.set(&frame);
    let enter = enter_of(&call);
    // SAFETY: `enter` and `landed` both take a pointer to this `call`; `landed` does not unwind.
    let unwound = unsafe { core::intrinsics::catch_unwind(enter, (&raw mut call).cast(), landed) };
    state.innermost.set(frame.outer);
    if unwound {
        state.depth.set(state.depth.get() - 1);
        seam::caught();
        match frame.cargo.into_inner() {
            Some(cargo) => Err(cargo),
            None => fatal("panic: a catch frame was reached without a panic"),
        }
    } else {
        // SAFETY: `enter` returned, so it has stored the value.
        Ok(ManuallyDrop::into_inner(unsafe { call.slot.r }))
    }
}

/// What [`catch`] passes through the intrinsic's untyped pointer. `frame` first: `landed` reads only that.
#[repr(C)]
struct Call<F, T> {
    frame: *const CatchFrame,
    slot: Slot<F, T>,
}

union Slot<F, T> {
    f: ManuallyDrop<F>,
    r: ManuallyDrop<T>,
}

fn enter_of<F: FnOnce() -> T, T>(_: &Call<F, T>) -> unsafe fn(*mut u8) {
    enter::<F, T>
}

/// # Safety
/// `data` is the [`Call`] of the [`catch`] under way, its closure not yet taken.
unsafe fn enter<F: FnOnce() -> T, T>(data: *mut u8) {
    // SAFETY: the caller's promise.
    let call = unsafe { &mut *data.cast::<Call<F, T>>() };
    // SAFETY: taken exactly once, here.
    let f = ManuallyDrop::into_inner(unsafe { ptr::read(&raw const call.slot.f) });
    // Through an opaque pointer: may unwind, whatever the body looks like, and keeps its own name and lines.
    let body: extern "rust-call" fn(F, ()) -> T = black_box(<F as FnOnce<()>>::call_once);
    let r = body(f, ());
    call.slot.r = ManuallyDrop::new(r);
}

/// The landing pad: checks that what arrived is ours and meant for this frame.
fn landed(data: *mut u8, exception: *mut u8) {
    // SAFETY: `data` is `catch`'s `Call`, whose first field is the frame pointer.
    let frame = unsafe { *data.cast::<*const CatchFrame>() };
    if frame.cast::<u8>() != exception.cast_const() {
        fatal("panic: an exception landed in a catch frame that is not its own");
    }
}

/// Sends `cargo` to the innermost catch frame, which the caller has claimed.
///
/// # Panics
/// Never; if nothing catches (broken unwind tables) the program crashes with the panic.
pub(super) fn raise(cargo: Unwound) -> ! {
    let state = seam::state();
    let Some(frame) = state.innermost() else {
        uncaught(cargo)
    };
    frame.fault.set(match &cargo {
        Unwound::Panic(p) => match p.kind() {
            Kind::Fault { .. } | Kind::StackOverflow { .. } => true,
            Kind::OutOfMemory { .. } => seam::starved(), // of a stack, not of the heap
            Kind::Explicit => false,
        },
        Unwound::Goexit => false,
    });
    // SAFETY: the frame is claimed, so nothing else refers to its cargo.
    unsafe { *frame.cargo.get() = Some(cargo) };
    state.depth.set(state.depth.get() + 1);
    let exception = frame.exception.get().cast::<UnwindException>();
    // SAFETY: all-zero is a valid header (null options, zero words), inside the claimed frame.
    unsafe { exception.write_bytes(0, 1) };
    // SAFETY: the header was just initialized.
    unsafe { (*exception).exception_class = CLASS };
    // SAFETY: a valid exception that lives in the frame it is meant for.
    let code = unsafe { _Unwind_RaiseException(exception) };
    // SAFETY: the unwinder gave up, nothing else refers to the cargo.
    let cargo = unsafe { (*frame.cargo.get()).take() };
    if let Some(Unwound::Panic(p)) = &cargo {
        super::crash::header(p);
    }
    super::fatal_fmt(format_args!(
        "the unwinder found no way to the catch frame (reason {})",
        code.0
    ))
}

/// Raises a panic or goexit from outside the panic handler: claims the frame first.
pub(super) fn throw(cargo: Unwound) -> ! {
    if seam::in_runtime() {
        match cargo {
            Unwound::Panic(p) => super::fatal_fmt(format_args!("panic in the runtime: {p}")),
            Unwound::Goexit => fatal("goexit in the runtime"),
        }
    }
    match seam::state().innermost() {
        Some(frame) if !frame.claim() => match &cargo {
            Unwound::Panic(p) => super::crash::double(frame.cargo(), format_args!("{p}"), p.location()),
            Unwound::Goexit => super::crash::double(frame.cargo(), format_args!("goexit"), None),
        },
        _ => raise(cargo),
    }
}

/// A goroutine without any catch frame.
fn uncaught(cargo: Unwound) -> ! {
    match cargo {
        Unwound::Panic(p) => super::crash(p),
        Unwound::Goexit => fatal("goexit outside a goroutine"),
    }
}

/// Adds the callers of the function at `skip_to` (an address on the stack of calls right now) to a panic.
pub(super) fn with_backtrace(mut p: Panic, skip_to: usize) -> Panic {
    p.backtrace = super::Backtrace::capture(skip_to);
    p
}
