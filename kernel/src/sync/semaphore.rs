//! `Semaphore`: a number of permits that goroutines take several at a time, first come, first served.
//!
//! Who cannot be served at once queues with a word of its own; whoever gives permits back serves the queue from
//! the front, as far as they reach, and stops at the first that wants more than there is: a big request is not
//! overtaken for ever by small ones. A newcomer is served at once only if nobody queues.
//!
//! Each request has a word in the semaphore table, on which its goroutine sleeps: so it may wait for ever, until a
//! deadline, or until a context ends (`limit`). (Or a channel, where it waits beside another one.) Who gives up takes the request off the queue under the mutex; if it was
//! served in the meantime it gives the permits back. Either way it then serves the queue, for it may have stood in
//! front of smaller requests.
#![forbid(unsafe_code)]

use alloc::{collections::VecDeque, sync::Arc};
use core::fmt;

use super::{
    Mutex,
    limit::{Forever, Limit, Patience},
    sema,
};
use crate::{
    chan::{Chan, Receiver, chan},
    sched::WaitReason,
    select,
    shim::AtomicU32,
    time::Duration,
};

struct Request {
    number: u64,
    n: usize,
    served: Served,
}

/// Where its goroutine waits.
#[derive(Clone)]
enum Served {
    Word(Arc<AtomicU32>),
    /// Beside another channel.
    Chan(Chan<()>),
}

struct State {
    free: usize,
    requests: u64,
    queue: VecDeque<Request>,
}

impl State {
    /// Serves the queue from the front. Nothing waits here.
    fn serve(&mut self) {
        while self.queue.front().is_some_and(|r| r.n <= self.free) {
            if let Some(r) = self.queue.pop_front() {
                self.free -= r.n;
                match r.served {
                    Served::Word(w) => sema::release(&w, false),
                    Served::Chan(c) => _ = c.try_send(()), // empty until now
                }
            }
        }
    }
}

/// A weighted semaphore.
///
/// ```
/// use burrow::sync::Semaphore;
/// let seats = Semaphore::new(10);
/// seats.acquire(7);
/// assert!(!seats.try_acquire(4));
/// seats.release(7);
/// let permit = seats.permit(4); // gives them back when dropped
/// assert!(seats.try_acquire(6));
/// # drop(permit);
/// ```
pub struct Semaphore {
    size: usize,
    state: Mutex<State>,
}

impl Semaphore {
    shim_const_fn! {
        /// A semaphore with `size` permits.
        ///
        /// ```
        /// static CONNECTIONS: burrow::sync::Semaphore = burrow::sync::Semaphore::new(100);
        /// assert_eq!(CONNECTIONS.available(), 100);
        /// ```
        pub fn new(size: usize) -> Self {
            Self {
                size,
                state: Mutex::new(State { free: size, requests: 0, queue: VecDeque::new() }),
            }
        }
    }

    /// Takes `n` permits; waits for its turn and until they are there.
    ///
    /// # Panics
    /// If `n` is more than there are altogether, which would wait for ever.
    ///
    /// ```
    /// let s = burrow::sync::Semaphore::new(3);
    /// s.acquire(2);
    /// assert_eq!(s.available(), 1);
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire(&self, n: usize) {
        crate::lock::might_sleep();
        assert!(
            n <= self.size,
            "sync: {n} permits of a semaphore of {}",
            self.size
        );
        self.acquire_within(n, Forever);
    }

    /// As [`acquire`](Self::acquire), for `d` at most. Did it get the permits? More than there are altogether it never gets.
    ///
    /// ```
    /// use burrow::{sync::Semaphore, time::Duration};
    /// let s = Semaphore::new(1);
    /// assert!(s.try_acquire_for(1, Duration::ZERO));
    /// assert!(!s.try_acquire_for(1, Duration::from_millis(1)));
    /// ```
    pub fn try_acquire_for(&self, n: usize, d: Duration) -> bool {
        self.acquire_within(n, Limit::after(d))
    }

    /// Takes `n` permits, unless the patience ends first: `false`.
    pub(super) fn acquire_within(&self, n: usize, patience: impl Patience) -> bool {
        if n > self.size {
            // Never: a word that nobody releases.
            return patience.acquire(&AtomicU32::new(0), WaitReason::SemaAcquire, None);
        }
        if self.try_acquire(n) {
            return true;
        }
        let word = Arc::new(AtomicU32::new(0));
        let Some(number) = self.request(n, || Served::Word(word.clone())) else {
            return true;
        };
        let ours = patience.acquire(&word, WaitReason::SemaAcquire, None);
        if !ours {
            self.give_up(number, n);
        }
        ours
    }

