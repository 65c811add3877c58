//! Panic, recover, defer, goexit and CPU exceptions, on goroutines that really run.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{string::ToString, sync::Arc, vec::Vec};
use core::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
};

use burrow::{Panic, defer, goexit, panic::Kind, panic_any, recover, spawn};

burrow::test_main!();

/// Appends its number to a log when dropped.
struct Mark<'a>(&'a core::cell::RefCell<Vec<u32>>, u32);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

/// An address that nothing is ever mapped at.
const NOWHERE: usize = 0x7000_0000_0000;

#[inline(never)]
fn read_word(addr: usize) -> u64 {
    // SAFETY: none: the fault is the test. Reading has no effect if it should succeed.
    unsafe { (black_box(addr) as *const u64).read_volatile() }
}

#[burrow::test]
fn drops_and_defers_run_in_reverse_order() {
    let log = core::cell::RefCell::new(Vec::new());
    let r = recover(|| {
        let _a = Mark(&log, 1);
        defer! { log.borrow_mut().push(2) }
        let _b = Mark(&log, 3);
        defer! { log.borrow_mut().push(4) }
        panic!("now");
    });
    assert_eq!(r.unwrap_err().to_string(), "now");
    assert_eq!(*log.borrow(), [4, 3, 2, 1]);
}

#[burrow::test]
fn a_panic_inside_core_can_be_recovered() {
    let empty: Vec<u8> = Vec::new();
    let p = recover(|| black_box(&empty)[black_box(3)]).unwrap_err();
    assert!(p.to_string().contains("index out of bounds"), "{p}");
    assert!(p.location().is_some_and(|l| l.file().ends_with("panic.rs")));
    assert_eq!(p.kind(), Kind::Explicit);
    assert!(p.backtrace().frames().count() > 3);
}

#[burrow::test]
fn recovers_nest_and_a_caught_panic_can_be_resumed() {
    let outer = recover(|| {
        let inner = recover(|| -> u8 { panic!("inner {}", black_box(1)) });
        assert_eq!(inner.unwrap_err().to_string(), "inner 1");
        burrow::panic::resume_unwind(recover(|| panic!("again")).unwrap_err())
    });
    assert_eq!(outer.unwrap_err().to_string(), "again");
}

#[burrow::test]
fn payloads_come_back() {
    let p: Panic = recover(|| panic_any(Arc::new(42_u32))).unwrap_err();
    assert_eq!(*p.downcast::<Arc<u32>>().unwrap(), 42);
}

#[burrow::test]
fn a_panic_that_a_drop_catches_itself_is_harmless() {
    struct Careful;
    impl Drop for Careful {
        fn drop(&mut self) {
            assert!(burrow::panic::panicking());
            assert!(recover(|| panic!("inside the drop")).is_err());
        }
    }
    let p = recover(|| {
        let _c = Careful;
        panic!("outside");
    });
    assert_eq!(p.unwrap_err().to_string(), "outside");
    assert!(!burrow::panic::panicking());
}

#[burrow::test]
fn goexit_runs_drops_and_passes_recover() {
    static LEFT: AtomicU32 = AtomicU32::new(0);
    let h = spawn(|| {
        defer! { LEFT.fetch_add(1, Ordering::Relaxed); }
        let _ = recover(|| {
            defer! { LEFT.fetch_add(10, Ordering::Relaxed); }
            goexit();
        });
        LEFT.fetch_add(100, Ordering::Relaxed);
    });
    let _ = h.join();
    assert_eq!(LEFT.load(Ordering::Relaxed), 11);
}

#[burrow::test]
fn spawn_contains_a_panic() {
    let p = spawn(|| -> u32 { panic!("contained") }).join().unwrap_err();
    assert_eq!(p.to_string(), "contained");
    assert_ne!(p.goid(), burrow::runtime::goid());
}

