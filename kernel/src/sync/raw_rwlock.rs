//! `RawRwLock`: many readers or one writer; a waiting writer blocks new readers. What [`RwLock`](super::RwLock) is
//! made of.
//!
//! | field | meaning |
//! | --- | --- |
//! | `word` | who is in, who waits: see `rwlock_word`, which has every step |
//! | `writers` | a mutex: one writer at a time gets as far as announcing itself |
//! | `read_sema`, `write_sema` | where readers wait for the writer to leave, where the writer waits for readers |
//!
//! ```text
//!  read    enter ─ no writer: in.          a writer is here or waits: queue, sleep on read_sema
//!  unread  leave ─ the last one before a waiting writer wakes it
//!  write   lock writers ─ announce ─ nobody is in: has it.  else sleep on write_sema
//!  unwrite release ─ wake all readers that wait ─ unlock writers
//! ```
//! A reader pays one addition on the way in and one on the way out. The writer's announcement splits the readers
//! exactly: it waits for those who came before, those who come after wait for it.
//!
//! Neither side starves: a writer waits for those before it only, and the readers that came meanwhile go before the
//! next writer. The price is that *a goroutine must not read-lock again what it has read-locked*: a writer that came
//! in between waits for the first lock, the second waits for the writer. Debug builds keep the list of who
//! reads what (`reads`) and panic there; a program that stops in it says so (`cycle`).
//!
//! **Waiting for a while** (`limit`). Who may give up waits like everybody else, in the same queues: a writer stops new
//! readers from its announcement on. One that gives up takes its announcement back, and the readers who came after it
//! are in at that moment; a reader that gives up is not counted any more. Either may find that its permit
//! is already on its way, a few instructions of another goroutine from here: then it yields until it has it, and goes on with
//! the lock, late as it is.
//!
//! Memory ordering: see `rwlock_word`. Sleepers are ordered by the semaphore.
#![forbid(unsafe_code)]

use core::fmt;

use super::{
    RawMutex,
    limit::{Forever, Limit, Patience},
    reads,
    rwlock_word::{Left, Word},
    sema, stats,
};
use crate::{
    sched::{self, WaitReason},
    shim::AtomicU32,
    time::{Duration, Instant},
};

/// A reader-writer lock without data and guards.
///
/// ```
/// let l = burrow::sync::RawRwLock::new();
/// l.read();
/// assert!(l.try_read() && !l.try_write());
/// l.unlock_read();
/// l.unlock_read();
/// l.write();
/// assert!(!l.try_read());
/// l.unlock_write();
/// ```
pub struct RawRwLock {
    word: Word,
    read_sema: AtomicU32,
    write_sema: AtomicU32,
    writers: RawMutex,
}

impl RawRwLock {
    shim_const_fn! {
        /// A free lock.
        ///
        /// ```
        /// static LOCK: burrow::sync::RawRwLock = burrow::sync::RawRwLock::new();
        /// assert!(!LOCK.is_locked());
        /// ```
        pub fn new() -> Self {
            Self {
                word: Word::new(),
                read_sema: AtomicU32::new(0),
                write_sema: AtomicU32::new(0),
                writers: RawMutex::new(),
            }
        }
    }

