//! The prime sieve of Hoare's CSP paper, Go's classic: a chain of goroutines, one filter for each prime.
//!
//! Each filter passes on what its prime does not divide. With 200 primes a number crosses up to 200 unbuffered
//! channels: this measures little but channel hand-off.
// expect: exit=0 says=the 200th prime is 1223
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

fn generate(out: Chan<u32>) {
    for n in 2..=u32::MAX {
        out.send(n);
    }
}

fn filter(from: Chan<u32>, to: Chan<u32>, prime: u32) {
    for n in &from {
        if n % prime != 0 {
            to.send(n);
        }
    }
}

#[burrow::main]
fn main() {
    let start = Instant::now();
    let mut chain = chan(0);
    let first = chain.clone();
    go(move || generate(first));
    let mut primes = Vec::new();
    while primes.len() < 200 {
        let prime = chain.recv().unwrap();
        primes.push(prime);
        let next = chan(0);
        let (from, to) = (chain, next.clone());
        go(move || filter(from, to, prime));
        chain = next;
    }
    println!("the first ten primes: {:?}", &primes[..10]);
    println!("the 200th prime is {}", primes[199]);
    println!(
        "{} goroutines on {} cores, {:?}",
        runtime::num_goroutine(),
        runtime::num_cpu(),
        start.elapsed()
    );
}
