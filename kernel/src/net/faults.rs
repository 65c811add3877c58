//! A link that loses, doubles, reorders and corrupts what is sent, for tests: a loopback link with a bad day.
//!
//! It has an address of its own and real checksums, so TCP has to make good what goes wrong. All chance comes from the
//! seed given.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::{
    phy::{DeviceCapabilities, Medium},
    wire::IpCidr,
};

use super::{
    link::{Link, Loopback},
    stack,
};

/// How often what goes wrong, in frames of a thousand.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// Lost.
    pub loss: u32,
    /// Delivered twice.
    pub duplication: u32,
    /// Delivered after the next one.
    pub reordering: u32,
    /// Delivered with a wrong bit.
    pub corruption: u32,
    /// Of the chance.
    pub seed: u64,
}

struct Faulty {
    inner: Loopback,
    faults: Faults,
    held: Option<Vec<u8>>,
    state: u64,
}

impl Faulty {
    fn chance(&mut self, of_thousand: u32) -> bool {
        self.random() % 1000 < of_thousand
    }

    fn random(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 33) as u32
    }
}

impl Link for Faulty {
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1500;
        caps
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.inner.receive()
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.inner.recycle(frame);
    }

    fn has_room(&self) -> bool {
        self.inner.has_room()
    }

    fn buffer(&mut self, len: usize) -> Option<Vec<u8>> {
        self.inner.buffer(len)
    }

    fn send(&mut self, mut frame: Vec<u8>) {
        let f = self.faults;
        if self.chance(f.loss) {
            return self.inner.recycle(frame);
        }
        if self.chance(f.corruption) && !frame.is_empty() {
            let bit = self.random() as usize % (frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        if self.chance(f.duplication) {
            self.inner.send(frame.clone());
        }
        if self.held.is_none() && self.chance(f.reordering) {
            self.held = Some(frame);
            return;
        }
        self.inner.send(frame);
        if let Some(late) = self.held.take() {
            self.inner.send(late);
        }
    }

    fn loops(&self) -> bool {
        true
    }
}

/// Adds such a link; returns its address, 192.0.2.1 for the first.
pub fn add_faulty_link(faults: Faults) -> IpAddr {
    let link = Faulty {
        inner: Loopback::default(),
        faults,
        held: None,
        state: faults.seed,
    };
    stack::with(|s| {
        let nic = s.add_nic(Box::new(link));
        let ip = Ipv4Addr::new(192, 0, 2, nic as u8);
        s.add_address(nic, IpCidr::new(ip.into(), 32));
        ip.into()
    })
}
