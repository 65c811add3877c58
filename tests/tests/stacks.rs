//! Stacks: their sizes, what parked goroutines give back, and growth when there is no frame left.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::{
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use burrow::{
    Builder, JoinHandle, Panic, SpawnError, chan, debug, debug::Hoard, go, mem::frames, opts, panic::Kind,
    recover, runtime, spawn, sync::WaitGroup, time::Instant,
};

burrow::test_main!();

const KIB: usize = 1024;
/// Frames that caches hold at one moment and not at another.
const SLACK: usize = 600;
/// As long as goroutines may take to get where they are going, on a host that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Uses `bytes` of stack, runs `at_bottom` there, and checks on the way up that nothing has changed.
#[inline(never)]
fn deep<R>(bytes: usize, salt: u64, at_bottom: &mut dyn FnMut() -> R) -> R {
    let mut local = [0_u64; 118];
    for (i, slot) in local.iter_mut().enumerate() {
        *slot = salt ^ (bytes as u64).wrapping_mul(i as u64 + 1);
    }
    black_box(&mut local);
    let r = if bytes <= KIB {
        at_bottom()
    } else {
        deep(bytes - KIB, salt, at_bottom)
    };
    for (i, slot) in black_box(&local).iter().enumerate() {
        let want = salt ^ (bytes as u64).wrapping_mul(i as u64 + 1);
        assert!(*slot == want, "a stack page changed");
    }
    r
}

/// The running test's own stack must not grow while there are no frames.
fn touch_own_stack() {
    deep(100 * KIB, 1, &mut || ());
}

