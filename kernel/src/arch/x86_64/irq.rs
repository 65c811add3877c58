//! Device interrupts: ISA or PCI lines to handlers.
//!
//! Vectors 0x30… each have one handler, called with interrupts off on an interrupt stack: it may not lock,
//! allocate or print; it marks and wakes. The trap code sends the end of interrupt afterwards.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::{
    acpi::{self, Line},
    ioapic, percpu,
    trap::VEC_IRQ_BASE,
};

/// Vectors for devices: 0x30 … 0xef.
const VECTORS: usize = 0xf0 - VEC_IRQ_BASE as usize;
static HANDLERS: [AtomicPtr<()>; VECTORS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; VECTORS];
/// The first 24 belong to the lines of the first IOAPIC; message interrupts come after.
static NEXT: AtomicUsize = AtomicUsize::new(24);

/// Calls `f` on interrupts of `vector`.
pub fn set_handler(vector: u8, f: fn()) {
    // Release: pairs with the Acquire in `dispatch`.
    HANDLERS[(vector - VEC_IRQ_BASE) as usize].store(f as *mut (), Ordering::Release);
}

/// Serves a device vector; unknown ones are ignored. For the trap code's device hook.
pub fn dispatch(vector: u8) {
    let Some(h) = HANDLERS.get((vector as usize).wrapping_sub(VEC_IRQ_BASE as usize)) else {
        return;
    };
    let f = h.load(Ordering::Acquire);
    if !f.is_null() {
        // SAFETY: only `set_handler` stores here, and it stores a `fn()`.
        let f = unsafe { core::mem::transmute::<*mut (), fn()>(f) };
        f();
    }
}

/// Takes a free vector (for MSI-X) and gives it to `f`.
pub fn alloc_vector(f: fn()) -> Option<u8> {
    let i = NEXT.fetch_add(1, Ordering::Relaxed);
    let vector = (i < VECTORS).then(|| VEC_IRQ_BASE + i as u8)?;
    set_handler(vector, f);
    Some(vector)
}

/// Routes a line to the boot core with handler `f`. `false` without an IOAPIC that has it.
pub fn route(line: Line, f: fn()) -> bool {
    let Ok(gsi) = u8::try_from(line.gsi) else {
        return false;
    };
    if gsi >= 24 {
        // Lines beyond the first IOAPIC (microvm's second one) get a vector of the free ones.
        return alloc_vector(f).is_some_and(|v| ioapic::route(line, v, percpu::core(0).apic_id()));
    }
    let vector = VEC_IRQ_BASE + gsi;
    set_handler(vector, f);
    ioapic::route(line, vector, percpu::core(0).apic_id())
}

/// [`route`] for an ISA interrupt number, as the MADT overrides it.
pub fn route_isa(irq: u8, f: fn()) -> bool {
    route(acpi::platform().isa_line(irq), f)
}
