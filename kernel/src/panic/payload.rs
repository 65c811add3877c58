//! [`Panic`]: what a panic carries to whoever catches it.
//!
//! Built at the place that panics, so that it must not need memory: the message is borrowed if it is a
//! literal, else boxed, else (no memory left) cut to what fits inline. The backtrace is an inline array of
//! 32-bit offsets into the kernel image.

use alloc::{boxed::Box, string::String};
use core::{
    any::Any,
    fmt::{self, Write},
    panic::Location,
};

use super::Backtrace;

/// A caught panic: what [`recover`](fn@super::recover) and `join` return.
///
/// ```
/// use burrow::panic::Kind;
/// let p = burrow::recover(|| panic!("boom")).unwrap_err();
/// assert_eq!(p.message().as_str(), "boom");
/// assert_eq!(p.kind(), Kind::Explicit);
/// assert_eq!(p.fault_addr(), None); // no fault
/// assert!(p.payload().is_none() || p.payload().is_some_and(|v| v.is::<&str>()));
/// if let Some(at) = p.location() {
///     println!("goroutine {} at {at}", p.goid());
/// }
/// let _ = p.backtrace().clone();
/// ```
pub struct Panic {
    pub(super) kind: Kind,
    pub(super) message: Message,
    pub(super) location: Option<&'static Location<'static>>,
    pub(super) goid: u64,
    pub(super) payload: Option<Box<dyn Any + Send>>,
    pub(super) backtrace: Backtrace,
}

/// What went wrong.
///
/// ```
/// use burrow::panic::Kind;
/// let p = burrow::recover(|| panic!("boom")).unwrap_err();
/// match p.kind() {
///     Kind::Explicit => {}
///     Kind::Fault { vector, .. } => panic!("CPU exception {vector}"),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `panic!` and its relatives, also inside `core` (index out of bounds, `unwrap` of `None`, overflow).
    Explicit,
    /// A CPU exception of the goroutine.
    Fault {
        /// The exception's vector: 14 page fault, 13 general protection, 12 stack segment, 0 divide error.
        vector: u8,
        /// The CPU's error code.
        error: u32,
        /// The address that could not be accessed (page faults).
        addr: usize,
        /// The instruction that faulted.
        pc: usize,
    },
    /// The goroutine's stack is used up.
    StackOverflow {
        /// The goroutine.
        goid: u64,
        /// Its stack's size in bytes.
        size: usize,
    },
    /// An infallible allocation failed.
    OutOfMemory {
        /// Bytes asked for.
        size: usize,
    },
}

/// A panic's message.
///
/// ```
/// use burrow::panic::Message;
/// let p = burrow::recover(|| panic!("boom")).unwrap_err();
/// assert_eq!(p.message().as_str(), "boom"); // whichever of these it is
/// assert_eq!(Message::Kind.as_str(), "");
/// ```
pub enum Message {
    /// A literal.
    Static(&'static str),
    /// Formatted.
    Heap(String),
    /// Formatted with no memory left: cut off.
    Short(Short),
    /// Told by the [`Kind`] alone.
    Kind,
}

/// Text of bounded length, in a [`Message`]; what does not fit is cut at a character boundary.
pub struct Short {
    len: u8,
    bytes: [u8; Self::CAP],
}

impl Short {
    const CAP: usize = 95;

    pub(super) const fn new() -> Self {
        Short {
            len: 0,
            bytes: [0; Self::CAP],
        }
    }

