//! Which socket is a frame for? Looked up by us, so that a packet costs the same with 10,000 connections as with one.
//!
//! Only what is needed to choose is read here; whether the packet is sound the stack checks again. What is not
//! understood is `Other`: the interface deals with it (ARP, ICMP, errors).
#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

use smoltcp::{
    phy::Medium,
    wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket},
};

/// A connection as seen from this machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Tuple {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carries {
    /// A TCP segment.
    Tcp {
        tuple: Tuple,
        /// It asks for a new connection.
        opens: bool,
        /// It ends one.
        resets: bool,
    },
    /// A datagram.
    Udp(Tuple),
    /// Somebody says where they are: those that wait for an address may go on.
    Neighbor,
    /// Anything else.
    Other,
}

/// Reads as much of a frame as is needed to choose its socket.
pub(super) fn look(medium: Medium, frame: &[u8]) -> Carries {
    look_inside(medium, frame).unwrap_or(Carries::Other)
}

fn look_inside(medium: Medium, frame: &[u8]) -> Option<Carries> {
    let packet = match medium {
        Medium::Ip => frame,
        _ => {
            let eth = EthernetFrame::new_checked(frame).ok()?;
            match eth.ethertype() {
                EthernetProtocol::Arp => return Some(Carries::Neighbor),
                EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => frame.get(14..)?,
                _ => return None,
            }
        }
    };
    match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            if ip.frag_offset() != 0 || ip.more_frags() {
                return None;
            }
            let (to, from) = (IpAddr::V4(ip.dst_addr()), IpAddr::V4(ip.src_addr()));
            transport(ip.next_header(), to, from, ip.payload())
        }
        6 => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            let (to, from) = (IpAddr::V6(ip.dst_addr()), IpAddr::V6(ip.src_addr()));
            transport(ip.next_header(), to, from, ip.payload())
        }
        _ => None,
    }
}

fn transport(protocol: IpProtocol, to: IpAddr, from: IpAddr, payload: &[u8]) -> Option<Carries> {
    let tuple = |to_port, from_port| Tuple {
        local: SocketAddr::new(to, to_port),
        remote: SocketAddr::new(from, from_port),
    };
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).ok()?;
            Some(Carries::Tcp {
                tuple: tuple(tcp.dst_port(), tcp.src_port()),
                opens: tcp.syn() && !tcp.ack() && !tcp.rst(),
                resets: tcp.rst(),
            })
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).ok()?;
            Some(Carries::Udp(tuple(udp.dst_port(), udp.src_port())))
        }
        // Neighbor advertisement.
        IpProtocol::Icmpv6 if payload.first() == Some(&136) => Some(Carries::Neighbor),
        _ => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_syn_by_hand() {
        let mut p = [0u8; 40];
        p[0] = 0x45;
        p[3] = 40;
        p[9] = 6;
        p[12..16].copy_from_slice(&[127, 0, 0, 1]);
        p[16..20].copy_from_slice(&[127, 0, 0, 2]);
        p[20..24].copy_from_slice(&[0, 80, 1, 0]);
        p[32] = 0x50;
        p[33] = 2;
        let tuple = Tuple {
            local: "127.0.0.2:256".parse().unwrap(),
            remote: "127.0.0.1:80".parse().unwrap(),
        };
        let want = |opens, resets| Carries::Tcp { tuple, opens, resets };
        assert_eq!(look(Medium::Ip, &p), want(true, false));
        p[33] = 0x12;
        assert_eq!(look(Medium::Ip, &p), want(false, false));
        p[33] = 4;
        assert_eq!(look(Medium::Ip, &p), want(false, true));
        p[6] = 0x20; // a fragment
        assert_eq!(look(Medium::Ip, &p), Carries::Other);
    }

    /// Whatever comes off the wire is looked at without a panic.
    #[test]
    fn any_bytes() {
        let mut x = 1u64;
        let mut frame = [0u8; 120];
        for round in 0..200_000usize {
            for b in &mut frame {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                *b = x as u8;
            }
            frame[12..14].copy_from_slice(&[[8, 0], [0x86, 0xdd], [8, 6]][round % 3]);
            let at = if round % 2 == 0 { 14 } else { 0 };
            frame[at] = if round % 3 == 1 { 0x60 } else { 0x45 };
            frame[at + if round % 3 == 1 { 6 } else { 9 }] = [6, 17, 58, 1][round % 4];
            let medium = if at == 0 { Medium::Ip } else { Medium::Ethernet };
            look(medium, &frame[..round % 121]);
        }
    }
}
