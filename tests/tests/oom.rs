//! Out of memory: an error or a panic of the goroutine that asked, never a hang or a reset; and memory comes back.
//!
//! Two kinds of "out": a memory limit (`set_memory_limit`), and no frame left at all ([`Hog`] takes every one).
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{boxed::Box, format, string::ToString, sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{
    Builder, SpawnError, chan,
    context::Context,
    mem::{self, frames},
    net::{self, TcpListener, TcpStream},
    panic::Kind,
    println, recover, runtime, select, spawn,
    sync::{Map, Mutex, Pool, RwLock, Semaphore, WaitGroup},
    time,
};
use burrow_tests::{MemoryLimit, Procs, touch};

burrow::test_main!();

/// Holds every frame there is, but `left`.
struct Hog(Vec<frames::Frame>);
impl Hog {
    fn all_but(left: usize) -> Hog {
        runtime::free_os_memory();
        let mut hog = Hog(Vec::with_capacity(frames::free_count() + 10_000));
        hog.take_all_but(left);
        hog
    }
    /// Takes what has become free meanwhile.
    fn take_all_but(&mut self, left: usize) {
        while frames::free_count() > left && self.0.len() < self.0.capacity() {
            match frames::alloc() {
                Some(f) => self.0.push(f),
                None => break,
            }
        }
    }
}
impl Drop for Hog {
    fn drop(&mut self) {
        self.0.drain(..).for_each(frames::free);
    }
}

/// Runs `f`; afterwards as much memory is free as before, and the heap's books are right.
fn memory_comes_back(f: impl FnOnce()) {
    runtime::free_os_memory();
    let before = frames::free_count();
    f();
    while runtime::num_goroutine() > 8 {
        time::sleep(Duration::from_millis(1));
    }
    runtime::free_os_memory();
    let after = frames::free_count();
    // New Gs, page tables and span records stay.
    assert!(
        after + 1024 >= before,
        "{before} frames free before, {after} after"
    );
    mem::check_heap().expect("the books are right");
}

fn is_out_of_memory(p: &burrow::Panic) -> bool {
    matches!(p.kind(), Kind::OutOfMemory { .. })
}

#[burrow::test]
fn try_reserve_says_no() {
    memory_comes_back(|| {
        let _limit = MemoryLimit::to(8 << 20);
        let mut v: Vec<u8> = Vec::new();
        assert!(v.try_reserve_exact(16 << 20).is_err());
        assert!(v.try_reserve_exact(4 << 20).is_ok());
    });
}

#[burrow::test]
fn an_infallible_allocation_panics_its_goroutine() {
    memory_comes_back(|| {
        let _limit = MemoryLimit::to(8 << 20);
        for size in [24, 500, 5_000, 100_000] {
            let end = spawn(move || {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(Vec::with_capacity(size));
                }
            })
            .join();
            let p = end.expect_err("there is an end to memory");
            assert!(is_out_of_memory(&p), "{p}");
        }
        // The others never noticed, and there is room again.
        let v: Vec<u64> = (0..100_000).collect();
        assert_eq!(v.len(), 100_000);
    });
}

