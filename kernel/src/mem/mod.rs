//! Memory: physical frames, the bootstrap heap, stacks.
//!
//! [`map`] holds the boot memory map, [`bitmap`] the free frames, [`frames`] hands them out (and has the
//! lock-free paths for page faults), [`heap`] is the global allocator.

#[cfg(any(target_os = "none", test))]
pub mod bitmap;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod heap;
#[cfg(any(target_os = "none", test))]
pub mod map;
