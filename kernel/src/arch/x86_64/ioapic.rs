//! IOAPICs: which vector on which core a device line raises.
//!
//! A line is a *global system interrupt* number; each IOAPIC serves a range of them. ISA lines map one to one
//! except where the MADT overrides. Everything starts masked.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::{acpi, paging};
use crate::lock::{Rank, SpinLock};

const MAX: usize = 4;
const SELECT: usize = 0;
const WINDOW: usize = 0x10;

struct IoApic {
    regs: AtomicPtr<u8>,
    first: AtomicU32,
    lines: AtomicU32,
}

static IOAPICS: [IoApic; MAX] = [const {
    IoApic {
        regs: AtomicPtr::new(core::ptr::null_mut()),
        first: AtomicU32::new(0),
        lines: AtomicU32::new(0),
    }
}; MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Select and window are two accesses.
static ACCESS: SpinLock<()> = SpinLock::new(Rank::Console, ());

impl IoApic {
    fn reg(&self, offset: usize) -> *mut u32 {
        // SAFETY: within the mapped page.
        unsafe { self.regs.load(Ordering::Relaxed).add(offset) }.cast()
    }

    fn read(&self, index: u32) -> u32 {
        // SAFETY: mapped, uncached device register.
        unsafe { self.reg(SELECT).write_volatile(index) };
        // SAFETY: as above.
        unsafe { self.reg(WINDOW).read_volatile() }
    }

    fn write(&self, index: u32, v: u32) {
        // SAFETY: mapped, uncached device register.
        unsafe { self.reg(SELECT).write_volatile(index) };
        // SAFETY: as above; callers route lines to vectors that are handled.
        unsafe { self.reg(WINDOW).write_volatile(v) };
    }
}

/// Maps the IOAPICs the tables name and masks every line.
pub fn init(platform: &acpi::Platform) {
    for (io, desc) in IOAPICS.iter().zip(platform.ioapics()) {
        let Ok(regs) = paging::map_mmio(u64::from(desc.address), 4096) else {
            break;
        };
        io.regs.store(regs, Ordering::Relaxed);
        io.first.store(desc.first_gsi, Ordering::Relaxed);
        let lines = (io.read(1) >> 16 & 0xff) + 1;
        io.lines.store(lines, Ordering::Relaxed);
        for line in 0..lines {
            io.write(0x10 + line * 2, 1 << 16);
        }
        COUNT.fetch_add(1, Ordering::Release); // pairs with the Acquire in `find`
    }
}

fn find(gsi: u32) -> Option<(&'static IoApic, u32)> {
    IOAPICS[..COUNT.load(Ordering::Acquire)].iter().find_map(|io| {
        let line = gsi.checked_sub(io.first.load(Ordering::Relaxed))?;
        (line < io.lines.load(Ordering::Relaxed)).then_some((io, line))
    })
}

/// Sends interrupts of `line` to `vector` on the core with `apic_id` (below 256). `false` if no IOAPIC has it.
pub fn route(line: acpi::Line, vector: u8, apic_id: u32) -> bool {
    let _lock = ACCESS.lock();
    let Some((io, n)) = find(line.gsi) else {
        return false;
    };
    let flags = u32::from(line.active_low) << 13 | u32::from(line.level) << 15;
    io.write(0x11 + n * 2, apic_id << 24);
    io.write(0x10 + n * 2, u32::from(vector) | flags);
    true
}

/// Stops or restarts a routed line.
pub fn set_masked(gsi: u32, masked: bool) {
    let _lock = ACCESS.lock();
    if let Some((io, n)) = find(gsi) {
        let v = io.read(0x10 + n * 2) & !(1 << 16);
        io.write(0x10 + n * 2, v | u32::from(masked) << 16);
    }
}
