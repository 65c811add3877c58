//! Goroutines that wait for good, found: a late answer that nobody receives any more, and a worker whose channel nobody
//! closed. Both again as they should be, and then there is nothing to find.
// expect: exit=0 says=2 leaked, then 0 more
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::{
    prelude::*,
    runtime::leaked,
    time::{Duration, sleep},
};

/// Asks, and does not wait long. `buffer` is where a late answer may be left: with 0 its sender waits for ever.
fn ask(buffer: usize) -> Option<u32> {
    let (answer, given_up) = (chan::<u32>(buffer), chan::<()>(0));
    let (tx, late) = (answer.sender(), given_up.receiver());
    go(move || {
        late.recv(); // the work: it takes longer than anybody waits
        tx.send(42);
    });
    let in_time = answer.recv_timeout(Duration::from_millis(1)).ok();
    given_up.close();
    in_time
}

/// Gives a worker three jobs; `close` tells it that there are no more.
fn work(close: bool) {
    let jobs = chan::<u32>(0);
    let theirs = jobs.receiver();
    go(move || {
        for job in theirs {
            println!("job {job}");
        }
    });
    for job in 1..=3 {
        jobs.send(job);
    }
    if close {
        jobs.close();
    }
}

#[burrow::main]
fn main() {
    println!("answer in time: {:?}", ask(0));
    work(false);
    while leaked().len() < 2 {
        sleep(Duration::from_millis(1));
    }
    for leak in leaked() {
        println!("{leak}");
    }

    println!("answer in time: {:?}", ask(1));
    work(true);
    while burrow::runtime::num_goroutine() > 3 {
        sleep(Duration::from_millis(1)); // the two that were mended end
    }
    println!("2 leaked, then {} more", leaked().len() - 2);
}
