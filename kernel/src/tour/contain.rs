//! Panics that stay where they are: `spawn` hands them to `join`, `recover` to its caller, and the frames in between
//! have dropped their locals. CPU exceptions are panics, too.
#![forbid(unsafe_code)]

use burrow::prelude::*;

pub(crate) fn run() {
    let guest = spawn(|| {
        defer! { println!("  deferred code ran") }
        index(&[1, 2, 3], 7)
    });
    match guest.join() {
        Ok(n) => println!("  unexpected: {n}"),
        Err(p) => {
            println!("  join() = Err: {p}");
            if let Some(at) = p.location() {
                println!("  at {at}");
            }
        }
    }
    let p = recover(|| divide(1, core::hint::black_box(0))).unwrap_err();
    println!("  recover() = Err: {p}");
}

fn index(list: &[u32], at: usize) -> u32 {
    list[core::hint::black_box(at)]
}

fn divide(a: u32, b: u32) -> u32 {
    a / b
}
