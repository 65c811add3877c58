//! `mem`: where the memory is; `mem heap`: who allocated it; `mem free`: give back what is idle.
//!
//! The first is [`MemStats`](crate::runtime::MemStats) of one moment: what the columns mean is told there and in
//! docs/memory.md. Reading it stops the world, so it is a command and not a part of `top`.
#![forbid(unsafe_code)]

use alloc::string::String;

use crate::{mem::stats::Bytes, runtime};

/// Obeys `mem ARGS…`.
pub(super) fn mem(args: &[&str]) -> Result<(), String> {
    match args {
        [] => show(&runtime::read_mem_stats()),
        ["heap"] => show(&runtime::heap_profile()),
        ["free"] => {
            let bytes = runtime::free_os_memory();
            crate::println!("{bytes} bytes ({}) are free again", Bytes(bytes as u64));
        }
        [other, ..] => return Err(alloc::format!("mem: {other:?} is none of its words: heap, free")),
    }
    Ok(())
}

/// Makes the text first: nothing stands in the middle of a long table then.
fn show(what: &impl core::fmt::Display) {
    crate::print::raw(alloc::format!("{what}").as_bytes());
}
