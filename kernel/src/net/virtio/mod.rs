//! virtio-net: `-device virtio-net-pci,netdev=…` (q35, pc) and `-device virtio-net-device,netdev=…` (microvm).
//!
//! The rings are `virtio-drivers`'; memory (`hal`), discovery (`pci`, `mmio`) and interrupts (`irq`) are ours. One owner
//! per queue: the link is used under the stack's lock only.
//!
//! **Buffers** are frames of the direct map, contiguous and always the same. A packet is copied once each way: between
//! them and the stack's vectors, because the heap is contiguous only virtually.
//!
//! So a device needs no memory once it runs: those connections that live go on without any.
//!
//! **Interrupts.** The handler reads no ring: it acknowledges, marks (`on_net_interrupt`) and leaves the rest to g0.
//! *Receive*: with EVENT_IDX each `receive_complete` tells the device "interrupt me for the next one". That store and
//! the following look at the used index must not change places, or a packet that arrives in between is in neither: hence
//! the `fence(SeqCst)` before each look (StoreLoad; the device does the same in the other order). *Transmit*: used
//! buffers are taken back only when few are left, which is also the only time the device is asked to interrupt for them.
//!
//! **The cable** is a bit in the device's configuration, read whenever somebody asks. Its interrupt is not used: frames
//! to a link that is down are lost like others, and TCP sends again.
//!
//! No device is not an error: then there is just the loopback link.

mod doorbell;
mod hal;
mod irq;
mod mmio;
mod pci;

use alloc::{boxed::Box, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use doorbell::{Doorbells, Quiet, Register};
use hal::{BurrowHal, Dma};
use smoltcp::phy::{DeviceCapabilities, Medium};
use virtio_drivers::{Error, device::net::VirtIONetRaw, transport::Transport};

use super::{
    link::{Buffers, Link},
    tokens::{self, Tokens},
};

/// Descriptors of each ring.
const SIZE: usize = 128;
/// Bytes of each buffer: an Ethernet frame, its VLAN tag, the device's header.
const BUFFER: usize = 2048;
const MTU: usize = 1514;
/// The feature of having a status field, and its bit for a cable.
const HAS_STATUS: u64 = 1 << 16;
const LINK_UP: u16 = 1;
/// Where it is in the device's configuration, after the Ethernet address.
const STATUS_AT: usize = 6;
/// Frames that the stack has at a time: one that came in, one that is to go out. (What was sent is copied.)
const FRAMES_OUT: usize = 2;
/// Fewer free buffers than this: take back those that were sent.
const LOW: usize = SIZE / 4;

/// Finds every device and gives it to `add`.
pub(super) fn discover(mut add: impl FnMut(Box<dyn Link>)) {
    if pci::present() {
        pci::discover(&mut add);
    } else {
        mmio::discover(&mut add);
    }
}

/// One device.
struct VirtioLink<T: Transport> {
    net: VirtIONetRaw<BurrowHal, Quiet<T>, SIZE>,
    doorbells: Doorbells,
    rx: Dma,
    tx: Dma,
    /// Which buffer a receive token stands for.
    rx_of: Tokens<SIZE>,
    tx_of: Tokens<SIZE>,
    /// Transmit buffers that are ours.
    tx_free: Vec<u16>,
    spare: Buffers,
    /// The device's status field, if it has one.
    status: Option<NonNull<u16>>,
}

// SAFETY: used under the stack's lock; the rings' memory and the mapped status field belong to no core.
unsafe impl<T: Transport> Send for VirtioLink<T> {}

impl<T: Transport> VirtioLink<T> {
    /// Starts the device and gives it all receive buffers. `status`: where it says whether there is a cable.
    fn new(mut transport: T, registers: [Register; 2], status: Option<NonNull<u16>>) -> Option<Self> {
        let status = status.filter(|_| transport.read_device_features() & HAS_STATUS != 0);
        let (transport, doorbells) = doorbell::take_over(transport, registers)?;
        let net = VirtIONetRaw::new(transport).ok()?;
        let (rx, tx) = (Dma::new(SIZE * BUFFER)?, Dma::new(SIZE * BUFFER)?);
        let mut link = Self {
            net,
            doorbells,
            rx,
            tx,
            rx_of: Tokens::new(),
            tx_of: Tokens::new(),
            tx_free: (0..SIZE as u16).collect(),
            spare: Buffers::ready(FRAMES_OUT, MTU)?,
            status,
        };
        for i in 0..SIZE as u16 {
            link.post(i);
        }
        link.doorbells.mark();
        Some(link)
    }

    /// Gives the device receive buffer `i`.
    fn post(&mut self, i: u16) {
        // SAFETY: `i` is ours now and the device's from here on, until `receive_complete` returns it.
        let buffer = unsafe { slice(&self.rx, i) };
        // SAFETY: as above; nobody touches it meanwhile.
        if let Ok(token) = unsafe { self.net.receive_begin(buffer) } {
            self.rx_of.give(token, i);
        }
    }

    /// Takes back transmit buffers that the device is done with.
    fn reap(&mut self) {
        while let Some(token) = self.net.poll_transmit() {
            let Some(i) = self.tx_of.redeem(token) else {
                return;
            };
            // SAFETY: the buffer that was given with this token; the device is done with it.
            let buffer = unsafe { slice(&self.tx, i) };
            // SAFETY: as above.
            if unsafe { self.net.transmit_complete(token, buffer) }.is_err() {
                return;
            }
            self.tx_free.push(i); // never more than it held at first
        }
    }
}

/// Buffer `i` of `area`.
///
/// # Safety
/// 1. Nobody else uses it while the slice lives.
unsafe fn slice(area: &Dma, i: u16) -> &'static mut [u8] {
    let at = area.at(usize::from(i) * BUFFER, BUFFER);
    // SAFETY: 1.; inside the area, which is never freed.
    unsafe { NonNull::slice_from_raw_parts(at, BUFFER).as_mut() }
}

