//! PCI: configuration space through ports 0xcf8/0xcfc (bus 0, where machines of QEMU's kind have everything), virtio's
//! capabilities, and MSI-X or else the interrupt line that the firmware wrote down.

use alloc::boxed::Box;
use core::ptr::NonNull;

use virtio_drivers::{
    Hal,
    transport::{
        DeviceType,
        pci::{
            PciTransport,
            bus::{BarInfo, CapabilityInfo, Command, ConfigurationAccess, DeviceFunction, PciRoot},
            virtio_device_type,
        },
    },
};

use super::{
    super::link::Link,
    STATUS_AT, VirtioLink,
    doorbell::Register,
    hal::BurrowHal,
    irq::{self, Ack},
};
use crate::{
    arch::x86_64::{acpi, irq as lines, percpu, port},
    lock::{Rank, SpinLock},
};

/// Address and data are two accesses.
static ACCESS: SpinLock<()> = SpinLock::new(Rank::Console, ());
const VENDOR_CAP: u8 = 9;
const MSIX_CAP: u8 = 0x11;
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const ISR: u8 = 3;
const DEVICE: u8 = 4;

#[derive(Clone, Copy)]
struct Ports;

impl Ports {
    fn select(d: DeviceFunction, offset: u8) {
        let address = 1 << 31
            | u32::from(d.bus) << 16
            | u32::from(d.device) << 11
            | u32::from(d.function) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: 1. the address port only selects.
        unsafe { port::outl(0xcf8, address) };
    }
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, d: DeviceFunction, offset: u8) -> u32 {
        let _one = ACCESS.lock();
        Self::select(d, offset);
        // SAFETY: 1. reading configuration space has no effect.
        unsafe { port::inl(0xcfc) }
    }

    fn write_word(&mut self, d: DeviceFunction, offset: u8, data: u32) {
        let _one = ACCESS.lock();
        Self::select(d, offset);
        // SAFETY: 1. callers write what turns devices on, with memory of theirs.
        unsafe { port::outl(0xcfc, data) };
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

const FIRST: DeviceFunction = DeviceFunction {
    bus: 0,
    device: 0,
    function: 0,
};

/// Is there a PCI bus?
pub(super) fn present() -> bool {
    Ports.read_word(FIRST, 0) as u16 != 0xffff
}

/// Finds every network device and gives it to `add`.
pub(super) fn discover(add: &mut dyn FnMut(Box<dyn Link>)) {
    let mut root = PciRoot::new(Ports);
    let found: alloc::vec::Vec<_> = root.enumerate_bus(0).collect();
    for (d, info) in found {
        if virtio_device_type(&info) == Some(DeviceType::Network)
            && let Some(link) = start(&mut root, d)
        {
            add(link);
        }
    }
}

fn start(root: &mut PciRoot<Ports>, d: DeviceFunction) -> Option<Box<dyn Link>> {
    let (_, command) = root.get_status_command(d);
    root.set_command(d, command | Command::MEMORY_SPACE | Command::BUS_MASTER);
    let transport = PciTransport::new::<BurrowHal, _>(root, d).ok()?;
    let registers = [notify_register(root, d, 0)?, notify_register(root, d, 1)?];
    // SAFETY: inside the block.
    let status = block(root, d, DEVICE, STATUS_AT + 2).map(|at| unsafe { at.add(STATUS_AT) }.cast());
    let link = VirtioLink::new(transport, registers, status)?;
    if !use_messages(root, d) && !use_line(root, d) {
        crate::println!("net: {d}: no interrupt");
        return None;
    }
    Some(Box::new(link))
}

/// A register block of the device: BAR and offset, mapped.
fn mapped(
    root: &mut PciRoot<Ports>,
    d: DeviceFunction,
    bar: u8,
    offset: u32,
    len: usize,
) -> Option<NonNull<u8>> {
    let BarInfo::Memory { address, size, .. } = root.bar_info(d, bar).ok()?? else {
        return None;
    };
    if address == 0 || u64::from(offset) + len as u64 > size {
        return None;
    }
    // SAFETY: inside the device's BAR.
    Some(unsafe { BurrowHal::mmio_phys_to_virt((address + u64::from(offset)) as _, len) })
}

/// Where queue `queue` is rung.
fn notify_register(root: &mut PciRoot<Ports>, d: DeviceFunction, queue: u16) -> Option<Register> {
    let common = block(root, d, COMMON, 56)?;
    let cap = virtio_cap(root, d, NOTIFY)?;
    let step = Ports.read_word(d, cap + 16);
    // SAFETY: queue_select, inside the mapped block.
    let select = unsafe { common.add(22) }.cast::<u16>();
    // SAFETY: as above; selecting changes nothing else.
    unsafe { select.write_volatile(queue) };
    // SAFETY: queue_notify_off, inside the mapped block.
    let offset = unsafe { common.add(30) }.cast::<u16>();
    // SAFETY: as above.
    let offset = u32::from(unsafe { offset.read_volatile() }) * step;
    let (bar, start) = (Ports.read_word(d, cap + 4) as u8, Ports.read_word(d, cap + 8));
    let at = mapped(root, d, bar, start + offset, 2)?;
    Some(Register::Word(at.cast().as_ptr()))
}

/// Where the capability of virtio's register block of this kind is.
fn virtio_cap(root: &PciRoot<Ports>, d: DeviceFunction, kind: u8) -> Option<u8> {
    let is = |c: &CapabilityInfo| c.id == VENDOR_CAP && (c.private_header >> 8) as u8 == kind;
    Some(root.capabilities(d).find(is)?.offset)
}

/// virtio's register block of this kind.
fn block(root: &mut PciRoot<Ports>, d: DeviceFunction, kind: u8, len: usize) -> Option<NonNull<u8>> {
    let cap = virtio_cap(root, d, kind)?;
    let bar = Ports.read_word(d, cap + 4) as u8;
    let offset = Ports.read_word(d, cap + 8);
    mapped(root, d, bar, offset, len)
}

/// One message for the receive queue and one for the transmit queue, both to the same vector.
fn use_messages(root: &mut PciRoot<Ports>, d: DeviceFunction) -> bool {
    try_messages(root, d).is_some()
}

fn try_messages(root: &mut PciRoot<Ports>, d: DeviceFunction) -> Option<()> {
    let cap = root.capabilities(d).find(|c| c.id == MSIX_CAP)?.offset;
    let common = block(root, d, COMMON, 56)?;
    let place = Ports.read_word(d, cap + 4);
    let table = mapped(root, d, (place & 7) as u8, place & !7, 16)?.cast::<u32>();
    let apic = percpu::core(0).apic_id();
    if apic > 0xff {
        return None;
    }
    let vector = lines::alloc_vector(irq::on_message)?;
    for (i, word) in [0xfee0_0000 | apic << 12, 0, u32::from(vector), 0]
        .into_iter()
        .enumerate()
    {
        // SAFETY: the first entry of the device's table.
        let at = unsafe { table.add(i) };
        // SAFETY: as above: address, data, not masked.
        unsafe { at.write_volatile(word) };
    }
    let control = Ports.read_word(d, cap);
    Ports.clone().write_word(d, cap, control & !(1 << 30) | 1 << 31);
    // Common configuration: the vector for changes of it (none), then each queue's.
    let word = |offset| {
        // SAFETY: inside the mapped block.
        unsafe { common.add(offset) }.cast::<u16>()
    };
    // SAFETY: msix_config.
    unsafe { word(16).write_volatile(0xffff) };
    for queue in 0..2 {
        // SAFETY: queue_select.
        unsafe { word(22).write_volatile(queue) };
        // SAFETY: queue_msix_vector.
        unsafe { word(26).write_volatile(0) };
        // SAFETY: as above; the device answers 0xffff if it cannot.
        if unsafe { word(26).read_volatile() } != 0 {
            return None;
        }
    }
    Some(())
}

/// The line the firmware routed, as an interrupt of the boot core.
fn use_line(root: &mut PciRoot<Ports>, d: DeviceFunction) -> bool {
    let line = Ports.read_word(d, 0x3c) as u8;
    if line == 0 || line >= 24 {
        return false;
    }
    let Some(isr) = block(root, d, ISR, 1) else {
        return false;
    };
    let mut line = acpi::platform().isa_line(line);
    line.level = true;
    irq::lower(Ack::Read(isr.as_ptr())) && lines::route(line, irq::on_line)
}
