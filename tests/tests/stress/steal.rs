//! Every goroutine runs exactly once, whoever takes it from whom.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
    time::Duration,
};

use burrow::runtime;
use burrow_tests::{Parker, Until};

struct Round {
    ran: Vec<AtomicU8>,
    left: AtomicU32,
    done: Parker,
}

/// Goroutine `i` of a binary tree starts its two children, then marks itself.
fn node(round: Arc<Round>, i: usize) {
    for child in [2 * i + 1, 2 * i + 2] {
        if child < round.ran.len() {
            let theirs = round.clone();
            burrow::go(move || node(theirs, child));
        }
    }
    if i.is_multiple_of(7) {
        burrow::yield_now();
    }
    round.ran[i].fetch_add(1, Ordering::Relaxed);
    // AcqRel: the last one sees what all have marked.
    if round.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        round.done.release();
    }
}

fn run(n: usize) {
    let round = Arc::new(Round {
        ran: (0..n).map(|_| AtomicU8::new(0)).collect(),
        left: AtomicU32::new(n as u32),
        done: Parker::new(),
    });
    let theirs = round.clone();
    burrow::go(move || node(theirs, 0));
    round.done.acquire();
    assert!(
        round.ran.iter().all(|n| n.load(Ordering::Relaxed) == 1),
        "a goroutine ran not at all, or twice"
    );
}

/// A tree that grows by doubling floods queues past their 256 slots and leaves every other P empty at first.
#[burrow::test]
fn every_goroutine_of_a_tree_runs_once() {
    let until = Until::storm(Duration::from_millis(800));
    let before = runtime::sched_stats().steals;
    let steals = || runtime::sched_stats().steals - before;
    let mut rounds = 0;
    loop {
        run(2000);
        rounds += 1;
        // Other cores may be kept from running for long; who never steals runs into the test's limit.
        if until.over() && (runtime::gomaxprocs(0) == 1 || steals() > 0) {
            break;
        }
    }
    burrow::println!("{rounds} rounds of 2000, {} steals", steals());
}

/// All work is made on one P, in bursts that overflow its queue into the global one.
#[burrow::test]
fn bursts_from_one_p_run_once() {
    let until = Until::storm(Duration::from_millis(500));
    let mut rounds = 0;
    loop {
        const N: usize = 1500;
        let round = Arc::new(Round {
            ran: (0..N).map(|_| AtomicU8::new(0)).collect(),
            left: AtomicU32::new(N as u32),
            done: Parker::new(),
        });
        for i in 0..N {
            let round = round.clone();
            burrow::go(move || {
                round.ran[i].fetch_add(1, Ordering::Relaxed);
                if round.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    round.done.release();
                }
            });
        }
        round.done.acquire();
        assert!(round.ran.iter().all(|n| n.load(Ordering::Relaxed) == 1));
        rounds += 1;
        if until.over() {
            break;
        }
    }
    burrow::println!("{rounds} bursts");
}
