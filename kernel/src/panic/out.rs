//! Output of last resort: the serial port, byte by byte, no lock, no buffer, nothing to trust.

use core::{arch::asm, fmt};

const PORT: u16 = 0x3f8;

/// Writes straight to the first serial port.
pub(super) struct Out;

impl fmt::Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            put(b);
        }
        Ok(())
    }
}

fn put(b: u8) {
    // Bounded: a machine without a port must not hang its last words.
    for _ in 0..100_000 {
        let status: u8;
        // SAFETY: reading the line status has no effect that matters here.
        unsafe { asm!("in al, dx", in("dx") PORT + 5, out("al") status, options(nomem, nostack)) };
        if status & 0x20 != 0 {
            break;
        }
        core::hint::spin_loop();
    }
    // SAFETY: sends a byte.
    unsafe { asm!("out dx, al", in("dx") PORT, in("al") b, options(nomem, nostack)) };
}
