//! A bounded pool: 100 jobs, at most 4 at a time.
//!
//! The bound is a buffered channel used as a counting semaphore: to start is to put a token in, to finish is to
//! take one out. Each job sleeps, so that all four places are really taken; nobody holds a core while asleep.
// expect: exit=0 says=100 jobs done, never more than 4 at a time
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use burrow::prelude::*;

const PLACES: usize = 4;
const JOBS: u32 = 100;

#[burrow::main]
fn main() {
    let (busy, most, done) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let places = chan::<()>(PLACES);
    let start = Instant::now();
    scope(|s| {
        for _ in 0..JOBS {
            places.send(()); // waits while all places are taken: the producer is throttled, too
            s.spawn(|| {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                time::sleep(Duration::from_millis(2));
                busy.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                places.recv();
            });
        }
    });
    let most = most.into_inner();
    assert!(most as usize <= PLACES, "{most} at a time");
    println!(
        "{} jobs done, never more than {PLACES} at a time",
        done.into_inner()
    );
    println!("{:?} for what takes {} ms one by one", start.elapsed(), 2 * JOBS);
}
