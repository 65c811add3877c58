//! `OnceLock`: a value that is set one time, and read for nothing afterwards.
//!
//! A [`Once`] and a cell. The cell is written by the one goroutine that runs the `Once`, before it is done, and only
//! read once it is done: the `Once` orders the two. An initializer that panics or fails leaves the cell empty and the
//! next caller tries.

use core::{cell::UnsafeCell, convert::Infallible, fmt, marker::PhantomData, mem::MaybeUninit};

use super::Once;

/// A cell that is written at most once.
///
/// ```
/// use burrow::sync::OnceLock;
/// static NAME: OnceLock<String> = OnceLock::new();
/// assert_eq!(NAME.get(), None);
/// assert_eq!(NAME.get_or_init(|| "burrow".into()), "burrow");
/// assert_eq!(NAME.set("warren".into()), Err("warren".to_string()));
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<MaybeUninit<T>>,
    _owns: PhantomData<T>,
}

// SAFETY: one goroutine writes (the value moves there: `Send`), all read (`Sync`).
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}
// SAFETY: owning the cell is owning the value.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T> OnceLock<T> {
    shim_const_fn! {
        /// An empty cell.
        ///
        /// ```
        /// static PATH: burrow::sync::OnceLock<String> = burrow::sync::OnceLock::new();
        /// assert!(PATH.get().is_none());
        /// ```
        pub fn new() -> Self {
            Self { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()), _owns: PhantomData }
        }
    }

    /// The value, if it is there. Does not wait.
    ///
    /// ```
    /// let cell = burrow::sync::OnceLock::from(1);
    /// assert_eq!(cell.get(), Some(&1));
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: done, so the cell is written and nobody writes again.
        self.once
            .is_done()
            .then(|| unsafe { &*self.value.get().cast::<T>() })
    }

    /// The value, if it is there, given that nobody else can have it.
    ///
    /// ```
    /// let mut cell = burrow::sync::OnceLock::from(1);
    /// *cell.get_mut().unwrap() += 1;
    /// assert_eq!(cell.get(), Some(&2));
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: as in `get`, and borrowed mutably.
        self.once
            .is_done()
            .then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Sets the value, if there is none. Waits if another goroutine is just about to.
    ///
    /// # Errors
    /// The value back, if there was one already.
    ///
    /// ```
    /// let cell = burrow::sync::OnceLock::new();
    /// assert_eq!((cell.set(1), cell.set(2)), (Ok(()), Err(2)));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; if there is none, `f` makes it, or the `f` of whoever came first: then this waits for it. If `f`
    /// panics there is still none, and the next caller's `f` is tried.
    ///
    /// # Panics
    /// If `f` asks for the same value, which would wait for itself.
    ///
    /// ```
    /// let cell = burrow::sync::OnceLock::new();
    /// assert!(burrow::recover(|| { cell.get_or_init(|| panic!("fails")); }).is_err());
    /// assert_eq!(cell.get_or_init(|| 2), &2);
    /// ```
    #[inline]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        match self.get_or_try_init(|| Ok::<_, Infallible>(f())) {
            Ok(v) => v,
        }
    }

    /// As [`get_or_init`](Self::get_or_init) with an `f` that may fail; then there is still none.
    ///
    /// # Errors
    /// That of `f`, if it was called and failed.
    ///
    /// ```
    /// let port = burrow::sync::OnceLock::new();
    /// assert!(port.get_or_try_init(|| "x".parse::<u16>()).is_err());
    /// assert_eq!(port.get_or_try_init(|| "80".parse::<u16>()), Ok(&80));
    /// ```
    #[inline]
    pub fn get_or_try_init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        match self.get() {
            Some(v) => Ok(v),
            None => self.init(f),
        }
    }

    #[cold]
    #[inline(never)]
    fn init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let mut failed = None;
        self.once.try_call(|| match f() {
            Ok(v) => {
                // SAFETY: one goroutine at a time runs this, and only while the value is not there.
                unsafe { self.value.get().cast::<T>().write(v) };
                true
            }
            Err(e) => {
                failed = Some(e);
                false
            }
        });
        match failed {
            Some(e) => Err(e),
            // SAFETY: `try_call` returned without a failure of ours, so it is done.
            None => Ok(unsafe { &*self.value.get().cast::<T>() }),
        }
    }

    /// Takes the value out and leaves the cell empty.
    ///
    /// ```
    /// let mut cell = burrow::sync::OnceLock::from(1);
    /// assert_eq!((cell.take(), cell.take()), (Some(1), None));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_done() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: it was written, and from now on the cell counts as empty.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(burrow::sync::OnceLock::from(1).into_inner(), Some(1));
    /// ```
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let cell = Self::new();
        let _ = cell.set(value); // it is empty
        cell
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().map_or_else(Self::new, |v| v.clone().into())
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(v) => f.debug_tuple("OnceLock").field(v).finish(),
            None => f.write_str("OnceLock(<empty>)"),
        }
    }
}
