//! The first lines anyone sees: what machine this is and how long it took to get here.
#![forbid(unsafe_code)]

use crate::{
    arch,
    arch::x86_64::{apic, bootinfo, clock},
    mem::frames,
};

/// Prints name, version, cores, memory, how it was booted and the time since the first instruction of ours.
///
/// ```
/// burrow::console::banner();
/// ```
pub fn banner() {
    let info = bootinfo::get();
    crate::println!(
        "\nBurrow {} · a Go-style runtime that is its own kernel",
        env!("CARGO_PKG_VERSION")
    );
    crate::println!(
        "{} core{} ({}), {} MiB of memory, booted by {} in {} ms",
        arch::core_count(),
        if arch::core_count() == 1 { "" } else { "s" },
        if apic::is_x2apic() { "x2APIC" } else { "xAPIC" },
        frames::total_count() / 256,
        match info.path {
            bootinfo::BootPath::Pvh => "PVH",
            bootinfo::BootPath::Bios => "BIOS",
            bootinfo::BootPath::Uefi => "UEFI",
        },
        arch::now_ns() / 1_000_000,
    );
    crate::println!(
        "TSC {} MHz ({:?}), gomaxprocs {}, seed {}",
        clock::tsc_hz() / 1_000_000,
        clock::source(),
        crate::runtime::gomaxprocs(0),
        crate::runtime::seed(),
    );
}
