//! The serial port (16550 at 0x3f8, IRQ 4): `-serial stdio`.
//!
//! **Output** works in every context, also in an interrupt or a panic that hits a core in the middle of a
//! line: the lock knows its owner, so the same core walks through; and it waits a bounded time for another
//! core, then prints anyway: a garbled report beats none. Interrupts are off while it is held.
//!
//! **Input** is interrupt-driven: the handler empties the device into a ring of 1,024 bytes and calls the
//! hook. The ring has one producer (the IOAPIC sends the line to one core) and takes any consumer by CAS;
//! when it is full, bytes are dropped.
//!
//! Refused: the `uart_16550` crate, whose waits are unbounded (an absent UART would hang a panic).

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use super::{
    percpu,
    port::{inb, outb},
};

const BASE: u16 = 0x3f8;
/// The ISA line of the first serial port.
pub const IRQ: u8 = 4;

const DATA: u16 = BASE;
const IER: u16 = BASE + 1;
const FCR: u16 = BASE + 2;
const LCR: u16 = BASE + 3;
const MCR: u16 = BASE + 4;
const LSR: u16 = BASE + 5;

fn out(port: u16, v: u8) {
    // SAFETY: 1. registers of the UART, which does no DMA.
    unsafe { outb(port, v) };
}

fn read(port: u16) -> u8 {
    // SAFETY: 1. as in `out`.
    unsafe { inb(port) }
}

/// Index of the owner + 1, 0 = free.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Is there a UART at all?
static PRESENT: AtomicBool = AtomicBool::new(true);

/// 115200 8N1, FIFOs on, interrupts off. First thing at boot; needs only ports.
pub fn init() {
    for (port, v) in [
        (IER, 0),
        (LCR, 0x80),
        (DATA, 1),
        (IER, 0),
        (LCR, 3),
        (FCR, 0xc7),
        (MCR, 0x0b),
    ] {
        out(port, v);
    }
    // An absent device reads as all ones.
    PRESENT.store(read(LSR) != 0xff, Ordering::Relaxed);
}

/// Sends bytes, `\n` as `\r\n` is left to the terminal. Any context.
pub fn write(bytes: &[u8]) {
    if !PRESENT.load(Ordering::Relaxed) {
        return;
    }
    let irqs = percpu::irq_save();
    let me = percpu::core_index() as u32 + 1;
    let mut nested = OWNER.load(Ordering::Relaxed) == me;
    let mut tries = 0u32;
    // Acquire: pairs with the Release below: the previous owner's bytes are out first.
    while !nested
        && OWNER
            .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
    {
        core::hint::spin_loop();
        tries += 1;
        // A line takes far less. The owner is dead or frozen: go ahead, without ever releasing its lock.
        nested = tries > 5_000_000;
    }
    let mut room = 0;
    for &b in bytes {
        if room == 0 {
            wait_for(0x20);
            room = 16;
        }
        out(DATA, b);
        room -= 1;
    }
    if !nested {
        OWNER.store(0, Ordering::Release); // pairs with the Acquire above
    }
    percpu::irq_restore(irqs);
}

/// Waits, bounded, for bits of the line status register.
fn wait_for(bits: u8) {
    for _ in 0..1_000_000 {
        if read(LSR) & bits == bits {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Waits until the last bit has left.
pub fn drain() {
    if PRESENT.load(Ordering::Relaxed) {
        wait_for(0x60);
    }
}

const RING: usize = 1024;
static BYTES: [AtomicU8; RING] = [const { AtomicU8::new(0) }; RING];
/// Next to read, and next to write; both only grow.
static HEAD: AtomicUsize = AtomicUsize::new(0);
static TAIL: AtomicUsize = AtomicUsize::new(0);
static HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Calls `f` from the interrupt whenever bytes have arrived. `f` may not lock, allocate or print.
pub fn set_input_hook(f: fn()) {
    HOOK.store(f as *mut (), Ordering::Release); // pairs with the Acquire in `on_interrupt`
}

/// Lets the device interrupt on input (the IOAPIC line must be routed).
pub fn enable_input() {
    out(IER, 1);
}

/// Serves the input interrupt: device to ring. Interrupts are off; one core only.
pub fn on_interrupt() {
    let mut got = false;
    let mut tail = TAIL.load(Ordering::Relaxed);
    for _ in 0..RING {
        if read(LSR) & 1 == 0 {
            break;
        }
        let b = read(DATA);
        // Acquire: pairs with the CAS in `try_read`: the slot was read before we write it again.
        if tail.wrapping_sub(HEAD.load(Ordering::Acquire)) < RING {
            BYTES[tail % RING].store(b, Ordering::Relaxed);
            tail = tail.wrapping_add(1);
            TAIL.store(tail, Ordering::Release); // pairs with the Acquire in `try_read`
            got = true;
        }
    }
    let f = HOOK.load(Ordering::Acquire);
    if got && !f.is_null() {
        // SAFETY: only `set_input_hook` stores here, and it stores a `fn()`.
        let f = unsafe { core::mem::transmute::<*mut (), fn()>(f) };
        f();
    }
}

/// Has a byte come in that nobody read?
pub fn has_input() -> bool {
    // Acquire: pairs with the Release in `on_interrupt`.
    HEAD.load(Ordering::Relaxed) != TAIL.load(Ordering::Acquire)
}

/// The oldest byte that came in, if any.
pub fn try_read() -> Option<u8> {
    let mut head = HEAD.load(Ordering::Relaxed);
    loop {
        // Acquire: pairs with the Release in `on_interrupt`.
        if head == TAIL.load(Ordering::Acquire) {
            return None;
        }
        let b = BYTES[head % RING].load(Ordering::Relaxed);
        // Release: pairs with the Acquire load of HEAD in `on_interrupt`.
        match HEAD.compare_exchange_weak(head, head.wrapping_add(1), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return Some(b),
            Err(h) => head = h,
        }
        core::hint::spin_loop();
    }
}
