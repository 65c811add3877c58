//! The machine below the scheduler: heap, frames, clock, page tables, from goroutines on every core.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{alloc as raw, boxed::Box, vec::Vec};
use core::{
    alloc::Layout,
    sync::atomic::{AtomicU64, Ordering},
};

use burrow::{
    arch::{self, x86_64::clock},
    mem::frames,
};

burrow::test_main!();

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Blocks of all sizes, filled with their own address, checked when they go: nobody else wrote there.
#[burrow::test]
fn heap_blocks_never_overlap() {
    burrow::scope(|s| {
        for seed in 1..=8u64 {
            s.spawn(move || {
                let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut live: Vec<(usize, Layout)> = Vec::new();
                let drop_one = |(at, layout): (usize, Layout)| {
                    let words = at as *const usize;
                    for i in 0..layout.size() / 8 {
                        // SAFETY: our own live block.
                        let at_word = unsafe { words.add(i) };
                        // SAFETY: as above; the word was written when the block was taken.
                        let word = unsafe { at_word.read() };
                        assert_eq!(word, at + i, "a block of {} bytes was overwritten", layout.size());
                    }
                    // SAFETY: allocated below with this layout.
                    unsafe { raw::dealloc(at as *mut u8, layout) };
                };
                for _ in 0..20_000 {
                    if live.len() < 200 && random(&mut x).is_multiple_of(2) {
                        let size = 8 + random(&mut x) as usize % (1 << (4 + random(&mut x) % 9));
                        let align = 8 << (random(&mut x) % 6);
                        let layout = Layout::from_size_align(size, align).unwrap();
                        // SAFETY: the size is not 0.
                        let at = unsafe { raw::alloc(layout) } as usize;
                        assert!(at != 0 && at.is_multiple_of(align));
                        for i in 0..size / 8 {
                            // SAFETY: within the block.
                            let word = unsafe { (at as *mut usize).add(i) };
                            // SAFETY: as above.
                            unsafe { word.write(at + i) };
                        }
                        live.push((at, layout));
                    } else if !live.is_empty() {
                        let i = random(&mut x) as usize % live.len();
                        drop_one(live.swap_remove(i));
                    }
                }
                live.into_iter().for_each(drop_one);
            });
        }
    });
}

#[burrow::test]
fn heap_refuses_what_it_cannot_hold_and_goes_on() {
    let mut v: Vec<u8> = Vec::new();
    assert!(v.try_reserve_exact(1 << 40).is_err());
    assert_eq!(*Box::new(7), 7);
}

#[burrow::test]
fn frames_are_handed_out_once() {
    let before = frames::free_count();
    burrow::scope(|s| {
        for seed in 1..=4u64 {
            s.spawn(move || {
                for _ in 0..200 {
                    let mine: Vec<_> = (0..32).map(|_| frames::alloc().unwrap()).collect();
                    for f in &mine {
                        // SAFETY: our own frame.
                        unsafe { f.as_ptr().cast::<u64>().write_volatile(f.phys() ^ seed) };
                    }
                    for f in mine {
                        // SAFETY: our own frame.
                        let v = unsafe { f.as_ptr().cast::<u64>().read_volatile() };
                        assert_eq!(v, f.phys() ^ seed);
                        frames::free(f);
                    }
                }
            });
        }
    });
    let run = frames::alloc_contig(100).unwrap();
    frames::free_contig(run, 100);
    // Stacks and caches may have taken some meanwhile.
    assert!(before.abs_diff(frames::free_count()) < 4096);
}

#[burrow::test]
fn time_never_runs_backwards_on_any_core() {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    burrow::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for i in 0..20_000 {
                    let seen = LATEST.load(Ordering::Acquire);
                    let now = arch::now_ns();
                    assert!(now >= seen, "{now} after {seen}");
                    LATEST.fetch_max(now, Ordering::AcqRel);
                    if i % 1000 == 0 {
                        burrow::yield_now();
                    }
                }
            });
        }
    });
}

#[burrow::test]
fn ticks_and_nanoseconds_agree() {
    let hz = clock::tsc_hz();
    assert!(clock::tsc_to_ns(hz).abs_diff(1_000_000_000) <= 2);
    assert!(clock::ns_to_tsc(1_000_000_000).abs_diff(hz) <= 2);
    let ns = arch::now_ns();
    assert!(clock::tsc_at(ns) <= clock::tsc());
}
