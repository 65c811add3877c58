//! `RawRwLock`: many readers or one writer; a waiting writer blocks new readers. What [`RwLock`](super::RwLock) is
//! made of.
//!
//! | word | meaning |
//! | --- | --- |
//! | `readers` | readers that hold the lock or wait for it; minus `WRITER` while a writer has announced itself |
//! | `leaving` | readers that the announced writer still waits for (negative for moments: see below) |
//! | `writers` | a mutex: one writer at a time gets as far as announcing itself |
//! | `read_sema`, `write_sema` | where readers wait for the writer to leave, where the writer waits for readers |
//!
//! ```text
//!  read    readers+1 ─ not negative: in.  negative: a writer is here or waits, so sleep on read_sema
//!  unread  readers-1 ─ not negative: out. negative: leaving-1, and whoever makes it 0 wakes the writer
//!  write   lock writers ─ readers-WRITER ─ there were n: leaving+n; not 0: sleep on write_sema
//!  unwrite readers+WRITER ─ there are n: they wait; wake n ─ unlock writers
//! ```
//! A reader pays one addition on the way in and one on the way out. The writer's announcement splits the readers
//! exactly: those who came before are the `n` it got back, those who come after see a negative count and sleep. Of the
//! `n`, some may leave before the writer has added `n` to `leaving`, which is then negative for a moment; whoever
//! brings it to 0 (a reader: wakes the writer; the writer itself: does not sleep) sees so in one modification order
//! of one word, so the writer is woken exactly once or does not sleep.
//!
//! Neither side starves: a writer waits for those before it only, and the readers that came meanwhile go before the
//! next writer. The price is that *a goroutine must not read-lock again what it has read-locked*: a writer that came
//! in between waits for the first lock, the second waits for the writer. Debug builds keep the list of who
//! reads what (`reads`) and panic there; a program that stops in it says so (`cycle`).
//!
//! **Waiting for a while** (`limit`). Who may give up does not announce itself, for an announcement cannot be taken back
//! exactly: `readers` does not tell those who read from those who came after it. It takes `writers`, within its limit; while
//! it holds that, no writer is announced. A reader then comes in by `readers+1` and lets `writers` go. A writer keeps it, and
//! looks now and then whether nobody reads; new readers are not stopped meanwhile. (Refused: counting arrivals in a
//! second half of `readers`, so that an announcement can be taken back. It costs every reader two instructions.)
//!
//! Memory ordering: a reader's way in is Acquire and pairs with the Release of the writer's way out, on `readers`.
//! A reader's way out is Release; the writer meets it on `readers` (its announcement is AcqRel and reads what all
//! readers before it wrote there) or on `leaving` (AcqRel on both sides). Sleepers are ordered by the semaphore.
#![forbid(unsafe_code)]

use core::fmt;

use super::{
    RawMutex,
    limit::{Limit, Patience},
    reads, sema, stats,
};
use crate::{
    sched::WaitReason,
    shim::{AtomicU32, Ordering},
    time::{self, Duration, Instant},
};

