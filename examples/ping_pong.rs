//! Two goroutines hand a ball to each other over unbuffered channels.
//!
//! Every hit is a direct hand-off: the value goes to the waiting receiver's stack, the receiver becomes the next to
//! run. A pair like this shares one time slice, so it cannot starve the rest of its P.
// expect: exit=0 says=10000 round trips, the ball was hit 20000 times
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

const ROUNDS: u64 = 10_000;

#[burrow::main]
fn main() {
    let (ping, pong) = (chan::<u64>(0), chan::<u64>(0));
    let (hear, answer) = (ping.clone(), pong.clone());
    go(move || {
        for ball in &hear {
            answer.send(ball + 1);
        }
        answer.close();
    });
    let start = Instant::now();
    let mut ball = 0;
    for _ in 0..ROUNDS {
        ping.send(ball + 1);
        ball = pong.recv().unwrap();
    }
    let took = start.elapsed();
    ping.close();
    assert_eq!(pong.recv(), None);
    println!("{ROUNDS} round trips, the ball was hit {ball} times");
    println!("{} ns per round trip", took.as_nanos() as u64 / ROUNDS);
}
