//! Leaks: what `runtime::leaked` must find, and what it must never report.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{boxed::Box, format, string::ToString, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use burrow::{
    Builder, Chan, Receiver, Select, chan, context, go, goexit,
    runtime::{Leak, LeakCause, goid, leaked},
    scope, select, spawn,
    sync::{Condvar, Mutex, Once, OnceLock, RwLock, WaitGroup},
    time::{self, Duration, sleep},
    yield_now,
};

burrow::test_main!();

/// Starts `f` and returns its number.
fn start(f: impl FnOnce() + Send + 'static) -> u64 {
    let id = Arc::new(AtomicU64::new(0));
    let theirs = id.clone();
    go(move || {
        theirs.store(goid(), Ordering::Release);
        drop(theirs);
        f();
    });
    loop {
        match id.load(Ordering::Acquire) {
            0 => yield_now(),
            g => return g,
        }
    }
}

/// Waits until goroutine `g` is reported; the watchdog ends a test in which it never is.
fn found(g: u64) -> Leak {
    loop {
        if let Some(l) = leaked().into_iter().find(|l| l.goid() == g) {
            return l;
        }
        yield_now();
    }
}

/// Goroutine `g` waits as `state` says, and is not reported.
#[track_caller]
fn not_found(g: u64, state: &str) {
    let line = format!("goroutine {g} [{state}");
    while !burrow::runtime::stack(true).contains(&line) {
        yield_now();
    }
    for _ in 0..3 {
        assert!(leaked().iter().all(|l| l.goid() != g), "goroutine {g} [{state}]");
    }
}

#[burrow::test(timeout = 60)]
fn a_sender_whose_receiver_has_left() {
    let c = chan::<u32>(0);
    let late = c.clone();
    let g = start(move || late.send(42));
    not_found(g, "chan send");
    assert!(c.try_recv() == Ok(42) && leaked().is_empty());
    let late = c.clone();
    let g = start(move || late.send(42));
    drop(c);
    let leak = found(g);
    assert_eq!(leak.cause(), LeakCause::NoHandle { handles: 1 });
    let line = leak.to_string();
    assert!(
        line.starts_with(&format!(
            "goroutine {g} [chan send (leaked)]: it has the only handle"
        )),
        "{line}"
    );
    assert!(line.contains("created at tests/tests/leak.rs:"), "{line}");
    assert!(leak.stack().contains("[chan send (leaked)]:"), "{}", leak.stack());
    assert!(burrow::runtime::stack(true).contains("[chan send (leaked)]:"));
}

#[burrow::test(timeout = 60)]
fn workers_on_a_channel_that_nobody_closed() {
    let jobs = chan::<u32>(4);
    let workers: Vec<u64> = (0..5)
        .map(|i| {
            let jobs = jobs.clone();
            if i % 2 == 0 {
                start(move || jobs.iter().for_each(drop))
            } else {
                start(move || for _ in jobs {})
            }
        })
        .collect();
    for n in 0..20 {
        jobs.send(n);
    }
    not_found(workers[0], "chan receive");
    drop(jobs);
    for g in workers {
        found(g);
    }
}

#[burrow::test(timeout = 60)]
fn receivers_are_left_and_one_is_busy() {
    let (jobs, busy) = (chan::<u32>(0), Arc::new(AtomicBool::new(true)));
    let (rx, other, b) = (jobs.receiver(), jobs.receiver(), busy.clone());
    let g = start(move || _ = rx.recv());
    let runs = start(move || {
        while b.load(Ordering::Acquire) {
            yield_now();
        }
        drop(other);
    });
    let tx = jobs.sender();
    drop(jobs);
    not_found(g, "chan receive");
    drop(tx); // nobody can send or close, though somebody can receive
    assert_eq!(found(g).cause(), LeakCause::NoSender { handles: 2 });
    assert!(leaked().iter().all(|l| l.goid() != runs));
    busy.store(false, Ordering::Release);
}

