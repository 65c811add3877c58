//! Starting goroutines on the host: a thread each.

use std::{fmt, panic::Location};

use super::current;
use crate::panic::{Unwound, catch};

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

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpawnError::OutOfMemory => "out of memory for a goroutine",
            SpawnError::StackTooLarge => "stack size above 1 GiB",
        })
    }
}

impl std::error::Error for SpawnError {}

/// How to start a goroutine; the host looks at little of it.
#[derive(Default)]
pub(crate) struct How<'a> {
    #[expect(dead_code, reason = "deadlock detection is the metal's")]
    pub(crate) system: bool,
    pub(crate) stack_size: Option<usize>,
    pub(crate) name: Option<&'a str>,
}

#[cfg(all(test, loom))]
std::thread_local! {
    /// How many starts from now on fail for want of memory. (A model has one thread of the host's.)
    pub(crate) static NO_MEMORY: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Starts a goroutine that runs `f` and returns its number. A panic that leaves it ends the program, as `go` says.
pub(crate) fn start<F: FnOnce() + Send>(
    f: F,
    how: How<'_>,
    _: &'static Location<'static>,
) -> Result<u64, SpawnError> {
    if how.stack_size.is_some_and(|n| n > 1 << 30) {
        return Err(SpawnError::StackTooLarge);
    }
    #[cfg(all(test, loom))]
    if NO_MEMORY.get() > 0 {
        NO_MEMORY.set(NO_MEMORY.get() - 1);
        return Err(SpawnError::OutOfMemory);
    }
    let run = move || {
        if let Err(Unwound::Panic(p)) = catch(f) {
            eprintln!("panic: {p}");
            std::process::exit(2);
        }
    };
    launch(Box::new(run), how)
}

/// SAFETY of the two below: as on metal, a goroutine's closure may borrow; `scope` joins before the borrow ends.
#[cfg(not(loom))]
fn launch<'a>(run: Box<dyn FnOnce() + Send + 'a>, how: How<'_>) -> Result<u64, SpawnError> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let run = move || {
        let _ = tell.send(current().id()); // nobody listens if the creator died
        run();
    };
    let mut b = std::thread::Builder::new();
    if let Some(n) = how.name {
        b = b.name(n.to_string());
    }
    // SAFETY: what the closure borrows outlives the goroutine: see above.
    unsafe { b.spawn_unchecked(run) }.map_err(|_| SpawnError::OutOfMemory)?;
    told.recv().map_err(|_| SpawnError::OutOfMemory)
}

#[cfg(loom)]
fn launch<'a>(run: Box<dyn FnOnce() + Send + 'a>, _: How<'_>) -> Result<u64, SpawnError> {
    // SAFETY: what the closure borrows outlives the goroutine: see above.
    let run = unsafe { core::mem::transmute::<Box<dyn FnOnce() + Send + 'a>, Box<dyn FnOnce() + Send>>(run) };
    loom::thread::spawn(run);
    Ok(current().id()) // models do not ask for ids
}
