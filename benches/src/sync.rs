//! Locks and atomics.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{
    hint::black_box,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use burrow::{
    sync::{Condvar, Map, Mutex, Once, Pool, RwLock, WaitGroup},
    time::Instant,
};

/// Operation = lock and unlock.
pub fn mutex_uncontended(n: usize) -> (usize, Duration) {
    let m = Mutex::new(());
    let begin = Instant::now();
    for _ in 0..n {
        drop(m.lock());
    }
    (n, begin.elapsed())
}

/// Operation = lock, count, unlock; eight goroutines.
pub fn mutex_contended8(n: usize) -> (usize, Duration) {
    let m = Mutex::new(0_usize);
    let took = crate::par(8, move |_| {
        for _ in 0..n / 8 {
            *m.lock() += 1;
        }
    });
    (n / 8 * 8, took)
}

/// Operation = one atomic addition; eight goroutines.
pub fn atomic_add8(n: usize) -> (usize, Duration) {
    let v = AtomicI64::new(0);
    let took = crate::par(8, move |_| {
        for _ in 0..n / 8 {
            v.fetch_add(1, Ordering::SeqCst); // as Go's
        }
    });
    (n / 8 * 8, took)
}

/// Operation = read-lock, use, unlock; eight goroutines.
pub fn rwmutex_read8(n: usize) -> (usize, Duration) {
    let l = RwLock::new(7_usize);
    let took = crate::par(8, move |_| {
        let mut sum = 0;
        for _ in 0..n / 8 {
            sum += *l.read();
        }
        black_box(sum);
    });
    (n / 8 * 8, took)
}

/// Operation = a `call_once` that finds it done.
pub fn once_fast(n: usize) -> (usize, Duration) {
    static ONCE: Once = Once::new();
    let f = || {};
    ONCE.call_once(f);
    let begin = Instant::now();
    for _ in 0..n {
        ONCE.call_once(f);
    }
    (n, begin.elapsed())
}

/// Operation = one of 16 goroutines waits and is woken by a broadcast.
pub fn cond_broadcast(n: usize) -> (usize, Duration) {
    const WAITERS: usize = 16;
    #[derive(Default)]
    struct State {
        generation: usize,
        waiting: usize,
    }
    let rounds = (n / WAITERS).max(1);
    let shared = Arc::new((Mutex::new(State::default()), Condvar::new(), Condvar::new()));
    let wg = Arc::new(WaitGroup::new());
    wg.add(WAITERS as i32);
    let begin = Instant::now();
    for _ in 0..WAITERS {
        let (shared, wg) = (shared.clone(), wg.clone());
        burrow::go(move || {
            let (m, c, all_wait) = &*shared;
            let mut s = m.lock();
            for _ in 0..rounds {
                let generation = s.generation;
                s.waiting += 1;
                if s.waiting == WAITERS {
                    all_wait.notify_one();
                }
                while s.generation == generation {
                    s = c.wait(s);
                }
            }
            drop(s);
            wg.done();
        });
    }
    let (m, c, all_wait) = &*shared;
    for _ in 0..rounds {
        let mut s = m.lock();
        while s.waiting < WAITERS {
            s = all_wait.wait(s);
        }
        s.waiting = 0;
        s.generation += 1;
        c.notify_all();
        drop(s);
    }
    wg.wait();
    (rounds * WAITERS, begin.elapsed())
}

/// Operation = one `add`, one `done`; a `wait` that finds nobody left, every 100.
pub fn waitgroup(n: usize) -> (usize, Duration) {
    let wg = WaitGroup::new();
    let begin = Instant::now();
    for _ in 0..n / 100 {
        for _ in 0..100 {
            wg.add(1);
            wg.done();
        }
        wg.wait();
    }
    (n / 100 * 100, begin.elapsed())
}

/// Operation = take a value out of the pool and put it back.
pub fn pool_get_put(n: usize) -> (usize, Duration) {
    static POOL: Pool<usize> = Pool::new(|| 0);
    POOL.put(1);
    let begin = Instant::now();
    for _ in 0..n {
        let v = POOL.get();
        POOL.put(black_box(v));
    }
    (n, begin.elapsed())
}

fn filled() -> Map<usize, usize> {
    (0..1024).map(|i| (i, i)).collect()
}

/// Operation = look up one of 1,024 keys.
pub fn syncmap_load(n: usize) -> (usize, Duration) {
    let m = filled();
    let begin = Instant::now();
    let mut sum = 0;
    for i in 0..n {
        sum += m.load(&(i & 1023)).unwrap_or(0);
    }
    black_box(sum);
    (n, begin.elapsed())
}

/// Operation = a new value for one of 1,024 keys.
pub fn syncmap_store(n: usize) -> (usize, Duration) {
    let m = filled();
    let begin = Instant::now();
    for i in 0..n {
        m.store(i & 1023, i);
    }
    (n, begin.elapsed())
}
