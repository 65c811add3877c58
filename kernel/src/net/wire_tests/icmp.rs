//! Echo requests from outside, ports that nobody has, fragments and damaged frames.
#![forbid(unsafe_code)]

use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet};

use super::{IP, OUR_IP, Rig, frames};

/// The ICMP message in a frame: its type and code.
fn icmp_of(frame: &[u8]) -> Option<(Icmpv4Message, u8)> {
    let ip = Ipv4Packet::new_checked(frame.get(14..)?).ok()?;
    let p = Icmpv4Packet::new_checked(frame.get(34..)?).ok()?;
    (ip.next_header() == IpProtocol::Icmp).then(|| (p.msg_type(), p.msg_code()))
}

#[test]
fn an_echo_request_is_answered() {
    let mut r = Rig::new();
    r.input(frames::echo_request(OUR_IP, IP, b"are you there?"));
    let out = r.output();
    assert_eq!(icmp_of(&out[0]), Some((Icmpv4Message::EchoReply, 0)));
    assert!(out[0].ends_with(b"are you there?"));
}

#[test]
fn nobody_has_the_port() {
    let mut r = Rig::new();
    r.input(frames::udp((OUR_IP, 5), (IP, 9), b"anybody?"));
    assert_eq!(icmp_of(&r.output()[0]), Some((Icmpv4Message::DstUnreachable, 3)));
}

#[test]
fn what_is_damaged_is_counted_and_dropped() {
    let mut r = Rig::new();
    let before = r.s.nics[r.nic].counters;
    let good = frames::udp((OUR_IP, 5), (IP, 9), b"anybody?");
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    r.input(wrong); // UDP's checksum
    let mut wrong = good.clone();
    wrong[22] ^= 1;
    r.input(wrong); // IP's
    let mut part = frames::udp((OUR_IP, 5), (IP, 9), b"anybody?");
    part[20] |= 0x20; // more fragments
    part[24..26].copy_from_slice(&[0, 0]);
    let sum = !smoltcp_sum(&part[14..34]);
    part[24..26].copy_from_slice(&sum.to_be_bytes());
    r.input(part);
    r.input(good[..good.len() - 4].to_vec());
    r.input(vec![0; 13]);
    assert!(r.output().is_empty(), "nobody answers to that");
    let c = r.s.nics[r.nic].counters;
    assert_eq!(c.bad_checksums - before.bad_checksums, 2);
    assert_eq!(
        (c.fragments, c.malformed, c.frames_in - before.frames_in),
        (1, 2, 5)
    );
}

/// The sum of 16-bit words that a checksum is the complement of.
fn smoltcp_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum + (sum >> 16)) as u16
}