    /// Locks for reading; waits while a writer has the lock or waits for it.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(l.try_read() && !l.try_write());
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) {
        crate::lock::might_sleep();
        if !self.word.enter() {
            self.read_slow(Forever);
        }
    }

    /// `false`: the patience ended.
    #[cold]
    #[inline(never)]
    fn read_slow<P: Patience>(&self, patience: P) -> bool {
        if reads::TRACKED && self.word.has_patient_writer() && reads::mine(self) {
            self.unlock_read(); // it was counted
            panic!("sync: deadlock: recursive read lock of a RwLock that a writer waits for");
        }
        match self.word.queue() {
            None => return true,
            Some(true) => self.wake_writer(),
            Some(false) => {}
        }
        stats::bump(&stats::RW_READ_SLEEPS);
        let owner = Some(self.writers.owner());
        // not a spin: once, or until a permit that is on its way is here
        while !patience.acquire(&self.read_sema, WaitReason::RwLockRead, owner) {
            if self.word.unqueue() {
                return false;
            }
            sched::yield_now();
        }
        true
    }

    /// Locks for reading if that needs no waiting.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.write();
    /// assert!(!l.try_read());
    /// ```
    #[inline]
    pub fn try_read(&self) -> bool {
        self.word.try_enter()
    }

    /// A reader leaves; any goroutine may do it.
    ///
    /// # Fatal errors
    /// If there is no reader: the program ends.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// l.unlock_read();
    /// assert!(l.try_write());
    /// ```
    #[inline]
    pub fn unlock_read(&self) {
        match self.word.leave() {
            Left::Out => {}
            Left::Last => self.wake_writer(),
            Left::Nobody => crate::panic::fatal("sync: unlock_read of unlocked RwLock"),
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_writer(&self) {
        sema::release(&self.write_sema, false);
    }

    /// Locks for writing; waits until the readers before it and other writers have left.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.write();
    /// assert!(l.has_writer() && !l.try_read());
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write(&self) {
        crate::lock::might_sleep();
        self.writers.lock();
        self.write_alone(Forever);
    }

    /// Writers are locked: waits for the readers that came before. `false`: the patience ended.
    fn write_alone<P: Patience>(&self, patience: P) -> bool {
        if self.word.try_write() {
            return true;
        }
        if patience.over() {
            return false;
        }
        if self.word.announce(P::ENDS) {
            return true;
        }
        stats::bump(&stats::RW_WRITE_SLEEPS);
        // not a spin: once, or until a permit that is on its way is here
        while !patience.acquire(&self.write_sema, WaitReason::RwLockWrite, None) {
            if let Some(readers) = self.word.retract() {
                self.wake_readers(readers);
                return false;
            }
            sched::yield_now();
        }
        true
    }

    fn wake_readers(&self, n: u64) {
        for _ in 0..n {
            sema::release(&self.read_sema, false);
        }
    }

    /// For reports: the writer is a guard.
    #[inline(always)]
    pub(super) fn note_guard(&self) {
        self.writers.note_guard();
    }

    /// Locks for writing, unless the patience ends first: `false`.
    pub(super) fn write_within(&self, patience: impl Patience) -> bool {
        if !self.writers.lock_within(patience) {
            return false;
        }
        let ours = self.write_alone(patience);
        if !ours {
            self.writers.unlock();
        }
        ours
    }

    /// Locks for reading, unless the patience ends first: `false`.
    pub(super) fn read_within(&self, patience: impl Patience) -> bool {
        self.try_read() || !patience.over() && (self.word.enter() || self.read_slow(patience))
    }

    /// Locks for reading if it can within `d`.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.write();
    /// assert!(!l.try_read_for(burrow::time::Duration::from_millis(1)));
    /// ```
    pub fn try_read_for(&self, d: Duration) -> bool {
        self.read_within(Limit::after(d))
    }

    /// Locks for reading if it can before `deadline`.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// assert!(l.try_read_until(burrow::time::Instant::now())); // it is free
    /// ```
    pub fn try_read_until(&self, deadline: Instant) -> bool {
        self.read_within(Limit::until(deadline))
    }

    /// Locks for writing if it can within `d`. New readers are stopped meanwhile; they go on if it cannot.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(!l.try_write_for(burrow::time::Duration::from_millis(1)));
    /// assert!(l.try_read());
    /// ```
    pub fn try_write_for(&self, d: Duration) -> bool {
        self.write_within(Limit::after(d))
    }

    /// Locks for writing if it can before `deadline`.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// assert!(l.try_write_until(burrow::time::Instant::now())); // it is free
    /// ```
    pub fn try_write_until(&self, deadline: Instant) -> bool {
        self.write_within(Limit::until(deadline))
    }

    /// Locks for writing if that needs no waiting.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(!l.try_write());
    /// ```
    pub fn try_write(&self) -> bool {
        if !self.writers.try_lock() {
            return false;
        }
        let free = self.word.try_write();
        if !free {
            self.writers.unlock();
        }
        free
    }

    /// The writer leaves; any goroutine may do it.
    ///
    /// # Fatal errors
    /// If there is no writer: the program ends.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.write();
    /// l.unlock_write();
    /// assert!(l.try_read());
    /// ```
    pub fn unlock_write(&self) {
        let Some(n) = self.word.release(false) else {
            crate::panic::fatal("sync: unlock_write of unlocked RwLock");
        };
        self.wake_readers(n);
        self.writers.unlock();
    }

    /// The writer stays, as a reader.
    ///
    /// # Fatal errors
    /// If there is no writer: the program ends.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.write();
    /// l.downgrade();
    /// assert!(l.try_read() && !l.try_write());
    /// ```
    pub fn downgrade(&self) {
        let Some(n) = self.word.release(true) else {
            crate::panic::fatal("sync: downgrade of unlocked RwLock");
        };
        self.wake_readers(n);
        self.writers.unlock();
    }

    /// Nobody has it, waits for it, or is on the way; no permit is left over.
    #[cfg(loom)]
    pub(super) fn is_pristine(&self) -> bool {
        let free = |w: &AtomicU32| w.load(crate::shim::Ordering::Relaxed) == 0;
        self.word.is_free() && free(&self.read_sema) && free(&self.write_sema) && self.writers.is_pristine()
    }

    /// Is anybody in? A hint.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(l.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        !self.word.is_free()
    }

    /// Is a writer in, or waiting for readers to leave? A hint.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(!l.has_writer());
    /// ```
    pub fn has_writer(&self) -> bool {
        self.word.has_writer()
    }
}

impl Default for RawRwLock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RawRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.has_writer(), self.is_locked()) {
            (true, _) => "RawRwLock(writer)",
            (_, true) => "RawRwLock(readers)",
            _ => "RawRwLock(free)",
        })
    }
}
