//! Leases: had, renewed, refused, run out.
#![forbid(unsafe_code)]

use core::net::IpAddr;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, Ipv4Address};

use super::{super::nic::Origin, IP, OUR_IP, Rig, SECOND, frames};

const LEASE: u32 = 100;
const EVERYBODY: Ipv4Address = Ipv4Address::new(255, 255, 255, 255);
const DNS: Ipv4Address = Ipv4Address::new(10, 7, 0, 53);

/// What the client asks for in the frames it sent.
fn asked(out: &[Vec<u8>]) -> Vec<(DhcpMessageType, u32)> {
    let read = |f: &Vec<u8>| {
        let p = DhcpPacket::new_checked(f.get(42..)?.to_vec()).ok()?;
        let id = p.transaction_id();
        let repr = DhcpPacket::new_checked(&f[42..]).ok()?;
        Some((DhcpRepr::parse(&repr).ok()?.message_type, id))
    };
    out.iter().filter_map(read).collect()
}

fn say(r: &mut Rig, kind: DhcpMessageType, id: u32, ip: Ipv4Address) {
    let servers = [DNS].into_iter().collect();
    let repr = DhcpRepr {
        message_type: kind,
        transaction_id: id,
        secs: 0,
        client_hardware_address: smoltcp::wire::EthernetAddress(super::MAC),
        client_ip: Ipv4Address::UNSPECIFIED,
        your_ip: ip,
        server_ip: OUR_IP,
        router: Some(OUR_IP),
        subnet_mask: Some(Ipv4Address::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Address::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(OUR_IP),
        parameter_request_list: None,
        dns_servers: Some(servers),
        max_size: None,
        lease_duration: Some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
    r.input(frames::udp((OUR_IP, 67), (EVERYBODY, 68), &bytes));
}

/// Lets time pass until the client asks.
fn wait_for(r: &mut Rig, kind: DhcpMessageType) -> u32 {
    for _ in 0..2000 {
        let out = r.output();
        if let Some(&(_, id)) = asked(&out).iter().find(|a| a.0 == kind) {
            return id;
        }
        r.pass(SECOND / 10);
        r.input(frames::arp_request(OUR_IP, IP));
    }
    panic!("no {kind:?}");
}

fn lease() -> Rig {
    let mut r = Rig::bare();
    r.s.start_dhcp(r.nic).unwrap();
    let id = wait_for(&mut r, DhcpMessageType::Discover);
    say(&mut r, DhcpMessageType::Offer, id, IP);
    let id = wait_for(&mut r, DhcpMessageType::Request);
    say(&mut r, DhcpMessageType::Ack, id, IP);
    r
}

#[test]
fn a_lease_is_address_gateway_and_name_servers() {
    let r = lease();
    let nic = &r.s.nics[r.nic];
    assert!(nic.has_addr(IpAddr::V4(IP)));
    assert_eq!(nic.gateway4, Some(OUR_IP));
    assert_eq!(nic.dns, [IpAddr::V4(DNS)]);
    assert!(matches!(nic.origin, Origin::Dhcp { server, left } if server == OUR_IP && left.as_secs() == 100));
}

#[test]
fn a_lease_is_renewed() {
    let mut r = lease();
    let begin = r.now;
    for _ in 0..3 {
        let id = wait_for(&mut r, DhcpMessageType::Request);
        say(&mut r, DhcpMessageType::Ack, id, IP);
    }
    assert!(r.now - begin > u64::from(LEASE) * SECOND, "longer than one lease");
    assert!(r.s.nics[r.nic].has_addr(IpAddr::V4(IP)));
}

#[test]
fn a_lease_that_nobody_renews_runs_out() {
    let mut r = lease();
    for _ in 0..90 {
        r.pass(SECOND);
        r.output();
    }
    assert!(r.s.nics[r.nic].has_addr(IpAddr::V4(IP)), "it has not run out yet");
    for _ in 0..20 {
        r.pass(SECOND);
    }
    let nic = &r.s.nics[r.nic];
    assert!(!nic.has_addr(IpAddr::V4(IP)));
    assert_eq!(
        (nic.gateway4, nic.origin, nic.dns.len()),
        (None, Origin::Unset, 0)
    );
    assert_eq!(r.s.route(IpAddr::V4(OUR_IP)), None);
    // And it starts over.
    let id = wait_for(&mut r, DhcpMessageType::Discover);
    say(&mut r, DhcpMessageType::Offer, id, IP);
    let id = wait_for(&mut r, DhcpMessageType::Request);
    say(&mut r, DhcpMessageType::Ack, id, IP);
    assert!(r.s.nics[r.nic].has_addr(IpAddr::V4(IP)));
}

#[test]
fn a_renewal_refused_ends_the_lease() {
    let mut r = lease();
    let id = wait_for(&mut r, DhcpMessageType::Request);
    say(&mut r, DhcpMessageType::Nak, id, IP);
    r.run();
    assert!(!r.s.nics[r.nic].has_addr(IpAddr::V4(IP)));
}
