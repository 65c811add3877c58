//! Models of firing against stopping, restarting, receiving and dropping: every interleaving with up to three
//! preemptions. The heap, the locks, the channel and its timer are the real ones; the model says what time it is.
#![forbid(unsafe_code)]

use loom::thread;

use super::{channel, func, run_due};
use crate::sched::{NO_MEMORY, timer_heap};

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = b.preemption_bound.or(Some(3));
    b.check(f);
}

/// Fires what is due at `now`, as a core would.
fn fire(now: u64) -> thread::JoinHandle<Option<u64>> {
    thread::spawn(move || run_due(timer_heap(), now))
}

/// Nobody has received, so `stop` prevents it, whether the timer fires before, during or after; and nothing comes
/// later.
#[test]
fn loom_stop_against_firing() {
    model(|| {
        let c = channel::new_channel();
        channel::restart(&c, 1, 0);
        let h = fire(10);
        assert!(channel::stop(&c));
        assert!(c.try_recv().is_err());
        h.join().unwrap();
        assert!(c.try_recv().is_err());
        assert!(!channel::stop(&c));
    });
}

/// After a reset only the new deadline's value comes.
#[test]
fn loom_reset_against_firing() {
    model(|| {
        let c = channel::new_channel();
        channel::restart(&c, 1, 0);
        let h = fire(10);
        assert!(channel::restart(&c, 20, 0));
        h.join().unwrap();
        assert!(c.try_recv().is_err(), "a stale value");
        run_due(timer_heap(), 30);
        assert!(c.try_recv().is_ok() && c.try_recv().is_err());
        assert!(!channel::stop(&c));
    });
}

/// Two goroutines reset one timer: it is in the heap once, and fires once.
#[test]
fn loom_two_resets() {
    model(|| {
        let c = channel::new_channel();
        let theirs = c.clone();
        let h = thread::spawn(move || channel::restart(&theirs, 2, 0));
        channel::restart(&c, 1, 0);
        h.join().unwrap();
        assert_eq!(timer_heap().lock().len(), 1);
        run_due(timer_heap(), 10);
        assert!(c.try_recv().is_ok() && c.try_recv().is_err());
    });
}

/// A receiver that is about to wait, or waits, gets the value.
#[test]
fn loom_receive_against_firing() {
    model(|| {
        let c = channel::new_channel();
        channel::restart(&c, 1, 0);
        let h = fire(10);
        assert!(c.recv().is_some());
        h.join().unwrap();
        assert!(!channel::stop(&c));
    });
}

/// The channel goes while its timer fires.
#[test]
fn loom_drop_against_firing() {
    model(|| {
        let c = channel::new_channel();
        channel::restart(&c, 1, 0);
        let h = fire(10);
        drop(c);
        h.join().unwrap();
        assert!(timer_heap().lock().is_empty());
    });
}

/// Two cores fire one ticker while it is stopped.
#[test]
fn loom_ticker_on_two_cores_against_stop() {
    model(|| {
        let c = channel::new_channel();
        channel::restart(&c, 1, 10);
        let (a, b) = (fire(5), fire(15));
        channel::stop(&c);
        assert!(c.try_recv().is_err());
        a.join().unwrap();
        b.join().unwrap();
        assert!(c.try_recv().is_err() && timer_heap().lock().is_empty());
    });
}

/// Two cores send ticks at once: their times do not go back.
#[test]
fn loom_ticks_on_two_cores_come_in_order() {
    model(|| {
        let c = channel::new_channel();
        channel::restart(&c, 1, 10);
        let (a, b) = (fire(5), fire(15));
        let first = c.recv().expect("never closed");
        a.join().unwrap();
        b.join().unwrap();
        if let Ok(second) = c.try_recv() {
            assert!(second >= first);
        }
        channel::stop(&c);
    });
}

/// A function is called off, or called.
#[test]
fn loom_function_stop_against_firing() {
    model(|| {
        let ran = crate::chan::<()>(1);
        let tx = ran.sender();
        let f = func::new(move || tx.send(()), false);
        func::restart(&f, 1);
        let h = fire(10);
        if func::stop(&f) {
            h.join().unwrap();
            assert!(ran.try_recv().is_err());
        } else {
            h.join().unwrap();
            assert!(ran.recv().is_some());
        }
    });
}

/// Without memory for its goroutine a function is late, not lost; unless it is reset meanwhile, it is tried again.
#[test]
fn loom_function_without_memory() {
    model(|| {
        let ran = crate::chan::<()>(2);
        let tx = ran.sender();
        let f = func::new(move || tx.send(()), false);
        NO_MEMORY.set(1);
        func::restart(&f, 1);
        let h = fire(10);
        let again = f.clone();
        let r = thread::spawn(move || func::restart(&again, 2));
        h.join().unwrap();
        r.join().unwrap();
        NO_MEMORY.set(0);
        run_due(timer_heap(), u64::MAX >> 1);
        assert!(timer_heap().lock().is_empty());
        assert!(ran.recv().is_some());
    });
}
