//! Stacks shrink while their goroutines are being woken.

use alloc::{sync::Arc, vec::Vec};
use core::{
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use burrow::{chan, debug, runtime, spawn};
use burrow_tests::{Rng, Until};

/// About 1 KiB a level; what it writes on the way down must be there on the way up.
#[inline(never)]
fn deep(levels: u64, salt: u64) {
    let mut local = [0_u64; 128];
    for (i, slot) in local.iter_mut().enumerate() {
        *slot = salt ^ levels.wrapping_mul(i as u64 + 1);
    }
    black_box(&mut local);
    if levels > 0 {
        deep(levels - 1, salt);
    }
    for (i, slot) in local.iter().enumerate() {
        assert!(
            *slot == salt ^ levels.wrapping_mul(i as u64 + 1),
            "a stack page changed"
        );
    }
}

/// Pairs pass a token and go deep, each time to another depth, while others give back whatever is not in use. A page that is
/// taken from a goroutine that runs shows as wrong contents.
#[burrow::test(timeout = 120)]
fn stacks_shrink_while_their_goroutines_are_woken() {
    let until = Until::storm(Duration::from_millis(1500));
    let (stop, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let pairs: Vec<_> = (0..8_u64)
        .flat_map(|pair| {
            let (there, back) = (chan::<u64>(0), chan::<u64>(0));
            let (there2, back2, given) = (there.clone(), back.clone(), given.clone());
            let serve = spawn(move || {
                let mut rng = Rng::new(100 + pair);
                while let Some(n) = there2.recv() {
                    deep(rng.below(60), n);
                    back2.send(n);
                }
            });
            let ask = spawn(move || {
                let mut rng = Rng::new(200 + pair);
                let mut n = 0;
                while !until.over() || given.load(Ordering::Relaxed) == 0 {
                    n += 1;
                    there.send(n);
                    deep(rng.below(100), !n);
                    assert_eq!(back.recv(), Some(n));
                }
                there.close();
            });
            [serve, ask]
        })
        .collect();
    let shrinkers: Vec<_> = (0..2)
        .map(|_| {
            let (stop, given) = (stop.clone(), given.clone());
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    given.fetch_add(debug::shrink_parked_stacks(), Ordering::Relaxed);
                    burrow::yield_now();
                }
                runtime::free_os_memory();
            })
        })
        .collect();
    for h in pairs {
        h.join().unwrap_or_else(|p| panic!("{p}"));
    }
    stop.store(true, Ordering::Relaxed);
    for h in shrinkers {
        h.join().expect("no panic");
    }
    burrow::println!("{given:?} pages given back");
}
