//! A pipeline: stages joined by channels, each closing its output when its input ends.
//!
//! numbers → squares → only the even ones → sum.
// expect: exit=0 says=sum of the even squares up to 1000: 167167000
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

/// Starts a stage: every value of `from` goes through `f`; what it keeps comes out of the returned channel.
fn stage(from: Chan<u64>, f: impl Fn(u64) -> Option<u64> + Send + 'static) -> Chan<u64> {
    let out = chan(16);
    let to = out.clone();
    go(move || {
        // However this goroutine ends, the next stage hears of it.
        defer! { to.close() }
        for v in &from {
            if let Some(v) = f(v) {
                to.send(v);
            }
        }
    });
    out
}

fn numbers(up_to: u64) -> Chan<u64> {
    let out = chan(16);
    let to = out.clone();
    go(move || {
        for n in 1..=up_to {
            to.send(n);
        }
        to.close();
    });
    out
}

#[burrow::main]
fn main() {
    let squares = stage(numbers(1000), |n| Some(n * n));
    let even = stage(squares, |n| n.is_multiple_of(2).then_some(n));
    let mut sum = 0;
    for n in &even {
        sum += n;
    }
    println!("sum of the even squares up to 1000: {sum}");
}
