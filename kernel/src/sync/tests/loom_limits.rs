//! Models of waits that end early, against everything that could have ended them otherwise: release, hand-off, another's
//! end. In each the deadline comes at any moment, or not at all: a thread fires what is in the heap by then.
//!
//! What they have in common: at the end nobody sleeps (loom would report it) and the lock is as new: no permit is left
//! over, none is missing, no waiter is counted that has gone.

use loom::{cell::UnsafeCell, sync::Arc, thread};

use crate::{
    sched::{WaitReason, timer_heap},
    shim::{AtomicU32, Ordering},
    sync::{
        Condvar, Mutex, RawMutex, RawRwLock, WaitGroup,
        limit::{Forever, Limit, Patience, Stop},
        raw_mutex::STARVE,
        sema,
    },
    time::{Duration, run_due},
};

/// Later than the clock of any model will ever be; `fire` fires it all the same.
pub(super) fn late() -> Limit<'static> {
    Limit::at_ns(1 << 61)
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    bounded(2, f);
}

pub(in crate::sync) fn bounded(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = Some(preemptions);
    b.check(f);
}

/// The deadlines of all who wait by now pass.
pub(super) fn fire() -> thread::JoinHandle<()> {
    thread::spawn(|| _ = run_due(timer_heap(), u64::MAX >> 1))
}

#[test]
fn loom_limited_permit_is_taken_or_left() {
    model(|| {
        let word = Arc::new(AtomicU32::new(0));
        let w = word.clone();
        let waiter = thread::spawn(move || late().acquire(&w, WaitReason::SemaAcquire, None));
        let timer = fire();
        sema::release(&word, false);
        let left = u32::from(!waiter.join().unwrap());
        assert_eq!(word.load(Ordering::Relaxed), left);
        timer.join().unwrap();
        assert!(timer_heap().lock().is_empty());
    });
}

/// A permit that the limited waiter does not take goes to the other one.
#[test]
fn loom_limited_permit_goes_to_the_next() {
    model(|| {
        let word = Arc::new(AtomicU32::new(0));
        let (a, b) = (word.clone(), word.clone());
        let first = thread::spawn(move || {
            if late().acquire(&a, WaitReason::SemaAcquire, None) {
                sema::release(&a, false);
            }
        });
        let second = thread::spawn(move || {
            sema::acquire(&b, false, WaitReason::SemaAcquire);
            sema::release(&b, false); // the first may still wait
        });
        let timer = fire();
        sema::release(&word, false);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(word.load(Ordering::Relaxed), 1);
        timer.join().unwrap();
    });
}

