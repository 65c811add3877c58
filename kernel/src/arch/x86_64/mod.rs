//! The machine: x86_64.

pub mod acpi;
pub mod apic;
mod bl;
pub mod bootinfo;
pub mod clock;
pub mod exit;
mod fwcfg;
pub mod gdt;
pub mod ioapic;
pub mod irq;
pub mod paging;
pub mod percpu;
pub mod pic;
pub mod port;
mod pvh;
mod rtc;
pub mod serial;
pub mod smp;
pub mod switch;
pub(crate) mod tlb;
pub mod trap;

pub(crate) use exit::exit;

/// Where the kernel image is linked: virtual = physical + this.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
