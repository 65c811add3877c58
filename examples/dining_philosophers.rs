//! Five philosophers, five forks: Dijkstra's deadlock, avoided by taking the lower-numbered fork first.
//!
//! `scope` lets the goroutines borrow the table. Turn the order round for one of them (delete the `min`/`max`)
//! and the kernel prints, sooner or later, `all goroutines are asleep - deadlock!` with five stacks.
// expect: exit=0 says=everybody has eaten: [100, 100, 100, 100, 100]
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::{prelude::*, sync::Mutex};

const MEALS: u32 = 100;
const NAMES: [&str; 5] = ["Platon", "Konfuzius", "Sokrates", "Voltaire", "Descartes"];

#[burrow::main]
fn main() {
    let forks: [Mutex<u32>; 5] = core::array::from_fn(|_| Mutex::new(0));
    let eaten: [Mutex<u32>; 5] = core::array::from_fn(|_| Mutex::new(0));
    scope(|s| {
        for (seat, name) in NAMES.iter().enumerate() {
            let (left, right) = (seat, (seat + 1) % 5);
            let (first, second) = (&forks[left.min(right)], &forks[left.max(right)]);
            let mine = &eaten[seat];
            s.spawn(move || {
                for meal in 0..MEALS {
                    let mut a = first.lock();
                    // Somebody else gets to run here, and wants a fork too.
                    yield_now();
                    let mut b = second.lock();
                    *a += 1;
                    *b += 1;
                    *mine.lock() += 1;
                    drop((a, b));
                    if meal == MEALS - 1 {
                        println!("{name} is full");
                    }
                }
            });
        }
    });
    let eaten = eaten.map(Mutex::into_inner);
    let used = forks.map(Mutex::into_inner);
    println!("everybody has eaten: {eaten:?}");
    assert_eq!(
        used.iter().sum::<u32>(),
        5 * 2 * MEALS,
        "each meal takes two forks"
    );
}
