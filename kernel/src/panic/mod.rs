//! Panic, recover, defer: what happens when a goroutine cannot go on.
//!
//! ```text
//! panic!  ─┐                      ┌ recover(f) = Err(Panic)
//! fault   ─┼→ raise → unwind ────→│ spawn's entry: join() = Err(Panic)
//! goexit  ─┘   (drops, defer!)    └ go's entry: crash → exit 2
//! ```
//!
//! Every catch ([`catch`](fn@catch), below [`recover`](fn@recover) and a goroutine's entry) is a *catch frame* on the goroutine's
//! stack, linked into a per-goroutine chain ([`PanicState`]). A panic is built inside the innermost catch
//! frame, the one that will receive it. So raising allocates nothing, works when memory is exhausted, and
//! "panic while panicking" is one test: if the innermost frame is already taken, the new panic would have to
//! escape a drop of the unwinding under way, and the program aborts with both messages. A panic that a drop
//! raises and catches itself has its own frame and is no trouble.
//!
//! | file | story |
//! | --- | --- |
//! | `payload` | [`Panic`]: what a panic carries |
//! | `catch` | catch frames, raising, the chain |
//! | `personality` | which landing pad a frame wants |
//! | `entry` | `#[panic_handler]` |
//! | `fault` | CPU exception → panic of the goroutine |
//! | `recover`, `goexit`, `defer` | what users call |
//! | `crash`, `fatal` | the two ways the program dies |
//! | `backtrace`, `symbols` | who called whom |
//!
//! Refused: boxing the payload as std does (allocates), thread-local or per-core panic counts (a goroutine
//! moves between cores while it unwinds).
//!
//! Invariants: nothing unwinds on g0, in an interrupt, with the preempt count raised or with interrupts off;
//! a panic there is a fatal error. The chain is read and written by its own goroutine only.

mod defer;
mod goexit;
mod payload;
mod recover;

#[doc(hidden)] // what `defer!` expands to
pub use defer::Defer;
pub use goexit::goexit;
pub use payload::{Kind, Message, Panic};
pub use recover::{panic_any, recover, resume_unwind};

#[cfg(target_os = "none")]
#[doc(hidden)] // internal
pub mod backtrace;
#[cfg(target_os = "none")]
mod catch;
#[cfg(target_os = "none")]
mod crash;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
#[doc(hidden)] // internal
pub mod fatal;
#[cfg(target_os = "none")]
#[doc(hidden)] // internal
pub mod fault;
#[cfg(target_os = "none")]
mod out;
#[cfg(target_os = "none")]
mod personality;
#[cfg(target_os = "none")]
mod seam;
#[cfg(any(target_os = "none", test))]
#[doc(hidden)] // internal
pub mod symbols;
#[cfg(target_os = "none")]
pub use self::{
    backtrace::Backtrace,
    catch::panicking,
    fatal::{fatal, fatal_fmt},
};
#[cfg(target_os = "none")]
#[doc(hidden)] // internal
pub use self::{
    catch::{PanicState, catch},
    crash::crash,
    fatal::fatal_at,
};

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(target_os = "none")]
use catch as raise;
#[cfg(not(target_os = "none"))]
use host as raise;
#[cfg(not(target_os = "none"))]
pub use host::{Backtrace, fatal, fatal_fmt, panicking};
#[cfg(not(target_os = "none"))]
#[doc(hidden)] // internal
pub use host::{PanicState, catch, crash};

/// Why [`catch`](fn@catch) came back without a value.
#[derive(Debug)]
#[doc(hidden)] // internal
#[expect(
    clippy::large_enum_variant,
    reason = "a boxed panic would need memory when there is none"
)]
pub enum Unwound {
    /// The closure panicked.
    Panic(Panic),
    /// The closure called [`goexit`](fn@goexit): pass it on, or end the goroutine.
    Goexit,
}

impl Unwound {
    /// As a [`Panic`]: a goexit becomes one that says so.
    pub fn into_panic(self) -> Panic {
        match self {
            Unwound::Panic(p) => p,
            Unwound::Goexit => Panic::new(Kind::Explicit, Message::Static("goroutine left by goexit"), None),
        }
    }

    /// Goes on unwinding.
    pub fn resume(self) -> ! {
        match self {
            Unwound::Panic(p) => resume_unwind(p),
            Unwound::Goexit => goexit(),
        }
    }
}
