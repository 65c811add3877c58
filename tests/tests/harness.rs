//! The harness, tested by itself: outcomes that a test may have, as a goroutine of its own.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{string::String, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering};

burrow::test_main!();

static BOOT: AtomicU32 = AtomicU32::new(0);

#[burrow::test]
fn a_first_test_passes() {
    BOOT.fetch_add(1, Ordering::Relaxed);
}

#[burrow::test]
fn every_test_gets_its_own_goroutine() {
    let mine = burrow::sched::current().id();
    assert!(mine > 1);
    assert_ne!(
        burrow::spawn(|| burrow::sched::current().id()).join().unwrap(),
        mine
    );
}

#[burrow::test]
#[should_panic]
fn a_panic_is_contained() {
    panic!("on purpose");
}

#[burrow::test]
#[should_panic(expected = "index out of bounds")]
fn a_panic_inside_core_is_contained_and_its_message_checked() {
    let empty: Vec<u8> = Vec::new();
    core::hint::black_box(empty[core::hint::black_box(3)]);
}

#[burrow::test]
fn a_test_may_return_a_result() -> Result<(), String> {
    Ok(())
}

#[burrow::test]
#[should_panic(expected = "returned Err(\"no\")")]
fn an_error_that_is_returned_is_a_failure() -> Result<(), &'static str> {
    Err("no")
}

#[burrow::test]
#[ignore = "shows that it is passed over"]
fn an_ignored_test_does_not_run() {
    panic!("ran");
}

#[burrow::test(exit = 7, says = "going down with 7")]
fn a_test_may_end_the_program() {
    burrow::println!("going down with 7");
    burrow::arch::exit(7);
}

#[burrow::test]
fn the_tests_after_that_still_run() {
    assert_eq!(BOOT.load(Ordering::Relaxed), 0, "this is another boot");
}

#[burrow::test(timeout = 1, exit = 2, says = "fatal error: test timed out")]
fn a_test_that_hangs_in_user_code_is_ended_by_the_watchdog() {
    loop {
        core::hint::spin_loop();
    }
}

#[burrow::test(timeout = 1, exit = 2, says = "goroutine")]
fn the_watchdog_shows_all_goroutines() {
    burrow::time::sleep(core::time::Duration::from_secs(3600));
}
