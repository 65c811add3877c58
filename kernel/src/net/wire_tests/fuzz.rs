//! Fuzzing through the path of a device: frames of every kind the stack knows, damaged in every way.
//!
//! Structured: a corpus of sound frames (ARP, ICMP, UDP, TCP in all its states, DHCP, DNS, and the same over IPv6), to
//! which each frame that the stack itself sends is added, turned around. Mutating: bits, bytes, lengths, cuts and
//! splices; half of the results get right checksums again, or nothing would come further than those. Stateful: sockets
//! are opened, read, written and closed meanwhile, and time passes.
//!
//! `make fuzz` does a million frames (`FUZZ=n` another number) and is guided by coverage: a damaged frame that took a way
//! through the program that none before it took is kept and damaged further (`coverage`). Refused: cargo-fuzz; libFuzzer's
//! runtime is no part of the pinned toolchain, and this loop needs only the counters.
#![forbid(unsafe_code)]

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet, Icmpv6Repr, IpAddress,
        IpCidr, IpProtocol, Ipv4Packet, Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscRepr, TcpControl, TcpPacket,
        UdpPacket,
    },
};

use super::{
    super::{
        coverage::Coverage,
        dns,
        nic::Origin,
        round::Wakes,
        udp_state::{Room, new_socket},
    },
    IP, MAC, MS, OUR_IP, OUR_MAC, Rig, SECOND, frames,
};

const DEFAULT: u64 = 100_000;
const CORPUS: usize = 400;
/// Frames kept because they did something new.
const KEPT: usize = 10_000;
const IP6: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OUR_IP6: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 3) as usize
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() % n.max(1)
    }
}

fn ipv6(protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv6Repr {
        src_addr: OUR_IP6,
        dst_addr: IP6,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 255,
    };
    let mut frame = vec![0; 54 + payload.len()];
    let mut eth = EthernetFrame::new_unchecked(&mut frame[..]);
    eth.set_src_addr(EthernetAddress(OUR_MAC));
    eth.set_dst_addr(EthernetAddress(MAC));
    eth.set_ethertype(EthernetProtocol::Ipv6);
    repr.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
    frame[54..].copy_from_slice(payload);
    frame
}

fn icmpv6(repr: &Icmpv6Repr<'_>) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(
        &OUR_IP6,
        &IP6,
        &mut Icmpv6Packet::new_unchecked(&mut bytes[..]),
        &ChecksumCapabilities::default(),
    );
    ipv6(IpProtocol::Icmpv6, &bytes)
}

/// Sound frames to begin with.
fn corpus() -> Vec<Vec<u8>> {
    use TcpControl::{Fin, None as Nothing, Psh, Rst, Syn};
    let (us, to) = ((OUR_IP, 4000), (IP, 80));
    let mut all = vec![
        frames::arp_request(OUR_IP, IP),
        frames::echo_request(OUR_IP, IP, b"01234567"),
        frames::udp(us, (IP, 9), b"nobody"),
        frames::udp(us, (IP, 53), &dns::sample_answer()),
        frames::tcp(us, to, Syn, 100, None, b""),
        frames::tcp(us, to, Nothing, 101, Some(1), b""),
        frames::tcp(us, to, Psh, 101, Some(1), &[7; 600]),
        frames::tcp(us, to, Fin, 101, Some(1), b""),
        frames::tcp(us, to, Rst, 101, None, b""),
        icmpv6(&Icmpv6Repr::EchoRequest {
            ident: 1,
            seq_no: 2,
            data: b"six",
        }),
        icmpv6(&Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
            target_addr: IP6,
            lladdr: Some(EthernetAddress(OUR_MAC).into()),
        })),
    ];
    // An error about a datagram of the stack's, and the same transports over IPv6.
    let inner = frames::udp((IP, 53), us, b"question");
    let mut unreachable = vec![3, 3, 0, 0, 0, 0, 0, 0];
    unreachable.extend_from_slice(&inner[14..]);
    all.push(frames::ipv4(OUR_IP, IP, IpProtocol::Icmp, &unreachable));
    for i in 2..9 {
        let (protocol, payload) = (all[i][23], all[i][34..].to_vec());
        all.push(ipv6(IpProtocol::from(protocol), &payload));
    }
    let mut dhcp = vec![0; 300];
    dhcp[..4].copy_from_slice(&[2, 1, 6, 0]);
    dhcp[28..34].copy_from_slice(&MAC);
    dhcp[236..250].copy_from_slice(&[99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 7, 0, 2, 255]);
    all.push(frames::udp((OUR_IP, 67), (IP, 68), &dhcp));
    all.iter_mut().for_each(|f| fix(f));
    all
}

