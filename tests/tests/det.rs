//! Deterministic mode: the order in which goroutines of several cores meet, printed. `make test-det` runs this
//! image twice with one seed and compares the serial logs byte for byte.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

burrow::test_main!();

/// Eight goroutines send their number as fast as they can, interrupted by preemption and stealing; the order of
/// arrival depends on every scheduling decision there is.
#[burrow::test]
fn the_order_of_arrival_is_printed() {
    const SENDERS: u32 = 8;
    const EACH: u32 = 200;
    let ch = burrow::chan::<u32>(4);
    for id in 0..SENDERS {
        let tx = ch.sender();
        burrow::go(move || {
            for round in 0..EACH {
                // Different amounts of work, so that the cores drift against each other.
                for _ in 0..(id * 37 + round) % 101 {
                    core::hint::black_box(round);
                }
                if round % 16 == 0 {
                    burrow::yield_now();
                }
                tx.send(id);
            }
        });
    }
    let mut counts = [0; SENDERS as usize];
    let mut order: Vec<u32> = Vec::new();
    for _ in 0..SENDERS * EACH {
        let id = ch.recv().expect("nobody closes it");
        counts[id as usize] += 1;
        order.push(id);
    }
    assert_eq!(counts, [EACH; SENDERS as usize]);
    for line in order.chunks(80) {
        let mut text = String::new();
        for id in line {
            let _ = write!(text, "{id}");
        }
        burrow::println!("order {text}");
    }
}

/// `select!` picks among ready arms by the seed.
#[burrow::test]
fn the_choices_of_select_are_printed() {
    let (a, b) = (burrow::chan::<u8>(64), burrow::chan::<u8>(64));
    for _ in 0..64 {
        a.send(0);
        b.send(1);
    }
    let mut text = String::new();
    for _ in 0..64 {
        burrow::select! {
            recv(a) -> _v => text.push('a'),
            recv(b) -> _v => text.push('b'),
        }
    }
    burrow::println!("choices {text}");
    assert!(text.contains('a') && text.contains('b'));
}

/// The black box's hash over every scheduler event with its time, on all cores: equal in two runs with one seed.
#[burrow::test]
fn the_digest_of_all_events_is_printed() {
    let handles: Vec<_> = (0..64_u32)
        .map(|i| {
            burrow::spawn(move || {
                for _ in 0..20 {
                    match i % 4 {
                        0 => burrow::yield_now(),
                        1 => burrow::time::sleep(core::time::Duration::from_micros(u64::from(i))),
                        2 => {
                            for n in 0..2000 {
                                core::hint::black_box(n);
                            }
                        }
                        _ => drop(burrow::spawn(|| ()).join()),
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        assert!(handle.join().is_ok());
    }
    let (events, hash) = burrow::sched::events::digest();
    burrow::println!("digest events={events} hash={hash:016x}");
    assert!(
        events > 0 || burrow::opts::get("det").is_none(),
        "deterministic mode records events"
    );
}
