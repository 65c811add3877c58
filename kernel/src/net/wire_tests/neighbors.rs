//! Who waits to learn where a neighbor is, and hears it.
#![forbid(unsafe_code)]

use core::net::SocketAddr;

use smoltcp::wire::{
    ArpOperation, ArpPacket, EthernetFrame, EthernetProtocol, IpCidr, Ipv4Address, Ipv4Packet, UdpPacket,
};

use super::{
    super::{
        neighbors::LISTED,
        udp_state::{ROOM, new_socket},
    },
    IP, MS, Rig, SECOND, Tap, frames,
};

const A: Ipv4Address = Ipv4Address::new(10, 7, 0, 50);
const B: Ipv4Address = Ipv4Address::new(10, 7, 0, 60);

fn at(ip: Ipv4Address) -> SocketAddr {
    SocketAddr::new(ip.into(), 80)
}

/// Whom an ARP request among the frames asks for.
fn asked(out: &[Vec<u8>]) -> Option<Ipv4Address> {
    out.iter().find_map(|f| {
        let f = EthernetFrame::new_unchecked(f);
        let arp = ArpPacket::new_unchecked(f.payload());
        let question = f.ethertype() == EthernetProtocol::Arp && arp.operation() == ArpOperation::Request;
        question.then(|| Ipv4Address::from_octets(arp.target_protocol_addr().try_into().unwrap()))
    })
}

fn syns(out: &[Vec<u8>]) -> usize {
    out.iter()
        .filter(|f| frames::tcp_of(f).is_some_and(|t| t.syn()))
        .count()
}

fn datagrams(out: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let packets = out.iter().filter_map(|f| Ipv4Packet::new_checked(&f[14..]).ok());
    packets
        .map(|p| UdpPacket::new_checked(p.payload()).unwrap().payload().to_vec())
        .collect()
}

fn bind(r: &mut Rig, port: u16) -> u32 {
    let any = SocketAddr::new(Ipv4Address::UNSPECIFIED.into(), port);
    r.s.bind_udp(&mut new_socket(ROOM).ok(), any).unwrap().0
}

/// Another neighbor's word in between is not the answer, and does not end the wait for it.
#[test]
fn another_neighbor_says_where_it_is() {
    let mut r = Rig::new();
    r.s.connect(at(A)).unwrap();
    assert_eq!(asked(&r.output()), Some(A));
    for _ in 0..3 {
        r.input(frames::arp_request(B, IP));
        assert_eq!(syns(&r.output()), 0);
    }
    r.input(frames::arp_request(A, IP));
    assert_eq!(syns(&r.output()), 1, "the answer was missed");
}

/// One asks, and all that wait for the same neighbor go on when it answers.
#[test]
fn several_wait_for_one_answer() {
    let mut r = Rig::new();
    for _ in 0..5 {
        r.s.connect(at(A)).unwrap();
        r.run();
    }
    assert_eq!(asked(&r.output()), Some(A));
    r.input(frames::arp_request(A, IP));
    assert_eq!(syns(&r.output()), 5);
}

/// smoltcp does not ask for two neighbors at once; a datagram to the second waits for its turn.
#[test]
fn two_neighbors_at_once() {
    let mut r = Rig::new();
    for (port, to) in [(1000, A), (1001, B)] {
        let id = bind(&mut r, port);
        r.s.send_to(id, &to.octets(), at(to)).unwrap();
        r.run();
    }
    let (mut arrived, begin) = (0, r.now);
    while arrived < 2 {
        assert!(r.now - begin < 5 * SECOND, "{arrived} of 2 arrived");
        let out = r.output();
        arrived += datagrams(&out).len();
        if let Some(who) = asked(&out) {
            r.input(frames::arp_request(who, IP));
        } else {
            r.pass(10 * MS);
        }
    }
}

/// A socket that waited in vain on one interface waits on another one as well.
#[test]
fn a_socket_on_two_interfaces() {
    let mut r = Rig::new();
    let tap = Tap::default();
    let second = r.s.add_nic("eth", Box::new(tap.clone()));
    let (ip, far) = (Ipv4Address::new(10, 8, 0, 1), Ipv4Address::new(10, 8, 0, 2));
    r.s.add_address(second, IpCidr::new(ip.into(), 24));
    let id = bind(&mut r, 1000);
    r.s.send_to(id, b"lost", at(A)).unwrap();
    for _ in 0..400 {
        r.pass(10 * MS);
    }
    assert_eq!(r.s.nics[r.nic].counters.no_neighbor, 1);
    r.s.send_to(id, b"found", at(far)).unwrap();
    r.run();
    tap.0
        .lock()
        .unwrap()
        .inward
        .push_back(frames::arp_request(far, ip));
    r.run();
    let out: Vec<_> = tap.0.lock().unwrap().outward.drain(..).collect();
    assert_eq!(datagrams(&out), [b"found"]);
}

/// Sockets that come and go on a link where nobody answers leave nothing behind.
#[test]
fn those_that_gave_up_are_forgotten() {
    let mut r = Rig::new();
    for _ in 0..3 * LISTED {
        let (id, ..) = r.s.connect(at(A)).unwrap();
        r.run();
        r.s.release(id);
        r.pass(2 * SECOND);
        r.output();
    }
    assert!(r.s.nics[r.nic].asking.len() <= LISTED);
    let (_id, ..) = r.s.connect(at(A)).unwrap();
    r.run();
    r.input(frames::arp_request(A, IP));
    assert!(syns(&r.output()) > 0);
}
