//! Out of memory: an error or a panic of the goroutine that asked, never a hang or a reset; and memory comes back.
//!
//! Two kinds of "out": a memory limit (`set_memory_limit`), and no frame left at all ([`Hog`] takes every one).
#![no_std]
#![no_main]
extern crate alloc;

mod grow;
mod shared;
mod waits;
mod wire;

use alloc::{boxed::Box, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burrow::{
    Builder, SpawnError, chan, mem, mem::frames, panic::Kind, runtime, spawn, sync::WaitGroup, time,
};
use burrow_tests::MemoryLimit;

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
