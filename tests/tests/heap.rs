//! The heap: blocks keep their contents and never overlap, memory comes home from whoever freed it, and the figures add up.
// opts: scavenge=200
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{
    alloc::{alloc, alloc_zeroed, dealloc, realloc},
    boxed::Box,
    format,
    vec::Vec,
};
use core::{alloc::Layout, time::Duration};

use burrow::{
    chan, mem,
    runtime::{self, MemStats},
    spawn, time,
};
use burrow_tests::{Rng, touch};

burrow::test_main!();

/// An allocation whose contents follow from `seed`.
struct Block {
    at: *mut u8,
    layout: Layout,
    seed: u64,
}
// SAFETY: a block is memory with one owner.
unsafe impl Send for Block {}

/// Words checked at the start of a block; the last byte is checked as well.
const WORDS: usize = 8;

impl Block {
    fn new(rng: &mut Rng, layout: Layout) -> Option<Block> {
        let zeroed = rng.below(4) == 0;
        let how = if zeroed { alloc_zeroed } else { alloc };
        // SAFETY: sizes are not 0.
        let at = unsafe { how(layout) };
        if at.is_null() {
            return None;
        }
        assert!(at.addr().is_multiple_of(layout.align()), "{layout:?} at {at:p}");
        if zeroed {
            for i in [0, layout.size() / 2, layout.size() - 1] {
                // SAFETY: inside the block.
                assert_eq!(unsafe { at.wrapping_add(i).read() }, 0, "byte {i} of {layout:?}");
            }
        }
        let b = Block {
            at,
            layout,
            seed: rng.next_u64(),
        };
        b.fill();
        Some(b)
    }
    fn byte(&self, i: usize) -> u8 {
        (self.seed >> (i % 8 * 8)) as u8 ^ i as u8
    }
    /// The bytes that are written and checked, below `n`.
    fn known(&self, n: usize) -> impl Iterator<Item = usize> {
        let last = self.layout.size() - 1;
        (0..(WORDS * 8).min(last)).chain([last]).filter(move |i| *i < n)
    }
    fn fill(&self) {
        for i in self.known(usize::MAX) {
            // SAFETY: inside the block.
            unsafe { self.at.wrapping_add(i).write(self.byte(i)) };
        }
    }
    fn check(&self, n: usize) {
        for i in self.known(n) {
            // SAFETY: inside the block.
            let got = unsafe { self.at.wrapping_add(i).read() };
            assert_eq!(
                got,
                self.byte(i),
                "byte {i} of {:?} at {:p}",
                self.layout,
                self.at
            );
        }
    }
    fn resize(&mut self, new: usize) {
        self.check(usize::MAX);
        // SAFETY: our block with its layout; `new` is not 0.
        let at = unsafe { realloc(self.at, self.layout, new) };
        if !at.is_null() {
            self.at = at;
            self.check(new);
            self.layout = Layout::from_size_align(new, self.layout.align()).expect("a layout");
            self.fill();
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check(usize::MAX);
        // SAFETY: our block with its layout.
        unsafe { dealloc(self.at, self.layout) };
    }
}

/// 1 B to 4 MiB, alignments to 1 MiB; mostly small.
fn any_layout(rng: &mut Rng) -> Layout {
    let bits = match rng.below(1000) {
        0..600 => rng.below(9),
        600..950 => rng.below(13),
        950..996 => rng.below(17),
        _ => rng.below(22),
    };
    let align = match rng.below(100) {
        0 => rng.below(21),
        1..20 => rng.below(8),
        _ => rng.below(5),
    };
    let size = (1 << bits) + rng.below(1 << bits) as usize;
    Layout::from_size_align(size.min(4 << 20), 1 << align).expect("a layout")
}

fn books_are_right() -> MemStats {
    if let Err(what) = mem::check_heap() {
        panic!("heap: {what}");
    }
    let m = runtime::read_mem_stats();
    assert_eq!(m.heap_sys, m.heap_inuse + m.heap_idle, "{m}");
    assert!(m.heap_released <= m.heap_idle, "{m}");
    assert_eq!(m.heap_objects, m.mallocs - m.frees, "{m}");
    assert_eq!(
        m.sys,
        m.heap_sys - m.heap_released + m.stack_inuse + m.other_sys + m.free,
        "{m}"
    );
    let live: u64 = m.by_size.iter().map(|c| c.live() * u64::from(c.size)).sum();
    assert_eq!(m.heap_alloc, live + m.large_bytes, "{m}");
    m
}

/// Runs `f` and sees that it left nothing behind.
fn leaves_nothing(f: impl FnOnce()) {
    runtime::free_os_memory();
    let before = books_are_right();
    f();
    runtime::free_os_memory();
    let after = books_are_right();
    assert!(
        after.heap_objects <= before.heap_objects + 64,
        "{} objects left\n{after}",
        after.heap_objects - before.heap_objects
    );
    assert!(
        after.heap_inuse <= before.heap_inuse + (1 << 20),
        "{} bytes of spans left\n{after}",
        after.heap_inuse - before.heap_inuse
    );
}

/// Operations of the storm over all goroutines: `heap_ops=N` on the command line.
fn operations() -> usize {
    burrow::opts::get_u64("heap_ops").unwrap_or(300_000) as usize
}

/// Eight goroutines allocate, resize, free, and hand blocks to each other, preempted every 100 µs.
#[burrow::test(timeout = 900)]
fn storm_of_mixed_sizes() {
    const GOROUTINES: usize = 8;
    let old = burrow::debug::set_slice_ns(100_000);
    leaves_nothing(|| {
        let inboxes: Vec<_> = (0..GOROUTINES).map(|_| chan::<Block>(64)).collect();
        let handles: Vec<_> = (0..GOROUTINES)
            .map(|me| {
                let inboxes = inboxes.clone();
                spawn(move || {
                    let mut rng = Rng::new(me as u64);
                    let mut live: Vec<Block> = Vec::with_capacity(1000);
                    for _ in 0..operations() / GOROUTINES {
                        match rng.below(8) {
                            0..3 if live.len() < 1000 => {
                                let layout = any_layout(&mut rng);
                                live.extend(Block::new(&mut rng, layout));
                            }
                            3 if !live.is_empty() => {
                                let b = live.swap_remove(rng.below(live.len() as u64) as usize);
                                // A full inbox: then we free it ourselves.
                                let _ = inboxes[rng.below(GOROUTINES as u64) as usize].try_send(b);
                            }
                            4 if !live.is_empty() => {
                                let i = rng.below(live.len() as u64) as usize;
                                let new = any_layout(&mut rng).size();
                                live[i].resize(new);
                            }
                            _ if !live.is_empty() => {
                                live.swap_remove(rng.below(live.len() as u64) as usize);
                            }
                            _ => {}
                        }
                        for _ in 0..2 {
                            drop(inboxes[me].try_recv());
                        }
                    }
                })
            })
            .collect();
        for h in handles {
            h.join().expect("no block was harmed");
        }
    });
    burrow::debug::set_slice_ns(old);
}

/// One goroutine allocates, another frees; memory does not grow with the number of objects that went through.
#[burrow::test]
fn a_consumer_sends_memory_home() {
    leaves_nothing(|| {
        let ch = chan::<Box<[u64; 8]>>(100);
        let rx = ch.receiver();
        let consumer = spawn(move || {
            let mut sum = 0;
            for b in &rx {
                sum += b[0];
            }
            sum
        });
        let n = 200_000;
        for i in 0..n {
            ch.send(Box::new([i; 8]));
        }
        ch.close();
        assert_eq!(consumer.join().expect("it sums"), n * (n - 1) / 2);
        let spans = runtime::read_mem_stats().by_size.map(|c| (c.size, c.spans));
        let of_64 = spans.iter().find(|c| c.0 == 64).map_or(0, |c| c.1);
        assert!(of_64 <= 64, "{of_64} spans for a hundred objects in flight");
    });
}

/// What a P that is switched off had in its cache is in nobody's way.
#[burrow::test]
fn a_p_that_goes_away_flushes_its_cache() {
    let before = runtime::gomaxprocs(0);
    let handles: Vec<_> = (0..64)
        .map(|i| {
            spawn(move || {
                let mut rng = Rng::new(i);
                let blocks: Vec<_> = (0..500)
                    .filter_map(|_| {
                        let layout = Layout::from_size_align(1 + rng.below(4000) as usize, 8).ok()?;
                        Block::new(&mut rng, layout)
                    })
                    .collect();
                burrow::yield_now();
                drop(blocks);
            })
        })
        .collect();
    for h in handles {
        h.join().expect("no block was harmed");
    }
    runtime::gomaxprocs(1);
    let m = books_are_right();
    runtime::gomaxprocs(before);
    // P 0 and the shared cache have at most a current span and a short partial list per class.
    let worst = m
        .by_size
        .iter()
        .map(|c| (c.cached, c.size))
        .max()
        .unwrap_or_default();
    assert!(
        worst.0 <= 2 * 9,
        "{} spans of {} bytes are cached",
        worst.0,
        worst.1
    );
}

/// `blocking` has no P and no cache: it must work, and what it allocates can be freed anywhere.
#[burrow::test]
fn allocation_inside_blocking() {
    leaves_nothing(|| {
        let handles: Vec<_> = (0..runtime::num_cpu() * 2)
            .map(|i| {
                spawn(move || {
                    let mut rng = Rng::new(i as u64);
                    burrow::blocking(|| {
                        let mut kept = Vec::new();
                        for _ in 0..5_000 {
                            let layout = any_layout(&mut rng);
                            if layout.size() < 10_000
                                && let Some(b) = Block::new(&mut rng, layout)
                                && rng.below(4) == 0
                            {
                                kept.push(b);
                            }
                            if kept.len() > 100 {
                                kept.swap_remove(rng.below(100) as usize);
                            }
                        }
                        kept
                    })
                })
            })
            .collect();
        for h in handles {
            drop(h.join().expect("no block was harmed"));
        }
    });
}

/// Most of the memory in mixed sizes, 99 % of it freed at random: what is free can be used for stacks, and once the
/// rest is gone for one big block.
#[burrow::test(timeout = 300)]
fn fragmented_memory_is_usable_again() {
    leaves_nothing(|| {
        let start = runtime::read_mem_stats().free;
        // A gigabyte if the machine has it (MEM=2G), else half of what there is.
        let goal = (start / 2).min(1 << 30);
        let mut rng = Rng::new(99);
        let mut blocks = Vec::with_capacity((goal / 256) as usize);
        let mut bytes = 0;
        while bytes < goal && blocks.len() < blocks.capacity() {
            let size = match rng.below(20) {
                0 => 1 + rng.below(300_000),
                1..5 => 1 + rng.below(20_000),
                _ => 1 + rng.below(1500),
            };
            let layout = Layout::from_size_align(size as usize, 8).expect("a layout");
            let Some(b) = Block::new(&mut rng, layout) else {
                break;
            };
            bytes += size;
            blocks.push(b);
        }
        assert!(bytes >= goal * 9 / 10, "only {bytes} bytes of {goal}");
        let n = blocks.len();
        for i in (1..n).rev() {
            blocks.swap(i, rng.below(i as u64 + 1) as usize);
        }
        blocks.truncate(n / 100);
        blocks.shrink_to_fit();
        runtime::free_os_memory();
        let m = books_are_right();
        let back = m.free + (m.heap_idle - m.heap_released);
        burrow::println!(
            "{n} blocks of {bytes} bytes, 1 in 100 left: {} of {start} bytes usable, {} live in spans of {}",
            back,
            m.heap_alloc,
            m.heap_inuse
        );
        assert!(back >= start * 9 / 10, "{m}");
        // As many goroutines with 64 KiB of stack in use as fit into nine tenths of that.
        let stacks = (back * 9 / 10 / (72 * 1024)).min(6000) as usize;
        let (here, gate) = (chan::<()>(stacks), chan::<()>(0));
        for _ in 0..stacks {
            let (here, gate) = (here.clone(), gate.clone());
            burrow::go(move || {
                let page = touch(60);
                here.send(());
                gate.recv();
                assert_eq!(page, 60);
            });
        }
        for _ in 0..stacks {
            here.recv();
        }
        burrow::println!("{stacks} stacks of 64 KiB at once");
        gate.close();
        while runtime::num_goroutine() > 8 {
            time::sleep(Duration::from_millis(1));
        }
        drop(blocks);
        runtime::free_os_memory();
        let big = if start > 600 << 20 {
            256 << 20
        } else {
            (start / 3) as usize
        };
        let mut all: Vec<u8> = Vec::new();
        all.try_reserve_exact(big)
            .unwrap_or_else(|e| panic!("{e}: {}", runtime::read_mem_stats()));
        burrow::println!("one block of {big} bytes");
    });
}

/// Free pages go back by themselves after a while.
#[burrow::test]
fn the_scavenger_returns_what_is_long_free() {
    // Not before: free again, the pages are idle. (A host that keeps us from looking for long enough may make it late.)
    let idle_at_first = || {
        runtime::free_os_memory();
        let before = runtime::read_mem_stats().heap_released;
        let big = alloc::vec![1u8; 32 << 20];
        assert!(runtime::read_mem_stats().heap_released <= before + (1 << 20));
        drop(big);
        let idle = runtime::read_mem_stats();
        idle.heap_idle - idle.heap_released >= 32 << 20
    };
    assert!((0..10).any(|_| idle_at_first()), "{}", runtime::read_mem_stats());
    // Two periods at most until it looks, then half of the rest each second.
    for _ in 0..400 {
        time::sleep(Duration::from_millis(100));
        let m = books_are_right();
        if m.heap_idle - m.heap_released <= 4 << 20 {
            return;
        }
    }
    panic!("still idle after 40 s: {}", runtime::read_mem_stats());
}

#[inline(never)]
fn eat_half_a_megabyte_at_a_time(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|_| Vec::with_capacity(20_000)).collect()
}