/// Wherever the handle is: if none can send, none will.
#[burrow::test(timeout = 60)]
fn receive_only_handles_in_a_shared_struct() {
    let jobs = chan::<u32>(0);
    let server = Arc::new(Receiver::from(jobs.clone()));
    let theirs = server.clone();
    let g = start(move || _ = theirs.recv());
    not_found(g, "chan receive");
    drop(jobs);
    found(g);
    drop(server);
}

#[burrow::test(timeout = 60)]
fn a_sender_that_others_may_close_is_not_leaked() {
    let c = chan::<u32>(0);
    let (tx, ended) = (c.sender(), spawn(|| ()));
    let theirs = tx.clone();
    let h = spawn(move || theirs.send(1));
    drop(c);
    not_found(h.id(), "chan send");
    tx.close();
    assert!(h.join().is_err());
    ended.join().unwrap();
}

#[burrow::test(timeout = 60)]
fn nil_channels_and_empty_selects() {
    let gs = [
        (start(|| _ = Chan::<u8>::nil().recv()), "chan receive (nil chan)"),
        (start(|| Chan::<u8>::nil().send(1)), "chan send (nil chan)"),
        (start(|| select! {}), "select (no cases)"),
        (
            start(|| {
                let nil = Receiver::<u8>::nil();
                select! { recv(nil) => {} }
            }),
            "select (no cases)",
        ),
    ];
    for (g, state) in gs {
        let leak = found(g);
        assert_eq!(leak.cause(), LeakCause::Never);
        assert!(
            leak.to_string().contains(&format!("[{state} (leaked)]")),
            "{leak}"
        );
    }
}

#[burrow::test(timeout = 60)]
fn one_live_case_keeps_a_select_alive() {
    let (a, b) = (chan::<u32>(0), chan::<u32>(0));
    let (c, d) = (a.clone(), b.clone());
    let g = start(move || {
        select! {
            recv(c) => {},
            send(d, 7) => {},
        }
    });
    not_found(g, "select");
    drop(a);
    not_found(g, "select"); // through b it may go on
    assert_eq!(b.recv(), Some(7));

    let (c, d) = (chan::<u32>(0), b.clone());
    let g = start(move || {
        select! {
            recv(c) => {},
            send(c, 1) => {}, // with itself it does not meet
            recv(d) => {},
        }
    });
    not_found(g, "select");
    drop(b);
    assert_eq!(found(g).cause(), LeakCause::NoCase { cases: 3 });
}

#[burrow::test(timeout = 60)]
fn a_deadline_is_a_way_out() {
    let c = chan::<u32>(0);
    let g = start(move || _ = c.recv_timeout(Duration::from_secs(3600)));
    not_found(g, "select");
    let c = chan::<u32>(0);
    let g = start(move || {
        select! {
            recv(c) => {},
            default(Duration::from_secs(3600)) => {},
        }
    });
    not_found(g, "select");
    let g = start(|| _ = time::after(Duration::from_secs(3600)).recv());
    not_found(g, "chan receive");
    let g = start(|| {
        let (ctx, _cancel) = context::background().with_timeout(Duration::from_secs(3600));
        ctx.done().recv();
    });
    not_found(g, "chan receive");
}

#[burrow::test(timeout = 60)]
fn who_can_be_cancelled_is_not_leaked() {
    let (ctx, cancel) = context::background().with_cancel();
    let results = chan::<u32>(0);
    let h = spawn(move || {
        let done = ctx.done();
        select! {
            send(results, 1) => {},
            recv(done) => {},
        }
    });
    not_found(h.id(), "select");
    cancel();
    h.join().unwrap();
}

/// A `Select` over handles in a `Vec`: the handles lie on the heap, so only what has no sender is known.
#[burrow::test(timeout = 60)]
fn a_dynamic_select() {
    let chans: Vec<_> = (0..100).map(|_| chan::<u32>(0)).collect();
    let rx: Vec<_> = chans.iter().map(Chan::receiver).collect();
    let g = start(move || {
        let mut got = [const { None }; 100];
        let mut s = Select::new();
        for (r, place) in rx.iter().zip(&mut got) {
            s.recv(r, place);
        }
        s.select();
    });
    not_found(g, "select");
    drop(chans);
    assert_eq!(found(g).cause(), LeakCause::NoCase { cases: 100 });
}

