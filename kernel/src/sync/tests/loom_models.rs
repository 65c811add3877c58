//! Models of the locks, the wait group and the semaphore table under loom.

use loom::{cell::UnsafeCell, sync::Arc, thread};

use crate::{
    sched::WaitReason,
    shim::{AtomicU32, Ordering},
    sync::{Condvar, Map, Mutex, Once, RawMutex, RawRwLock, Value, WaitGroup, sema},
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

struct Book {
    lock: RawRwLock,
    pages: [UnsafeCell<u32>; 2],
}

// SAFETY: loom checks the accesses to the cells.
unsafe impl Sync for Book {}
// SAFETY: as above.
unsafe impl Send for Book {}

impl Book {
    fn new() -> Arc<Self> {
        Arc::new(Book {
            lock: RawRwLock::new(),
            pages: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    fn read(&self) {
        self.lock.read();
        // SAFETY: locked for reading; loom checks it.
        let [a, b] = [0, 1].map(|i| self.pages[i].with(|p| unsafe { *p }));
        assert_eq!(a, b, "a writer was half-way");
        self.lock.unlock_read();
    }

    fn write(&self) {
        self.lock.write();
        for p in &self.pages {
            // SAFETY: locked for writing; loom checks it.
            p.with_mut(|p| unsafe { *p += 1 });
        }
        self.lock.unlock_write();
    }

    fn total(&self) -> u32 {
        // SAFETY: all threads are joined; loom checks it.
        self.pages[1].with(|p| unsafe { *p })
    }
}

#[test]
fn loom_rwlock_two_readers_one_writer() {
    model(|| {
        let book = Book::new();
        let hs = [book.clone(), book.clone()].map(|b| thread::spawn(move || b.read()));
        book.write();
        for h in hs {
            h.join().unwrap();
        }
        assert_eq!(book.total(), 1);
    });
}

#[test]
fn loom_rwlock_two_writers_one_reader() {
    model(|| {
        let book = Book::new();
        let hs = [book.clone(), book.clone()].map(|b| thread::spawn(move || b.write()));
        book.read();
        for h in hs {
            h.join().unwrap();
        }
        assert_eq!(book.total(), 2);
    });
}

#[test]
fn loom_rwlock_try_and_downgrade() {
    model(|| {
        let book = Book::new();
        let b = book.clone();
        let h = thread::spawn(move || {
            if b.lock.try_read() {
                // SAFETY: locked for reading; loom checks it.
                b.pages[0].with(|p| unsafe { *p });
                b.lock.unlock_read();
            }
            if b.lock.try_write() {
                b.lock.unlock_write();
            }
        });
        book.lock.write();
        // SAFETY: locked for writing; loom checks it.
        book.pages[0].with_mut(|p| unsafe { *p += 1 });
        book.lock.downgrade();
        // SAFETY: still locked for reading; loom checks it.
        book.pages[0].with(|p| unsafe { assert_eq!(*p, 1) });
        book.lock.unlock_read();
        h.join().unwrap();
    });
}

struct Cell(Once, UnsafeCell<u32>);

// SAFETY: loom checks the accesses to the cell.
unsafe impl Sync for Cell {}
// SAFETY: as above.
unsafe impl Send for Cell {}

impl Cell {
    fn new() -> Arc<Self> {
        Arc::new(Cell(Once::new(), UnsafeCell::new(0)))
    }

    fn set(&self) -> bool {
        // SAFETY: the `Once` runs one; loom checks it.
        self.1.with_mut(|p| unsafe { *p += 1 });
        true
    }

    fn get(&self) -> u32 {
        // SAFETY: done; loom checks it.
        self.1.with(|p| unsafe { *p })
    }
}

#[test]
fn loom_once_runs_once_and_all_see_it() {
    model(|| {
        let c = Cell::new();
        let hs = [c.clone(), c.clone()].map(|c| {
            thread::spawn(move || {
                c.0.call_once(|| _ = c.set());
                assert_eq!(c.get(), 1);
            })
        });
        c.0.call_once(|| _ = c.set());
        assert_eq!(c.get(), 1);
        for h in hs {
            h.join().unwrap();
        }
    });
}

/// As `OnceLock` uses it: the first attempt fails, who waited for it tries itself.
#[test]
fn loom_once_is_tried_again() {
    model(|| {
        let c = Cell::new();
        let d = c.clone();
        let h = thread::spawn(move || {
            d.0.try_call(|| d.set());
            assert!(d.0.is_done());
            d.get()
        });
        c.0.try_call(|| false);
        assert_eq!(h.join().unwrap(), 1);
        assert_eq!(c.get(), 1);
    });
}

#[test]
fn loom_condvar_loses_no_notification() {
    model(|| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let p = pair.clone();
        let h = thread::spawn(move || {
            *p.0.lock() += 1;
            p.1.notify_one();
        });
        let mut n = pair.0.lock();
        while *n == 0 {
            n = pair.1.wait(n);
        }
        drop(n);
        h.join().unwrap();
    });
}

#[test]
fn loom_condvar_wakes_all() {
    model(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let hs = [pair.clone(), pair.clone()].map(|p| {
            thread::spawn(move || {
                let mut go = p.0.lock();
                while !*go {
                    go = p.1.wait(go);
                }
            })
        });
        *pair.0.lock() = true;
        pair.1.notify_all();
        for h in hs {
            h.join().unwrap();
        }
    });
}

/// Counts the values that are alive, and lets loom watch each.
struct Watched(UnsafeCell<u32>, std::sync::Arc<std::sync::atomic::AtomicI32>);

// SAFETY: loom checks the accesses to the cell.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Watched {
    fn new(n: u32, alive: &std::sync::Arc<std::sync::atomic::AtomicI32>) -> Self {
        alive.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Watched(UnsafeCell::new(n), alive.clone())
    }

    fn get(&self) -> u32 {
        // SAFETY: loom checks it.
        self.0.with(|p| unsafe { *p })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: loom checks that nobody reads meanwhile.
        self.0.with_mut(|p| unsafe { *p = 99 });
        self.1.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn loom_value_frees_each_once_and_not_too_early() {
    model(|| {
        let alive = std::sync::Arc::default();
        let v = Arc::new(Value::new(Watched::new(1, &alive)));
        let hs = [v.clone(), v.clone()].map(|v| {
            thread::spawn(move || {
                let a = v.load();
                let b = v.load();
                assert!(a.get() <= b.get() && b.get() < 3);
            })
        });
        v.store(Watched::new(2, &alive));
        for h in hs {
            h.join().unwrap();
        }
        drop(v);
        assert_eq!(alive.load(std::sync::atomic::Ordering::SeqCst), 0);
    });
}

#[test]
fn loom_value_compare_and_swap() {
    model(|| {
        let alive = std::sync::Arc::default();
        let v = Arc::new(Value::new(Watched::new(0, &alive)));
        let (w, theirs) = (v.clone(), std::sync::Arc::clone(&alive));
        let h = thread::spawn(move || w.update(|x| Watched::new(x.get() + 1, &theirs)));
        v.update(|x| Watched::new(x.get() + 1, &alive));
        h.join().unwrap();
        assert_eq!(v.load().get(), 2);
        drop(v);
        assert_eq!(alive.load(std::sync::atomic::Ordering::SeqCst), 0);
    });
}

/// A reader looks at a value while it is replaced twice: it is not freed under its eyes, and all are in the end.
#[test]
fn loom_map_frees_nothing_that_is_read() {
    model(|| {
        let alive = std::sync::Arc::default();
        let m = Arc::new(Map::new());
        m.store(1_u32, Watched::new(1, &alive));
        let n = m.clone();
        let h = thread::spawn(move || n.load_with(&1, Watched::get));
        m.store(1, Watched::new(2, &alive));
        m.store(1, Watched::new(3, &alive));
        assert!(h.join().unwrap().is_some_and(|v| v <= 3));
        m.delete(&1);
        drop(m);
        assert_eq!(alive.load(std::sync::atomic::Ordering::SeqCst), 0);
    });
}