/// Makes lengths and checksums right, as far as there is what they are of.
fn fix(frame: &mut [u8]) {
    let Ok(eth) = EthernetFrame::new_checked(&*frame) else {
        return;
    };
    let kind = eth.ethertype();
    let packet = &mut frame[14..];
    let len = packet.len();
    let (from, to, protocol, at): (IpAddress, IpAddress, _, _) = match kind {
        EthernetProtocol::Ipv4 if len >= 20 => {
            let mut ip = Ipv4Packet::new_unchecked(&mut *packet);
            ip.set_total_len(len as u16);
            let header = usize::from(ip.header_len());
            if header < 20 || header > len {
                return;
            }
            ip.fill_checksum();
            (
                ip.src_addr().into(),
                ip.dst_addr().into(),
                ip.next_header(),
                header,
            )
        }
        EthernetProtocol::Ipv6 if len >= 40 => {
            let mut ip = Ipv6Packet::new_unchecked(&mut *packet);
            ip.set_payload_len((len - 40) as u16);
            (ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), 40)
        }
        _ => return,
    };
    let payload = &mut packet[at..];
    match protocol {
        IpProtocol::Tcp if TcpPacket::new_checked(&*payload).is_ok() => {
            TcpPacket::new_unchecked(payload).fill_checksum(&from, &to);
        }
        IpProtocol::Udp if payload.len() >= 8 => {
            let mut udp = UdpPacket::new_unchecked(&mut *payload);
            udp.set_len(udp.len().max(8));
            if UdpPacket::new_checked(&*payload).is_ok() {
                UdpPacket::new_unchecked(payload).fill_checksum(&from, &to);
            }
        }
        IpProtocol::Icmp if payload.len() >= 8 => Icmpv4Packet::new_unchecked(payload).fill_checksum(),
        IpProtocol::Icmpv6 if Icmpv6Packet::new_checked(&*payload).is_ok() => {
            if let (IpAddress::Ipv6(from), IpAddress::Ipv6(to)) = (from, to) {
                Icmpv6Packet::new_unchecked(payload).fill_checksum(&from, &to);
            }
        }
        _ => {}
    }
}

/// One of `corpus` or of `kept`, damaged.
fn mutate(x: &mut Random, corpus: &[Vec<u8>], kept: &[Vec<u8>]) -> Vec<u8> {
    let from = if kept.is_empty() || x.below(2) == 0 {
        corpus
    } else {
        kept
    };
    let mut f = from[x.below(from.len())].clone();
    for _ in 0..x.below(5) {
        let at = x.below(f.len());
        match x.below(8) {
            0 if !f.is_empty() => f[at] ^= 1 << x.below(8),
            1 if !f.is_empty() => f[at] = [0, 1, 0x7f, 0x80, 0xff, x.next() as u8][x.below(6)],
            // Lengths, offsets and flags are in the headers.
            2 | 3 if f.len() > 60 => f[14 + at % 46] = x.next() as u8,
            4 => f.truncate(at),
            5 => f.insert(at, x.next() as u8),
            6 => {
                let other = &corpus[x.below(corpus.len())];
                f.truncate(at);
                f.extend_from_slice(&other[at.min(other.len())..]);
            }
            7 if f.len() < 1400 => f.extend((0..x.below(40)).map(|i| i as u8)),
            _ => {}
        }
    }
    if x.below(2) == 0 {
        fix(&mut f);
    }
    f
}

/// The frame as if it were an answer to itself: both ends exchanged.
fn turned_around(mut f: Vec<u8>) -> Option<Vec<u8>> {
    let (a, b) = f.split_at_mut_checked(6)?;
    a.swap_with_slice(b.get_mut(..6)?);
    let swap = |f: &mut [u8], i: usize, j: usize, n: usize| (0..n).for_each(|k| f.swap(i + k, j + k));
    match (f.get(12..14)?, f.len()) {
        ([8, 0], 42..) => {
            swap(&mut f, 26, 30, 4);
            swap(&mut f, 34, 36, 2);
            if f[23] == 6 && f.len() >= 54 {
                acknowledge(&mut f);
            }
        }
        ([0x86, 0xdd], 62..) => {
            swap(&mut f, 22, 38, 16);
            swap(&mut f, 54, 56, 2);
        }
        _ => return None,
    }
    fix(&mut f);
    Some(f)
}

/// Makes a segment its own acknowledgement.
fn acknowledge(f: &mut Vec<u8>) {
    let (syn_or_fin, header) = (f[47] & 3 != 0, usize::from(f[46] >> 4) * 4);
    let data = f.len().saturating_sub(34 + header) as u32;
    let word = |f: &[u8], at: usize| u32::from_be_bytes([f[at], f[at + 1], f[at + 2], f[at + 3]]);
    let (seq, ack) = (word(f, 38), word(f, 42));
    let next = seq.wrapping_add(data).wrapping_add(syn_or_fin.into());
    f[38..42].copy_from_slice(&ack.to_be_bytes());
    f[42..46].copy_from_slice(&next.to_be_bytes());
    f[46] = 5 << 4;
    f[47] = 0x10;
    f.truncate(54);
}