/// The handle is on the stack of who waits, but somebody borrows it.
#[burrow::test(timeout = 60)]
fn a_borrowed_handle_is_not_leaked() {
    let h = spawn(|| {
        let c = chan::<u32>(0);
        scope(|s| {
            s.spawn(|| {
                sleep(Duration::from_millis(20));
                c.send(1);
            });
            c.recv()
        })
    });
    while !h.is_finished() {
        assert!(leaked().iter().all(|l| l.goid() != h.id()));
    }
    assert_eq!(h.join().unwrap(), Some(1));
}

#[burrow::test(timeout = 60)]
fn a_handle_in_a_static_is_not_leaked() {
    static LINE: OnceLock<Chan<u32>> = OnceLock::new();
    let h = spawn(|| LINE.get_or_init(|| chan(0)).recv());
    not_found(h.id(), "chan receive");
    LINE.get_or_init(|| chan(0)).send(5);
    assert_eq!(h.join().unwrap(), Some(5));
}

#[burrow::test(timeout = 60)]
fn a_handle_in_a_box_is_not_known() {
    let c = Arc::new(Box::new(chan::<u32>(0)));
    let theirs = c.clone();
    let h = spawn(move || theirs.recv());
    not_found(h.id(), "chan receive");
    c.send(5);
    assert_eq!(h.join().unwrap(), Some(5));
}

/// A message may carry the handle.
#[burrow::test(timeout = 60)]
fn a_handle_on_its_way_is_not_leaked() {
    let (mail, c) = (chan::<Chan<u32>>(1), chan::<u32>(0));
    mail.send(c.clone());
    let h = spawn(move || c.recv());
    not_found(h.id(), "chan receive");
    mail.recv().unwrap().send(9);
    assert_eq!(h.join().unwrap(), Some(9));
}

#[burrow::test(timeout = 60)]
fn joining_a_leaked_goroutine_is_a_leak() {
    let c = chan::<u32>(0);
    let first = spawn(move || c.recv());
    let id = first.id();
    let g = start(move || _ = first.join());
    assert_eq!(found(g).cause(), LeakCause::Joins(id));
    found(id);
    let busy = Arc::new(AtomicBool::new(true));
    let b = busy.clone();
    let runs = spawn(move || {
        while b.load(Ordering::Acquire) {
            yield_now();
        }
    });
    let g = start(move || runs.join().unwrap());
    not_found(g, "join");
    busy.store(false, Ordering::Release);
}

/// Two wait for each other, each with both handles of what it does not wait for.
#[burrow::test(timeout = 60)]
fn a_ring_of_selects() {
    let c: [Chan<u32>; 3] = [chan(0), chan(0), chan(0)];
    let gs: Vec<u64> = (0..3)
        .map(|i| {
            let (a, b) = (c[i].clone(), c[(i + 1) % 3].clone());
            start(move || {
                select! {
                    recv(a) => {},
                    recv(b) => {},
                }
            })
        })
        .collect();
    not_found(gs[0], "select");
    drop(c);
    for g in gs {
        found(g);
    }
}

