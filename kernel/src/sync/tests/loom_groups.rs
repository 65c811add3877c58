//! Models of `errgroup` and `singleflight`: members and callers that end at the same moment, in every way they can.
//!
//! What the members have done is a cell that loom watches: `wait` must come after all of it. Each model says which change of
//! the code it is known to catch.
#![forbid(unsafe_code)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use loom::thread;

use super::{loom_cell::Watched, loom_limits::bounded};
use crate::{
    panic::{Unwound, catch, goexit, panic_any, recover},
    sync::{errgroup, singleflight},
};

/// What the hook of a group was told, each time.
type Told = Arc<Mutex<Vec<Option<u32>>>>;

fn group_that_tells() -> (errgroup::Group<u32>, Told) {
    let told = Told::default();
    let t = told.clone();
    let g = errgroup::Group::with_stop(move |e: Option<&u32>| t.lock().unwrap().push(e.copied()));
    (g, told)
}

/// Two fail at once: the hook is told of one error, and `wait` returns the same. Caught: a second error takes the place of
/// the first; a member counts itself off before its error is in place.
#[test]
fn loom_errgroup_first_error_wins_once() {
    bounded(2, || {
        let (g, told) = group_that_tells();
        for e in [1, 2] {
            g.go(move || Err(e));
        }
        let e = g.wait().unwrap_err();
        assert_eq!(*told.lock().unwrap(), [Some(e)]);
    });
}

/// One fails, one panics: the group stops once, and the panic comes out of `wait`. Caught: a panic that yields to an error.
#[test]
fn loom_errgroup_panic_beside_an_error() {
    bounded(2, || {
        let (g, told) = group_that_tells();
        g.go(|| Err(1));
        g.go(|| panic_any(7_u64));
        let p = recover(|| g.wait()).expect_err("a member panicked");
        assert_eq!(p.payload().and_then(|v| v.downcast_ref()), Some(&7_u64));
        assert_eq!(told.lock().unwrap().len(), 1);
    });
}

/// With room for one, members run one after the other, `wait` comes after all of them, and finds the place free. Caught: a
/// member counts itself off before it gives its place back; a place that is given back before the work is done.
#[test]
fn loom_errgroup_limit_and_wait() {
    bounded(2, || {
        let (g, work) = (errgroup::Group::<u32>::new(), Arc::new(Watched::new(0)));
        g.set_limit(1);
        for _ in 0..2 {
            let work = work.clone();
            g.go(move || {
                work.add(1);
                Ok(())
            });
        }
        assert_eq!(g.wait(), Ok(()));
        assert_eq!(work.get(), 2);
        assert!(g.try_go(|| Ok(())), "all places are free");
        assert_eq!(g.wait(), Ok(()));
    });
}

/// A member starts another one and leaves. Caught: a member is counted only when it begins to run.
#[test]
fn loom_errgroup_wait_sees_members_of_members() {
    bounded(3, || {
        let (g, work) = (errgroup::Group::<u32>::new(), Arc::new(Watched::new(0)));
        let (same, theirs) = (g.clone(), work.clone());
        g.go(move || {
            same.go(move || {
                theirs.add(1);
                Ok(())
            });
            Ok(())
        });
        assert_eq!(g.wait(), Ok(()));
        assert_eq!(work.get(), 1);
    });
}

type Flights<V> = Arc<singleflight::Group<u32, V>>;

/// Two callers: one flies for both, which both know, or each for himself. Caught: followers are let go before the
/// outcome is there; the leader looks for followers before nobody can join him any more.
#[test]
fn loom_singleflight_two_share() {
    bounded(3, || {
        let (g, runs) = (Flights::default(), Arc::new(AtomicU32::new(0)));
        let call = {
            let (g, runs) = (g.clone(), runs.clone());
            move || {
                let fly = || {
                    runs.fetch_add(1, Ordering::Relaxed);
                    let v = Arc::new(Watched::new(0));
                    v.add(7);
                    v
                };
                let (v, shared) = g.do_call(1, fly);
                (v.get(), shared)
            }
        };
        let theirs = thread::spawn(call.clone());
        let both = [call(), theirs.join().unwrap()];
        assert_eq!(both, [(7, runs.load(Ordering::Relaxed) == 1); 2]);
        assert_eq!(g.in_flight(), 0);
    });
}

/// A call that was forgotten ends while the next with its key flies, which stays there for others to join. Caught: the end
/// of a call takes off whatever flies under its key.
#[test]
fn loom_singleflight_forgotten_call_takes_no_other_with_it() {
    bounded(3, || {
        let g = Flights::<u32>::default();
        let theirs = g.clone();
        let first = thread::spawn(move || theirs.do_call(1, || 1).0);
        g.forget(&1);
        let (mine, shared) = g.do_call(1, || {
            assert_eq!(g.in_flight(), 1, "nobody can join");
            2
        });
        let first = first.join().unwrap();
        // Either each has its own, or one came when the other had not been forgotten.
        assert!((first, mine) == (1, 2) || shared && first == mine);
        assert_eq!(g.in_flight(), 0);
    });
}

/// The leader leaves by `leave`: a follower leaves in the same way, and who comes later flies himself.
fn leader_that_leaves(leave: fn() -> u32) {
    bounded(2, move || {
        let g = Flights::<u32>::default();
        let theirs = g.clone();
        let other = thread::spawn(move || catch(|| theirs.do_call(1, || 7)));
        let mine = catch(|| g.do_call(1, leave));
        let other = other.join().unwrap();
        match (&mine, &other) {
            (Ok(m), Ok(o)) => assert_eq!((m, o), (&(7, true), &(7, true))), // we followed
            (Err(_), Ok(o)) => assert_eq!(o, &(7, false)),                  // each for himself
            (Err(Unwound::Panic(m)), Err(Unwound::Panic(o))) => {
                assert_eq!(
                    (m.to_string(), o.to_string()),
                    ("boom".into(), "singleflight: boom".into())
                );
            }
            (Err(Unwound::Goexit), Err(Unwound::Goexit)) => {}
            _ => panic!("{mine:?}, {other:?}"),
        }
        assert_eq!(g.in_flight(), 0);
    });
}

/// Caught: a panic that passes the end of the flight by.
#[test]
fn loom_singleflight_leader_panics() {
    leader_that_leaves(|| panic_any("boom"));
}

/// Caught: as above.
#[test]
fn loom_singleflight_leader_exits() {
    leader_that_leaves(|| goexit());
}
