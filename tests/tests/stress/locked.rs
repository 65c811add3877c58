//! Goroutines that are locked to their cores: cores stand back for them, are called home, and hand Ps to each other
//! all the while. A P that gets lost on the way leaves the machine asleep beside its work; so does, sooner or later, a search
//! that is counted and that nobody makes.

use alloc::vec::Vec;
use core::time::Duration;

use burrow::{arch, runtime, spawn, time, yield_now};
use burrow_tests::{Rng, Until};

#[burrow::test(timeout = 120)]
fn cores_stand_back_and_are_called_home() {
    let until = Until::storm(Duration::from_millis(1000));
    // One core stays free, so that the others may stand back.
    let locked = (runtime::num_cpu() as u64 - 1).max(1);
    let handles: Vec<_> = (0..locked)
        .map(|id| {
            spawn(move || {
                let (mut rng, mut turns) = (Rng::new(id), 0_u64);
                while !until.over() || turns == 0 {
                    runtime::lock_os_thread();
                    let home = arch::core_index();
                    for _ in 0..rng.below(300) {
                        match rng.below(3) {
                            0 => yield_now(),
                            1 => time::sleep(Duration::from_nanos(rng.below(200_000))),
                            _ => spawn(|| ()).join().expect("no panic"),
                        }
                        assert_eq!(arch::core_index(), home);
                        turns += 1;
                    }
                    runtime::unlock_os_thread();
                }
                turns
            })
        })
        .collect();
    let turns: u64 = handles.into_iter().map(|h| h.join().expect("no panic")).sum();
    burrow::println!("{turns} turns of {locked} locked goroutines");
    while runtime::sched_stats().spinning_threads != 0 {
        time::sleep(Duration::from_millis(1)); // the others search for a moment longer
    }
}
