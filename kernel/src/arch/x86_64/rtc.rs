//! The CMOS clock: the date at boot.

use super::port::{inb, outb};
use crate::arch::civil;

fn cmos(reg: u8) -> u8 {
    // SAFETY: 1. selects a CMOS register (NMI stays enabled).
    unsafe { outb(0x70, reg) };
    // SAFETY: 1. reads it.
    unsafe { inb(0x71) }
}

/// Seconds since 1970 (UTC assumed), or `None` without a plausible clock.
pub(super) fn read() -> Option<u64> {
    // A date is torn if the clock ticks between registers: read until two readings agree.
    let mut last = [0; 6];
    for _ in 0..10 {
        let now = [0, 2, 4, 7, 8, 9].map(cmos);
        if now == last {
            return civil::unix_from_cmos(now, cmos(0x0b));
        }
        last = now;
    }
    None
}
