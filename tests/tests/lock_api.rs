//! Burrow's raw locks under code that is generic over locks, as the crate `lock_api` knows them.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{sync::Arc, vec::Vec};

use burrow::{
    scope, spawn,
    sync::{GoroutineId, RawMutex, RawRwLock, lock_stats},
    time::{Duration, sleep},
    yield_now,
};
use lock_api::{MappedMutexGuard, MutexGuard, ReentrantMutex, RwLockReadGuard, RwLockWriteGuard};

burrow::test_main!();

/// What a crate of the ecosystem would have: a queue that does not know its lock.
struct Queue<R, T> {
    items: lock_api::Mutex<R, Vec<T>>,
}

impl<R: lock_api::RawMutex, T> Queue<R, T> {
    const fn new() -> Self {
        Self {
            items: lock_api::Mutex::new(Vec::new()),
        }
    }
    fn put(&self, v: T) {
        self.items.lock().push(v);
    }
    fn first(&self) -> Option<MappedMutexGuard<'_, R, T>> {
        MutexGuard::try_map(self.items.lock(), |items| items.first_mut()).ok()
    }
}

#[burrow::test(timeout = 60)]
fn a_generic_queue() {
    static QUEUE: Queue<RawMutex, u32> = Queue::new();
    const EACH: u32 = 500;
    let workers: Vec<_> = (0..8)
        .map(|i| {
            spawn(move || {
                for k in 0..EACH {
                    QUEUE.put(i * EACH + k);
                    if k % 50 == 0 {
                        yield_now();
                    }
                }
            })
        })
        .collect();
    for w in workers {
        w.join().unwrap();
    }
    *QUEUE.first().unwrap() = 7; // a guard of a part
    assert!(!QUEUE.items.is_locked() && QUEUE.items.lock()[0] == 7);
    let mut all = core::mem::take(&mut *QUEUE.items.lock());
    all[0] = 0;
    all.sort_unstable();
    all.dedup();
    assert!(all.len() as u32 >= 8 * EACH - 1, "{} items", all.len());
}

/// Who waits parks: with one core somebody else has to run, or nobody unlocks.
#[burrow::test(timeout = 60)]
fn waiting_parks() {
    let m = Arc::new(lock_api::Mutex::<RawMutex, u32>::new(0));
    let before = lock_stats().mutex_sleeps;
    let guard = m.lock();
    let theirs = m.clone();
    let h = spawn(move || *theirs.lock() += 1);
    while lock_stats().mutex_sleeps == before {
        yield_now();
    }
    assert!(m.try_lock().is_none() && *guard == 0);
    drop(guard);
    h.join().unwrap();
    assert_eq!(*m.lock(), 1);
}

#[burrow::test(timeout = 60)]
fn readers_and_a_writer() {
    let l = lock_api::RwLock::<RawRwLock, u32>::new(1);
    let (a, b) = (l.read(), l.read());
    assert!(*a + *b == 2 && l.try_write().is_none() && l.is_locked());
    drop((a, b));
    let mut w = l.write();
    *w = 5;
    assert!(l.try_read().is_none() && l.is_locked_exclusive());
    let r = RwLockWriteGuard::downgrade(w);
    assert!(*r == 5 && l.try_read().is_some() && l.try_write().is_none());
    let part = RwLockReadGuard::map(r, |v| v);
    assert_eq!(*part, 5);
    drop(part);
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..100 {
                    let seen = *l.read();
                    assert!(seen >= 5);
                    *l.write() += 1;
                }
            });
        }
    });
    assert_eq!(*l.read(), 405);
}

/// Reentrant for the goroutine, whatever core it is on; exclusive for the others.
#[burrow::test(timeout = 60)]
fn reentrant() {
    static LEVEL: ReentrantMutex<RawMutex, GoroutineId, u32> = ReentrantMutex::new(3);
    let outer = LEVEL.lock();
    for _ in 0..20 {
        sleep(Duration::from_micros(100)); // perhaps elsewhere afterwards
        let inner = LEVEL.lock();
        assert_eq!(*outer + *inner, 6);
    }
    assert!(spawn(|| LEVEL.try_lock().is_none()).join().unwrap());
    drop(outer);
    assert!(spawn(|| LEVEL.try_lock().is_some()).join().unwrap());
}
