//! `RwLock`: a value behind a [`RawRwLock`], and its guards.
//!
//! `raw_rwlock` has the protocol. Guards enter and strike out who reads (`reads`, in debug builds), so that a lock that would
//! wait for ever panics instead. A guard unlocks however it goes; nothing is poisoned.

use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use super::{
    RawRwLock,
    limit::{Limit, Patience},
    reads,
};
use crate::time::{Duration, Instant};

/// A value that many goroutines may read or one may write; the others park. A waiting writer goes before readers that
/// come after it.
///
/// Does not poison. Do not read-lock it twice in one goroutine: debug builds panic when that would wait for ever.
///
/// ```
/// use burrow::sync::RwLock;
/// let l = RwLock::new(vec![1]);
/// l.write().push(2);
/// let (a, b) = (l.read(), l.try_read().unwrap());
/// assert_eq!(a.len() + b.len(), 4);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    value: UnsafeCell<T>,
}

// SAFETY: readers share the value (`T: Sync`), one writer may take it out (`T: Send`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: owning the lock is owning the value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

impl<T> RwLock<T> {
    shim_const_fn! {
        /// A free lock around `value`.
        ///
        /// ```
        /// static ROUTES: burrow::sync::RwLock<Vec<&str>> = burrow::sync::RwLock::new(Vec::new());
        /// ROUTES.write().push("/");
        /// assert_eq!(ROUTES.read().len(), 1);
        /// ```
        pub fn new(value: T) -> Self {
            Self { raw: RawRwLock::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(burrow::sync::RwLock::new(5).into_inner(), 5);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    fn reader(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard {
            lock: self,
            _here: PhantomData,
        }
    }

    fn writer(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard {
            lock: self,
            _here: PhantomData,
        }
    }

    /// Locks for reading; waits while a writer has the lock or waits for it.
    ///
    /// # Panics
    /// In debug builds, if this goroutine reads already and a writer waits: it would wait for ever.
    ///
    /// ```
    /// let l = burrow::sync::RwLock::new(5);
    /// assert_eq!(*l.read(), 5);
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        crate::lock::might_sleep();
        self.raw.read();
        reads::begin(&self.raw);
        self.reader()
    }

    /// Locks for reading if that needs no waiting.
    ///
    /// ```
    /// let l = burrow::sync::RwLock::new(5);
    /// let w = l.write();
    /// assert!(l.try_read().is_none());
    /// # drop(w);
    /// ```
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.raw.try_read().then(|| {
            reads::begin(&self.raw);
            self.reader()
        })
    }

    /// Locks for writing; waits until the readers before it and other writers have left.
    ///
    /// # Panics
    /// In debug builds, if this goroutine holds it for reading: it would wait for ever.
    ///
    /// ```
    /// let l = burrow::sync::RwLock::new(5);
    /// *l.write() += 1;
    /// assert_eq!(*l.read(), 6);
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        crate::lock::might_sleep();
        if reads::TRACKED && reads::mine(&self.raw) {
            panic!("sync: deadlock: write lock of a RwLock that this goroutine holds for reading");
        }
        self.raw.write();
        self.raw.note_guard();
        self.writer()
    }

