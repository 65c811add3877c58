//! When a device must be told, and how: one write for all frames of a round, or none.
//!
//! `virtio-drivers` tells the device after every buffer, by three accesses to its registers, each of which leaves the
//! guest. So it gets a transport whose `notify` does nothing, and we decide: the device writes into the ring from which
//! index on it wants to be told (EVENT_IDX; else a flag). It is told if that index was passed since the last look. A
//! device that is still looking has not moved its index, and costs nothing.
//!
//! The driver stores its index and then loads the device's wish; the device stores its wish and then loads the index
//! once more. With a full fence between the two on each side one of them sees the other: no buffer is forgotten.

use alloc::{boxed::Box, sync::Arc};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, Ordering, fence};

use virtio_drivers::{
    PhysAddr, Result,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::super::bell::{self, Bell};
use crate::arch::x86_64::paging;

const EVENT_IDX: u64 = 1 << 29;

/// Where a queue's number is written to ring.
#[derive(Clone, Copy)]
pub(super) enum Register {
    /// PCI.
    Word(*mut u16),
    /// MMIO.
    Long(*mut u32),
}

struct Doorbell {
    register: Register,
    queue: u16,
}

// SAFETY: the register is mapped for ever, and writes of any core do.
unsafe impl Send for Doorbell {}
// SAFETY: as above.
unsafe impl Sync for Doorbell {}

impl Bell for Doorbell {
    fn ring(&self) {
        match self.register {
            // SAFETY: the notify register of this queue.
            Register::Word(at) => unsafe { at.write_volatile(self.queue) },
            // SAFETY: as above.
            Register::Long(at) => unsafe { at.write_volatile(u32::from(self.queue)) },
        }
    }
}

/// What we see of a queue's rings, beside `virtio-drivers`.
#[derive(Default)]
struct Ring {
    /// The driver's index, which it has just stored.
    index: AtomicPtr<AtomicU16>,
    /// The device's flags.
    flags: AtomicPtr<AtomicU16>,
    /// The index from which on the device wants to be told.
    event: AtomicPtr<AtomicU16>,
    /// The driver's index at the last look.
    seen: AtomicU16,
}

#[derive(Default)]
struct Rings {
    by_index: AtomicBool,
    queues: [Ring; 2],
}

/// A transport that tells the device nothing.
pub(super) struct Quiet<T> {
    inner: T,
    rings: Arc<Rings>,
}

/// The bells of a device's two queues.
pub(super) struct Doorbells {
    rings: Arc<Rings>,
    bells: [usize; 2],
}

/// Takes notifying over from `inner`; its queues are rung by `registers`. `None`: too many devices.
pub(super) fn take_over<T: Transport>(inner: T, registers: [Register; 2]) -> Option<(Quiet<T>, Doorbells)> {
    let rings = Arc::new(Rings::default());
    let add = |queue: u16| {
        let register = registers[usize::from(queue)];
        bell::add(Box::new(Doorbell { register, queue }))
    };
    let doorbells = Doorbells {
        rings: rings.clone(),
        bells: [add(0)?, add(1)?],
    };
    Some((Quiet { inner, rings }, doorbells))
}

impl Doorbells {
    /// Has the device told what was added to its queues since the last call, if it wants to know. Under the stack's lock.
    pub(super) fn mark(&self) {
        let by_index = self.rings.by_index.load(Ordering::Relaxed);
        for (ring, &bell) in self.rings.queues.iter().zip(&self.bells) {
            if ring.wants(by_index) {
                bell::mark(bell);
            }
        }
    }
}

impl Ring {
    fn wants(&self, by_index: bool) -> bool {
        let at = self.index.load(Ordering::Relaxed);
        if at.is_null() {
            return false;
        }
        // SAFETY: set by `queue_set`, whose rings are never freed; only this core writes it, under the stack's lock.
        let new = unsafe { &*at }.load(Ordering::Relaxed);
        let old = self.seen.load(Ordering::Relaxed);
        if new == old {
            return false;
        }
        self.seen.store(new, Ordering::Relaxed);
        fence(Ordering::SeqCst); // StoreLoad: see the file head
        let wish = if by_index { &self.event } else { &self.flags };
        // SAFETY: as above; the device writes it.
        let wish = unsafe { &*wish.load(Ordering::Relaxed) }.load(Ordering::Acquire);
        if by_index {
            passed(wish, old, new)
        } else {
            wish & 1 == 0
        }
    }
}

/// Was index `event` given out by the step from `old` to `new`?
fn passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

impl<T: Transport> Transport for Quiet<T> {
    fn notify(&mut self, _: u16) {}

    fn write_driver_features(&mut self, features: u64) {
        self.rings
            .by_index
            .store(features & EVENT_IDX != 0, Ordering::Relaxed);
        self.inner.write_driver_features(features);
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        if let Some(ring) = self.rings.queues.get(usize::from(queue)) {
            let at = |area: PhysAddr, offset: usize| {
                let start = paging::phys_to_virt(area);
                // SAFETY: inside the area: two words, then the entries, then the other side's word.
                unsafe { start.add(offset) }.cast::<AtomicU16>()
            };
            ring.index.store(at(driver, 2), Ordering::Relaxed);
            ring.flags.store(at(device, 0), Ordering::Relaxed);
            ring.event
                .store(at(device, 4 + 8 * size as usize), Ordering::Relaxed);
        }
        self.inner.queue_set(queue, size, descriptors, driver, device);
    }

    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, size: u32) {
        self.inner.set_guest_page_size(size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, offset: usize, value: V) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
