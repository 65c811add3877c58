//! virtio-mmio on `-M microvm`: fixed slots, told apart by their magic value and device number.

use alloc::boxed::Box;
use core::ptr::NonNull;

use virtio_drivers::transport::{
    DeviceType, Transport,
    mmio::{MmioTransport, VirtIOHeader},
};

use super::{
    super::link::Link,
    STATUS_AT, VirtioLink,
    doorbell::Register,
    irq::{self, Ack},
};
use crate::arch::x86_64::{
    acpi::{self, Line},
    irq as lines, paging,
};

const BASE: u64 = 0xfeb0_0000;
const STEP: usize = 512;
const SLOTS: usize = 24;
const MAGIC: u32 = 0x7472_6976;
const NETWORK: u32 = 1;

/// Finds every network device and gives it to `add`.
pub(super) fn discover(add: &mut dyn FnMut(Box<dyn Link>)) {
    // With its second IOAPIC the machine has 24 slots on lines of that; else 8 on lines from 5 on.
    let (first, slots) = match acpi::platform().ioapics().iter().find(|io| io.first_gsi >= 24) {
        Some(io) => (io.first_gsi, SLOTS),
        None => (5, 8),
    };
    let Ok(base) = paging::map_mmio(BASE, SLOTS * STEP) else {
        return;
    };
    for slot in 0..slots {
        // SAFETY: inside the mapping.
        let at = unsafe { base.add(slot * STEP) }.cast::<u32>();
        // SAFETY: MagicValue; reading an empty slot has no effect.
        let magic = unsafe { at.read_volatile() };
        // SAFETY: inside the slot: DeviceID.
        let device = unsafe { at.add(2) };
        // SAFETY: as above.
        let device = unsafe { device.read_volatile() };
        if magic != MAGIC || device != NETWORK {
            continue;
        }
        if let Some(link) = start(at, first + slot as u32) {
            add(link);
        }
    }
}

fn start(at: *mut u32, gsi: u32) -> Option<Box<dyn Link>> {
    let header = NonNull::new(at.cast::<VirtIOHeader>())?;
    // SAFETY: a slot with the magic value, mapped for ever.
    let transport = unsafe { MmioTransport::new(header, STEP) }.ok()?;
    if transport.device_type() != DeviceType::Network {
        return None;
    }
    // SAFETY: QueueNotify, inside the slot.
    let notify = Register::Long(unsafe { at.add(0x50 / 4) });
    // SAFETY: the device's configuration, inside the slot.
    let status = NonNull::new(unsafe { at.cast::<u8>().add(0x100 + STATUS_AT) }.cast());
    let link = VirtioLink::new(transport, [notify; 2], status)?;
    let line = Line {
        gsi,
        active_low: false,
        level: true,
    };
    // SAFETY: InterruptStatus, inside the slot.
    let status = unsafe { at.add(0x60 / 4) };
    (irq::lower(Ack::WriteBack(status)) && lines::route(line, irq::on_line))
        .then(|| Box::new(link) as Box<dyn Link>)
}
