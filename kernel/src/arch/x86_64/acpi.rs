//! Finds the ACPI tables in memory and keeps what they say ([`Platform`]).

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{apic, bootinfo::BootInfo, paging};
pub use crate::arch::acpi_tables::{IoApicDesc, Line, Platform};
use crate::arch::acpi_tables::{entries, header, root_of};

struct Slot(UnsafeCell<Platform>);
// SAFETY: written by `init_on_bsp` before READY and before other cores start; read-only after.
unsafe impl Sync for Slot {}
static PLATFORM: Slot = Slot(UnsafeCell::new(Platform::new()));
static READY: AtomicBool = AtomicBool::new(false);

/// What the tables say. After [`init_on_bsp`].
pub fn platform() -> &'static Platform {
    assert!(
        READY.load(Ordering::Acquire),
        "the ACPI tables have not been read"
    );
    // SAFETY: not written after READY.
    unsafe { &*PLATFORM.0.get() }
}

/// `len` bytes of firmware memory.
fn memory(phys: u64, len: usize) -> Option<&'static [u8]> {
    let at = paging::ensure_direct(phys, len).ok()?;
    // SAFETY: mapped for ever; firmware tables lie outside the frame allocator's memory.
    Some(unsafe { core::slice::from_raw_parts(at, len) })
}

fn table(phys: u64) -> Option<([u8; 4], &'static [u8])> {
    let (signature, len) = header(memory(phys, 36)?)?;
    Some((signature, memory(phys, len.clamp(36, 1 << 20))?))
}

/// Looks where BIOSes leave the root pointer.
fn scan() -> Option<u64> {
    (0xe_0000..0x10_0000u64)
        .step_by(16)
        .find(|&at| memory(at, 36).and_then(root_of).is_some())
}

/// Reads the tables. Without any, one core and the IOAPIC where it always is. Once, on the boot core.
pub fn init_on_bsp(info: &BootInfo) {
    // SAFETY: once, before READY.
    let p = unsafe { &mut *PLATFORM.0.get() };
    p.add_cpu(apic::own_id()); // core 0, whatever the order of the table
    let root = info.rsdp.or_else(scan).and_then(|at| root_of(memory(at, 36)?));
    if let Some((at, width)) = root
        && let Some((_, root)) = table(at)
    {
        for (signature, bytes) in entries(root, width).filter_map(table) {
            match &signature {
                b"APIC" => p.read_madt(bytes),
                b"FACP" => p.read_fadt(bytes),
                _ => {}
            }
        }
    }
    if p.ioapics().is_empty() {
        p.add_ioapic(IoApicDesc {
            address: 0xfec0_0000,
            first_gsi: 0,
        });
    }
    READY.store(true, Ordering::Release); // pairs with the Acquire in `platform`
}
