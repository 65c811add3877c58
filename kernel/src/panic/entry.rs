//! The panic handler: where `panic!`, `unwrap`, an index out of bounds, arithmetic overflow … arrive.
//!
//! Order matters: the frame is claimed *before* the message is formatted, so that a `Display` that panics
//! ends in the double panic's report and not in an endless recursion.

use core::{alloc::Layout, panic::PanicInfo};

use super::{
    Kind, Panic, Unwound,
    catch::{raise, throw, with_backtrace},
    crash, fatal_fmt,
    payload::Message,
    seam,
};

#[panic_handler]
fn panic_handler(info: &PanicInfo<'_>) -> ! {
    let message = info.message();
    if seam::in_runtime() {
        match info.location() {
            Some(l) => fatal_fmt(format_args!("panic in the runtime: {message}\n\tat {l}")),
            None => fatal_fmt(format_args!("panic in the runtime: {message}")),
        }
    }
    match seam::state().innermost() {
        Some(frame) if !info.can_unwind() || !frame.claim() => {
            crash::double(frame.cargo(), format_args!("{message}"), info.location())
        }
        _ => {}
    }
    // SAFETY: every location in a PanicInfo is a `&'static Location` of the caller; the signature loses it.
    let location = info.location().map(|l| unsafe { core::mem::transmute(l) });
    let args = match message.as_str() {
        Some(s) => Message::Static(s),
        None => Message::new(format_args!("{message}")),
    };
    let p = Panic::new(Kind::Explicit, args, location);
    raise(Unwound::Panic(with_backtrace(
        p,
        panic_handler as *const () as usize,
    )))
}

/// An infallible allocation failed (DECISIONS 12): a panic that allocates nothing.
#[alloc_error_handler]
fn alloc_error_handler(layout: Layout) -> ! {
    let kind = Kind::OutOfMemory { size: layout.size() };
    let p = Panic::new(kind, Message::Kind, None);
    throw(Unwound::Panic(with_backtrace(
        p,
        alloc_error_handler as *const () as usize,
    )))
}
