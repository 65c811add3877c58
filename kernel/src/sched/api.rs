//! What users call to start goroutines: `go`, `spawn`, `Builder`. (`join` has the handles, `scope` what may borrow.)
//!
//! `go` is Go's statement: a panic that leaves the goroutine ends the program. `spawn` is std's: the panic
//! is the result of `join`. Both store the closure on the new goroutine's stack; `spawn` adds one shared
//! packet for the result.

use alloc::{string::String, sync::Arc};
use core::panic::Location;

use super::{
    JoinHandle, SpawnError,
    join::Packet,
    spawn::{self, How},
};
use crate::panic::catch;

/// Starts `f` as a goroutine.
///
/// An unrecovered panic in it ends the whole program with exit code 2, as in Go; use [`spawn`](fn@spawn) to
/// contain panics. Does not block.
///
/// # Panics
/// If there is no memory for another goroutine.
///
/// ```
/// let ch = burrow::chan::<u32>(0);
/// let tx = ch.sender();
/// burrow::go(move || tx.send(42));
/// assert_eq!(ch.recv(), Some(42));
/// ```
#[track_caller]
#[inline]
pub fn go<F: FnOnce() + Send + 'static>(f: F) {
    if let Err(e) = spawn::start(f, How::default(), Location::caller()) {
        panic!("go: {e}");
    }
}

/// Starts one of the runtime's own goroutines: it does not count for deadlock detection.
#[track_caller]
pub(crate) fn go_system<F: FnOnce() + Send + 'static>(name: &str, f: F) {
    let how = How {
        system: true,
        name: Some(name),
        ..How::default()
    };
    if let Err(e) = spawn::start(f, how, Location::caller()) {
        panic!("go: {e}");
    }
}

/// Starts a goroutine that calls `run(arg)`. Also on g0, for timers; drops nothing if it fails.
///
/// # Errors
/// If there is no memory for another goroutine; then `run` is never called.
///
/// # Safety
/// 1. `run(arg)` may be called once, on any core.
pub(crate) unsafe fn go_raw(
    run: unsafe fn(*mut ()),
    arg: *mut (),
    at: &'static Location<'static>,
) -> Result<(), SpawnError> {
    struct Arg(*mut ());
    // SAFETY: 1.
    unsafe impl Send for Arg {}
    let arg = Arg(arg);
    let body = move || {
        let arg = arg; // all of it, not its field
        // SAFETY: 1.
        unsafe { run(arg.0) }
    };
    spawn::start(body, How::default(), at).map(|_| ())
}

/// Starts `f` as a goroutine whose result, or panic, [`JoinHandle::join`] returns.
///
/// Dropping the handle detaches the goroutine. Does not block.
///
/// # Panics
/// If there is no memory for another goroutine.
///
/// ```
/// let h = burrow::spawn(|| 6 * 7);
/// assert_eq!(h.join().unwrap(), 42);
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(f: F) -> JoinHandle<T> {
    match Builder::new().spawn(f) {
        Ok(h) => h,
        Err(e) => panic!("spawn: {e}"),
    }
}

/// Starts goroutines with a name or a stack size of their own.
///
/// ```
/// let h = burrow::Builder::new().name("worker").stack_size(1 << 20).spawn(|| 1).unwrap();
/// assert_eq!(h.join().unwrap(), 1);
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder starts nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No name, the default stack (256 KiB).
    ///
    /// ```
    /// assert!(burrow::Builder::new().spawn(|| 1).is_ok());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The name shown in dumps and traces; what is beyond 32 bytes is cut off.
    ///
    /// ```
    /// let h = burrow::Builder::new().name("worker").spawn(|| ()).unwrap();
    /// h.join().unwrap();
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The stack's size limit in bytes, up to 1 GiB; below 256 KiB it is 256 KiB. Only touched pages take
    /// memory, and page tables for all of it (2 MiB for 1 GiB).
    ///
    /// ```
    /// let h = burrow::Builder::new().stack_size(1 << 20).spawn(|| [0_u8; 300_000].len()).unwrap();
    /// assert_eq!(h.join().unwrap(), 300_000);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts the goroutine.
    ///
    /// # Errors
    /// [`SpawnError`] if there is no memory for it or the stack size is above 1 GiB.
    ///
    /// ```
    /// let h = burrow::Builder::new().spawn(|| 6 * 7).unwrap();
    /// assert_eq!(h.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        self,
        f: F,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let packet = Arc::try_new(Packet::new(None)).map_err(|_| SpawnError::OutOfMemory)?;
        let theirs = packet.clone();
        let how = How {
            system: false,
            stack_size: self.stack_size,
            name: self.name.as_deref(),
        };
        let id = spawn::start(move || theirs.fill(catch(f)), how, Location::caller())?;
        Ok(JoinHandle::new(packet, id))
    }
}
