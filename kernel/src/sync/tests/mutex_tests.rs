//! The mutex's two modes, step by step, on threads: what a waiter's fate is does not depend on who is faster here.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use super::{sleepers, until};
use crate::{
    scope, spawn,
    sync::{
        RawMutex,
        limit::{Limit, Stop},
    },
};

/// Longer than a waiter lets others overtake it.
const LONG: Duration = Duration::from_millis(2);

/// Who was woken and came too late sleeps in front of those who arrived after him.
#[test]
fn mutex_a_loser_keeps_his_place() {
    let (m, log) = (RawMutex::new(), Mutex::new(Vec::new()));
    scope(|s| {
        m.lock();
        for i in 0..2 {
            let (m, log) = (&m, &log);
            s.spawn(move || {
                m.lock();
                log.lock().unwrap().push(i);
                m.unlock();
            });
            until(|| sleepers(m) == i + 1);
        }
        m.overtake();
        until(|| sleepers(&m) == 2);
        m.unlock();
    });
    assert_eq!(*log.lock().unwrap(), [0, 1]);
}

/// Who has waited long and comes too late makes the mutex starving: it is handed to him, and nobody else can take it. As the
/// last waiter he ends that.
#[test]
fn mutex_is_handed_to_who_starves() {
    let (m, go_on) = (RawMutex::new(), AtomicBool::new(false));
    scope(|s| {
        m.lock();
        s.spawn(|| {
            m.lock();
            until(|| go_on.load(SeqCst));
            m.unlock();
        });
        until(|| sleepers(&m) == 1);
        thread::sleep(LONG);
        m.overtake();
        until(|| sleepers(&m) == 1);
        assert!(m.is_starving());
        m.unlock();
        assert!(!m.try_lock(), "it is his");
        go_on.store(true, SeqCst);
    });
    assert!(!m.is_starving() && m.try_lock());
}

/// Ends a wait when it is told to.
#[derive(Default)]
struct Stopper(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Stop for Stopper {
    fn is_over(&self) -> bool {
        false
    }

    fn on_end(&self, f: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() -> bool>> {
        *self.0.lock().unwrap() = Some(f);
        Some(Box::new(|| true))
    }
}

/// The one to whom a starving mutex would be handed gives up. It is free for anybody then.
#[test]
fn mutex_is_not_kept_for_a_starving_waiter_that_gave_up() {
    let (m, stop) = (Arc::new(RawMutex::new()), Arc::new(Stopper::default()));
    m.lock();
    let (theirs, end) = (m.clone(), stop.clone());
    let waiter = spawn(move || theirs.lock_within(Limit::stopped_by(&*end)));
    until(|| sleepers(&*m) == 1);
    thread::sleep(LONG);
    m.overtake();
    until(|| sleepers(&*m) == 1);
    assert!(m.is_starving());
    let f = stop.0.lock().unwrap().take();
    f.expect("he waits")();
    assert!(!waiter.join().unwrap());
    m.unlock();
    assert!(m.try_lock());
}
