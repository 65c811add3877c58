//! `recover`: run a closure, get its panic as a value. And the ways to panic that are not `panic!`.

use alloc::boxed::Box;
use core::{any::Any, panic::Location};

use super::{Kind, Panic, Unwound, payload::Message, raise};

/// Runs `f` and returns what it returns, or the panic that left it.
///
/// Frames between the panic and here have dropped their locals and run their `defer!`s. CPU exceptions of
/// the goroutine (null pointer, stack overflow) come back the same way. `goexit` does not: it passes.
///
/// ```
/// let sum = burrow::recover(|| [1, 2, 3].iter().sum::<i32>());
/// assert_eq!(sum.unwrap(), 6);
/// let p = burrow::recover(|| None::<u8>.unwrap()).unwrap_err();
/// assert!(p.to_string().contains("None"));
/// ```
pub fn recover<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    match super::catch(f) {
        Ok(v) => Ok(v),
        Err(Unwound::Panic(p)) => Err(p),
        Err(Unwound::Goexit) => raise::throw(Unwound::Goexit),
    }
}

/// Goes on with a panic that was caught.
///
/// ```
/// let p = burrow::recover(|| {
///     let p = burrow::recover(|| panic!("inner")).unwrap_err();
///     burrow::panic::resume_unwind(p)
/// });
/// assert_eq!(p.unwrap_err().to_string(), "inner");
/// ```
pub fn resume_unwind(p: Panic) -> ! {
    raise::throw(Unwound::Panic(p))
}

/// Panics with any value; [`Panic::downcast`] gets it back.
///
/// ```
/// let p = burrow::recover(|| burrow::panic_any(7_u32)).unwrap_err();
/// assert!(p.payload().is_some_and(|v| v.downcast_ref::<u32>() == Some(&7)));
/// ```
#[track_caller]
#[inline(never)]
pub fn panic_any<T: Any + Send>(value: T) -> ! {
    let message = match (&value as &dyn Any).downcast_ref::<&'static str>() {
        Some(s) => Message::Static(s),
        None => Message::Static(core::any::type_name::<T>()),
    };
    let mut p = Panic::new(Kind::Explicit, message, Some(Location::caller()));
    p.payload = Some(Box::new(value));
    raise::throw(Unwound::Panic(raise::with_backtrace(
        p,
        panic_any::<T> as *const () as usize,
    )))
}
