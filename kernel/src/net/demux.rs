//! Which socket is a frame for? Looked up by us, so that a packet costs the same with 10,000 connections as with one.
//!
//! Only what is needed to choose is read here. Frames that are cut short or damaged go no further, and are counted; what
//! is sound and no socket's is `Other`: the interface deals with it (echo requests, neighbor solicitations, errors).
#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

use smoltcp::{
    phy::Medium,
    wire::{
        EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet,
        IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
    },
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
        /// It has a SYN.
        syn: bool,
        /// Its number.
        seq: u32,
    },
    /// A datagram.
    Udp(Tuple),
    /// The answer to an echo request with this identifier.
    Echo(u16),
    /// Nobody has the port that this datagram of ours was sent to.
    NobodyAt(Tuple),
    /// Somebody says where they are: those that wait for an address may go on.
    Neighbor,
    /// A router says what networks there are.
    Router,
    /// Anything else.
    Other,
    /// To be dropped, and why.
    Bad(Flaw),
}

/// Why a frame is dropped before anybody looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// Cut short, or its lengths contradict each other.
    Malformed,
    /// A checksum is wrong.
    Checksum,
    /// A part of a larger packet: there is no reassembly, and a first part must not pass for the whole.
    Fragment,
}

/// Reads as much of a frame as is needed to choose its socket. With `verify` its checksums are looked at (those of TCP
/// and UDP here only, see `Feed`; what else has one the stack checks again).
pub(super) fn look(medium: Medium, frame: &[u8], verify: bool) -> Carries {
    look_inside(medium, frame, verify).unwrap_or_else(Carries::Bad)
}

fn malformed<E>(_: E) -> Flaw {
    Flaw::Malformed
}

fn look_inside(medium: Medium, frame: &[u8], verify: bool) -> Result<Carries, Flaw> {
    let packet = match medium {
        Medium::Ip => frame,
        _ => {
            let eth = EthernetFrame::new_checked(frame).map_err(malformed)?;
            match eth.ethertype() {
                EthernetProtocol::Arp => return Ok(Carries::Neighbor),
                EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => &frame[14..],
                _ => return Ok(Carries::Other),
            }
        }
    };
    match packet.first().ok_or(Flaw::Malformed)? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(packet).map_err(malformed)?;
            if verify && !ip.verify_checksum() {
                return Err(Flaw::Checksum);
            }
            if ip.frag_offset() != 0 || ip.more_frags() {
                return Err(Flaw::Fragment);
            }
            let (to, from) = (IpAddr::V4(ip.dst_addr()), IpAddr::V4(ip.src_addr()));
            transport(ip.next_header(), to, from, ip.payload(), verify)
        }
        6 => {
            let ip = Ipv6Packet::new_checked(packet).map_err(malformed)?;
            if ip.next_header() == IpProtocol::Ipv6Frag {
                return Err(Flaw::Fragment);
            }
            let (to, from) = (IpAddr::V6(ip.dst_addr()), IpAddr::V6(ip.src_addr()));
            transport(ip.next_header(), to, from, ip.payload(), verify)
        }
        _ => Err(Flaw::Malformed),
    }
}

