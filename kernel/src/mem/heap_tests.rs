//! The whole heap on the host: threads play cores that hold a P, one block of memory plays the frames.
//!
//! There is one heap (it is full of statics, like the kernel's), so these tests take turns.

use std::{
    alloc::{GlobalAlloc, Layout},
    sync::{
        Arc, Barrier, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use super::{
    backing,
    classes::PAGE,
    global::KernelHeap,
    mcache, mheap,
    pages::tests::Rng,
    scavenge,
    stats::{self, MemStats},
};
use crate::arch::set_mcache;

/// Nobody else uses the heap while it lives; this thread holds P 0.
struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

fn turn() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    static HEAP: OnceLock<()> = OnceLock::new();
    let guard = TURN.lock().unwrap_or_else(|e| e.into_inner());
    HEAP.get_or_init(|| mheap::init(backing::PAGES));
    hold_p(0);
    Turn(guard)
}

fn hold_p(i: usize) {
    set_mcache(mcache::for_p(i).cast());
}

fn read() -> MemStats {
    let mut m = MemStats::new();
    // SAFETY: 1. the tests' other threads have ended or wait.
    unsafe { stats::read(&mut m, (0, 0), 0) };
    m
}

/// Everything has been freed: flushes all caches and sees that not a byte is missing.
fn all_came_back(before: &MemStats) {
    // SAFETY: 1. as in `read`.
    unsafe { stats::check() }.unwrap();
    // SAFETY: 1. as in `read`.
    unsafe { mcache::for_each(mcache::MCache::flush) };
    // SAFETY: 1. as in `read`.
    unsafe { stats::check() }.unwrap();
    let now = read();
    assert_eq!(now.heap_alloc, before.heap_alloc);
    assert_eq!(now.heap_objects, before.heap_objects);
    assert_eq!(now.heap_inuse, before.heap_inuse, "spans are left");
    assert_eq!(now.heap_sys, now.heap_idle + now.heap_inuse);
}

impl Rng {
    /// 1 B to 4 MiB, small ones more often; alignments to 1 MiB, mostly small.
    fn layout(&mut self) -> Layout {
        let bits = match self.below(100) {
            0..60 => self.below(9),
            60..90 => self.below(14),
            90..99 => self.below(18),
            _ => self.below(22),
        };
        let align = match self.below(50) {
            0 => self.below(21),
            1..10 => self.below(8),
            _ => self.below(5),
        };
        let size = (1 << bits) + self.below(1 << bits);
        Layout::from_size_align(size.min(4 << 20), 1 << align).unwrap()
    }
}

/// An allocation with its contents known: the first and last bytes follow from `seed`.
struct Block {
    at: *mut u8,
    layout: Layout,
    seed: u64,
}
// SAFETY: a block is memory that has one owner.
unsafe impl Send for Block {}

/// Bytes checked at either end; more would only be slow.
const EDGE: usize = 64;

impl Block {
    fn byte(&self, i: usize) -> u8 {
        (self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 8 * 8)) as u8 ^ i as u8
    }
    fn edges(&self, upto: usize) -> impl Iterator<Item = usize> {
        let n = upto.min(self.layout.size());
        (0..n.min(EDGE)).chain(n.saturating_sub(EDGE)..n)
    }
    fn new(rng: &mut Rng, layout: Layout) -> Option<Block> {
        let zeroed = rng.below(4) == 0;
        // SAFETY: the size is not 0.
        let at = unsafe {
            if zeroed {
                KernelHeap.alloc_zeroed(layout)
            } else {
                KernelHeap.alloc(layout)
            }
        };
        if at.is_null() {
            return None;
        }
        assert!(at.addr().is_multiple_of(layout.align()), "{layout:?} at {at:p}");
        let b = Block {
            at,
            layout,
            seed: rng.0,
        };
        if zeroed {
            // SAFETY: the block is ours.
            let bytes = unsafe { std::slice::from_raw_parts(at, layout.size()) };
            assert!(bytes.iter().all(|b| *b == 0), "{layout:?} is not zero");
        }
        b.fill();
        Some(b)
    }
    fn fill(&self) {
        for i in self.edges(usize::MAX) {
            // SAFETY: inside our block.
            unsafe { self.at.add(i).write(self.byte(i)) };
        }
    }
    fn check(&self, upto: usize) {
        // The far edge is only known if the block was filled at this size.
        let n = upto.min(self.layout.size());
        let known = self.edges(usize::MAX).filter(|i| *i < n);
        for i in known {
            // SAFETY: inside our block.
            let got = unsafe { self.at.add(i).read() };
            assert_eq!(
                got,
                self.byte(i),
                "{:?} at {:p}: byte {i} changed",
                self.layout,
                self.at
            );
        }
    }
    fn realloc(&mut self, new: usize) {
        self.check(usize::MAX);
        // SAFETY: our block, with its layout; `new` is not 0.
        let at = unsafe { KernelHeap.realloc(self.at, self.layout, new) };
        if at.is_null() {
            return;
        }
        self.at = at;
        self.check(new);
        self.layout = Layout::from_size_align(new, self.layout.align()).unwrap();
        self.fill();
    }
    fn free(self) {
        self.check(usize::MAX);
        // SAFETY: our block, with its layout.
        unsafe { KernelHeap.dealloc(self.at, self.layout) };
    }
}

