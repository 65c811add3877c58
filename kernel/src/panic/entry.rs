//! The panic handler: where `panic!`, `unwrap`, an index out of bounds, arithmetic overflow … arrive.
//!
//! Order matters: the frame is claimed *before* the message is formatted, so that a `Display` that panics
//! ends in the double panic's report and not in an endless recursion.

use core::{
    alloc::Layout,
    fmt::Write,
    panic::{PanicInfo, PanicMessage},
};

use super::{
    Kind, Panic, Unwound,
    catch::{raise, throw, with_backtrace},
    crash, fatal_fmt,
    payload::{Message, Short},
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
    let kind = if info.can_unwind() {
        Some(Kind::Explicit)
    } else {
        pointer_check(&message)
    };
    match (seam::state().innermost(), kind) {
        (Some(frame), Some(_)) if frame.claim() => {}
        (None, Some(_)) => {}
        (frame, _) => {
            let first = frame.and_then(|f| f.cargo());
            crash::double(first, format_args!("{message}"), info.location())
        }
    }
    let kind = kind.unwrap_or(Kind::Explicit);
    // SAFETY: every location in a PanicInfo is a `&'static Location` of the caller; the signature loses it.
    let location = info.location().map(|l| unsafe { core::mem::transmute(l) });
    let text = match (kind, message.as_str()) {
        (Kind::Fault { vector: 14, .. }, _) => Message::Kind,
        (_, Some(s)) => Message::Static(s),
        (_, None) => Message::new(format_args!("{message}")),
    };
    let p = Panic::new(kind, text, location);
    raise(Unwound::Panic(with_backtrace(
        p,
        panic_handler as *const () as usize,
    )))
}

/// Builds with debug assertions test raw pointers before they use them, and panic without unwinding. That is
/// the same mistake that the page-fault handler sees in other builds, so it becomes the same panic.
fn pointer_check(message: &PanicMessage<'_>) -> Option<Kind> {
    let mut text = Short::new();
    let _ = write!(text, "{message}"); // cut off: the start tells
    let vector = match text.as_str() {
        s if s.starts_with("null ") => 14,
        s if s.starts_with("misaligned pointer") => 17,
        _ => return None,
    };
    Some(Kind::Fault {
        vector,
        error: 0,
        addr: 0,
        pc: 0,
    })
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
