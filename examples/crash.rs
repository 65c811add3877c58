//! A panic that nobody recovers, in a goroutine started with `go`, ends the program: message, place, stack and
//! creator on the console, exit code 2. Deferred code of the goroutine itself still runs.
// expect: exit=2 says=panic: index out of bounds: the len is 3 but the index is 7
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

fn pick(words: &[&str], index: usize) -> usize {
    words[index].len()
}

#[burrow::main]
fn main() {
    let answer = chan::<usize>(0);
    // `spawn` would contain it: `join()` returns the panic.
    let contained = spawn(|| pick(&["a", "b", "c"], 7)).join();
    println!("contained: {}", contained.unwrap_err());

    let to = answer.clone();
    go(move || {
        defer! { println!("deferred code ran") }
        to.send(pick(&["a", "b", "c"], 7));
    });
    answer.recv();
    println!("never printed");
}