    /// Locks for writing if that needs no waiting.
    ///
    /// ```
    /// let l = burrow::sync::RwLock::new(5);
    /// let r = l.read();
    /// assert!(l.try_write().is_none());
    /// # drop(r);
    /// ```
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.raw.try_write().then(|| {
            self.raw.note_guard();
            self.writer()
        })
    }

    /// Locks for reading, waiting for at most `d`.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// ```
    /// use burrow::{sync::RwLock, time::Duration};
    /// let l = RwLock::new(5);
    /// let w = l.write();
    /// assert!(l.try_read_for(Duration::from_millis(1)).is_none());
    /// # drop(w);
    /// ```
    pub fn try_read_for(&self, d: Duration) -> Option<RwLockReadGuard<'_, T>> {
        self.read_within(Limit::after(d))
    }

    /// Locks for reading, waiting until `deadline` at most. See [`try_read_for`](Self::try_read_for).
    ///
    /// ```
    /// use burrow::{sync::RwLock, time::{Duration, Instant}};
    /// let l = RwLock::new(5);
    /// assert!(l.try_read_until(Instant::now() + Duration::from_millis(1)).is_some());
    /// ```
    pub fn try_read_until(&self, deadline: Instant) -> Option<RwLockReadGuard<'_, T>> {
        self.read_within(Limit::until(deadline))
    }

    pub(super) fn read_within(&self, patience: impl Patience) -> Option<RwLockReadGuard<'_, T>> {
        self.raw.read_within(patience).then(|| {
            reads::begin(&self.raw);
            self.reader()
        })
    }

    /// Locks for writing, waiting for at most `d`. New readers wait meanwhile, as for every writer; they go on if it gives
    /// up.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    ///
    /// ```
    /// use burrow::{sync::RwLock, time::Duration};
    /// let l = RwLock::new(5);
    /// let r = l.read();
    /// let theirs = burrow::scope(|s| {
    ///     s.spawn(|| l.try_write_for(Duration::from_millis(1)).is_some()).join().unwrap()
    /// });
    /// assert!(!theirs && l.try_read().is_some());
    /// # drop(r);
    /// ```
    pub fn try_write_for(&self, d: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        self.write_within(Limit::after(d))
    }

    /// Locks for writing, waiting until `deadline` at most. See [`try_write_for`](Self::try_write_for).
    ///
    /// ```
    /// use burrow::{sync::RwLock, time::{Duration, Instant}};
    /// let l = RwLock::new(5);
    /// let w = l.write();
    /// let theirs = burrow::scope(|s| s.spawn(|| l.try_write_until(Instant::now()).is_some()).join().unwrap());
    /// assert!(!theirs);
    /// # drop(w);
    /// ```
    pub fn try_write_until(&self, deadline: Instant) -> Option<RwLockWriteGuard<'_, T>> {
        self.write_within(Limit::until(deadline))
    }

    pub(super) fn write_within(&self, patience: impl Patience) -> Option<RwLockWriteGuard<'_, T>> {
        if reads::TRACKED && reads::mine(&self.raw) {
            panic!("sync: deadlock: write lock of a RwLock that this goroutine holds for reading");
        }
        self.raw.write_within(patience).then(|| {
            self.raw.note_guard();
            self.writer()
        })
    }

    /// The value without locking, given that nobody else can have it.
    ///
    /// ```
    /// let mut l = burrow::sync::RwLock::new(5);
    /// *l.get_mut() = 6;
    /// assert_eq!(l.into_inner(), 6);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Is anybody in? A hint.
    ///
    /// ```
    /// let l = burrow::sync::RwLock::new(5);
    /// assert!(!l.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(g) => f.debug_tuple("RwLock").field(&&*g).finish(),
            None => f.write_str("RwLock(<locked>)"),
        }
    }
}

/// Shared access to the value of a [`RwLock`]; a reader leaves when it is dropped.
///
/// ```
/// let l = burrow::sync::RwLock::new(5);
/// let (a, b) = (l.read(), l.try_read().unwrap()); // both at once
/// assert_eq!(*a + *b, 10);
/// ```
///
/// Nobody writes through it:
///
/// ```compile_fail,E0594
/// let l = burrow::sync::RwLock::new(5);
/// *l.read() = 6;
/// ```
#[must_use = "the lock is held only while the guard lives"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Stays with the goroutine that locked: `!Send`.
    _here: PhantomData<*const ()>,
}

/// Access to the value of a [`RwLock`] for one; the writer leaves when it is dropped.
///
/// ```
/// let l = burrow::sync::RwLock::new(5);
/// let mut w = l.write();
/// *w += 1;
/// drop(w); // unlocks
/// assert_eq!(*l.read(), 6);
/// ```
#[must_use = "the lock is held only while the guard lives"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Stays with the goroutine that locked: `!Send`.
    _here: PhantomData<*const ()>,
}

// SAFETY: a shared guard only gives `&T`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, without letting another writer in between.
    ///
    /// ```
    /// let l = burrow::sync::RwLock::new(1);
    /// let mut w = l.write();
    /// *w = 2;
    /// let r = burrow::sync::RwLockWriteGuard::downgrade(w);
    /// assert_eq!((*r, l.try_read().is_some()), (2, true));
    /// ```
    pub fn downgrade(this: Self) -> RwLockReadGuard<'a, T> {
        let lock = this.lock;
        core::mem::forget(this);
        reads::begin(&lock.raw);
        lock.raw.downgrade();
        lock.reader()
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock for reading: nobody writes.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock for writing.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock for writing, and is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        reads::end(&self.lock.raw);
        self.lock.raw.unlock_read();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock_write();
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
