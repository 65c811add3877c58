//! Bounds of the machine that a test sets, and that are as before when it ends, also when it fails.

use burrow::{mem::frames, runtime};

/// So many Ps, until it is dropped.
#[derive(Debug)]
pub struct Procs(usize);

impl Procs {
    /// Only one: who is made runnable waits for whoever runs.
    pub fn one() -> Procs {
        Procs(runtime::gomaxprocs(1))
    }
}

impl Drop for Procs {
    fn drop(&mut self) {
        runtime::gomaxprocs(self.0);
    }
}

/// Bytes of memory that somebody has, after all that is idle was given back.
pub fn used_memory() -> usize {
    runtime::free_os_memory();
    (frames::total_count() - frames::free_count()) * 4096
}

/// Not more memory than this, until it is dropped.
#[derive(Debug)]
pub struct MemoryLimit(Option<usize>);

impl MemoryLimit {
    /// Leaves `bytes` beside what is in use.
    pub fn to(bytes: usize) -> MemoryLimit {
        MemoryLimit::at(used_memory() + bytes)
    }

    /// `bytes` for everything together.
    pub fn at(bytes: usize) -> MemoryLimit {
        MemoryLimit(runtime::set_memory_limit(Some(bytes)))
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        runtime::set_memory_limit(self.0);
    }
}
