//! Models of the mutex, the wait group and the semaphore table under loom.

use loom::{cell::UnsafeCell, sync::Arc, thread};

use crate::{
    sched::WaitReason,
    shim::{AtomicU32, Ordering},
    sync::{RawMutex, WaitGroup, sema},
};

/// Explores every interleaving with up to `LOOM_MAX_PREEMPTIONS` preemptions, 3 if that is not set: without a
/// bound three threads take hours.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = b.preemption_bound.or(Some(3));
    b.check(f);
}

struct Shared {
    mutex: RawMutex,
    value: UnsafeCell<u32>,
}

// SAFETY: loom checks the accesses to the cell.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

fn add(s: &Shared) {
    s.mutex.lock();
    // SAFETY: the mutex excludes others; loom checks it.
    s.value.with_mut(|p| unsafe { *p += 1 });
    s.mutex.unlock();
}

#[test]
fn loom_mutex_two_threads_twice() {
    model(|| {
        let s = Arc::new(Shared {
            mutex: RawMutex::new(),
            value: UnsafeCell::new(0),
        });
        let t = s.clone();
        let h = thread::spawn(move || {
            add(&t);
            add(&t);
        });
        add(&s);
        add(&s);
        h.join().unwrap();
        // SAFETY: joined.
        assert_eq!(s.value.with(|p| unsafe { *p }), 4);
    });
}

#[test]
fn loom_mutex_three_threads() {
    model(|| {
        let s = Arc::new(Shared {
            mutex: RawMutex::new(),
            value: UnsafeCell::new(0),
        });
        let hs = [s.clone(), s.clone()].map(|t| thread::spawn(move || add(&t)));
        add(&s);
        for h in hs {
            h.join().unwrap();
        }
        // SAFETY: joined.
        assert_eq!(s.value.with(|p| unsafe { *p }), 3);
    });
}

#[test]
fn loom_semaphore_loses_no_permit() {
    model(|| {
        let sema = Arc::new(AtomicU32::new(0));
        let hs = [sema.clone(), sema.clone()]
            .map(|s| thread::spawn(move || sema::acquire(&s, false, WaitReason::SemaAcquire)));
        sema::release(&sema, false);
        sema::release(&sema, false);
        for h in hs {
            h.join().unwrap();
        }
        assert_eq!(sema.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn loom_wait_group() {
    model(|| {
        let wg = Arc::new(WaitGroup::new());
        wg.add(2);
        let value = std::sync::Arc::new(loom::sync::atomic::AtomicU32::new(0));
        let hs = [0, 1].map(|_| {
            let (wg, value) = (wg.clone(), value.clone());
            thread::spawn(move || {
                value.fetch_add(1, Ordering::Relaxed);
                wg.done();
            })
        });
        wg.wait();
        assert_eq!(value.load(Ordering::Relaxed), 2);
        for h in hs {
            h.join().unwrap();
        }
    });
}
