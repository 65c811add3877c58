//! The two 8259 interrupt controllers: moved out of the exceptions' way and masked. The IOAPIC does their job.

use super::port::outb;

/// Remaps to vectors 0x20–0x2f (spurious ones may still come) and masks everything.
pub fn disable() {
    let steps = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, v) in steps {
        // SAFETY: 1. registers of the interrupt controllers; machines without them ignore the ports.
        unsafe { outb(port, v) };
        // SAFETY: 1. a write to the POST port, the customary short pause.
        unsafe { outb(0x80, 0) };
    }
}
