//! Frames: none left, found by the reclaimer, wanted by many stacks at once.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{Builder, chan, mem::frames, runtime, spawn, sync::WaitGroup, time};
use burrow_tests::{MemoryLimit, touch};

use super::{Hog, is_out_of_memory, memory_comes_back};

/// With no frame left: what runs goes on, is preempted, sleeps and wakes; what needs a frame panics.
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