#[cfg_attr(debug_assertions, burrow::test(timeout = 60))]
#[cfg_attr(
    not(debug_assertions),
    expect(dead_code, reason = "release builds do not know the owner")
)]
fn a_lock_whose_holder_is_gone_or_leaked() {
    // Ended with the guard forgotten.
    let m = Arc::new(Mutex::new(0));
    let n = m.clone();
    let holder = spawn(move || core::mem::forget(n.lock()));
    let id = holder.id();
    holder.join().unwrap();
    let n = m.clone();
    let g = start(move || *n.lock() += 1);
    assert_eq!(found(g).cause(), LeakCause::HolderEnded(id));

    // Held by one that is leaked; and transitively.
    let (m, l) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new(0)));
    let (n, k) = (m.clone(), l.clone());
    let first = start(move || {
        let _n = n.lock();
        Chan::<u8>::nil().recv();
    });
    found(first);
    let n = m.clone();
    let second = start(move || {
        let _k = k.write();
        *n.lock() += 1;
    });
    assert_eq!(found(second).cause(), LeakCause::HolderLeaked(first));
    let third = start(move || _ = *l.read());
    assert_eq!(found(third).cause(), LeakCause::HolderLeaked(second));

    // A cycle of two while the program goes on.
    let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let both = Arc::new(WaitGroup::new());
    both.add(2);
    let lock_both = |a: Arc<Mutex<()>>, b: Arc<Mutex<()>>| {
        let both = both.clone();
        start(move || {
            let _a = a.lock();
            both.done();
            both.wait();
            let _b = b.lock();
        })
    };
    let (x, y) = (lock_both(a.clone(), b.clone()), lock_both(b, a));
    assert_eq!(found(x).cause(), LeakCause::HolderLeaked(y));
    assert_eq!(found(y).cause(), LeakCause::HolderLeaked(x));
}

#[burrow::test(timeout = 60)]
fn a_lock_whose_holder_runs_is_not_leaked() {
    let (m, free) = (Arc::new(Mutex::new(0)), chan::<()>(0));
    let (n, f) = (m.clone(), free.clone());
    let holder = spawn(move || {
        let mut n = n.lock();
        f.recv();
        *n += 1;
    });
    not_found(holder.id(), "chan receive");
    let n = m.clone();
    let h = spawn(move || *n.lock() += 1);
    not_found(h.id(), "sync.Mutex.Lock");
    free.send(());
    h.join().unwrap();
    holder.join().unwrap();
    assert_eq!(*m.lock(), 2);
}

/// A raw mutex may be unlocked by anybody.
#[burrow::test(timeout = 60)]
fn a_raw_mutex_is_not_known() {
    let m = Arc::new(burrow::sync::RawMutex::new());
    let n = m.clone();
    spawn(move || n.lock()).join().unwrap();
    let n = m.clone();
    let h = spawn(move || n.lock());
    not_found(h.id(), "sync.Mutex.Lock");
    m.unlock();
    h.join().unwrap();
}

#[burrow::test(timeout = 60)]
fn a_once_that_waits_for_a_leaked_one() {
    let once = Arc::new(Once::new());
    let o = once.clone();
    let first = start(move || o.call_once(|| Chan::<u8>::nil().send(1)));
    found(first);
    let second = start(move || once.call_once(|| ()));
    assert_eq!(found(second).cause(), LeakCause::HolderLeaked(first));
}

#[burrow::test(timeout = 60)]
fn what_lies_on_the_own_stack() {
    let gs = [
        start(|| {
            let wg = WaitGroup::new();
            wg.add(1);
            wg.wait();
        }),
        start(|| {
            let m = Mutex::new(0);
            let _a = m.lock();
            let _b = m.lock();
        }),
        start(|| {
            let (m, c) = (Mutex::new(0), Condvar::new());
            drop(c.wait(m.lock()));
        }),
    ];
    for g in gs {
        assert_eq!(found(g).cause(), LeakCause::Private);
    }
    // With a scope open others may get at it.
    let h = spawn(|| {
        let wg = WaitGroup::new();
        wg.add(1);
        scope(|s| {
            s.spawn(|| {
                sleep(Duration::from_millis(20));
                wg.done();
            });
            wg.wait();
        });
    });
    while !h.is_finished() {
        assert!(leaked().iter().all(|l| l.goid() != h.id()));
    }
    h.join().unwrap();
    let wg = Arc::new(WaitGroup::new());
    wg.add(1);
    let theirs = wg.clone();
    let h = spawn(move || theirs.wait());
    not_found(h.id(), "sync.WaitGroup.Wait");
    wg.done();
    h.join().unwrap();
}

