//! One sum, cut into a piece for each core; the pieces borrow the data.
// expect: exit=0 says=sum of 1000000 numbers: 499999500000, the same both ways
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

const N: u64 = 1_000_000;

#[burrow::main]
fn main() {
    let data: Vec<u64> = (0..N).collect();

    let start = Instant::now();
    let alone: u64 = data.iter().sum();
    let one = start.elapsed();

    let cores = runtime::num_cpu();
    let start = Instant::now();
    let together: u64 = scope(|s| {
        let pieces: Vec<_> = data
            .chunks(data.len().div_ceil(cores))
            .map(|piece| s.spawn(move || piece.iter().sum::<u64>()))
            .collect();
        pieces.into_iter().map(|h| h.join().unwrap()).sum()
    });
    let all = start.elapsed();

    assert_eq!(alone, together);
    println!("sum of {N} numbers: {together}, the same both ways");
    println!("one goroutine {one:?}, {cores} goroutines {all:?}");
}