#[burrow::test]
fn panics_survive_preemption_and_migration() {
    let hs: Vec<_> = (0..32_u64)
        .map(|id| {
            spawn(move || {
                for round in 0..50 {
                    let p = recover(|| {
                        defer! { burrow::yield_now() }
                        burrow::yield_now();
                        panic!("{id} {round}")
                    });
                    assert_eq!(p.unwrap_err().to_string(), alloc::format!("{id} {round}"));
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
}

#[burrow::test]
fn a_wild_pointer_is_a_panic_with_its_address() {
    let p = recover(|| read_word(NOWHERE + 8)).unwrap_err();
    assert!(
        p.to_string()
            .contains("invalid memory address or nil pointer dereference"),
        "{p}"
    );
    assert_eq!(p.fault_addr(), Some(NOWHERE + 8));
}

#[burrow::test]
fn a_null_pointer_is_a_panic() {
    let p = spawn(|| read_word(0)).join().unwrap_err();
    assert!(p.to_string().contains("nil pointer dereference"), "{p}");
    assert!(matches!(p.kind(), Kind::Fault { vector: 14, .. }));
}

#[burrow::test]
fn a_call_through_a_wild_pointer_is_a_panic() {
    let log = core::cell::RefCell::new(Vec::new());
    let p = recover(|| {
        let _m = Mark(&log, 1);
        // SAFETY: none: the fault is the test.
        let f: fn() = unsafe { core::mem::transmute(black_box(NOWHERE)) };
        f();
    });
    assert_eq!(p.unwrap_err().fault_addr(), Some(NOWHERE));
    assert_eq!(*log.borrow(), [1]);
}

#[burrow::test]
fn a_non_canonical_address_is_a_panic() {
    let p = recover(|| read_word(0x7fff_0000_0000_0000)).unwrap_err();
    assert!(matches!(p.kind(), Kind::Fault { vector: 13, .. }), "{p:?}");
}

#[burrow::test]
fn a_divide_error_is_a_panic() {
    #[inline(never)]
    fn div(by: u64) -> u64 {
        let q;
        // SAFETY: none: the exception is the test.
        unsafe { core::arch::asm!("div {}", in(reg) by, inout("rax") 1_u64 => q, inout("rdx") 0_u64 => _) };
        q
    }
    let p = recover(|| div(black_box(0))).unwrap_err();
    assert_eq!(p.to_string(), "runtime error: integer divide by zero");
}

#[burrow::test]
fn faults_in_deep_frames_run_the_drops_of_the_callers() {
    static DROPS: AtomicU32 = AtomicU32::new(0);
    struct Count;
    impl Drop for Count {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    #[inline(never)]
    fn deep(n: u32) -> u64 {
        let _c = Count;
        if n == 0 {
            read_word(NOWHERE)
        } else {
            black_box(deep(n - 1)) + 1
        }
    }
    assert!(recover(|| deep(100)).is_err());
    // The frames around the faulting function may be left without (DECISIONS 1).
    assert!(DROPS.load(Ordering::Relaxed) >= 99);
}

#[inline(never)]
fn recurse(n: u64) -> u64 {
    let room = black_box([n; 16]);
    if n == u64::MAX {
        return 0;
    }
    recurse(black_box(n + 1)) + room[3]
}

#[burrow::test]
fn stack_overflow_is_a_panic_again_and_again() {
    let h = spawn(|| {
        for _ in 0..5 {
            let p = recover(|| recurse(0)).unwrap_err();
            let Kind::StackOverflow { goid, size } = p.kind() else {
                panic!("{p:?}")
            };
            assert_eq!((goid, size), (burrow::runtime::goid(), 256 * 1024));
            assert_eq!(
                p.to_string(),
                alloc::format!("stack overflow: goroutine {goid} exceeds 256 KiB")
            );
        }
    });
    h.join().unwrap();
}

#[burrow::test]
fn a_large_frame_does_not_jump_the_guard() {
    #[inline(never)]
    fn big() -> u8 {
        let room = black_box([1_u8; 400 * 1024]);
        room[black_box(7)]
    }
    let p = spawn(big).join().unwrap_err();
    assert!(matches!(p.kind(), Kind::StackOverflow { .. }), "{p:?}");
}

#[burrow::test]
fn an_allocation_that_cannot_be_is_a_panic() {
    let p = recover(|| Vec::<u8>::with_capacity(black_box(1 << 45))).unwrap_err();
    assert!(matches!(p.kind(), Kind::OutOfMemory { .. }), "{p:?}");
    assert!(Vec::<u8>::new().try_reserve(black_box(1 << 45)).is_err());
}

#[burrow::test(exit = 2, says = "panic: nobody catches this")]
fn an_unrecovered_panic_of_go_ends_the_program() {
    burrow::go(|| panic!("nobody catches this"));
    loop {
        burrow::yield_now();
    }
}

#[burrow::test(exit = 2, says = "fatal error: panic while panicking")]
fn a_panic_that_leaves_a_drop_while_unwinding_ends_the_program() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("second");
        }
    }
    let _ = recover(|| {
        let _b = Bad;
        panic!("first");
    });
}

#[burrow::test(exit = 2, says = "fatal error: beyond repair")]
fn fatal_cannot_be_recovered() {
    let _ = recover(|| burrow::panic::fatal("beyond repair"));
}

#[burrow::test(exit = 2, says = "fatal error: invalid opcode")]
fn an_invalid_opcode_is_fatal() {
    // SAFETY: none: the exception is the test.
    let _ = recover(|| unsafe { core::arch::asm!("ud2") });
}