#[burrow::test(timeout = 60)]
fn a_forgotten_handle_is_a_handle() {
    let c = chan::<u32>(0);
    core::mem::forget(c.clone());
    let g = start(move || _ = c.recv());
    not_found(g, "chan receive");
}

/// Names, a scope whose goroutine left by `goexit`, and stacks that are used again.
#[burrow::test(timeout = 60)]
fn reuse_of_goroutines() {
    for i in 0..20 {
        let c = chan::<u32>(0);
        let h = Builder::new()
            .name(format!("w{i}"))
            .spawn(move || {
                scope(|s| drop(s.spawn(|| ())));
                c.recv()
            })
            .unwrap();
        let leak = found(h.id());
        assert_eq!(leak.name(), format!("w{i}"));
        let h = spawn(|| {
            scope(|s| {
                s.spawn(|| ());
                goexit();
            })
        });
        assert!(h.join().is_err());
    }
}

/// Everybody talks to everybody while reports are made: none may name one of them, and the leaked stay.
#[burrow::test(timeout = 300)]
fn never_a_false_report() {
    const PAIRS: usize = 6;
    let stop = Arc::new(AtomicBool::new(false));
    let (moved, known) = (Arc::new(AtomicUsize::new(0)), chan::<u32>(0));
    let forgotten = start(move || _ = known.recv());
    found(forgotten);
    let before: Vec<u64> = leaked().iter().map(Leak::goid).collect();
    let wg = Arc::new(WaitGroup::new());
    for i in 0..PAIRS {
        // Handles are made and dropped all the time; each channel is now and then all but alone.
        let (s, m) = (stop.clone(), moved.clone());
        wg.go(move || {
            while !s.load(Ordering::Relaxed) {
                let (c, back) = (chan::<u32>(i % 3), chan::<u32>(0));
                let (rx, tx) = (c.receiver(), back.sender());
                let h = spawn(move || {
                    for v in rx {
                        tx.send(v);
                    }
                    tx.close();
                });
                for v in 0..8 {
                    if i % 4 == 3 {
                        burrow::blocking(|| c.send(v));
                    } else {
                        c.send(v);
                    }
                    select! {
                        recv(back) -> got => assert_eq!(got, Some(v)),
                        default(Duration::from_secs(200)) => panic!("nothing came"),
                    }
                    m.fetch_add(1, Ordering::Relaxed);
                }
                c.close();
                drop(c);
                assert_eq!(back.recv(), None);
                h.join().unwrap();
            }
        });
        let (s, lock) = (stop.clone(), Arc::new(Mutex::new(0_u32)));
        let other = lock.clone();
        wg.go(move || {
            while !s.load(Ordering::Relaxed) {
                *lock.lock() += 1;
                yield_now();
            }
        });
        let s = stop.clone();
        wg.go(move || {
            while !s.load(Ordering::Relaxed) {
                let mut n = other.lock();
                yield_now();
                *n += 1;
            }
        });
    }
    let mut reports = 0;
    while reports < 100 || moved.load(Ordering::Relaxed) < 500 {
        let all = leaked();
        assert!(
            all.iter().any(|l| l.goid() == forgotten),
            "once leaked, always leaked"
        );
        for l in &all {
            assert!(before.contains(&l.goid()), "{l}\n{}", l.stack());
        }
        reports += 1;
        yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    wg.wait();
}

/// Many at once: the report is bounded by their number.
#[burrow::test(timeout = 300)]
fn twenty_thousand() {
    const N: usize = 20_000;
    let c = chan::<u32>(0);
    let before = leaked().len();
    for _ in 0..N {
        let c = c.clone();
        go(move || _ = c.recv());
    }
    assert_eq!(leaked().len(), before, "we have a handle");
    drop(c);
    while leaked().len() < before + N {
        yield_now();
    }
}