/// How often a writer that may give up looks whether the readers have left.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// More than there can be readers.
const WRITER: u32 = 1 << 30;

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
    readers: AtomicU32,
    leaving: AtomicU32,
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
                readers: AtomicU32::new(0),
                leaving: AtomicU32::new(0),
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
        // Acquire: pairs with the Release in `unlock_write`.
        if (self.readers.fetch_add(1, Ordering::Acquire).wrapping_add(1) as i32) < 0 {
            self.read_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&self) {
        if reads::TRACKED && reads::mine(self) {
            // The writer waits for us, so it does not leave meanwhile and counts on nobody's sleep.
            self.readers.fetch_sub(1, Ordering::Relaxed);
            panic!("sync: deadlock: recursive read lock of a RwLock that a writer waits for");
        }
        stats::bump(&stats::RW_READ_SLEEPS);
        sema::acquire_of(
            &self.read_sema,
            false,
            WaitReason::RwLockRead,
            Some(self.writers.owner()),
        );
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
        let mut n = self.readers.load(Ordering::Relaxed);
        while n as i32 >= 0 {
            // Acquire: pairs with the Release in `unlock_write`.
            match self
                .readers
                .compare_exchange_weak(n, n + 1, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => n = now,
            }
        }
        false
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
        // Release: pairs with the AcqRel announcement in `write`.
        let left = self.readers.fetch_sub(1, Ordering::Release).wrapping_sub(1);
        if (left as i32) < 0 {
            self.unlock_read_slow(left);
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_read_slow(&self, left: u32) {
        let before = left.wrapping_add(1);
        if before == 0 || before == WRITER.wrapping_neg() {
            crate::panic::fatal("sync: unlock_read of unlocked RwLock");
        }
        // AcqRel: what the readers before us did passes through us to the writer.
        if self.leaving.fetch_sub(1, Ordering::AcqRel) == 1 {
            sema::release(&self.write_sema, false);
        }
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
        // AcqRel: Acquire pairs with the Release in `unlock_read`.
        let n = self.readers.fetch_sub(WRITER, Ordering::AcqRel);
        if n != 0 && self.leaving.fetch_add(n, Ordering::AcqRel).wrapping_add(n) != 0 {
            stats::bump(&stats::RW_WRITE_SLEEPS);
            sema::acquire(&self.write_sema, false, WaitReason::RwLockWrite);
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
        // Acquire: pairs with the Release in `unlock_read`.
        while self
            .readers
            .compare_exchange(0, WRITER.wrapping_neg(), Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            if patience.over() {
                self.writers.unlock();
                return false;
            }
            time::sleep(LOOK_EVERY); // not a spin
        }
        true
    }

    /// Locks for reading, unless the patience ends first: `false`.
    pub(super) fn read_within(&self, patience: impl Patience) -> bool {
        if self.try_read() {
            return true;
        }
        if reads::TRACKED && self.has_writer() && reads::mine(self) {
            panic!("sync: deadlock: recursive read lock of a RwLock that a writer waits for");
        }
        stats::bump(&stats::RW_READ_SLEEPS);
        if !self.writers.lock_within(patience) {
            return false;
        }
        // Relaxed: the writer before us wrote what it wrote before it unlocked `writers`.
        self.readers.fetch_add(1, Ordering::Relaxed);
        self.writers.unlock();
        true
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

    /// Locks for writing if it can within `d`. New readers are not stopped meanwhile.
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
        // Acquire: pairs with the Release in `unlock_read`.
        let free = self
            .readers
            .compare_exchange(0, WRITER.wrapping_neg(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
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
        // Release: pairs with the Acquire in `read` and `try_read`.
        let n = self
            .readers
            .fetch_add(WRITER, Ordering::Release)
            .wrapping_add(WRITER);
        if n >= WRITER {
            crate::panic::fatal("sync: unlock_write of unlocked RwLock");
        }
        for _ in 0..n {
            sema::release(&self.read_sema, false);
        }
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
        // Release: pairs with the Acquire in `read` and `try_read`.
        let n = self
            .readers
            .fetch_add(WRITER + 1, Ordering::Release)
            .wrapping_add(WRITER);
        if n >= WRITER {
            crate::panic::fatal("sync: downgrade of unlocked RwLock");
        }
        for _ in 0..n {
            sema::release(&self.read_sema, false);
        }
        self.writers.unlock();
    }

    /// Nobody has it, waits for it, or is on the way; no permit is left over.
    #[cfg(loom)]
    pub(super) fn is_pristine(&self) -> bool {
        let free = |w: &AtomicU32| w.load(Ordering::Relaxed) == 0;
        !self.is_locked()
            && [&self.leaving, &self.read_sema, &self.write_sema]
                .into_iter()
                .all(free)
            && self.writers.is_pristine()
    }

    /// Is anybody in? A hint.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(l.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.readers.load(Ordering::Relaxed) != 0
    }

    /// Is a writer in, or waiting for readers to leave? A hint.
    ///
    /// ```
    /// let l = burrow::sync::RawRwLock::new();
    /// l.read();
    /// assert!(!l.has_writer());
    /// ```
    pub fn has_writer(&self) -> bool {
        (self.readers.load(Ordering::Relaxed) as i32) < 0
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
