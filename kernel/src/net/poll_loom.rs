//! pollDesc under loom: every interleaving of a waiter with ready, deadline and close.
#![forbid(unsafe_code)]

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use super::{Evicted, Mode, PollDesc};
use crate::sched;

fn check(f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = b.preemption_bound.or(Some(3));
    b.check(f);
}

fn wake(g: Option<sched::GPtr>) {
    if let Some(g) = g {
        sched::ready(g);
    }
}

/// What was published before `ready` is seen, and the waiter never sleeps through it.
#[test]
fn loom_ready_is_not_lost() {
    check(|| {
        let pd = PollDesc::try_new().unwrap();
        let data = Arc::new(AtomicU32::new(0));
        let (pd2, data2) = (pd.clone(), data.clone());
        let t = thread::spawn(move || {
            data2.store(1, Ordering::Relaxed);
            wake(pd2.ready(Mode::Read));
        });
        while data.load(Ordering::Relaxed) == 0 {
            assert_eq!(pd.wait(Mode::Read), Ok(()));
        }
        t.join().unwrap();
    });
}

/// The word is `READY` from before: `ready` writes nothing then, and the lock around what changed must do.
#[test]
fn loom_ready_again_is_not_lost() {
    check(|| {
        let pd = PollDesc::try_new().unwrap();
        assert!(pd.ready(Mode::Read).is_none());
        let data = Arc::new(Mutex::new(0));
        let (pd2, data2) = (pd.clone(), data.clone());
        let t = thread::spawn(move || {
            *data2.lock().unwrap() = 1;
            wake(pd2.ready(Mode::Read));
        });
        while *data.lock().unwrap() == 0 {
            assert_eq!(pd.wait(Mode::Read), Ok(()));
        }
        t.join().unwrap();
    });
}

#[test]
fn loom_close_is_not_lost() {
    check(|| {
        let pd = PollDesc::try_new().unwrap();
        let pd2 = pd.clone();
        let t = thread::spawn(move || {
            pd2.close();
        });
        assert_eq!(pd.wait(Mode::Read), Err(Evicted::Closed));
        t.join().unwrap();
    });
}

/// Ready and a deadline at once: one of them gets the goroutine, and it is readied once (the host asserts that it
/// waits); a wait after a timeout still finds the readiness.
#[test]
fn loom_ready_against_deadline() {
    check(|| {
        let pd = PollDesc::try_new().unwrap();
        let (a, b) = (pd.clone(), pd.clone());
        let t = thread::spawn(move || wake(a.ready(Mode::Read)));
        let u = thread::spawn(move || wake(b.evict(Mode::Read, Mode::Read.expired())));
        if pd.wait(Mode::Read) == Err(Evicted::Timeout) {
            u.join().unwrap();
            pd.set_deadline(Mode::Read, None);
            assert_eq!(pd.wait(Mode::Read), Ok(()));
        } else {
            u.join().unwrap();
        }
        t.join().unwrap();
    });
}

/// All three.
#[test]
fn loom_ready_deadline_and_close() {
    check(|| {
        let pd = PollDesc::try_new().unwrap();
        let (a, b) = (pd.clone(), pd.clone());
        let t = thread::spawn(move || wake(a.ready(Mode::Read)));
        let u = thread::spawn(move || {
            wake(b.evict(Mode::Read, Mode::Read.expired()));
            b.close();
        });
        while pd.wait(Mode::Read) != Err(Evicted::Closed) {
            thread::yield_now();
        }
        t.join().unwrap();
        u.join().unwrap();
    });
}