impl<T: Transport> Link for VirtioLink<T> {
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = MTU;
        caps
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            fence(Ordering::SeqCst); // see the file head: partner of the device's between used index and used event
            let token = self.net.poll_receive()?;
            let i = self.rx_of.redeem(token)?;
            // SAFETY: the buffer given with this token; the device is done with it.
            let buffer = unsafe { slice(&self.rx, i) };
            // SAFETY: as above.
            let got = unsafe { self.net.receive_complete(token, buffer) };
            if matches!(got, Err(Error::WrongToken | Error::NotReady)) {
                return None; // it changed the ring under our eyes
            }
            // A length from the device: trusted no further than the buffer.
            let frame = got.ok().and_then(|(header, len)| {
                let bytes = tokens::frame(buffer, header, len)?;
                let mut frame = self.spare.take(bytes.len())?;
                frame.copy_from_slice(bytes);
                Some(frame)
            });
            self.post(i);
            if frame.is_some() {
                return frame;
            }
        }
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.spare.keep(frame);
    }

    fn has_room(&self) -> bool {
        !self.tx_free.is_empty()
    }

    fn buffer(&mut self, len: usize) -> Option<Vec<u8>> {
        self.spare.take(len)
    }

    fn send(&mut self, frame: Vec<u8>) {
        let Some(i) = self.tx_free.pop() else { return };
        // SAFETY: it was on our free list.
        let buffer = unsafe { slice(&self.tx, i) };
        let header = self.net.fill_buffer_header(buffer).unwrap_or(0);
        let end = header + frame.len();
        let mut sent = None;
        if let Some(room) = buffer.get_mut(header..end) {
            room.copy_from_slice(&frame);
            // SAFETY: the buffer is the device's until `reap` gets it back.
            sent = unsafe { self.net.transmit_begin(&buffer[..end]) }.ok();
        }
        match sent {
            Some(token) => self.tx_of.give(token, i),
            None => self.tx_free.push(i),
        }
        self.spare.keep(frame);
    }

    fn flush(&mut self) {
        if self.tx_free.len() < LOW {
            self.reap();
        }
        self.doorbells.mark();
    }

    fn mac(&self) -> Option<[u8; 6]> {
        Some(self.net.mac_address())
    }

    fn is_up(&self) -> bool {
        // SAFETY: inside the device's mapped configuration; reading it has no effect.
        self.status
            .is_none_or(|at| unsafe { at.read_volatile() } & LINK_UP != 0)
    }
}
