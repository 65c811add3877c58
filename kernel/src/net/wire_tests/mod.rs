//! The stack seen from the wire: frames made by hand go in, the frames that come out are looked at.
//!
//! Each test has a stack of its own, whose time it moves itself: nothing waits, and no other test sees the frames.
#![forbid(unsafe_code)]

mod dhcp;
mod flood;
mod frames;
mod fuzz;
mod gone;
mod hostile;
mod icmp;
mod neighbors;
mod reset;
mod routes;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use smoltcp::{
    phy::{DeviceCapabilities, Medium},
    wire::{IpCidr, Ipv4Address},
};

use super::{
    link::{Link, Loopback},
    round::Wakes,
    stack::Stack,
};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// The stack's side and ours.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const IP: Ipv4Address = Ipv4Address::new(10, 7, 0, 1);
const OUR_IP: Ipv4Address = Ipv4Address::new(10, 7, 0, 2);

#[derive(Default)]
struct Queues {
    inward: VecDeque<Vec<u8>>,
    outward: VecDeque<Vec<u8>>,
}

/// An Ethernet link whose other end is the test.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Queues>>);

impl Link for Tap {
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = 1514;
        caps
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().inward.pop_front()
    }

    fn recycle(&mut self, _: Vec<u8>) {}

    fn has_room(&self) -> bool {
        self.0.lock().unwrap().outward.len() < 10_000
    }

    fn buffer(&mut self, len: usize) -> Option<Vec<u8>> {
        Some(vec![0; len])
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.0.lock().unwrap().outward.push_back(frame);
    }

    fn mac(&self) -> Option<[u8; 6]> {
        Some(MAC)
    }
}

/// A stack of the test's own with one Ethernet link, and the time there.
struct Rig {
    s: Box<Stack>,
    nic: usize,
    tap: Tap,
    now: u64,
}

impl Rig {
    /// Without an address.
    fn bare() -> Rig {
        let mut s = Stack::new();
        let tap = Tap::default();
        let nic = s.add_nic("eth", Box::new(tap.clone()));
        let now = crate::sched::now_ns();
        Rig { s, nic, tap, now }
    }

    /// With `IP`, and `OUR_IP` known as a neighbor and the gateway.
    fn new() -> Rig {
        let mut r = Rig::bare();
        r.s.add_address(r.nic, IpCidr::new(IP.into(), 24));
        r.s.nics[r.nic].set_gateway4(Some(OUR_IP));
        r.input(frames::arp_request(OUR_IP, IP));
        assert_eq!(r.output().len(), 1, "the request is answered");
        r
    }

    /// Lets the stack do all that is to be done now.
    fn run(&mut self) {
        let mut wakes = Wakes::new();
        self.s.now = self.now;
        let mut rounds = 0;
        while self.s.round(&mut wakes) {
            wakes.clear();
            rounds += 1;
            assert!(rounds < 10_000, "the stack never finds an end");
        }
    }

    /// A frame comes.
    fn input(&mut self, frame: Vec<u8>) {
        self.tap.0.lock().unwrap().inward.push_back(frame);
        self.run();
    }

    /// What was sent meanwhile.
    fn output(&mut self) -> Vec<Vec<u8>> {
        self.run();
        self.tap.0.lock().unwrap().outward.drain(..).collect()
    }

    fn pass(&mut self, ns: u64) {
        self.now += ns;
        self.run();
    }
}
