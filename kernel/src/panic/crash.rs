//! The end by panic: an unrecovered one, or a second one on top of the first.
//!
//! Go's layout, so that a Go reader (and tools for it) can read it:
//!
//! ```text
//! panic: MSG
//!     at file:line:column
//!
//! goroutine 7 [running]:
//! func(...)
//!     file:line +0x1d
//! created by goroutine 1
//!     file:line:column
//! ```

use core::{fmt, fmt::Write, panic::Location};

use super::{
    Backtrace, Kind, Panic, Unwound,
    backtrace::write_frames,
    fatal::{Claim, claim},
    out::Out,
    seam,
};

/// Ends the program because nobody recovered `p`: prints it and its backtrace, exits with code 2.
///
/// Called at a `go` goroutine's entry, its own drops done; other goroutines' defers do not run (Go's rule).
pub fn crash(p: Panic) -> ! {
    let out = &mut Out;
    if matches!(claim(), Claim::Nested) {
        let _ = writeln!(out, "\npanic while reporting the end: {p}");
        seam::exit(2);
    }
    header(&p);
    let _ = writeln!(out, "\ngoroutine {} [running]:", p.goid());
    let _ = write_frames(out, p.backtrace().frames());
    created_by(out);
    seam::exit(2)
}

/// Ends the program because a panic would have left a drop of the unwinding that `first` had begun (or a
/// function that cannot unwind).
pub(super) fn double(first: Option<&Unwound>, second: fmt::Arguments<'_>, at: Option<&Location<'_>>) -> ! {
    let out = &mut Out;
    if matches!(claim(), Claim::Nested) {
        let _ = writeln!(out, "\npanic while reporting the end");
        seam::exit(2);
    }
    match first {
        Some(Unwound::Panic(p)) => header(p),
        Some(Unwound::Goexit) => {
            let _ = writeln!(out, "goexit");
        }
        None => {}
    }
    let nested = if first.is_some() { "\t" } else { "" };
    let _ = writeln!(out, "{nested}panic: {second}");
    if let Some(l) = at {
        let _ = writeln!(out, "{nested}\tat {l}");
    }
    let why = if first.is_some() {
        "panic while panicking"
    } else {
        "panic in a function that cannot unwind"
    };
    let _ = writeln!(out, "fatal error: {why}\n\ngoroutine {} [running]:", seam::goid());
    let _ = write_frames(out, Backtrace::capture(0).frames());
    created_by(out);
    seam::exit(2)
}

/// `panic: MSG` and where.
pub(super) fn header(p: &Panic) {
    let out = &mut Out;
    let _ = writeln!(out, "panic: {p}");
    match p.kind() {
        Kind::Fault {
            vector,
            error,
            addr,
            pc,
        } => {
            let _ = writeln!(out, "[fault {vector} error={error:#x} addr={addr:#x} pc={pc:#x}]");
        }
        _ => {
            if let Some(l) = p.location() {
                let _ = writeln!(out, "\tat {l}");
            }
        }
    }
}

/// `created by goroutine N` and where.
pub(super) fn created_by(w: &mut dyn Write) {
    let Some((at, parent)) = seam::created_by() else {
        return;
    };
    let _ = writeln!(w, "created by goroutine {parent}\n\t{at}"); // `Out` has no errors
}