fn ops(many: usize) -> usize {
    if cfg!(miri) { many / 2000 } else { many }
}

/// No two live blocks overlap: sorts them by address.
fn disjoint(blocks: &[Block]) {
    let mut by_addr: Vec<_> = blocks.iter().map(|b| (b.at.addr(), b.layout.size())).collect();
    by_addr.sort_unstable();
    for w in by_addr.windows(2) {
        assert!(w[0].0 + w[0].1 <= w[1].0, "blocks overlap");
    }
}

#[test]
fn one_core_against_a_model() {
    let _turn = turn();
    let before = read();
    let mut rng = Rng(0x5eed_0001);
    let mut live: Vec<Block> = Vec::new();
    let mut bytes = 0u64;
    for step in 0..ops(4_000_000) {
        match rng.below(10) {
            0..5 if live.len() < 4000 => {
                let layout = rng.layout();
                if let Some(b) = Block::new(&mut rng, layout) {
                    bytes += layout.size() as u64;
                    live.push(b);
                }
            }
            5 if !live.is_empty() => {
                let (i, new) = (rng.below(live.len()), rng.layout().size());
                let b = &mut live[i];
                bytes -= b.layout.size() as u64;
                b.realloc(new);
                bytes += b.layout.size() as u64;
            }
            _ if !live.is_empty() => {
                let b = live.swap_remove(rng.below(live.len()));
                bytes -= b.layout.size() as u64;
                b.free();
            }
            _ => {}
        }
        if step % ops(100_000).max(1) == 0 {
            disjoint(&live);
            // SAFETY: 1. nobody else is here.
            unsafe { stats::check() }.unwrap();
            let now = read();
            assert_eq!(now.heap_objects - before.heap_objects, live.len() as u64);
            assert!(now.heap_alloc - before.heap_alloc >= bytes);
            scavenge::pass(rng.below(1000), rng.below(2) == 0);
            mheap::lock().pages.age(mheap::grown_pages());
        }
    }
    live.into_iter().for_each(Block::free);
    all_came_back(&before);
}

#[test]
fn cores_that_free_each_others_blocks() {
    let _turn = turn();
    let before = read();
    const CORES: usize = 4;
    let (txs, rxs): (Vec<_>, Vec<_>) = (0..CORES).map(|_| mpsc::channel::<Block>()).unzip();
    let start = Arc::new(Barrier::new(CORES));
    let threads: Vec<_> = rxs
        .into_iter()
        .enumerate()
        .map(|(i, rx)| {
            let (txs, start) = (txs.clone(), start.clone());
            std::thread::spawn(move || {
                hold_p(i);
                start.wait();
                let mut rng = Rng(0x5eed_1000 + i as u64);
                let mut live: Vec<Block> = Vec::new();
                for _ in 0..ops(1_500_000) {
                    match rng.below(8) {
                        0..3 if live.len() < 2000 => {
                            let layout = rng.layout();
                            live.extend(Block::new(&mut rng, layout));
                        }
                        3 if !live.is_empty() => {
                            let b = live.swap_remove(rng.below(live.len()));
                            txs[rng.below(CORES)].send(b).unwrap();
                        }
                        4 if !live.is_empty() => {
                            let i = rng.below(live.len());
                            let new = rng.layout().size();
                            live[i].realloc(new);
                        }
                        _ if !live.is_empty() => live.swap_remove(rng.below(live.len())).free(),
                        _ => {}
                    }
                    rx.try_iter().take(4).for_each(Block::free);
                }
                live.into_iter().for_each(Block::free);
                drop(txs);
                rx.iter().for_each(Block::free);
            })
        })
        .collect();
    drop(txs);
    threads.into_iter().for_each(|t| t.join().unwrap());
    all_came_back(&before);
}

