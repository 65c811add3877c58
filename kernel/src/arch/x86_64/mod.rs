//! The machine: x86_64.

pub mod percpu;
mod pvh;
pub mod switch;
pub mod trap;

/// Where the kernel image is linked: virtual = physical + this.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Placeholder until the LAPIC driver lands.
pub(crate) mod apic {
    pub(crate) fn eoi() {}
    pub(crate) fn send_nmi(_apic_id: u32) {}
}
/// Placeholder until the exit path lands.
pub(crate) fn exit(_code: i32) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