    /// As [`acquire`](Self::acquire), but gives up when `done` has a value or is closed. Did it get the permits? More
    /// than there are altogether it never gets.
    ///
    /// ```
    /// let (s, done) = (burrow::sync::Semaphore::new(1), burrow::chan::<()>(0));
    /// assert!(s.acquire_unless(1, &done.receiver()));
    /// done.close();
    /// assert!(!s.acquire_unless(1, &done.receiver()));
    /// s.release(1);
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire_unless<D>(&self, n: usize, done: &Receiver<D>) -> bool {
        crate::lock::might_sleep();
        if n > self.size {
            done.recv();
            return false;
        }
        if self.try_acquire(n) {
            return true;
        }
        let served = chan(1);
        let Some(number) = self.request(n, || Served::Chan(served.clone())) else {
            return true;
        };
        select! {
            recv(served) -> _ => true,
            recv(done) -> _ => {
                self.give_up(number, n);
                false
            },
        }
    }

    /// Takes them at once, or queues.
    fn request(&self, n: usize, served: impl FnOnce() -> Served) -> Option<u64> {
        let mut s = self.state.lock();
        if s.queue.is_empty() && n <= s.free {
            s.free -= n;
            return None;
        }
        s.requests += 1;
        let number = s.requests;
        s.queue.push_back(Request {
            number,
            n,
            served: served(),
        });
        Some(number)
    }

    fn give_up(&self, number: u64, n: usize) {
        let mut s = self.state.lock();
        match s.queue.iter().position(|r| r.number == number) {
            Some(i) => _ = s.queue.remove(i),
            None => s.free += n, // served in the meantime
        }
        s.serve();
    }

    /// Takes `n` permits if they are there and nobody queues for some.
    ///
    /// ```
    /// let s = burrow::sync::Semaphore::new(3);
    /// assert!(s.try_acquire(2) && !s.try_acquire(2));
    /// ```
    pub fn try_acquire(&self, n: usize) -> bool {
        let mut s = self.state.lock();
        let ok = s.queue.is_empty() && n <= s.free;
        if ok {
            s.free -= n;
        }
        ok
    }

    /// Gives `n` permits back; any goroutine may.
    ///
    /// # Panics
    /// If more come back than were taken.
    ///
    /// ```
    /// let s = burrow::sync::Semaphore::new(3);
    /// s.acquire(3);
    /// s.release(1);
    /// assert!(s.try_acquire(1));
    /// ```
    pub fn release(&self, n: usize) {
        let mut s = self.state.lock();
        assert!(n <= self.size - s.free, "sync: semaphore released more than held");
        s.free += n;
        s.serve();
    }

    /// As [`acquire`](Self::acquire); the permits come back when the value is dropped.
    ///
    /// ```
    /// let s = burrow::sync::Semaphore::new(3);
    /// {
    ///     let _permit = s.permit(2);
    ///     assert_eq!(s.available(), 1);
    /// }
    /// assert_eq!(s.available(), 3);
    /// ```
    pub fn permit(&self, n: usize) -> SemaphorePermit<'_> {
        self.acquire(n);
        SemaphorePermit { semaphore: self, n }
    }

    /// As [`try_acquire`](Self::try_acquire); the permits come back when the value is dropped.
    ///
    /// ```
    /// let s = burrow::sync::Semaphore::new(3);
    /// let permit = s.try_permit(2);
    /// assert!(permit.is_some() && s.try_permit(2).is_none());
    /// ```
    pub fn try_permit(&self, n: usize) -> Option<SemaphorePermit<'_>> {
        self.try_acquire(n)
            .then(|| SemaphorePermit { semaphore: self, n })
    }

    /// How many permits nobody has. A hint.
    ///
    /// ```
    /// let s = burrow::sync::Semaphore::new(3);
    /// s.acquire(1);
    /// assert_eq!(s.available(), 2);
    /// ```
    pub fn available(&self) -> usize {
        self.state.lock().free
    }

    /// How many requests queue. A hint.
    ///
    /// ```
    /// assert_eq!(burrow::sync::Semaphore::new(3).waiting(), 0);
    /// ```
    pub fn waiting(&self) -> usize {
        self.state.lock().queue.len()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Semaphore({} of {} free)", self.available(), self.size)
    }
}

/// Permits of a [`Semaphore`]; they come back when it is dropped.
///
/// ```
/// let s = burrow::sync::Semaphore::new(1);
/// let permit = s.permit(1);
/// assert!(!s.try_acquire(1));
/// drop(permit);
/// assert!(s.try_acquire(1));
/// ```
#[derive(Debug)]
#[must_use = "the permits come back at once"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    n: usize,
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.release(self.n);
    }
}