/// Producer and consumer: spans travel from one to the other and back, and their number stays bounded.
#[test]
fn spans_come_home_from_a_consumer() {
    let _turn = turn();
    let before = read();
    let (tx, rx) = mpsc::sync_channel::<Block>(100);
    let consumer = std::thread::spawn(move || {
        hold_p(1);
        rx.iter().for_each(Block::free);
    });
    let mut rng = Rng(7);
    for _ in 0..ops(400_000) {
        let b = Block::new(&mut rng, Layout::new::<[u64; 8]>()).unwrap();
        tx.send(b).unwrap();
    }
    drop(tx);
    consumer.join().unwrap();
    let spans = read().by_size[5].spans;
    assert!(spans <= 32, "{spans} spans for 100 objects in flight");
    all_came_back(&before);
}

#[test]
fn without_a_p_the_shared_cache_serves() {
    let _turn = turn();
    let before = read();
    let blocks: Vec<_> = (0..4)
        .map(|i| {
            std::thread::spawn(move || {
                set_mcache(mcache::none().cast());
                let mut rng = Rng(i + 1);
                (0..ops(40_000))
                    .filter_map(|_| {
                        let layout = Layout::from_size_align(1 + rng.below(2000), 8).unwrap();
                        let b = Block::new(&mut rng, layout);
                        if rng.below(2) == 0 {
                            b.into_iter().for_each(Block::free);
                            return None;
                        }
                        b
                    })
                    .collect::<Vec<_>>()
            })
        })
        .flat_map(|t| t.join().unwrap())
        .collect();
    disjoint(&blocks);
    blocks.into_iter().for_each(Block::free);
    all_came_back(&before);
}

#[test]
fn running_out_is_null_and_everything_works_again_afterwards() {
    let _turn = turn();
    let before = read();
    scavenge::pass(usize::MAX, false);
    backing::LIMIT.store(backing::BACKED.load(Ordering::Relaxed) + 300, Ordering::Relaxed);
    for size in [8, 100, 4096, 32 * 1024, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let mut rng = Rng(size as u64);
        let mut held = Vec::new();
        while let Some(b) = Block::new(&mut rng, layout) {
            held.push(b);
        }
        let got = held.len() * size.max(8);
        assert!(
            got + 32 * PAGE >= 300 * PAGE * 7 / 8,
            "only {got} bytes in blocks of {size}"
        );
        // A failed realloc leaves the block alone.
        held[0].realloc(400 * PAGE);
        disjoint(&held);
        held.into_iter().for_each(Block::free);
        // SAFETY: 1. nobody else is here.
        unsafe { mcache::for_each(mcache::MCache::flush) };
    }
    backing::LIMIT.store(usize::MAX, Ordering::Relaxed);
    all_came_back(&before);
}

#[test]
fn absurd_requests_fail() {
    let _turn = turn();
    for (size, align) in [
        (isize::MAX as usize & !0xffff, 1),
        (1 << 46, 8),
        (1, 1 << 40),
        (100, 1 << 62),
    ] {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: the size is not 0.
        assert!(unsafe { KernelHeap.alloc(layout) }.is_null(), "{layout:?}");
    }
}

#[test]
fn a_large_block_grows_in_place_and_gives_its_tail_back() {
    let _turn = turn();
    let before = read();
    let layout = Layout::from_size_align(5 * PAGE, 8).unwrap();
    let mut b = Block::new(&mut Rng(1), layout).unwrap();
    let at = b.at;
    b.realloc(9 * PAGE);
    assert_eq!(b.at, at, "the pages behind were free");
    b.realloc(6 * PAGE + 1);
    assert_eq!(b.at, at);
    assert_eq!(read().heap_inuse - before.heap_inuse, 7 * PAGE as u64);
    assert_eq!(read().large_bytes - before.large_bytes, 6 * PAGE as u64 + 1);
    b.free();
    all_came_back(&before);
}

#[test]
fn fresh_pages_are_not_cleared_twice() {
    let _turn = turn();
    scavenge::pass(usize::MAX, false);
    static CLEARED: AtomicUsize = AtomicUsize::new(0);
    let layout = Layout::from_size_align(64 * PAGE, 8).unwrap();
    let (fresh, zero) = super::global::whole_pages(layout);
    CLEARED.fetch_add(usize::from(!zero), Ordering::Relaxed);
    // SAFETY: our block.
    unsafe { KernelHeap.dealloc(fresh, layout) };
    let (used, zero_again) = super::global::whole_pages(layout);
    // SAFETY: our block.
    unsafe { KernelHeap.dealloc(used, layout) };
    assert!(zero && !zero_again);
}
