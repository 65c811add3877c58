//! `errgroup::Group`: goroutines that work on one task; the first error is the task's.
//!
//! Each member runs under `catch`, so that the group hears of every way it can end:
//!
//! | a member | the group |
//! | --- | --- |
//! | returns `Ok` | counts it |
//! | returns `Err` | keeps it if it is the first, and *stops*: runs the hook given to [`Group::with_stop`] |
//! | panics | keeps the first panic, and stops; `wait` raises it again, in the goroutine that waits |
//! | leaves by `goexit` | counts it |
//!
//! Stopping is the seam to contexts: the hook cancels one. It runs once: at the first error or panic, else at the end of
//! `wait`. The limit is a channel with as many places as members may run at once (as in `examples/bounded_pool`): a
//! member puts a token in before it starts and takes one out when it has ended, however it did.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, sync::Arc};
use core::{error::Error, fmt};

use super::{Mutex, WaitGroup};
use crate::{
    chan::{Chan, chan},
    panic::{Panic, Unwound, catch, resume_unwind},
    sched,
};

type Stop<E> = Box<dyn FnOnce(Option<&E>) + Send>;

struct Outcome<E> {
    failed: bool,
    error: Option<E>,
    panic: Option<Panic>,
    stop: Option<Stop<E>>,
}

struct Inner<E> {
    members: Arc<WaitGroup>,
    places: Mutex<Option<Chan<()>>>,
    outcome: Mutex<Outcome<E>>,
}

/// Goroutines that work on one task.
///
/// ```
/// use burrow::sync::errgroup::Group;
/// let g = Group::<String>::new();
/// for i in 0..10 {
///     g.go(move || if i == 7 { Err(format!("no {i}")) } else { Ok(()) });
/// }
/// assert_eq!(g.wait(), Err("no 7".into()));
/// ```
///
/// A member may outlive who started it, so it borrows nothing from there:
///
/// ```compile_fail,E0373
/// let g = burrow::sync::errgroup::Group::<String>::new();
/// let n = 7;
/// g.go(|| { println!("{n}"); Ok(()) });
/// ```
pub struct Group<E = Box<dyn Error + Send + Sync>> {
    inner: Arc<Inner<E>>,
}

/// Of a member that runs: gives its place back and counts it off, in this order, so that a `wait` that returns
/// finds all places free.
struct Member {
    members: Arc<WaitGroup>,
    places: Option<Chan<()>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(p) = &self.places {
            let _ = p.try_recv(); // our own token, or another's: they are all the same
        }
        self.members.done();
    }
}

impl<E> Inner<E> {
    fn stop(&self, stop: Option<Stop<E>>, error: Option<&E>) {
        if let Some(stop) = stop {
            stop(error);
        }
    }

    fn fail(&self, error: E) {
        let mut o = self.outcome.lock();
        if o.failed {
            return;
        }
        o.failed = true;
        let stop = o.stop.take();
        // The hook sees the error, and runs without the mutex: it is somebody else's code.
        drop(o);
        self.stop(stop, Some(&error));
        self.outcome.lock().error = Some(error);
    }

    fn fail_by_panic(&self, p: Panic) {
        let mut o = self.outcome.lock();
        o.failed = true;
        let mut p = Some(p);
        if o.panic.is_none() {
            o.panic = p.take();
        }
        let stop = o.stop.take();
        drop(o); // before a later panic's payload
        self.stop(stop, None);
    }
}

