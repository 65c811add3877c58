//! Stacks grow to their guard page, in many goroutines at once, and a used-up one is a panic.

use alloc::vec::Vec;
use core::hint::black_box;

use burrow::{panic::Kind, recover, spawn};

/// Uses about 200 bytes a level; what it keeps on the way down must still be there on the way up.
#[inline(never)]
fn deep(left: u64, salt: u64) -> u64 {
    let mut local = [0_u64; 16];
    for (i, slot) in local.iter_mut().enumerate() {
        *slot = salt ^ left.wrapping_mul(i as u64 + 1);
    }
    black_box(&mut local);
    let below = if left == 0 { 0 } else { deep(left - 1, salt) };
    for (i, slot) in local.iter().enumerate() {
        assert!(
            *slot == salt ^ left.wrapping_mul(i as u64 + 1),
            "a stack page changed"
        );
    }
    below + 1
}

#[burrow::test(timeout = 120)]
fn sixty_four_goroutines_hit_the_guard_page() {
    let handles: Vec<_> = (0..64_u64)
        .map(|id| {
            spawn(move || {
                // Twice: the reserve below the limit must be closed again after the first.
                for _ in 0..2 {
                    let panic = recover(|| deep(u64::MAX, id)).expect_err("a stack has an end");
                    match panic.kind() {
                        Kind::StackOverflow { goid, size } => {
                            assert_eq!(goid, burrow::runtime::goid());
                            assert_eq!(size, 256 * 1024);
                        }
                        other => panic!("not an overflow: {other:?}"),
                    }
                    assert_eq!(deep(500, id), 501);
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn large_stacks_go_deep() {
    let handles: Vec<_> = (0..4_u64)
        .map(|id| {
            burrow::Builder::new()
                .stack_size(8 << 20)
                .spawn(move || deep(20_000, id))
                .expect("there is memory")
        })
        .collect();
    for handle in handles {
        assert_eq!(handle.join().unwrap_or_else(|p| panic!("{p}")), 20_001);
    }
}

/// The largest stack there is can be asked for; one byte more is an error.
#[burrow::test]
fn the_largest_stack_is_one_gib() {
    let h = burrow::Builder::new()
        .stack_size(1 << 30)
        .spawn(|| 1)
        .expect("1 GiB");
    assert_eq!(h.join().expect("no panic"), 1);
    let e = burrow::Builder::new().stack_size((1 << 30) + 1).spawn(|| 1).err();
    assert_eq!(e, Some(burrow::SpawnError::StackTooLarge));
}