/// Eight goroutines hit the limit at once, again and again, beside one that needs little.
#[burrow::test(timeout = 120)]
fn many_at_the_limit_at_once() {
    memory_comes_back(|| {
        let _limit = MemoryLimit::to(16 << 20);
        let hit = WaitGroup::new();
        let hits = AtomicU64::new(0);
        burrow::scope(|s| {
            for me in 0..8_usize {
                hit.add(1);
                let (hit, hits) = (&hit, &hits);
                s.spawn(move || {
                    for round in 0..5 {
                        let end = burrow::recover(|| {
                            let mut all: Vec<Box<[u8]>> = Vec::new();
                            loop {
                                all.push(
                                    alloc::vec![me as u8; 100 + (me * 977 + round * 131) % 30_000].into(),
                                );
                            }
                        });
                        if end.is_err() {
                            hits.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    hit.done();
                });
            }
            hit.wait();
        });
        assert_eq!(hits.load(Ordering::Relaxed), 40);
    });
}

#[burrow::test]
fn a_spawn_at_the_limit_is_an_error() {
    memory_comes_back(|| {
        let _limit = MemoryLimit::to(4 << 20);
        let gate = chan::<()>(0);
        let mut started = 0;
        let error = loop {
            let gate = gate.receiver();
            match Builder::new().spawn(move || gate.recv()) {
                Ok(_) => started += 1,
                Err(e) => break e,
            }
            assert!(started < 100_000, "there is no end to memory");
        };
        assert!(matches!(error, SpawnError::OutOfMemory), "{error}");
        assert!(started > 100, "{started}");
        gate.close();
    });
}

/// What a timer or a context calls when no goroutine can be started comes later: it is not lost, does not come twice, and
/// does not run in whoever set it off.
#[burrow::test(timeout = 120)]
fn functions_wait_for_memory() {
    const N: u64 = 20;
    memory_comes_back(|| {
        let (ran, elsewhere) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = || {
            let (ran, elsewhere, here) = (ran.clone(), elsewhere.clone(), burrow::sched::current().id());
            move || {
                elsewhere.fetch_add(
                    u64::from(here != burrow::sched::current().id()),
                    Ordering::Relaxed,
                );
                ran.fetch_add(1, Ordering::Relaxed);
            }
        };
        // All that needs memory is there before it ends.
        let timers: Vec<_> = (0..N)
            .map(|_| time::after_func(Duration::from_secs(3600), counts()))
            .collect();
        let (ctx, cancel) = Context::background().with_cancel();
        let _off: Vec<_> = (0..N).map(|_| ctx.after_func(counts())).collect();
        let (late, _cancel) = ctx.without_cancel().with_timeout(Duration::from_millis(300));
        let seen = late.done(); // its channel
        let gate = chan::<()>(0);
        let limit = MemoryLimit::to(4 << 20);
        let waits = |_| {
            let gate = gate.receiver();
            Builder::new().spawn(move || gate.recv()).is_ok()
        };
        assert!((0..100_000).map(waits).any(|ok| !ok), "there is no end to memory");
        // What other cores have left over goes, too.
        let mut full = 0;
        while full < 50 {
            full = if waits(0) { 0 } else { full + 1 };
            burrow::yield_now();
        }
        cancel();
        for t in &timers {
            t.reset(Duration::from_micros(100));
        }
        time::sleep(Duration::from_millis(50)); // several attempts
        time::sleep(
            late.deadline()
                .expect("it has one")
                .saturating_duration_since(time::Instant::now()),
        );
        time::sleep(Duration::from_millis(5));
        let early = ran.load(Ordering::Relaxed);
        assert!(early < N, "{early} found memory");
        let stopped = u64::from(timers[0].stop()) + u64::from(timers[1].stop());
        timers[2].reset(Duration::from_millis(1)); // counts once, unless it has run
        gate.close();
        drop(limit);
        assert_eq!(seen.recv(), None);
        while ran.load(Ordering::Relaxed) < 2 * N - stopped {
            time::sleep(Duration::from_millis(1));
        }
        time::sleep(Duration::from_millis(30)); // nothing comes twice
        let all = ran.load(Ordering::Relaxed);
        assert!(
            all - (2 * N - stopped) <= early,
            "{all} of {} and {early}",
            2 * N - stopped
        );
        assert_eq!(elsewhere.load(Ordering::Relaxed), all);
        burrow::println!("{early} ran without memory, {stopped} stopped, {all} in all");
    });
}

/// Who finds no memory to listen to its context panics before it waits, and nobody waits for it or serves it: a lock, a
/// group, a semaphore goes on as if it had never come.
#[burrow::test(timeout = 120)]
fn waits_with_a_context_at_the_limit() {
    let mut refused = 0;
    let _one = Procs::one(); // no other core has memory left over
    for round in 0..10 {
        if round >= 2 && refused > 0 {
            break;
        }
        // It comes too early if the one that takes the memory is kept from its core meanwhile: then again.
        memory_comes_back(|| {
            let (m, read, written, wg, s) = (
                Mutex::new(()),
                RwLock::new(()),
                RwLock::new(()),
                WaitGroup::new(),
                Semaphore::new(1),
            );
            let (ctx, cancel) = Context::background().with_cancel();
            let full = AtomicBool::new(false);
            wg.add(1);
            s.acquire(1);
            burrow::scope(|scope| {
                let (mutex, r, w) = (m.lock(), read.read(), written.write());
                let begin = chan::<()>(0);
                let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(200_000);
                let (go_on, ctx, full) = (begin.receiver(), &ctx, &full);
                let (m, read, written, wg, s) = (&m, &read, &written, &wg, &s);
                let worker = scope.spawn(move || {
                    go_on.recv();
                    // As large as a part of a context; failing shakes some memory loose.
                    while take(&mut hoard, [4096, 256, 224, 192, 160, 144, 128, 112, 96]) {}
                    full.store(true, Ordering::Relaxed);
                    let ends = [
                        recover(|| m.lock_ctx(ctx).is_ok()),
                        recover(|| read.write_ctx(ctx).is_ok()),
                        recover(|| written.read_ctx(ctx).is_ok()),
                        recover(|| wg.wait_ctx(ctx).is_ok()),
                        recover(|| s.acquire_ctx(ctx, 1).is_ok()),
                    ];
                    hoard.clear();
                    ends
                });
                let limit = MemoryLimit::to(256 << 10);
                begin.send(());
                while !full.load(Ordering::Relaxed) {
                    time::sleep(Duration::from_millis(1));
                }
                time::sleep(Duration::from_millis(20));
                cancel(); // one that has found memory waits for this
                drop(limit);
                for end in worker.join().expect("it recovers") {
                    match end {
                        Ok(had) => assert!(!had),
                        Err(p) => {
                            assert!(is_out_of_memory(&p), "{p}");
                            refused += 1;
                        }
                    }
                }
                assert!(read.try_read().is_some(), "no writer waits");
                drop((mutex, r, w));
            });
            assert_eq!(format!("{m:?}"), "Mutex(())");
            assert!(read.try_write().is_some() && written.try_write().is_some());
            wg.done();
            wg.add(1); // nobody waits
            assert!(!wg.wait_timeout(Duration::from_nanos(1)));
            s.release(1);
            assert!(s.try_acquire(1));
        });
    }
    println!("{refused} found no memory");
    assert!(refused > 0, "none met the end of memory");
}

#[burrow::test]
fn channels_at_the_limit() {
    memory_comes_back(|| {
        let ch = chan::<[u64; 100]>(4);
        let lock = Mutex::new(0);
        let _limit = MemoryLimit::to(0);
        // A channel that is there works: its buffer is, too, and waiters lie on their own stacks.
        for i in 0..4 {
            ch.send([i; 100]);
        }
        select! {
            recv(ch) -> v => assert_eq!(v, Some([0; 100])),
            default => panic!("it is full"),
        }
        *lock.lock() += 1;
        // A new one does not fit.
        let end = burrow::recover(|| drop(chan::<[u64; 100]>(100_000)));
        assert!(is_out_of_memory(&end.expect_err("80 MB")));
        for i in 1..4 {
            assert_eq!(ch.recv(), Some([i; 100]));
        }
    });
}

/// With no frame left: what runs goes on, is preempted, sleeps and wakes; what needs a frame panics.
/// A store that finds no memory leaves the map as it was, its lock free, and drops what it was given.
#[burrow::test(timeout = 120)]
fn a_map_at_the_limit() {
    static ALIVE: AtomicU64 = AtomicU64::new(0);
    struct Value(u64, #[expect(dead_code, reason = "fills memory")] [u64; 30]);
    impl Value {
        fn new(n: u64) -> Value {
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Value(n, [n; 30])
        }
    }
    impl Drop for Value {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let map: Map<u64, Value> = Map::new();
    memory_comes_back(|| {
        let _limit = MemoryLimit::to(2 << 20);
        let (mut stored, mut refused) = (Vec::with_capacity(20_000), 0);
        for k in 0..20_000_u64 {
            match recover(|| map.store(k, Value::new(k))) {
                Ok(()) => stored.push(k),
                Err(p) => {
                    assert!(is_out_of_memory(&p), "{p}");
                    refused += 1;
                }
            }
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "there is an end to memory");
        assert_eq!(
            (map.len(), ALIVE.load(Ordering::Relaxed)),
            (stored.len(), stored.len() as u64)
        );
        assert!(stored.iter().all(|k| map.load_with(k, |v| v.0) == Some(*k)));
        let mut met = 0;
        map.range(|_, _| {
            met += 1;
            true
        });
        assert_eq!(met, stored.len());
        assert!(map.delete(&stored[0])); // takes no memory
        map.clear();
        map.store(1, Value::new(1));
        map.clear();
        assert_eq!((map.len(), ALIVE.load(Ordering::Relaxed)), (0, 0));
    });
}

/// A pool without memory keeps less; it never panics when something is put in.
#[burrow::test(timeout = 120)]
fn a_pool_at_the_limit() {
    let pool = Pool::new(|| 0_u64);
    pool.put(1); // it has its places from here on
    memory_comes_back(|| {
        let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(40_000);
        let _limit = MemoryLimit::to(256 << 10);
        for size in [4096, 512, 64, 16] {
            while hoard.len() < hoard.capacity() {
                let mut v = Vec::new();
                if v.try_reserve_exact(size).is_err() {
                    break;
                }
                hoard.push(v);
            }
        }
        (0..10_000).for_each(|i| pool.put(i));
        drop(hoard);
    });
    (0..10_000).for_each(|i| pool.put(i));
    assert!(core::iter::from_fn(|| pool.try_get()).count() > 5_000);
}

#[burrow::test(timeout = 120)]
fn without_any_frame() {
    memory_comes_back(|| {
        let (go_on, ready) = (chan::<()>(0), chan::<()>(0));
        // Needs more stack, later, than all cores have frames in their caches.
        let deep = {
            let (go_on, ready) = (go_on.receiver(), ready.sender());
            let deep = move || {
                ready.send(());
                go_on.recv();
                touch(3000)
            };
            let b = Builder::new().stack_size(4 << 20);
            b.spawn(deep).expect("there is memory yet")
        };
        ready.recv();
        let stop = alloc::sync::Arc::new(AtomicBool::new(false));
        let rounds = alloc::sync::Arc::new(AtomicU64::new(0));
        let sleepers: Vec<_> = (0..4)
            .map(|_| {
                let (stop, rounds) = (stop.clone(), rounds.clone());
                spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        time::sleep(Duration::from_millis(1));
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let hogs: Vec<_> = (0..runtime::gomaxprocs(0))
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        core::hint::spin_loop();
                    }
                })
            })
            .collect();
        time::sleep(Duration::from_millis(20));
        {
            let mut hog = Hog::all_but(0);
            let before = rounds.load(Ordering::Relaxed);
            while rounds.load(Ordering::Relaxed) < before + 20 {
                time::sleep(Duration::from_millis(5));
            }
            let mut v: Vec<u8> = Vec::new();
            assert!(v.try_reserve_exact(1 << 20).is_err());
            let no = burrow::recover(|| drop(core::hint::black_box(alloc::vec![1u8; 8 << 20])));
            assert!(is_out_of_memory(&no.expect_err("no frame is left")));
            assert!(Builder::new().stack_size(4 << 20).spawn(|| ()).is_err());
            // A failed allocation has shaken some frames loose.
            hog.take_all_but(0);
            go_on.send(());
            let end = deep.join();
            burrow::println!("{} frames were held; the deep one: {end:?}", hog.0.len());
            assert!(end.is_err(), "750 pages out of nothing");
        }
        stop.store(true, Ordering::Relaxed);
        for h in sleepers.into_iter().chain(hogs) {
            h.join().expect("they only sleep and spin");
        }
        assert_eq!(spawn(|| touch(200)).join().expect("there is memory again"), 200);
    });
}

/// Memory that dead goroutines and free heap pages hold is found before an allocation fails.
#[burrow::test]
fn an_allocation_reclaims_before_it_fails() {
    memory_comes_back(|| {
        runtime::free_os_memory();
        // All at once, or one has the stack of another that has ended.
        let (here, gate) = (Arc::new(WaitGroup::new()), chan::<()>(0));
        here.add(200);
        let handles: Vec<_> = (0..200)
            .map(|_| {
                let (here, gate) = (here.clone(), gate.receiver());
                spawn(move || {
                    touch(150);
                    here.done();
                    gate.recv();
                })
            })
            .collect();
        here.wait();
        gate.close();
        for h in handles {
            h.join().expect("it recurses");
        }
        // About 30 MB in dead stacks now; a third of the rest must not be enough.
        let free = frames::free_count() * 4096;
        let used = (frames::total_count() - frames::free_count()) * 4096;
        let _limit = MemoryLimit::at(used + (4 << 20));
        let mut v: Vec<u8> = Vec::new();
        let got = v.try_reserve_exact(12 << 20);
        assert!(got.is_ok(), "{free} bytes free: {}", runtime::read_mem_stats());
    });
}

/// Takes memory until allocations of these sizes fail. `false`: they did at once.
fn take(hoard: &mut Vec<Vec<u8>>, sizes: impl IntoIterator<Item = usize>) -> bool {
    let before = hoard.len();
    for size in sizes {
        while hoard.len() < hoard.capacity() {
            let mut v = Vec::new();
            if v.try_reserve_exact(size).is_err() {
                break;
            }
            hoard.push(v);
        }
    }
    hoard.len() > before
}

/// Connections that have come find no memory for their handles: each is closed, once, and what was theirs serves others.
#[burrow::test(timeout = 120)]
fn connections_without_memory_for_a_handle() {
    let l = TcpListener::bind("127.0.0.1:0").expect("there is memory");
    let connect = || TcpStream::connect(l.local_addr()).expect("there is memory");
    let clients: [TcpStream; 8] = core::array::from_fn(|_| connect());
    let mut rest: Vec<Vec<u8>> = Vec::with_capacity(20_000);
    let one = Procs::one(); // no other core has memory left over
    let limit = MemoryLimit::to(256 << 10);
    let sizes = || {
        [64 << 10, 4096, 1024]
            .into_iter()
            .chain((1..=40).rev().map(|n| 16 * n))
    }; // whatever class it is
    while take(&mut rest, sizes()) {} // failing shakes some memory loose
    let handles: [_; 8] = core::array::from_fn(|_| l.accept().map(|(conn, _)| conn));
    drop((rest, limit, one));
    let refused = handles.iter().filter(|h| h.is_err()).count();
    println!("{refused} of 8 found no memory");
    assert!(refused > 0, "none met the end of memory");
    let others: [_; 8] = core::array::from_fn(|_| (connect(), l.accept().expect("there is memory").0));
    let pairs = clients
        .into_iter()
        .zip(handles)
        .chain(others.map(|(c, s)| (c, Ok(s))));
    for (i, (client, handle)) in pairs.enumerate() {
        let mut got = [0];
        match handle {
            Ok(conn) => {
                conn.write_all(&[i as u8]).expect("it lives");
                assert_eq!((client.read(&mut got), got[0]), (Ok(1), i as u8));
            }
            Err(e) => {
                assert_eq!(e, net::Error::OutOfMemory);
                assert_eq!(client.read(&mut got), Ok(0), "it was closed");
            }
        }
    }
}

/// Connections until there is no memory for more: the next is an error that says so, those that live go on, and each one
/// that closes makes room. Both ends are here, and a refused request goes without an answer, so a try has a limit.
#[burrow::test(timeout = 120)]
fn connections_at_the_limit() {
    const MOST: usize = 2_000;
    const SOON: Duration = Duration::from_millis(500);
    let l = TcpListener::bind("127.0.0.1:0").expect("there is memory");
    let at = l.local_addr();
    let server = l.clone();
    let serving = spawn(move || {
        let mut refused = 0;
        loop {
            let echo = match server.accept() {
                Ok((conn, _)) => move || {
                    let mut buf = [0; 64];
                    while let Ok(n @ 1..) = conn.read(&mut buf) {
                        if conn.write_all(&buf[..n]).is_err() {
                            return;
                        }
                    }
                },
                Err(net::Error::OutOfMemory) => {
                    refused += 1;
                    continue;
                }
                Err(_) => return refused,
            };
            // A connection for which there is no goroutine is closed.
            refused += u32::from(Builder::new().spawn(echo).is_err());
        }
    });
    let echoes = |c: &TcpStream, word: u64| {
        let mut back = [0; 8];
        c.set_deadline(Some(time::Instant::now() + 20 * SOON));
        let r = c
            .write_all(&word.to_le_bytes())
            .and_then(|()| c.read_full(&mut back));
        r == Ok(8) && u64::from_le_bytes(back) == word
    };
    let crowd = |conns: &mut Vec<TcpStream>| {
        let mut refused = 0; // also those that get no goroutine
        while refused < 5 && conns.len() < MOST {
            match TcpStream::connect_timeout(at, SOON) {
                Ok(c) if echoes(&c, 1) => conns.push(c),
                Ok(_) | Err(net::Error::TimedOut) => refused += 1, // the server had no memory for it
                Err(net::Error::OutOfMemory) => refused += 1,
                Err(e) => panic!("{e}"),
            }
        }
        println!("{} connections, {}", conns.len(), net::stats());
        assert_eq!(refused, 5, "there is an end to memory");
        assert!(conns.len() > 20);
        conns.len()
    };
    memory_comes_back(|| {
        let mut conns: Vec<TcpStream> = Vec::with_capacity(MOST);
        let mut rest: Vec<Vec<u8>> = Vec::with_capacity(10_000);
        let limit = MemoryLimit::to(8 << 20);
        let first = crowd(&mut conns);
        let sizes = [1 << 20, 64 << 10, 20 << 10, 4096, 512]; // all that sockets need
        while take(&mut rest, sizes) {} // failing shakes some memory loose
        let refusals = [
            TcpStream::connect_timeout(at, SOON).map(drop),
            TcpListener::bind("127.0.0.1:0").map(drop),
            net::UdpSocket::bind("127.0.0.1:0").map(drop),
            net::ping(at.ip(), SOON).map(drop),
        ];
        let alive = conns.iter().enumerate().all(|(i, c)| echoes(c, i as u64));
        drop(rest);
        assert_eq!(refusals, [Err(net::Error::OutOfMemory); 4]);
        assert!(alive, "a connection does not echo any more");
        assert_eq!(net::Error::OutOfMemory.to_string(), "cannot allocate memory");
        // Some go: there is room again.
        conns.truncate(first / 2);
        let new = loop {
            match TcpStream::connect_timeout(at, SOON) {
                Ok(c) if echoes(&c, 2) => break c,
                _ => time::sleep(Duration::from_millis(10)), // those closed take a round trip to go
            }
        };
        assert!(conns.iter().all(|c| echoes(c, 3)) && echoes(&new, 4));
        drop(new);
        conns.clear();
        let lives = |(state, n): &(&str, u64)| *state != "time-wait" && *n != 0;
        while net::stats().states.iter().any(lives) {
            time::sleep(Duration::from_millis(10));
        }
        // All that went wait to be forgotten, with their buffers: without other memory they give them to the next.
        let waiting = || {
            let states = net::stats().states;
            states.iter().find(|s| s.0 == "time-wait").map_or(0, |s| s.1)
        };
        let before = waiting();
        let mut rest: Vec<Vec<u8>> = Vec::with_capacity(10_000);
        while take(&mut rest, sizes) {}
        let next = TcpStream::connect_timeout(at, SOON);
        let after = waiting();
        drop((rest, next, conns, limit));
        assert!(before > 20 && after < before, "{before}, then {after}");
        while !net::connections(1).is_empty() {
            time::sleep(Duration::from_millis(100));
        }
    });
    l.close().expect("closed once");
    println!("the server refused {}", serving.join().expect("no panic"));
}

/// Many wake at once, and each needs more stack than it waited on and than there is for all: those who have it give it back as
/// soon as they wait again, so nobody panics, and the machine lives.
#[burrow::test(timeout = 120)]
fn many_grow_at_once() {
    const N: i32 = 600;
    memory_comes_back(|| {
        let (gate, hold) = (chan::<()>(0), chan::<()>(0));
        let (ready, done) = (WaitGroup::new(), WaitGroup::new());
        burrow::scope(|s| {
            ready.add(N);
            done.add(N);
            for _ in 0..N {
                let (gate, hold, ready, done) = (gate.receiver(), hold.receiver(), &ready, &done);
                s.spawn(move || {
                    ready.done();
                    gate.recv();
                    touch(12);
                    done.done();
                    hold.recv();
                });
            }
            ready.wait();
            let hog = Hog::all_but(300);
            gate.close();
            done.wait();
            drop(hog);
            hold.close();
        });
    });
}
