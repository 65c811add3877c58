//! `Mutex`: a value behind a [`RawMutex`], and its guard.
//!
//! `raw_mutex` has the protocol. A guard unlocks however it goes, also when its holder unwinds; nothing is poisoned.

use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use super::{RawMutex, limit::Patience};
use crate::time::{Duration, Instant};

/// A value that one goroutine at a time may use; the others park.
///
/// Does not poison: if its holder panics, the guard unlocks on the way out.
///
/// ```
/// use burrow::sync::Mutex;
/// static TOTAL: Mutex<u64> = Mutex::new(0);
/// *TOTAL.lock() += 2;
/// assert_eq!(*TOTAL.lock(), 2);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: one goroutine at a time gets at the value.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: owning the mutex is owning the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    shim_const_fn! {
        /// An unlocked mutex around `value`.
        ///
        /// ```
        /// let m = burrow::sync::Mutex::new(7);
        /// assert_eq!(*m.lock(), 7);
        /// ```
        pub fn new(value: T) -> Self {
            Self { raw: RawMutex::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(burrow::sync::Mutex::new("a").into_inner(), "a");
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks; waits until it can. The guard unlocks.
    ///
    /// ```
    /// let m = burrow::sync::Mutex::new(vec![1]);
    /// m.lock().push(2);
    /// let guard = m.lock();
    /// assert!(guard.len() == 2 && m.try_lock().is_none());
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.raw.lock();
        self.raw.note_guard();
        MutexGuard {
            mutex: self,
            _here: PhantomData,
        }
    }

    /// Locks if that needs no waiting.
    ///
    /// ```
    /// let m = burrow::sync::Mutex::new(1);
    /// let guard = m.try_lock().unwrap();
    /// assert!(m.try_lock().is_none());
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_lock().then(|| {
            self.raw.note_guard();
            MutexGuard {
                mutex: self,
                _here: PhantomData,
            }
        })
    }

    fn locked(&self, ours: bool) -> Option<MutexGuard<'_, T>> {
        ours.then(|| {
            self.raw.note_guard();
            MutexGuard {
                mutex: self,
                _here: PhantomData,
            }
        })
    }

    /// Locks, waiting for at most `d`. A mutex that is handed over at that moment is returned, not lost.
    ///
    /// ```
    /// use burrow::{sync::Mutex, time::Duration};
    /// let m = Mutex::new(1);
    /// let guard = m.lock();
    /// assert!(m.try_lock_for(Duration::from_millis(1)).is_none());
    /// drop(guard);
    /// assert!(m.try_lock_for(Duration::from_millis(1)).is_some());
    /// ```
    pub fn try_lock_for(&self, d: Duration) -> Option<MutexGuard<'_, T>> {
        self.locked(self.raw.try_lock_for(d))
    }

    /// Locks, waiting until `deadline` at most.
    ///
    /// ```
    /// use burrow::{sync::Mutex, time::{Duration, Instant}};
    /// let m = Mutex::new(1);
    /// let guard = m.lock();
    /// assert!(m.try_lock_until(Instant::now() + Duration::from_millis(1)).is_none());
    /// # drop(guard);
    /// ```
    pub fn try_lock_until(&self, deadline: Instant) -> Option<MutexGuard<'_, T>> {
        self.locked(self.raw.try_lock_until(deadline))
    }

    /// Locks, unless the patience ends first.
    pub(super) fn lock_within(&self, patience: impl Patience) -> Option<MutexGuard<'_, T>> {
        self.locked(self.raw.lock_within(patience))
    }

    /// The value without locking, given that nobody else can have it.
    ///
    /// ```
    /// let mut m = burrow::sync::Mutex::new(1);
    /// *m.get_mut() = 2; // nobody else has it
    /// assert_eq!(m.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Is it locked now? A hint.
    ///
    /// ```
    /// let m = burrow::sync::Mutex::new(());
    /// assert!(!m.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(g) => f.debug_tuple("Mutex").field(&&*g).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// Access to the value of a [`Mutex`]; unlocks when dropped.
///
/// ```
/// let m = burrow::sync::Mutex::new(1);
/// let mut guard = m.lock();
/// *guard += 1;
/// drop(guard); // unlocks
/// assert!(!m.is_locked());
/// ```
///
/// It unlocks once, and where it was locked:
///
/// ```compile_fail,E0382
/// let m = burrow::sync::Mutex::new(1);
/// let guard = m.lock();
/// drop(guard);
/// drop(guard);
/// ```
///
/// ```compile_fail,E0277
/// let m = burrow::sync::Mutex::new(1);
/// burrow::scope(|s| {
///     let guard = m.lock();
///     s.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "the mutex is locked only while the guard lives"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Stays with the goroutine that locked, as std's does: `!Send`.
    _here: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex it unlocks.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

// SAFETY: a shared guard only gives `&T`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
