//! Which interface a packet leaves by.
#![forbid(unsafe_code)]

use core::net::IpAddr;

use smoltcp::wire::{IpCidr, Ipv4Address};

use super::{Loopback, Rig, Tap};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(text: &str) -> IpCidr {
    text.parse().unwrap()
}

#[test]
fn the_longest_prefix_then_a_gateway() {
    let mut r = Rig::bare();
    let (a, b) = (r.nic, r.s.add_nic("eth", Box::new(Tap::default())));
    assert_eq!(r.s.nics[b].name, "eth1");
    assert_eq!(r.s.route(ip("10.1.2.3")), None, "no address, no way");
    r.s.add_address(a, network("10.0.0.1/8"));
    r.s.add_address(b, network("10.1.0.1/16"));
    r.s.add_address(b, network("fe80::1/64"));
    assert_eq!(r.s.route(ip("10.2.0.9")), Some(a));
    assert_eq!(r.s.route(ip("10.1.0.9")), Some(b));
    assert_eq!(r.s.route(ip("192.0.2.1")), None, "no gateway");
    assert_eq!(r.s.route(ip("255.255.255.255")), Some(a), "everybody");
    assert_eq!(r.s.route(ip("fe80::2")), Some(b));
    assert_eq!(r.s.route(ip("2001:db8::1")), None);
    r.s.nics[b].set_gateway4(Some(Ipv4Address::new(10, 1, 0, 2)));
    r.s.nics[b].set_gateway6(Some("fe80::2".parse().unwrap()));
    assert_eq!(r.s.route(ip("192.0.2.1")), Some(b));
    assert_eq!(r.s.route(ip("2001:db8::1")), Some(b));
    r.s.nics[b].set_gateway4(None);
    assert_eq!(r.s.route(ip("192.0.2.1")), None);
}

#[test]
fn our_own_addresses_stay_here() {
    let mut r = Rig::bare();
    r.s.add_address(r.nic, network("10.0.0.1/8"));
    assert_eq!(r.s.route(ip("10.0.0.1")), Some(0));
    assert_eq!(r.s.route(ip("127.1.2.3")), Some(0));
    assert!(r.s.nics[0].has_addr(ip("10.0.0.1")), "packets to it arrive there");
    r.s.drop_addresses(r.nic, |_| true);
    assert!(!r.s.nics[0].has_addr(ip("10.0.0.1")));
    assert_eq!(r.s.route(ip("10.0.0.1")), None);
    // A link that loops keeps its own.
    let test = r.s.add_nic("test", Box::new(Loopback::like_ethernet()));
    r.s.add_address(test, network("192.0.2.9/32"));
    assert_eq!(r.s.route(ip("192.0.2.9")), Some(test));
    assert!(!r.s.nics[0].has_addr(ip("192.0.2.9")));
}

/// A connection to an Ethernet interface's own address does not go out.
#[test]
fn a_connection_to_ourselves() {
    let mut r = Rig::bare();
    r.s.add_address(r.nic, network("10.0.0.1/8"));
    let (l, ..) = r.s.listen("10.0.0.1:80".parse().unwrap()).unwrap();
    let (id, ..) = r.s.connect("10.0.0.1:80".parse().unwrap()).unwrap();
    assert!(r.output().is_empty());
    assert_eq!(r.s.connected(id), Some(Ok(())));
    assert!(r.s.accept(l).is_some());
}
