//! Models of the pool as a whole: two cores put, get and steal, while collections go by.
//!
//! What is pooled is a cell that loom watches: who has a value changes it, so nobody else may have it, and its last user must
//! be through with it. Values are counted: each is dropped once. A model says itself which core a thread is on, and keeps
//! every core to one thread. Each says which change of the code it is known to catch.
#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use loom::thread;

use super::{Pool, on_collection, pin::run_on};
use crate::sync::tests::loom_cell::Watched;

type Things = Arc<Pool<Thing>>;

struct Thing {
    number: u32,
    used: Watched,
    alive: Arc<AtomicI32>,
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.used.add(1);
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes things, and sees to it that all go.
#[derive(Default)]
struct Count(Arc<AtomicI32>);

impl Count {
    fn thing(&self, number: u32) -> Thing {
        self.0.fetch_add(1, Ordering::Relaxed);
        Thing {
            number,
            used: Watched::new(0),
            alive: self.0.clone(),
        }
    }

    fn all_are_gone(self, pool: Things) {
        drop(pool);
        assert_eq!(self.0.load(Ordering::Relaxed), 0);
    }
}

fn pool() -> Things {
    Arc::new(Pool::new(|| unreachable!("models take what is there")))
}

/// Has a value for a moment.
fn take(p: &Things) -> Option<Thing> {
    p.try_get().inspect(|t| t.used.add(1))
}

fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    crate::sync::tests::loom_limits::bounded(preemptions, f);
}

/// All that is left, on both cores: their threads have ended.
fn rest(p: &Things) -> Vec<Thing> {
    let of_core = |core| {
        run_on(core);
        std::iter::from_fn(|| take(p)).collect::<Vec<_>>()
    };
    [0, 1].into_iter().flat_map(of_core).collect()
}

/// Two cores put in, take out and steal: every value comes out once. Caught: a thief that takes from the owner's end of a
/// deque; a core that fills another's deque.
#[test]
fn loom_pool_loses_nothing_between_cores() {
    model(2, || {
        let (p, count) = (pool(), Count::default());
        p.put(count.thing(1));
        p.put(count.thing(2)); // into the deque
        let (theirs, four) = (p.clone(), count.thing(4));
        let other = thread::spawn(move || {
            run_on(1);
            let stolen = take(&theirs);
            theirs.put(four);
            stolen
        });
        p.put(count.thing(3));
        let mine = take(&p);
        let theirs = other.join().unwrap();
        let mut all = rest(&p);
        all.extend(mine.into_iter().chain(theirs));
        let mut numbers: Vec<_> = all.iter().map(|t| t.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4]);
        drop(all);
        count.all_are_gone(p);
    });
}

/// A collection takes what others are about to get. Caught: a collection that takes values and does not drop them.
#[test]
fn loom_pool_collection_against_get_and_steal() {
    model(2, || {
        let (p, count) = (pool(), Count::default());
        p.put(count.thing(1));
        p.put(count.thing(2));
        on_collection(); // both are victims
        let theirs = p.clone();
        let other = thread::spawn(move || {
            run_on(1);
            if let Some(t) = take(&theirs) {
                theirs.put(t);
            }
        });
        let collector = thread::spawn(on_collection);
        p.put(count.thing(3));
        drop(take(&p));
        other.join().unwrap();
        collector.join().unwrap();
        drop(rest(&p));
        count.all_are_gone(p);
    });
}

/// Values are put in while two collections go by: the places a core fills are emptied and turned over under its hands.
/// Caught: a place that is filled although it is not empty.
#[test]
fn loom_pool_put_against_two_collections() {
    model(2, || {
        let (p, count) = (pool(), Count::default());
        p.put(count.thing(1));
        let collector = thread::spawn(|| {
            on_collection();
            on_collection();
        });
        for n in 2..=4 {
            p.put(count.thing(n));
        }
        drop(take(&p));
        collector.join().unwrap();
        drop(rest(&p));
        count.all_are_gone(p);
    });
}

/// The first values of all, from two cores at once: both find the same pool. Caught: each makes its own, and the last
/// one stays.
#[test]
fn loom_pool_is_started_by_two() {
    model(3, || {
        let (p, count) = (pool(), Count::default());
        let (theirs, two) = (p.clone(), count.thing(2));
        let other = thread::spawn(move || {
            run_on(1);
            theirs.put(two);
        });
        p.put(count.thing(1));
        other.join().unwrap();
        assert_eq!(rest(&p).len(), 2);
        count.all_are_gone(p);
    });
}