    pub(super) fn as_str(&self) -> &str {
        self.bytes
            .get(..self.len as usize)
            .and_then(|b| core::str::from_utf8(b).ok())
            .unwrap_or("")
    }
}

impl Write for Short {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let have = self.len as usize;
        let n = s.floor_char_boundary(s.len().min(Self::CAP - have));
        self.bytes[have..have + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n as u8;
        if n < s.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A `String` that says so instead of aborting when it cannot grow.
struct Fallible(String);

impl Write for Fallible {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.try_reserve(s.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(s);
        Ok(())
    }
}

impl Message {
    /// Takes the message over, with whatever memory there is.
    pub(super) fn new(args: fmt::Arguments<'_>) -> Self {
        if let Some(s) = args.as_str() {
            return Message::Static(s);
        }
        let mut long = Fallible(String::new());
        if long.write_fmt(args).is_ok() {
            return Message::Heap(long.0);
        }
        let mut short = Short::new();
        let _ = short.write_fmt(args); // cut off: better than nothing
        Message::Short(short)
    }

    /// The text; empty if the [`Kind`] tells it.
    pub fn as_str(&self) -> &str {
        match self {
            Message::Static(s) => s,
            Message::Heap(s) => s,
            Message::Short(s) => s.as_str(),
            Message::Kind => "",
        }
    }
}

impl Panic {
    /// A panic of this goroutine with the given text.
    pub(super) fn new(kind: Kind, message: Message, location: Option<&'static Location<'static>>) -> Self {
        Panic {
            kind,
            message,
            location,
            goid: super::raise::goid(),
            payload: None,
            backtrace: Backtrace::EMPTY,
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message; faults tell theirs by [`Display`](fmt::Display).
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Where `panic!` stands in the source; `None` for faults.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.location
    }

    /// The goroutine that panicked.
    pub fn goid(&self) -> u64 {
        self.goid
    }

    /// The address of a fault.
    pub fn fault_addr(&self) -> Option<usize> {
        match self.kind {
            Kind::Fault { addr, .. } => Some(addr),
            _ => None,
        }
    }

    /// Who called whom when it happened.
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }

    /// The value given to [`panic_any`](super::panic_any).
    pub fn payload(&self) -> Option<&(dyn Any + Send)> {
        self.payload.as_deref()
    }

    /// Takes the value given to [`panic_any`](super::panic_any) out, if it is a `T`.
    ///
    /// ```
    /// let p = burrow::recover(|| burrow::panic_any(7_u32)).unwrap_err();
    /// assert_eq!(p.downcast::<u32>().ok(), Some(7));
    /// ```
    pub fn downcast<T: 'static>(mut self) -> Result<T, Panic> {
        match self.payload.take().map(|b| b.downcast::<T>()) {
            Some(Ok(v)) => Ok(*v),
            Some(Err(b)) => {
                self.payload = Some(b);
                Err(self)
            }
            None => Err(self),
        }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, self.kind) {
            (Message::Kind, kind) => kind.fmt(f),
            (m, _) => f.write_str(m.as_str()),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panic(\"{self}\", goroutine {}", self.goid)?;
        if let Some(l) = self.location {
            write!(f, ", {l}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kind::Explicit => f.write_str("explicit panic"),
            Kind::Fault { vector: 14, .. } => {
                f.write_str("runtime error: invalid memory address or nil pointer dereference")
            }
            Kind::Fault { vector: 0, .. } => f.write_str("runtime error: integer divide by zero"),
            Kind::Fault { vector: 12, .. } => f.write_str("runtime error: stack segment fault"),
            Kind::Fault { vector: 13, .. } => {
                f.write_str("runtime error: general protection fault (non-canonical address or bad operand)")
            }
            Kind::Fault { vector, .. } => write!(f, "runtime error: CPU exception {vector}"),
            Kind::StackOverflow { goid, size } => {
                write!(f, "stack overflow: goroutine {goid} exceeds {} KiB", size / 1024)
            }
            Kind::OutOfMemory { size } => {
                write!(f, "runtime error: out of memory: cannot allocate {size} bytes")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::panic::{Unwound, catch, goexit, panic_any, recover, resume_unwind};

    #[test]
    fn short_text_is_cut_at_a_character() {
        let mut s = Short::new();
        assert!(s.write_str(&"é".repeat(40)).is_ok());
        assert!(s.write_str(&"é".repeat(40)).is_err());
        assert_eq!(s.as_str(), "é".repeat(47));
    }

    #[test]
    fn literals_are_borrowed_and_others_boxed() {
        assert!(matches!(
            Message::new(format_args!("literal")),
            Message::Static("literal")
        ));
        let n = std::hint::black_box(7);
        assert!(matches!(Message::new(format_args!("n = {n}")), Message::Heap(s) if s == "n = 7"));
    }

    #[test]
    fn recover_passes_goexit_on() {
        let r = catch(|| {
            let _ = recover(|| goexit());
            unreachable!()
        });
        assert!(matches!(r, Err(Unwound::Goexit)));
    }

    #[test]
    fn payloads_travel() {
        let p = recover(|| panic_any(7_u32)).unwrap_err();
        assert_eq!(p.downcast::<u32>().ok(), Some(7));
        let p = recover(|| resume_unwind(recover(|| panic!("inner")).unwrap_err())).unwrap_err();
        assert_eq!(p.to_string(), "inner");
        assert!(p.downcast::<u64>().is_err());
    }

    #[test]
    fn defers_run_in_reverse_on_every_way_out() {
        let log = core::cell::RefCell::new(alloc::vec::Vec::new());
        let run = |leave: &dyn Fn()| {
            let _ = catch(|| {
                crate::defer! { log.borrow_mut().push(1) }
                crate::defer! { log.borrow_mut().push(2) }
                leave();
            });
        };
        run(&|| ());
        run(&|| panic!("leave"));
        run(&|| goexit());
        assert_eq!(*log.borrow(), [2, 1, 2, 1, 2, 1]);
    }
}