#[burrow::test]
fn the_profile_names_who_allocates() {
    let n = 2000;
    let blocks = eat_half_a_megabyte_at_a_time(n);
    let text = format!("{}", runtime::heap_profile());
    assert!(text.contains("eat_half_a_megabyte_at_a_time"), "{text}");
    let profile = runtime::heap_profile();
    let of = |inuse: bool| {
        profile
            .records
            .iter()
            .map(|r| if inuse { r.inuse_bytes } else { r.alloc_bytes })
            .max()
            .unwrap_or(0)
    };
    let real = n as u64 * 20_000;
    assert!(
        of(true) > real / 2 && of(true) < real * 2,
        "{} for {real}: {text}",
        of(true)
    );
    drop(blocks);
    let after = runtime::heap_profile();
    let left = after.records.iter().map(|r| r.inuse_bytes).max().unwrap_or(0);
    assert!(left < real / 4, "{left} bytes still in use: {after}");
}

#[burrow::test]
fn a_vector_that_grows_stays_where_it_is() {
    let mut moved = 0;
    let mut v: Vec<u64> = Vec::with_capacity(8 << 10);
    let mut at = v.as_ptr();
    for i in 0..1_000_000 {
        v.push(i);
        if v.as_ptr() != at {
            moved += 1;
            at = v.as_ptr();
        }
    }
    assert!(v.iter().enumerate().all(|(i, x)| *x == i as u64));
    assert!(moved <= 3, "moved {moved} times");
}
