//! Locks that end the program: misuse, and deadlocks with the cycle that explains them (in debug builds, which know it).
#![no_std]
#![no_main]
extern crate alloc;

use alloc::sync::Arc;

use burrow::{
    go,
    sync::{Mutex, RawMutex, RawRwLock, RwLock, WaitGroup},
    time::{Duration, sleep},
};

burrow::test_main!();

#[burrow::test(exit = 2, says = "fatal error: sync: unlock of unlocked mutex")]
fn unlock_of_an_unlocked_mutex_is_fatal() {
    RawMutex::new().unlock();
}

#[burrow::test(exit = 2, says = "fatal error: sync: unlock_read of unlocked RwLock")]
fn unlock_read_of_an_unlocked_rwlock_is_fatal() {
    RawRwLock::new().unlock_read();
}

#[burrow::test(exit = 2, says = "fatal error: sync: unlock_write of unlocked RwLock")]
fn unlock_write_of_an_unlocked_rwlock_is_fatal() {
    RawRwLock::new().unlock_write();
}

fn lock_both(a: Arc<Mutex<()>>, b: Arc<Mutex<()>>, wg: Arc<WaitGroup>) {
    let _a = a.lock();
    wg.done();
    wg.wait(); // both have their first
    let _b = b.lock();
}

#[cfg_attr(debug_assertions, burrow::test(exit = 2, says = "cycle of waiters:"))]
#[cfg_attr(
    not(debug_assertions),
    burrow::test(exit = 2, says = "all goroutines are asleep")
)]
fn two_mutexes_in_two_orders() {
    let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let wg = Arc::new(WaitGroup::new());
    wg.add(2);
    let (c, d, w) = (a.clone(), b.clone(), wg.clone());
    go(move || lock_both(c, d, w));
    lock_both(b, a, wg);
}

#[cfg_attr(
    debug_assertions,
    burrow::test(exit = 2, says = "waits for itself, goroutine")
)]
#[cfg_attr(
    not(debug_assertions),
    burrow::test(exit = 2, says = "all goroutines are asleep")
)]
fn a_mutex_locked_twice() {
    let m = Mutex::new(());
    let _a = m.lock();
    let _b = m.lock();
}

/// A reader waits for a mutex whose holder waits to write.
#[cfg_attr(debug_assertions, burrow::test(exit = 2, says = "[sync.RWMutex.Lock, "))]
#[cfg_attr(
    not(debug_assertions),
    burrow::test(exit = 2, says = "all goroutines are asleep")
)]
fn a_writer_and_its_reader() {
    let (l, m) = (Arc::new(RwLock::new(())), Arc::new(Mutex::new(())));
    let (k, n) = (l.clone(), m.clone());
    let _reading = l.read();
    go(move || {
        let _m = n.lock();
        let _w = k.write();
    });
    while l.try_read().is_some() {
        sleep(Duration::from_micros(100));
    }
    let _m = m.lock();
}
