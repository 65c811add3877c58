//! The smallest program: a goroutine says hello, main waits for it.
// expect: exit=0 says=hello from goroutine 2 of 2
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

#[burrow::main]
fn main() {
    let done = chan::<()>(0);
    for i in 1..=2 {
        let done = done.clone();
        go(move || {
            println!("hello from goroutine {i} of 2");
            done.send(());
        });
    }
    // When main returns, the program is over, whatever else still runs: so wait for both.
    for _ in 0..2 {
        done.recv();
    }
}
