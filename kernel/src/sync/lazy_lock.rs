//! `LazyLock`: a value made when it is first used. What a Go program does with `sync.OnceValue`.
//!
//! A [`Once`] around a cell that holds the initializer, then the value. One goroutine takes the initializer out and puts
//! the value in while it runs the `Once`; everybody else reads after it is done. As in std, an initializer that
//! panics is not tried again: it is gone, and using the value panics for ever after.

use core::{cell::UnsafeCell, fmt, ops::Deref};

use super::Once;

enum State<T, F> {
    Init(F),
    /// Being made, or the initializer panicked.
    Gone,
    Ready(T),
}

/// A value that its first user makes.
///
/// ```
/// use burrow::sync::LazyLock;
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|x| x * x).collect());
/// assert_eq!(SQUARES[3], 9);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    state: UnsafeCell<State<T, F>>,
}

// SAFETY: one goroutine moves the initializer out and the value in (`F: Send`, `T: Send`), all read (`T: Sync`).
unsafe impl<T: Send + Sync, F: Send> Sync for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    shim_const_fn! {
        /// A value that `init` will make.
        ///
        /// ```
        /// let lazy = burrow::sync::LazyLock::new(|| 6 * 7);
        /// assert_eq!(*lazy, 42);
        /// ```
        pub fn new(init: F) -> Self {
            Self { once: Once::new(), state: UnsafeCell::new(State::Init(init)) }
        }
    }

    /// The value; makes it if nobody has, waits if somebody is making it.
    ///
    /// # Panics
    /// If the initializer panics, did so earlier, or uses the value itself.
    ///
    /// ```
    /// use burrow::sync::LazyLock;
    /// let lazy = LazyLock::new(|| 6 * 7);
    /// assert_eq!(LazyLock::force(&lazy), &42);
    /// ```
    #[inline]
    pub fn force(this: &Self) -> &T {
        this.once.call_once(|| {
            // SAFETY: one goroutine ever runs this, before the `Once` is done; nobody else looks before.
            let init = unsafe { this.state.get().replace(State::Gone) };
            if let State::Init(f) = init {
                let ready = State::Ready(f());
                // SAFETY: as above. What is replaced is `Gone`.
                unsafe { *this.state.get() = ready };
            }
        });
        // SAFETY: done: nobody writes any more.
        match unsafe { &*this.state.get() } {
            State::Ready(v) => v,
            _ => poisoned(),
        }
    }
}

#[cold]
fn poisoned() -> ! {
    panic!("LazyLock: the initializer panicked earlier")
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: looked at only if done: nobody writes any more.
        match self.once.is_done().then(|| unsafe { &*self.state.get() }) {
            Some(State::Ready(v)) => f.debug_tuple("LazyLock").field(v).finish(),
            Some(_) => f.write_str("LazyLock(<poisoned>)"),
            None => f.write_str("LazyLock(<not made>)"),
        }
    }
}