impl<E: Send + 'static> Group<E> {
    /// A group without members or limit.
    ///
    /// ```
    /// let g = burrow::errgroup::Group::<String>::new();
    /// assert_eq!(g.wait(), Ok(())); // nobody to wait for
    /// ```
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A group that calls `stop` once: with the first error; without one at the first panic, or when `wait` is through.
    ///
    /// ```
    /// use burrow::sync::errgroup::Group;
    /// let done = burrow::chan::<()>(0);
    /// let (rx, tx) = (done.receiver(), done.clone());
    /// let g = Group::<&str>::with_stop(move |_| tx.close());
    /// g.go(|| Err("enough"));
    /// g.go(move || { rx.recv(); Ok(()) });
    /// assert_eq!(g.wait(), Err("enough"));
    /// ```
    pub fn with_stop(stop: impl FnOnce(Option<&E>) + Send + 'static) -> Self {
        Self::build(Some(Box::new(stop)))
    }

    fn build(stop: Option<Stop<E>>) -> Self {
        let outcome = Outcome {
            failed: false,
            error: None,
            panic: None,
            stop,
        };
        Group {
            inner: Arc::new(Inner {
                members: Arc::new(WaitGroup::new()),
                places: Mutex::new(None),
                outcome: Mutex::new(outcome),
            }),
        }
    }

    /// From now on at most `n` members run at once; with `None`, any number. With 0 none can start.
    ///
    /// # Panics
    /// If members are running.
    ///
    /// ```
    /// let g = burrow::errgroup::Group::<String>::new();
    /// g.set_limit(2);
    /// (0..10).for_each(|_| g.go(|| Ok(()))); // never more than two
    /// g.wait().unwrap();
    /// g.set_limit(None);
    /// ```
    pub fn set_limit(&self, n: impl Into<Option<usize>>) {
        let mut places = self.inner.places.lock();
        let active = self.inner.members.count();
        assert!(
            active == 0,
            "errgroup: modify limit while {active} goroutines in the group are still active"
        );
        *places = n.into().map(chan);
    }

    /// Starts `f` as a goroutine of the group; waits while the limit is reached.
    ///
    /// ```
    /// let g = burrow::errgroup::Group::<std::num::ParseIntError>::new();
    /// g.go(|| "7".parse::<u8>().map(|n| assert_eq!(n, 7)));
    /// assert_eq!(g.wait(), Ok(()));
    /// ```
    #[track_caller]
    pub fn go(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) {
        let places = self.inner.places.lock().clone();
        if let Some(p) = &places {
            p.send(());
        }
        self.start(places, f);
    }

    /// Starts `f` as a goroutine of the group, unless the limit is reached. Did it?
    ///
    /// ```
    /// let g = burrow::errgroup::Group::<String>::new();
    /// g.set_limit(0);
    /// assert!(!g.try_go(|| Ok(())));
    /// ```
    #[track_caller]
    pub fn try_go(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) -> bool {
        let places = self.inner.places.lock().clone();
        let free = places.as_ref().is_none_or(|p| p.try_send(()).is_ok());
        if free {
            self.start(places, f);
        }
        free
    }

    #[track_caller]
    fn start(&self, places: Option<Chan<()>>, f: impl FnOnce() -> Result<(), E> + Send + 'static) {
        self.inner.members.add(1);
        let member = Member {
            members: self.inner.members.clone(),
            places,
        };
        let inner = self.inner.clone();
        sched::go(move || {
            let member = member;
            match catch(f) {
                Ok(Ok(())) | Err(Unwound::Goexit) => {}
                Ok(Err(e)) => inner.fail(e),
                Err(Unwound::Panic(p)) => inner.fail_by_panic(p),
            }
            drop(inner);
            drop(member);
        });
    }

    /// Waits until all members have ended. The group may be used again afterwards.
    ///
    /// # Errors
    /// The first that a member returned. It is handed out once: a second `wait` gives `Ok`.
    ///
    /// # Panics
    /// With the panic of the first member that panicked.
    ///
    /// ```
    /// let g = burrow::errgroup::Group::<&str>::new();
    /// g.go(|| Err("no"));
    /// assert_eq!((g.wait(), g.wait()), (Err("no"), Ok(())));
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait(&self) -> Result<(), E> {
        crate::lock::might_sleep();
        self.inner.members.wait();
        let mut o = self.inner.outcome.lock();
        let (error, panic, stop) = (o.error.take(), o.panic.take(), o.stop.take());
        o.failed = false;
        drop(o);
        self.inner.stop(stop, None);
        match (panic, error) {
            (Some(p), _) => resume_unwind(p),
            (_, Some(e)) => Err(e),
            _ => Ok(()),
        }
    }
}

/// The same group: members can start members.
///
/// ```
/// let g = burrow::errgroup::Group::<&str>::new();
/// let same = g.clone();
/// g.go(move || Ok(same.go(|| Err("from a member's member"))));
/// assert_eq!(g.wait(), Err("from a member's member"));
/// ```
impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Group {
            inner: self.inner.clone(),
        }
    }
}

impl<E: Send + 'static> Default for Group<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errgroup::Group({} running)", self.inner.members.count())
    }
}
