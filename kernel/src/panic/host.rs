//! The host back end: the same names over std's panics, so that chan, sync and the documentation's
//! examples run as ordinary programs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Kind, Panic, Unwound, payload::Message};

/// Nothing to keep: std counts panics itself.
#[derive(Default)]
pub struct PanicState(());

impl PanicState {
    /// No panic.
    pub const fn new() -> Self {
        PanicState(())
    }
}

/// Not taken on the host.
///
/// ```
/// let p = burrow::recover(|| panic!("boom")).unwrap_err();
/// let _: &burrow::panic::Backtrace = p.backtrace();
/// ```
#[derive(Clone)]
pub struct Backtrace(());

impl Backtrace {
    /// No frames.
    pub const EMPTY: Backtrace = Backtrace(());
}

/// What travels through std for a panic that has one of ours.
struct Cargo(Unwound);

/// Runs `f`; a panic or goexit that leaves it comes back as `Err`.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Unwound> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let payload = match payload.downcast::<Cargo>() {
            Ok(c) => return c.0,
            Err(p) => p,
        };
        let message = if let Some(s) = payload.downcast_ref::<&'static str>() {
            Message::Static(s)
        } else if let Some(s) = payload.downcast_ref::<String>() {
            Message::Heap(s.clone())
        } else {
            Message::Static("explicit panic")
        };
        Unwound::Panic(Panic {
            payload: Some(payload),
            ..Panic::new(Kind::Explicit, message, None)
        })
    })
}

/// Is this goroutine unwinding?
///
/// ```
/// let p = burrow::recover(|| {
///     burrow::defer! { assert!(burrow::panic::panicking(), "left by the panic") }
///     panic!("no");
/// });
/// assert!(p.is_err() && !burrow::panic::panicking());
/// ```
pub fn panicking() -> bool {
    std::thread::panicking()
}

/// The goroutine's id, for [`Panic`].
pub(super) fn goid() -> u64 {
    0
}

/// Raises without std's hook (it has spoken already, or there is nothing to say).
pub(super) fn throw(cargo: Unwound) -> ! {
    std::panic::resume_unwind(Box::new(Cargo(cargo)))
}

/// No traces on the host.
pub(super) fn with_backtrace(p: Panic, _skip_to: usize) -> Panic {
    p
}

/// Ends the program because nobody recovered `p`.
pub fn crash(p: Panic) -> ! {
    eprintln!("panic: {p}");
    std::process::exit(2)
}

/// Ends the program.
///
/// ```
/// if burrow::spawn(|| 6 * 7).join().unwrap() != 42 {
///     burrow::panic::fatal("arithmetic is broken"); // no recover catches this
/// }
/// ```
pub fn fatal(msg: &str) -> ! {
    fatal_fmt(format_args!("{msg}"))
}

/// As [`fatal`], with a formatted message.
///
/// ```
/// let n = burrow::spawn(|| 6 * 7).join().unwrap();
/// if n != 42 {
///     burrow::panic::fatal_fmt(format_args!("arithmetic is broken: {n}"));
/// }
/// ```
pub fn fatal_fmt(msg: core::fmt::Arguments<'_>) -> ! {
    eprintln!("fatal error: {msg}");
    std::process::exit(2)
}
