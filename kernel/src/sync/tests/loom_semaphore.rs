//! Models of `Semaphore`: permits that come back as a waiter gives up, and the order of its queue.
//!
//! What they have in common: at the end all permits are there, nobody queues, and nobody sleeps (loom would report it).
//! Each says which change of the code it is known to catch.
#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering},
};

use loom::{sync::Arc, thread};

use super::loom_limits::{Stopper, bounded, deaf, fire, late};
use crate::{
    chan,
    sched::timer_heap,
    sync::{
        Semaphore,
        limit::{Limit, Patience, Stop},
    },
};

/// A semaphore whose permits are all taken.
fn taken(size: usize) -> Arc<Semaphore> {
    let s = Arc::new(Semaphore::new(size));
    s.acquire(size);
    s
}

fn is_as_new(s: &Semaphore, size: usize) {
    assert_eq!((s.available(), s.waiting()), (size, 0));
}

/// Takes `n` permits and gives them back, if the patience lasts.
fn visit(s: &Arc<Semaphore>, n: usize, patience: impl Patience + 'static) -> thread::JoinHandle<()> {
    let s = s.clone();
    thread::spawn(move || {
        if s.acquire_within(n, patience) {
            s.release(n);
        }
    })
}

/// The same without a limit.
fn visit_patiently(s: &Arc<Semaphore>, n: usize) -> thread::JoinHandle<()> {
    let s = s.clone();
    thread::spawn(move || {
        s.acquire(n);
        s.release(n);
    })
}

/// Caught: who gives up does not give back what it was served meanwhile, or one permit only, or gives it back although it
/// was not served.
#[test]
fn loom_semaphore_deadline_against_release() {
    bounded(3, || {
        let s = taken(2);
        let waiter = visit(&s, 2, late());
        let timer = fire();
        s.release(2);
        waiter.join().unwrap();
        timer.join().unwrap();
        is_as_new(&s, 2);
        assert!(timer_heap().lock().is_empty());
    });
}

/// Caught: as above, with a context's end in the place of the deadline.
#[test]
fn loom_semaphore_context_against_release() {
    bounded(2, || {
        let (s, stop) = (taken(1), std::sync::Arc::new(Stopper::default()));
        let (theirs, ctx) = (s.clone(), stop.clone());
        let waiter = thread::spawn(move || {
            if theirs.acquire_within(1, Limit::stopped_by(&*ctx)) {
                theirs.release(1);
            }
        });
        let stopper = thread::spawn(move || stop.end());
        s.release(1);
        waiter.join().unwrap();
        stopper.join().unwrap();
        is_as_new(&s, 1);
    });
}

/// Caught: a request stays in the queue after its goroutine has left by the other arm.
#[test]
fn loom_semaphore_channel_against_release() {
    bounded(2, || {
        let (s, done) = (taken(1), chan::<()>(0));
        let (theirs, rx) = (s.clone(), done.receiver());
        let waiter = thread::spawn(move || {
            if theirs.acquire_unless(1, &rx) {
                theirs.release(1);
            }
        });
        let closer = thread::spawn(move || done.close());
        s.release(1);
        waiter.join().unwrap();
        closer.join().unwrap();
        is_as_new(&s, 1);
    });
}

/// A big request that gives up (at once: it finds no memory to listen to its context) stood in front of a small one, which is
/// served although nobody releases anything. Caught: who gives up does not serve the queue.
#[test]
fn loom_semaphore_who_gives_up_lets_the_small_pass() {
    bounded(3, || {
        let s = Arc::new(Semaphore::new(2));
        s.acquire(1);
        let (big, small) = (visit(&s, 2, deaf()), visit_patiently(&s, 1));
        big.join().unwrap();
        small.join().unwrap();
        s.release(1);
        is_as_new(&s, 2);
    });
}

/// Calls a function when somebody begins to wait, and never ends the wait.
struct OnWaiting<F>(F);

impl<F: Fn()> Stop for OnWaiting<F> {
    fn is_over(&self) -> bool {
        false
    }

    fn on_end(&self, _: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() -> bool>> {
        (self.0)();
        Some(Box::new(|| true))
    }
}

/// Once a big request queues, nobody smaller goes before it: not who queues behind it, not who comes along while there are
/// permits enough for him alone. Caught: newcomers that do not look whether somebody queues; a release that serves whom it
/// can.
#[test]
fn loom_semaphore_big_request_is_not_overtaken() {
    bounded(2, || {
        let (s, served) = (taken(2), std::sync::Arc::new(AtomicBool::new(false)));
        let others = RefCell::new(Vec::new());
        let queued = OnWaiting(|| {
            let (theirs, served) = (s.clone(), served.clone());
            let small = thread::spawn(move || {
                theirs.acquire(1);
                assert!(served.load(Ordering::Relaxed), "overtaken");
                theirs.release(1);
            });
            let theirs = s.clone();
            let releaser = thread::spawn(move || {
                theirs.release(1);
                assert!(!theirs.try_acquire(1), "one is free, and somebody waits for two");
                theirs.release(1);
            });
            others.borrow_mut().extend([small, releaser]);
        });
        assert!(s.acquire_within(2, Limit::stopped_by(&queued)));
        served.store(true, Ordering::Relaxed);
        s.release(2);
        for h in others.take() {
            h.join().unwrap();
        }
        is_as_new(&s, 2);
    });
}