fn transport(
    protocol: IpProtocol,
    to: IpAddr,
    from: IpAddr,
    payload: &[u8],
    verify: bool,
) -> Result<Carries, Flaw> {
    let tuple = |to_port, from_port| Tuple {
        local: SocketAddr::new(to, to_port),
        remote: SocketAddr::new(from, from_port),
    };
    let right = |yes: bool| {
        if yes || !verify {
            Ok(())
        } else {
            Err(Flaw::Checksum)
        }
    };
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).map_err(malformed)?;
            if verify {
                right(tcp.verify_checksum(&from.into(), &to.into()))?;
            }
            Ok(Carries::Tcp {
                tuple: tuple(tcp.dst_port(), tcp.src_port()),
                opens: tcp.syn() && !tcp.ack() && !tcp.rst(),
                resets: tcp.rst(),
                syn: tcp.syn(),
                seq: tcp.seq_number().0 as u32,
            })
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).map_err(malformed)?;
            if verify {
                right(udp.verify_checksum(&from.into(), &to.into()))?;
            }
            Ok(Carries::Udp(tuple(udp.dst_port(), udp.src_port())))
        }
        IpProtocol::Icmp => {
            let icmp = Icmpv4Packet::new_checked(payload).map_err(malformed)?;
            right(!verify || icmp.verify_checksum())?;
            Ok(match icmp.msg_type() {
                Icmpv4Message::EchoReply => Carries::Echo(icmp.echo_ident()),
                Icmpv4Message::DstUnreachable if icmp.msg_code() == PORT_UNREACHABLE_4 => {
                    nobody_at(icmp.data())
                }
                _ => Carries::Other,
            })
        }
        IpProtocol::Icmpv6 => {
            let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else {
                return Err(Flaw::Malformed);
            };
            let icmp = Icmpv6Packet::new_checked(payload).map_err(malformed)?;
            right(!verify || icmp.verify_checksum(&from, &to))?;
            Ok(match icmp.msg_type() {
                Icmpv6Message::EchoReply => Carries::Echo(icmp.echo_ident()),
                Icmpv6Message::DstUnreachable if icmp.msg_code() == PORT_UNREACHABLE_6 => {
                    nobody_at(icmp.payload())
                }
                Icmpv6Message::NeighborAdvert => Carries::Neighbor,
                Icmpv6Message::RouterAdvert => Carries::Router,
                _ => Carries::Other,
            })
        }
        _ => Ok(Carries::Other),
    }
}

const PORT_UNREACHABLE_4: u8 = 3;
const PORT_UNREACHABLE_6: u8 = 4;

/// Whose datagram is returned with an error? Only its beginning is there, so no lengths are checked.
fn nobody_at(sent: &[u8]) -> Carries {
    let ports = |from: IpAddr, to: IpAddr, at: usize| {
        let p = sent.get(at..at + 4)?;
        let port = |i| u16::from_be_bytes([p[i], p[i + 1]]);
        Some(Carries::NobodyAt(Tuple {
            local: SocketAddr::new(from, port(0)),
            remote: SocketAddr::new(to, port(2)),
        }))
    };
    let inner = || match sent.first()? >> 4 {
        4 if sent.get(9) == Some(&17) => {
            let from: [u8; 4] = sent.get(12..16)?.try_into().ok()?;
            let to: [u8; 4] = sent.get(16..20)?.try_into().ok()?;
            ports(from.into(), to.into(), usize::from(sent[0] & 15) * 4)
        }
        6 if sent.get(6) == Some(&17) => {
            let from: [u8; 16] = sent.get(8..24)?.try_into().ok()?;
            let to: [u8; 16] = sent.get(24..40)?.try_into().ok()?;
            ports(from.into(), to.into(), 40)
        }
        _ => None,
    };
    inner().unwrap_or(Carries::Other)
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
        p[27] = 7;
        let want = |opens, resets, syn| Carries::Tcp {
            tuple,
            opens,
            resets,
            syn,
            seq: 7,
        };
        assert_eq!(look(Medium::Ip, &p, false), want(true, false, true));
        p[33] = 0x12;
        assert_eq!(look(Medium::Ip, &p, false), want(false, false, true));
        p[33] = 4;
        assert_eq!(look(Medium::Ip, &p, false), want(false, true, false));
        p[6] = 0x20; // a fragment
        assert_eq!(look(Medium::Ip, &p, false), Carries::Bad(Flaw::Fragment));
        p[6] = 0;
        assert_eq!(look(Medium::Ip, &p, true), Carries::Bad(Flaw::Checksum));
        assert_eq!(look(Medium::Ip, &p[..39], false), Carries::Bad(Flaw::Malformed));
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
            look(medium, &frame[..round % 121], round % 5 == 0);
        }
    }
}
