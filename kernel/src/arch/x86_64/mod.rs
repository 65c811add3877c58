//! The machine: x86_64.

mod pvh;

/// Where the kernel image is linked: virtual = physical + this.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
