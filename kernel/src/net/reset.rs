//! Which resets count: RFC 5961.
//!
//! Who is not on the way of a connection's packets, but knows its addresses and ports, can guess a number in the window:
//! with 64 KiB of it, one in 65,536 forged resets would end the connection. So only the exact next number does. For any
//! other in the window the peer, if it was the peer, is asked: it is sent an acknowledgement, and answers with a reset
//! that has the number.
//!
//! smoltcp takes every reset in the window, so we look first. It does not say which number it expects, but that is the
//! peer's first one, plus what we have taken, plus what waits to be taken, plus one for each of SYN and FIN. Nor can it be
//! told to acknowledge; but it does, at most once a second, if somebody probes the connection with the byte before the
//! expected one. So an inexact reset is made into such a probe. What the reset acknowledges does not matter (most say
//! nothing): of any two numbers that are half the number space apart one is not below what we have sent, and smoltcp answers a
//! probe that acknowledges such a one, without believing it. So two probes are made, of which at least one is answered.
//!
//! A connection that is half open is not asked about: to smoltcp a wrong acknowledgement is an error there.
#![forbid(unsafe_code)]

use smoltcp::{phy::Medium, socket::tcp::State};

use super::stack::Stack;

/// What we must know of the peer's numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Expected {
    /// The one after its SYN.
    first: Option<u32>,
    /// Bytes that we have taken.
    taken: u32,
}

impl Expected {
    pub(super) fn take(&mut self, n: usize) {
        self.taken = self.taken.wrapping_add(n as u32);
    }
}

/// A packet without options, and a segment likewise.
const LONGEST: usize = 14 + 40 + 20;
const RST: u8 = 4;
const ACK: u8 = 16;
/// Any two that are half the number space apart.
const ACKNOWLEDGED: [u32; 2] = [0, 1 << 31];

impl Stack {
    /// A SYN with number `seq` was shown to this connection.
    pub(super) fn note_syn(&mut self, id: u32, seq: u32) {
        let state = self.sock(id).tcp().state();
        let e = &mut self.connection(id).expected;
        if e.first.is_none() && !matches!(state, State::Listen | State::SynSent | State::Closed) {
            e.first = Some(seq.wrapping_add(1));
        }
    }

    /// The number that the peer's next byte has; `None`: it has not said.
    fn next_of(&mut self, id: u32) -> Option<u32> {
        let s = self.sock(id).tcp();
        let (waits, state) = (s.recv_queue() as u32, s.state());
        let fin = matches!(
            state,
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
        let e = self.connection(id).expected;
        let n = e.first?.wrapping_add(e.taken).wrapping_add(waits);
        Some(n.wrapping_add(u32::from(fin)))
    }

    /// Deals with a reset for this connection that has number `seq`. `true`: it counts, smoltcp may have it.
    pub(super) fn reset_counts(&mut self, nic: usize, id: u32, seq: u32, frame: &[u8], now: u64) -> bool {
        let Some(next) = self.next_of(id) else {
            return true; // the answer to a SYN: smoltcp looks at what it acknowledges
        };
        if seq == next {
            return true;
        }
        self.nics[nic].counters.inexact_resets += 1;
        let s = self.sock(id).tcp();
        let (window, half_open) = (s.recv_capacity() as u32, s.state() == State::SynReceived);
        if seq.wrapping_sub(next) < window && !half_open {
            let medium = self.nics[nic].link.capabilities().medium;
            for ack in ACKNOWLEDGED {
                if let Some((probe, len)) = probe(medium, frame, next.wrapping_sub(1), ack) {
                    self.show(nic, Some(id), &probe[..len], now);
                }
            }
        }
        false
    }
}

/// The reset as a probe: with number `seq`, which acknowledges `ack`.
fn probe(medium: Medium, frame: &[u8], seq: u32, ack: u32) -> Option<([u8; LONGEST], usize)> {
    let ip = if medium == Medium::Ethernet { 14 } else { 0 };
    let tcp = ip + if frame.get(ip)? >> 4 == 4 { 20 } else { 40 };
    let mut copy = [0; LONGEST];
    copy.get_mut(..tcp + 20)?.copy_from_slice(frame.get(..tcp + 20)?);
    let plain = copy[tcp + 12] >> 4 == 5 && (tcp == ip + 40 || copy[ip] == 0x45);
    if !plain || data_of(&copy[ip..tcp]) != 20 {
        return None;
    }
    copy[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
    copy[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
    copy[tcp + 13] = copy[tcp + 13] & !RST | ACK; // its checksum was looked at before, and is not any more: see `Feed`
    Some((copy, tcp + 20))
}

/// Bytes after the IP header.
fn data_of(header: &[u8]) -> usize {
    let at = |i| usize::from(u16::from_be_bytes([header[i], header[i + 1]]));
    match header.len() {
        20 => at(2).saturating_sub(20),
        _ => at(4),
    }
}
