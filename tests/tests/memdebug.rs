//! `memdebug=1`: every misuse of the heap ends the program with both call stacks.
// opts: memdebug=1
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{
    alloc::{alloc, dealloc, realloc},
    boxed::Box,
    vec::Vec,
};
use core::alloc::Layout;

use burrow::{chan, spawn};

burrow::test_main!();

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

#[inline(never)]
fn the_allocator(size: usize) -> *mut u8 {
    // SAFETY: the size is not 0.
    core::hint::black_box(unsafe { alloc(layout(size)) }) // no tail call: it shall be on the call stack
}

#[inline(never)]
fn the_first_free(at: *mut u8, size: usize) {
    // SAFETY: a block of that size.
    unsafe { dealloc(at, layout(size)) };
    core::hint::black_box(at); // no tail call: it shall be on the call stack
}

/// Correct programs notice nothing.
#[burrow::test]
fn correct_programs_run() {
    let ch = chan::<Vec<u64>>(3);
    let tx = ch.sender();
    let producer = spawn(move || {
        for i in 0..500 {
            tx.send((0..i).collect());
        }
    });
    for i in 0..500 {
        let v = ch.recv().expect("it is open");
        assert!(v.iter().copied().eq(0..i));
    }
    producer.join().expect("it sends");
    let big: Box<[u8]> = alloc::vec![7; 1 << 20].into();
    assert!(big.iter().all(|b| *b == 7));
    for align in 0..=16 {
        let l = Layout::from_size_align(100, 1 << align).expect("a layout");
        // SAFETY: the size is not 0.
        let at = unsafe { alloc(l) };
        assert!(at.addr().is_multiple_of(1 << align));
        // SAFETY: our block.
        unsafe { at.write_bytes(1, 100) };
        // SAFETY: our block.
        let at = unsafe { realloc(at, l, 5000) };
        // SAFETY: our block.
        assert_eq!(unsafe { at.wrapping_add(99).read() }, 1);
        // SAFETY: our block, as it is now.
        unsafe { dealloc(at, Layout::from_size_align(5000, 1 << align).expect("a layout")) };
    }
}

#[burrow::test]
fn new_memory_is_not_zero_and_freed_memory_is_poisoned() {
    let at = the_allocator(64);
    // SAFETY: our block; bytes may be read, whatever they are.
    assert_eq!(unsafe { at.read_volatile() }, 0xcd);
    the_first_free(at, 64);
    // SAFETY: not ours any more, but still mapped; the test wants to see it.
    assert_eq!(unsafe { at.read_volatile() }, 0xdf);
}

#[burrow::test(exit = 2, says = "heap: double free")]
fn double_free() {
    let at = the_allocator(64);
    the_first_free(at, 64);
    the_first_free(at, 64);
}

#[burrow::test(exit = 2, says = "the_first_free")]
fn double_free_shows_the_first() {
    let at = the_allocator(64);
    the_first_free(at, 64);
    // SAFETY: wrong, on purpose.
    unsafe { dealloc(at, layout(64)) };
}

#[burrow::test(exit = 2, says = "another layout")]
fn wrong_size() {
    the_first_free(the_allocator(64), 65);
}

#[burrow::test(exit = 2, says = "the_allocator")]
fn wrong_size_shows_who_allocated() {
    the_first_free(the_allocator(64), 65);
}

#[burrow::test(exit = 2, says = "the red zone behind the block was overwritten")]
fn one_byte_too_far() {
    let at = the_allocator(61);
    // SAFETY: wrong, on purpose.
    unsafe { at.wrapping_add(61).write(1) };
    the_first_free(at, 61);
}

#[burrow::test(exit = 2, says = "the red zone before the block was overwritten")]
fn one_byte_too_early() {
    let at = the_allocator(61);
    // SAFETY: wrong, on purpose.
    unsafe { at.wrapping_sub(1).write(1) };
    the_first_free(at, 61);
}

#[burrow::test(exit = 2, says = "not the start of a block")]
fn a_pointer_into_the_middle() {
    let at = the_allocator(4096);
    the_first_free(at.wrapping_add(2048), 2048);
}

#[burrow::test(exit = 2, says = "written to after it was freed")]
fn use_after_free() {
    let at = the_allocator(64);
    the_first_free(at, 64);
    // SAFETY: wrong, on purpose.
    unsafe { at.wrapping_add(8).write(1) };
    // It leaves the quarantine some frees later.
    for _ in 0..1000 {
        the_first_free(the_allocator(64), 64);
    }
}
