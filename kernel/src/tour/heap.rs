//! `run heap`: a thousand small blocks, made by one P and freed by two; what their spans go through meanwhile.
//!
//! docs/memory.md walks through the output.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering},
};

use burrow::{prelude::*, runtime};

const BLOCKS: usize = 1000;
type Block = [u64; 8];

/// The line of the blocks' size class in [`runtime::MemStats`].
fn show(what: &str) {
    let m = runtime::read_mem_stats();
    let Some(c) = m.by_size.iter().find(|c| c.size as usize == size_of::<Block>()) else {
        return;
    };
    println!(
        "  {what:<38} live {:>4}   spans {}: cached by Ps {}, in mcentral {}, full {}",
        c.live(),
        c.spans,
        c.cached,
        c.central,
        c.spans - c.cached - c.central
    );
}

pub(crate) fn run() {
    runtime::free_os_memory();
    show("before");
    let blocks: Vec<Box<Block>> = (0..BLOCKS as u64).map(|i| Box::new([i; 8])).collect();
    show("1000 blocks of 64 bytes");

    let (mut mine, mut theirs) = (Vec::with_capacity(BLOCKS), Vec::with_capacity(BLOCKS));
    for (i, block) in blocks.into_iter().enumerate() {
        if i % 2 == 0 {
            theirs.push(block)
        } else {
            mine.push(block)
        }
    }
    let freed = Arc::new(AtomicBool::new(false));
    let flag = freed.clone();
    go(move || {
        drop(theirs);
        flag.store(true, Ordering::Release);
    });
    // Keeps its P, so that another one frees (if there is one).
    while !freed.load(Ordering::Acquire) {
        spin_loop();
    }
    show("every second one freed by another P");
    drop(mine);
    show("the rest freed here");
    let bytes = runtime::free_os_memory();
    show("caches flushed, idle pages released");
    println!("  {bytes} bytes are free again");
}
