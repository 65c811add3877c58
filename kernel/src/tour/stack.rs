//! A stack is an address range; pages come when they are touched, so a goroutine costs one page and may still recurse
//! deeply. At the end of the range a guard page turns overflow into a panic of the goroutine.
#![forbid(unsafe_code)]

use burrow::prelude::*;

pub(crate) fn run() {
    let before = runtime::stack_bytes();
    let (at_bottom, depth) = spawn(|| (recurse(150), 150)).join().unwrap();
    println!(
        "  stacks before: {} KiB; {depth} frames of 1 KiB deep: {} KiB",
        before / 1024,
        at_bottom / 1024
    );
    let parked = many_at_once();
    println!(
        "  100 goroutines asleep: {} KiB more, or {} bytes each",
        parked / 1024,
        parked / 100
    );
    let p = spawn(|| recurse(u32::MAX)).join().unwrap_err();
    println!("  without an end: {p}");
}

/// Bytes of all stacks when `depth` frames are on this one.
#[inline(never)]
fn recurse(depth: u32) -> usize {
    let mut filling = [0u8; 1024];
    core::hint::black_box(&mut filling);
    let bytes = if depth == 0 {
        runtime::stack_bytes()
    } else {
        recurse(depth - 1)
    };
    core::hint::black_box(&mut filling);
    bytes
}

/// What 100 sleeping goroutines add.
fn many_at_once() -> usize {
    runtime::free_os_memory();
    let before = runtime::stack_bytes();
    let sleepers: Vec<_> = (0..100)
        .map(|_| spawn(|| time::sleep(Duration::from_millis(30))))
        .collect();
    let with = runtime::stack_bytes();
    for s in sleepers {
        s.join().unwrap();
    }
    with.saturating_sub(before)
}
