//! The interrupt of all network devices: acknowledge, mark, wake a g0.
//!
//! A message interrupt (MSI-X) needs no acknowledgement. A line stays raised until the device's status register is read
//! (PCI) or written (MMIO), so the handler does that for every device with a line; they may share one.

use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

use crate::sched;

const MAX: usize = 8;

/// How a line is lowered.
#[derive(Clone, Copy)]
pub(super) enum Ack {
    /// By reading this byte.
    Read(*mut u8),
    /// By writing back, 4 bytes further, what is read here.
    WriteBack(*mut u32),
}

static READ: [AtomicPtr<u8>; MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX];
static WRITE: [AtomicPtr<u32>; MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX];
static USED: AtomicUsize = AtomicUsize::new(0);

/// From now on the handler lowers this device's line. `false`: too many devices.
pub(super) fn lower(ack: Ack) -> bool {
    let i = USED.fetch_add(1, Ordering::Relaxed);
    if i >= MAX {
        return false;
    }
    // Release: pairs with the Acquire in `on_line`.
    match ack {
        Ack::Read(at) => READ[i].store(at, Ordering::Release),
        Ack::WriteBack(at) => WRITE[i].store(at, Ordering::Release),
    }
    true
}

/// A message came.
pub(super) fn on_message() {
    sched::on_net_interrupt();
}

/// A line was raised.
pub(super) fn on_line() {
    for at in READ
        .iter()
        .map(|p| p.load(Ordering::Acquire))
        .filter(|p| !p.is_null())
    {
        // SAFETY: a mapped register of a device; reading it lowers the line.
        unsafe { at.read_volatile() };
    }
    for at in WRITE
        .iter()
        .map(|p| p.load(Ordering::Acquire))
        .filter(|p| !p.is_null())
    {
        // SAFETY: InterruptStatus of a mapped virtio-mmio device.
        let bits = unsafe { at.read_volatile() };
        // SAFETY: InterruptACK follows it.
        let ack = unsafe { at.add(1) };
        // SAFETY: as above.
        unsafe { ack.write_volatile(bits) };
    }
    sched::on_net_interrupt();
}