#[test]
fn frames_of_all_kinds_damaged_in_all_ways() {
    let number = std::env::var("FUZZ")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(DEFAULT);
    let mut r = Rig::new();
    r.s.add_address(r.nic, IpCidr::new(IP6.into(), 64));
    r.s.start_dhcp(r.nic).unwrap();
    let (l, ..) = r.s.listen("[::]:80".parse().unwrap()).unwrap();
    let room = Room {
        bytes: 8192,
        packets: 8,
    };
    let (u, ..) =
        r.s.bind_udp(&mut new_socket(room).ok(), "0.0.0.0:53".parse().unwrap())
            .unwrap();
    r.s.datagrams(u).peer = Some("10.7.0.2:4000".parse().unwrap());
    let sound = corpus();
    let (mut corpus, mut x) = (sound.clone(), Random(0x2545_f491_4f6c_dd1d));
    let (mut conns, mut opened, mut buf): (Vec<u32>, _, _) = (Vec::new(), 0u64, [0; 512]);
    let mut wakes = Wakes::new();
    let (mut coverage, mut kept) = (Coverage::default(), Vec::new());
    for i in 0..number {
        let frame = mutate(&mut x, &corpus, &kept);
        if i % 16 == 1 {
            coverage.news(); // what was done besides is no merit of this frame's
        }
        let now = r.now;
        r.s.now = now;
        r.s.ingress(r.nic, &frame, now, &mut wakes);
        wakes.clear();
        if coverage.news() && kept.len() < KEPT {
            kept.push(frame);
        }
        if i % 256 == 0 {
            // No lease, or a forged one: an address all the same, and a neighbor.
            let ip = Some("10.7.0.1/24".parse().unwrap());
            r.s.set_ipv4(r.nic, ip, Origin::Static);
            r.s.nics[r.nic].set_gateway4(Some(OUR_IP));
            r.input(frames::arp_request(OUR_IP, IP));
        }
        if i % 16 != 0 {
            continue;
        }
        r.pass(MS * x.below(100) as u64);
        for f in r.output() {
            if let Some(f) = turned_around(f) {
                if x.below(2) == 0 {
                    r.input(f.clone());
                }
                let at = if corpus.len() < CORPUS {
                    corpus.len()
                } else {
                    sound.len() + x.below(CORPUS - sound.len())
                };
                corpus.resize(corpus.len().max(at + 1), Vec::new());
                corpus[at] = f;
            }
        }
        while let Some((id, ..)) = r.s.accept(l) {
            opened += 1;
            conns.push(id);
        }
        let _ = r.s.recv_from(u, &mut buf, false);
        let _ = r.s.send_to(u, b"question", "10.7.0.2:4000".parse().unwrap());
        if conns.len() < 8
            && let Ok((id, ..)) = r.s.connect("10.7.0.2:5000".parse().unwrap())
        {
            conns.push(id);
        }
        if !conns.is_empty() {
            let k = x.below(conns.len());
            let _ = r.s.recv(conns[k], &mut buf);
            let _ = r.s.send(conns[k], b"answer");
            if x.below(8) == 0 || conns.len() > 200 {
                r.s.release(conns.swap_remove(k));
            }
        }
    }
    assert!(
        opened > number / 10_000,
        "{opened} connections: it stays at the surface"
    );
    println!(
        "{number} frames, {opened} connections, {} edges, {} frames kept",
        coverage.edges(),
        kept.len()
    );
    assert!(cfg!(not(guided)) || kept.len() > 100, "the counters do not count");
    // Still alive: a client is served.
    for id in conns {
        r.s.release(id);
    }
    for _ in 0..200 {
        r.pass(SECOND);
        r.output();
    }
    r.s.set_ipv4(r.nic, Some("10.7.0.1/24".parse().unwrap()), Origin::Static);
    r.input(frames::arp_request(OUR_IP, IP));
    r.output();
    r.input(frames::tcp(
        (OUR_IP, 9999),
        (IP, 80),
        TcpControl::Syn,
        5,
        None,
        b"",
    ));
    let out = r.output();
    let answer = out.iter().find_map(|f| frames::tcp_of(f)).expect("answered");
    assert!(answer.syn() && answer.ack() && answer.dst_port() == 9999);
    assert!(r.s.socks.len() < 3000, "{} sockets", r.s.socks.len());
}