/// Stops a wait by its hook, which comes whenever it likes.
#[derive(Default)]
pub(super) struct Stopper(std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Stopper {
    pub(super) fn end(&self) {
        let f = self.0.lock().unwrap().take();
        if let Some(f) = f {
            f();
        }
    }
}

impl Stop for Stopper {
    fn is_over(&self) -> bool {
        false
    }

    fn on_end(&self, f: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() -> bool>> {
        *self.0.lock().unwrap() = Some(f);
        Some(Box::new(|| true))
    }
}

/// Who waits for this one finds no memory to listen to it.
struct Deaf;

impl Stop for Deaf {
    fn is_over(&self) -> bool {
        false
    }

    fn on_end(&self, _: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() -> bool>> {
        None
    }
}

pub(super) fn deaf() -> Limit<'static> {
    Limit::stopped_by(&Deaf)
}

#[test]
fn loom_stopped_wait_takes_its_permit_or_leaves_it() {
    model(|| {
        let (word, stop) = (
            Arc::new(AtomicU32::new(0)),
            std::sync::Arc::new(Stopper::default()),
        );
        let (w, s) = (word.clone(), stop.clone());
        let waiter = thread::spawn(move || Limit::stopped_by(&*s).acquire(&w, WaitReason::SemaAcquire, None));
        let stopper = thread::spawn(move || stop.end());
        sema::release(&word, false);
        let left = u32::from(!waiter.join().unwrap());
        assert_eq!(word.load(Ordering::Relaxed), left);
        stopper.join().unwrap();
    });
}

fn mutex_model(preemptions: usize, starve: u8, holds: u32, plain: bool) {
    bounded(preemptions, move || {
        STARVE.set(starve);
        let m = Arc::new(RawMutex::new());
        m.lock();
        let theirs = m.clone();
        let limited = thread::spawn(move || {
            if theirs.lock_within(late()) {
                theirs.unlock();
            }
        });
        let third = plain.then(|| {
            let theirs = m.clone();
            thread::spawn(move || {
                theirs.lock();
                theirs.unlock();
            })
        });
        let timer = fire();
        m.unlock();
        for _ in 1..holds {
            m.lock();
            m.unlock();
        }
        limited.join().unwrap();
        if let Some(t) = third {
            t.join().unwrap();
        }
        timer.join().unwrap();
        assert!(m.is_pristine(), "{m:?}");
        STARVE.set(0);
    });
}

#[test]
fn loom_mutex_limited_against_unlock() {
    mutex_model(2, 0, 2, false);
}

#[test]
fn loom_mutex_limited_beside_another() {
    mutex_model(1, 0, 1, true); // ten times as large: one preemption less
}

/// Who slept once and lost the race makes the mutex starving; the next unlock hands it over, at the deadline or not.
#[test]
fn loom_mutex_limited_against_hand_off() {
    mutex_model(2, 1, 3, false);
}

/// The one to whom the mutex is handed was not the last; then the other gives up, and he is.
#[test]
fn loom_mutex_limited_beside_another_against_hand_off() {
    mutex_model(2, 2, 1, true);
}

/// A read-write lock around a value that loom watches.
struct Watched(RawRwLock, UnsafeCell<u32>);

// SAFETY: loom checks the accesses to the cell.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Watched {
    fn read(&self, limit: impl Patience) {
        if self.0.read_within(limit) {
            // SAFETY: locked for reading; loom checks it.
            self.1.with(|p| unsafe { *p });
            self.0.unlock_read();
        }
    }

    fn write(&self, limit: impl Patience) {
        if self.0.write_within(limit) {
            // SAFETY: locked for writing; loom checks it.
            self.1.with_mut(|p| unsafe { *p += 1 });
            self.0.unlock_write();
        }
    }
}

/// One that is locked by `first`, then used by two threads while their patience may end.
fn rwlock_model(
    preemptions: usize,
    write_first: bool,
    a: fn(&Watched),
    b: fn(&Watched),
    afterwards: fn(&Watched),
) {
    bounded(preemptions, move || {
        let l = Arc::new(Watched(RawRwLock::new(), UnsafeCell::new(0)));
        if write_first {
            l.0.write()
        } else {
            l.0.read()
        }
        let (x, y) = (l.clone(), l.clone());
        let hs = [thread::spawn(move || a(&x)), thread::spawn(move || b(&y)), fire()];
        if write_first {
            l.0.unlock_write()
        } else {
            l.0.unlock_read()
        }
        afterwards(&l);
        for h in hs {
            h.join().unwrap();
        }
        assert!(l.0.is_pristine(), "{:?}", l.0);
    });
}

#[test]
fn loom_rwlock_reader_gives_up() {
    rwlock_model(3, true, |l| l.read(late()), |_| (), |l| l.write(Forever));
}

#[test]
fn loom_rwlock_reader_gives_up_beside_another() {
    rwlock_model(
        2,
        true,
        |l| l.read(late()),
        |l| l.read(Forever),
        |l| l.write(Forever),
    );
}

/// The reader before it leaves, the one after it waits, and the writer goes back or has it.
#[test]
fn loom_rwlock_writer_gives_up() {
    rwlock_model(3, false, |l| l.write(late()), |l| l.read(Forever), |_| ());
}

#[test]
fn loom_rwlock_writer_gives_up_before_another() {
    rwlock_model(
        2,
        false,
        |l| l.write(late()),
        |l| l.write(Forever),
        |l| l.read(Forever),
    );
}

#[test]
fn loom_rwlock_writer_and_reader_give_up() {
    rwlock_model(
        2,
        false,
        |l| l.write(late()),
        |l| l.read(late()),
        |l| l.read(Forever),
    );
}

#[test]
fn loom_rwlock_writer_and_reader_without_memory() {
    rwlock_model(
        2,
        false,
        |l| l.write(deaf()),
        |l| l.read(deaf()),
        |l| l.read(Forever),
    );
}

#[test]
fn loom_mutex_without_memory() {
    model(|| {
        let m = Arc::new(RawMutex::new());
        m.lock();
        let theirs = [m.clone(), m.clone()];
        let hs = theirs.map(|m| {
            thread::spawn(move || {
                if m.lock_within(deaf()) {
                    m.unlock();
                }
            })
        });
        m.unlock();
        for h in hs {
            h.join().unwrap();
        }
        assert!(m.is_pristine(), "{m:?}");
    });
}

#[test]
fn loom_wait_group_waiter_gives_up() {
    model(|| {
        let wg = Arc::new(WaitGroup::new());
        wg.add(1);
        let (a, b) = (wg.clone(), wg.clone());
        let limited = thread::spawn(move || a.wait_within(late()));
        let timer = fire();
        let plain = thread::spawn(move || b.wait());
        wg.done();
        limited.join().unwrap();
        plain.join().unwrap();
        timer.join().unwrap();
        assert!(wg.is_pristine(), "{wg:?}");
    });
}

/// A notification is never spent on somebody who has gone: who got it passes it on, who did not leaves it to the other.
#[test]
fn loom_condvar_notification_is_not_spent_on_who_timed_out() {
    model(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let (a, b) = (pair.clone(), pair.clone());
        let limited = thread::spawn(move || {
            let guard = a.0.lock();
            if *guard {
                return;
            }
            let (guard, end) = a.1.wait_timeout(guard, Duration::from_secs(1 << 30));
            drop(guard);
            if !end.timed_out() {
                a.1.notify_one();
            }
        });
        let timer = fire();
        let plain = thread::spawn(move || {
            let mut guard = b.0.lock();
            while !*guard {
                guard = b.1.wait(guard);
            }
            drop(guard);
            b.1.notify_one(); // the other may still wait
        });
        *pair.0.lock() = true;
        pair.1.notify_one();
        limited.join().unwrap();
        plain.join().unwrap();
        timer.join().unwrap();
    });
}
