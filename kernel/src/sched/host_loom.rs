//! A model of park and ready on metal: may a goroutine be resumed before its context is saved?
//!
//! The host back end keeps a thread per goroutine and so has no context to lose. Here the steps of `park.rs` are
//! written out over loom's atomics: the goroutine's context is a cell that loom watches, written by the core that
//! switches away from it and read by the core that resumes it. If the commit step ran before the save, or if a
//! queue passed the goroutine on without release and acquire, loom reports the concurrent accesses.

use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

const RUNNING: u32 = 2;
const WAITING: u32 = 4;
const RUNNABLE: u32 = 1;

struct Model {
    state: AtomicU32,
    /// What `switch` saves and resuming loads.
    context: UnsafeCell<u32>,
    /// The wait queue's lock, and whether the goroutine is on it.
    queue: Mutex<bool>,
    /// A run queue with one place: 1 = our goroutine. Any core may take it.
    runq: AtomicU32,
}

// SAFETY: loom checks the accesses to the cell.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Model {
            state: AtomicU32::new(RUNNING),
            context: UnsafeCell::new(0),
            queue: Mutex::new(false),
            runq: AtomicU32::new(0),
        })
    }

    fn save(&self) {
        // SAFETY: the goroutine is this core's; loom checks it.
        self.context.with_mut(|c| unsafe { *c = 42 });
    }

    /// `park_unlock`, then g0's commit step: state first, then the lock.
    fn park_unlock(&self) {
        let mut on_queue = self.queue.lock().unwrap();
        *on_queue = true;
        self.save();
        self.state.store(WAITING, Ordering::Release);
        drop(on_queue);
    }

    /// The same, with the lock released before the context is saved.
    fn park_too_early(&self) {
        *self.queue.lock().unwrap() = true;
        self.state.store(WAITING, Ordering::Release);
        self.save();
    }

    /// A waker's turn; `true` once it found and readied the goroutine.
    fn wake(&self) -> bool {
        if !std::mem::take(&mut *self.queue.lock().unwrap()) {
            return false;
        }
        assert_eq!(self.state.load(Ordering::Acquire), WAITING);
        self.state.store(RUNNABLE, Ordering::Release);
        self.runq.store(1, Ordering::Release); // publishes to whoever takes it
        true
    }

    /// A core's turn: takes the goroutine off the run queue and resumes it.
    fn resume(&self) -> bool {
        if self.runq.load(Ordering::Relaxed) == 0
            || self
                .runq
                .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            return false;
        }
        assert_eq!(self.state.load(Ordering::Acquire), RUNNABLE);
        self.state.store(RUNNING, Ordering::Release);
        // SAFETY: the goroutine is ours; loom checks it.
        assert_eq!(self.context.with(|c| unsafe { *c }), 42);
        true
    }
}

fn until(f: impl Fn() -> bool) {
    while !f() {
        thread::yield_now();
    }
}

/// Parks on one core, is readied on a second, which or a third resumes it.
fn run(park: fn(&Model)) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = b.preemption_bound.or(Some(3));
    b.check(move || {
        let m = Model::new();
        let (waker, thief) = (m.clone(), m.clone());
        let waker = thread::spawn(move || until(|| waker.wake()));
        let thief = thread::spawn(move || thief.resume());
        park(&m);
        waker.join().unwrap();
        let stolen = thief.join().unwrap();
        assert!(stolen != m.resume());
    });
}

#[test]
fn loom_park_commits_after_the_save() {
    run(Model::park_unlock);
}

/// The model can tell: this order is caught.
#[test]
#[should_panic]
fn loom_park_that_commits_too_early_is_caught() {
    run(Model::park_too_early);
}