/// A goroutine that was deep down gives its pages back when it waits further up, and finds everything there that it
/// had above; below it grows anew.
#[burrow::test(timeout = 120)]
fn parked_stacks_shrink_to_what_they_use() {
    const N: usize = 200;
    runtime::free_os_memory();
    let before = runtime::stack_bytes();
    let (waiting, gate) = (Arc::new(WaitGroup::new()), chan::<()>(0));
    let wait_for_all = |depth: usize| -> Vec<JoinHandle<()>> {
        waiting.add(N as i32);
        let start = |id: usize| {
            let (waiting, gate) = (waiting.clone(), gate.clone());
            let mut turn = move || {
                deep(100 * KIB, id as u64, &mut || ());
                waiting.done();
                assert_eq!(gate.recv(), None);
                deep(120 * KIB, id as u64 + 7, &mut || ());
            };
            spawn(move || deep(depth, id as u64 + 3, &mut turn))
        };
        (0..N).map(start).collect()
    };
    let (high, low) = (wait_for_all(0), wait_for_all(40 * KIB));
    waiting.wait();
    let full = runtime::stack_bytes() - before;
    assert!(full >= N * 200 * KIB, "{full} bytes in stacks");
    // Those that only just called `done` may not wait yet.
    let mut given = 0;
    let end = Instant::now() + PATIENCE;
    while runtime::stack_bytes() - before >= N * 64 * KIB && Instant::now() < end {
        given += runtime::free_os_memory();
        burrow::yield_now();
    }
    let each = (runtime::stack_bytes() - before) / N;
    burrow::println!(
        "{N} pairs: {} bytes each before, {each} after, {given} bytes given",
        full / N
    );
    // The one: a page or two; the other: what it stands on, and that.
    assert!(each < 64 * KIB, "{each} bytes left in each pair of stacks");
    gate.close();
    for h in high.into_iter().chain(low) {
        h.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

/// A million stay at one page each: what is given back is exact.
#[burrow::test]
fn a_shallow_parked_goroutine_keeps_a_page_or_two() {
    const N: usize = 500;
    runtime::free_os_memory();
    let before = runtime::stack_bytes();
    let (waiting, gate) = (Arc::new(WaitGroup::new()), chan::<()>(0));
    waiting.add(N as i32);
    for id in 0..N {
        let (waiting, gate) = (waiting.clone(), gate.clone());
        go(move || {
            deep(30 * KIB, id as u64, &mut || ());
            waiting.done();
            gate.recv();
        });
    }
    waiting.wait();
    // Frames of a debug build are large.
    let most = if cfg!(debug_assertions) { 2.1 } else { 1.1 };
    let each = || (runtime::stack_bytes() - before) as f64 / 4096.0 / N as f64;
    let end = Instant::now() + PATIENCE;
    while each() > most && Instant::now() < end {
        runtime::free_os_memory();
        burrow::yield_now();
    }
    let pages = each();
    burrow::println!("{pages:.2} pages each");
    assert!(pages <= most, "{pages} pages each");
    gate.close();
}

/// Counts its drops.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[burrow::test]
fn stack_sizes_from_nothing_to_one_gib() {
    for size in [
        0,
        1,
        4096,
        256 * KIB - 1,
        256 * KIB,
        256 * KIB + 1,
        1 << 20,
        (1 << 30) - 1,
        1 << 30,
    ] {
        let h = Builder::new()
            .stack_size(size)
            .spawn(|| deep(200 * KIB, 5, &mut || 7));
        assert_eq!(h.expect("there is memory").join().expect("no panic"), 7, "{size}");
    }
    let drops = Arc::new(AtomicUsize::new(0));
    for size in [(1 << 30) + 1, usize::MAX] {
        let d = Dropped(drops.clone());
        let e = Builder::new().stack_size(size).spawn(move || drop(d)).err();
        assert_eq!(e, Some(SpawnError::StackTooLarge));
    }
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[burrow::test]
fn the_main_goroutine_has_the_stack_it_was_told() {
    let want = opts::get("mainstack").map_or(256 * KIB as u64, |v| opts::bytes(v).expect("a size"));
    assert_eq!(debug::main_stack_size(), Some(want as usize));
}

/// With no frame for page tables, stacks or Gs a spawn is an error that costs nothing; the closure is dropped once, and
/// no slot is lost.
#[burrow::test(timeout = 120)]
fn a_spawn_without_memory_is_an_error() {
    touch_own_stack();
    let address = || {
        let h = Builder::new().stack_size(60 << 20).spawn(|| {
            let here = 0_u8;
            core::ptr::addr_of!(here) as usize
        });
        h.map(|h| h.join().expect("no panic"))
    };
    let first = address().expect("there is memory");
    let drops = Arc::new(AtomicUsize::new(0));
    let mut failed = 0;
    runtime::free_os_memory();
    for keep in [0, 1, 2, 5, 20] {
        let hoard = Hoard::all_but(keep);
        // 256 MiB of stack: 128 tables. Caches and what is kept will not do.
        for _ in 0..50 {
            let d = Dropped(drops.clone());
            match Builder::new().stack_size(255 << 20).spawn(move || drop(d)) {
                Ok(_) => panic!("there should be no memory for 128 page tables"),
                Err(e) => assert_eq!(e, SpawnError::OutOfMemory),
            }
            failed += 1;
        }
        assert_eq!(drops.load(Ordering::Relaxed), failed);
        drop(hoard);
    }
    // The first one had it, and may still be on its way out: then the next one finds it.
    let end = Instant::now() + PATIENCE;
    let mut again = address();
    while again != Ok(first) && Instant::now() < end {
        again = address();
    }
    assert_eq!(again, Ok(first), "a free slot is used again");
    // New goroutines until it fails: their pages, Gs and tables.
    let gate = chan::<()>(0);
    let mut started = Vec::with_capacity(20_000);
    let hoard = Hoard::all_but(100);
    let e = loop {
        let gate = gate.clone();
        match Builder::new().spawn(move || gate.recv()) {
            Ok(h) => started.push(h),
            Err(e) => break e,
        }
        assert!(started.len() < started.capacity(), "they need no memory?");
    };
    assert_eq!(e, SpawnError::OutOfMemory);
    burrow::println!("{} goroutines in the last frames", started.len());
    gate.close();
    for h in started {
        match h.join() {
            Ok(got) => assert_eq!(got, None),
            Err(p) => assert!(is_out_of_memory(&p), "{p}"),
        }
    }
    drop(hoard);
    assert_eq!(spawn(|| 3).join().expect("no panic"), 3);
}

fn is_out_of_memory(p: &Panic) -> bool {
    matches!(p.kind(), Kind::OutOfMemory { .. })
}

/// Starts `n` goroutines that go `bytes` deep and are all there at once, as far as memory goes: how many got there, and
/// how many panicked for want of it.
fn divers(n: usize, bytes: usize) -> (usize, usize) {
    divers_after(n, bytes, || ())
}

/// The same; `first` is done when they have been started, before they go.
fn divers_after(n: usize, bytes: usize, first: impl FnOnce()) -> (usize, usize) {
    let (here, gate) = (Arc::new(AtomicUsize::new(0)), chan::<()>(0));
    let go = chan::<()>(0);
    let start = |id: usize| {
        let (here, gate, go) = (here.clone(), gate.clone(), go.clone());
        let mut wait = {
            let here = here.clone();
            move || {
                here.fetch_add(1, Ordering::Relaxed);
                gate.recv();
            }
        };
        Builder::new().spawn(move || {
            let r = recover(|| {
                go.recv();
                deep(bytes, id as u64, &mut wait);
            });
            if r.is_err() {
                here.fetch_add(1, Ordering::Relaxed);
            }
            r
        })
    };
    let all: Vec<_> = (0..n).map(start).collect();
    first();
    go.close();
    let started = all.iter().filter(|h| h.is_ok()).count();
    while here.load(Ordering::Relaxed) < started {
        burrow::yield_now();
    }
    gate.close();
    let (mut back, mut panicked) = (0, 0);
    for h in all {
        match h.map(|h| h.join().expect("it recovers")) {
            Ok(Ok(())) => back += 1,
            Ok(Err(p)) => {
                assert!(is_out_of_memory(&p), "{p}");
                panicked += 1;
            }
            Err(SpawnError::OutOfMemory) => {}
            Err(e) => panic!("{e}"),
        }
    }
    (back, panicked)
}

/// Growth without a frame is a panic of the goroutine that grows; the pages come back when it is caught, and the others
/// go on.
#[burrow::test(timeout = 120)]
fn growth_without_a_frame_is_a_panic() {
    touch_own_stack();
    runtime::free_os_memory();
    let free = frames::free_count();
    for round in 0..10 {
        let (mut hoard, n) = (None, 8 * runtime::num_cpu());
        let take = || hoard = Some(Hoard::all_but(20 * runtime::num_cpu()));
        let (back, panicked) = divers_after(n, 240 * KIB, take);
        assert_eq!(back + panicked, n);
        assert!(panicked > 0, "{back} times 60 pages came from nowhere");
        // Memory is back, for others, with the hoard still there. (Each time a bit deeper than ever before.)
        deep(110 * KIB + round * 10 * KIB, 9, &mut || ());
        drop(hoard);
    }
    assert_eq!(divers(64, 240 * KIB), (64, 0));
    runtime::free_os_memory();
    let now = frames::free_count();
    assert!(now + SLACK >= free, "{} frames are gone", free - now);
}

/// Many at once: they panic in turn, because the panics need memory, too.
#[burrow::test(timeout = 180)]
fn three_hundred_goroutines_starve_together() {
    touch_own_stack();
    runtime::free_os_memory();
    let start = divers(300, KIB);
    assert_eq!(start, (300, 0));
    for keep in [0, 10, 100] {
        let mut hoard = None;
        let (back, panicked) = divers_after(300, 200 * KIB, || hoard = Some(Hoard::all_but(keep)));
        burrow::println!("{keep} frames: {back} came back, {panicked} panicked");
        assert_eq!(back + panicked, 300);
        drop(hoard);
        assert_eq!(divers(1, 200 * KIB), (1, 0));
    }
}

/// What a parked goroutine costs, everything counted: stacks, page tables, Gs; queue entries lie on the stacks. With
/// `make test T=a_million_parked MEM=6G OPTS=test_ignored=only RELEASE=1`.
#[burrow::test(timeout = 1200)]
#[ignore = "needs MEM=6G and a while"]
fn a_million_parked() {
    const N: usize = 1_000_000;
    runtime::free_os_memory();
    let (waiting, gate) = (Arc::new(WaitGroup::new()), chan::<()>(0));
    let (free, alive) = (frames::free_count(), runtime::num_goroutine());
    waiting.add(N as i32);
    for _ in 0..N {
        let (waiting, gate) = (waiting.clone(), gate.clone());
        go(move || {
            waiting.done();
            gate.recv();
        });
    }
    waiting.wait();
    assert_eq!(runtime::num_goroutine(), alive + N);
    let took = (free - frames::free_count()) * 4096;
    let pages = runtime::stack_bytes() / 4096;
    burrow::println!("{N} parked: {} bytes each; {pages} stack pages in all", took / N);
    let begin = burrow::time::Instant::now();
    let given = runtime::free_os_memory();
    burrow::println!("free_os_memory: {given} bytes in {:?}", begin.elapsed());
    assert!(took / N <= if cfg!(debug_assertions) { 10_000 } else { 5_200 });
    gate.close();
    while runtime::num_goroutine() > alive {
        burrow::yield_now();
    }
    let begin = burrow::time::Instant::now();
    let given = runtime::free_os_memory();
    let kept = free.saturating_sub(frames::free_count()) * 4096 / N;
    burrow::println!(
        "after their end: {given} bytes in {:?}; {kept} bytes each kept",
        begin.elapsed()
    );
}
