//! One round of polling: frames in, deadlines, frames out (see `stack` for who polls, and why each socket is alone).
//!
//! A round handles at most `BUDGET` frames and sockets, because preemption is off under the lock. Who may go on is
//! collected in `Wakes` and readied by the caller after the lock is released.
#![forbid(unsafe_code)]

use smoltcp::iface::PollResult;

use super::{
    demux::{Carries, Flaw, look},
    link::Feed,
    poll::{Mode, PollDesc},
    stack::{Kind, Stack, clock},
};
use crate::sched::GPtr;

/// Frames and sockets handled before the lock is let go.
const BUDGET: usize = 48;
/// Of these, at a time, from one link, of the deadlines, or of the sockets: who floods one of them does not keep the
/// others waiting.
const SHARE: usize = 16;
/// Goroutines one round may wake: each frame and each socket wakes two at most, and a listener's.
pub(super) type Wakes = heapless::Vec<GPtr, { 3 * BUDGET + 16 }>;

impl Stack {
    /// One round: frames in, deadlines, frames out, until nothing is left or the budget is spent (`true`).
    pub(super) fn round(&mut self, wakes: &mut Wakes) -> bool {
        let now = self.now;
        let mut left = BUDGET;
        if now >= self.alarm_at {
            self.alarm_at = u64::MAX;
        }
        loop {
            let before = left;
            for n in 0..self.nics.len() {
                for _ in 0..left.min(SHARE) {
                    let Some(frame) = self.nics[n].link.receive() else {
                        break;
                    };
                    left -= 1;
                    self.ingress(n, &frame, now, wakes);
                    self.nics[n].link.recycle(frame);
                }
            }
            for _ in 0..left.min(SHARE) {
                let Some(id) = self.deadlines.due(now) else { break };
                left -= 1;
                self.mark(id);
            }
            // Those marked meanwhile wait for the next turn of the outer loop, or a socket whose link is full would
            // keep us here.
            for _ in 0..self.dirty.len().min(left).min(SHARE) {
                if left == 0 {
                    break;
                }
                let Some(id) = self.dirty.pop_front() else { break };
                left -= 1;
                self.egress(id, now, wakes, &mut left);
            }
            if left == 0 || before == left {
                break;
            }
        }
        for nic in &mut self.nics {
            nic.link.flush();
        }
        if let Some(first) = self.deadlines.first()
            && first < self.alarm_at
        {
            self.alarm_at = first;
            self.alarm.set(first);
        }
        left == 0
    }

    pub(super) fn ingress(&mut self, n: usize, frame: &[u8], now: u64, wakes: &mut Wakes) {
        let nic = &mut self.nics[n];
        nic.counters.frames_in += 1;
        nic.counters.bytes_in += frame.len() as u64;
        let caps = nic.link.capabilities();
        let mut resets = false;
        let mut syn = None;
        let to = match look(caps.medium, frame, caps.checksum.tcp.rx()) {
            Carries::Tcp {
                tuple,
                opens,
                resets: r,
                syn: s,
                seq,
            } => {
                resets = r;
                syn = s.then_some(seq);
                match self.segment_for(n, tuple, opens) {
                    Ok(Some(id)) if r && !self.reset_counts(n, id, seq, frame, now) => return,
                    Ok(to) => to,
                    Err(Dropped) => return,
                }
            }
            Carries::Udp(tuple) => self.datagram_for(n, tuple),
            Carries::Echo(ident) => self.pings.get(&ident).copied(),
            Carries::NobodyAt(tuple) => return self.refused_datagram(tuple, wakes),
            Carries::Neighbor => {
                self.show(n, None, frame, now);
                return self.neighbor_found(n, now);
            }
            Carries::Router | Carries::Other => None,
            Carries::Bad(flaw) => {
                let c = &mut self.nics[n].counters;
                match flaw {
                    Flaw::Malformed => c.malformed += 1,
                    Flaw::Checksum => c.bad_checksums += 1,
                    Flaw::Fragment => c.fragments += 1,
                }
                return;
            }
        };
        self.show(n, to, frame, now);
        if let Some(id) = to {
            if let Some(seq) = syn {
                self.note_syn(id, seq);
            }
            self.settle(id, resets, wakes);
            self.plan(id, now, true);
        }
    }

    /// Shows a frame to one socket, or to the interface alone.
    pub(super) fn show(&mut self, n: usize, to: Option<u32>, frame: &[u8], now: u64) {
        let nic = &mut self.nics[n];
        let set = match to {
            Some(id) => match self.socks.get_mut(id as usize) {
                Some(Some(s)) => &mut s.set,
                _ => &mut self.nobody,
            },
            None => &mut self.nobody,
        };
        let mut feed = Feed::new(&mut *nic.link, &mut nic.counters, Some(frame));
        nic.iface.poll_ingress_single(clock(now), &mut feed, set);
    }

    /// Sends what the socket has to send: one frame, and more from what is `left` of the budget.
    fn egress(&mut self, id: u32, now: u64, wakes: &mut Wakes, left: &mut usize) {
        let Some(Some(sock)) = self.socks.get_mut(id as usize) else {
            return;
        };
        sock.dirty = false;
        let nic = &mut self.nics[sock.nic];
        let mut feed = Feed::new(&mut *nic.link, &mut nic.counters, None);
        let mut sent = 0;
        // not a spin: ends with the budget
        while nic.iface.poll_egress(clock(now), &mut feed, &mut sock.set) != PollResult::None {
            sent += 1;
            if *left == 0 {
                break; // what remains is due at once, so `plan` marks the socket again
            }
            *left -= 1;
        }
        if feed.waits {
            self.await_neighbor(id);
        } else if sent > 0 {
            sock.asks = None;
        }
        self.unblock(id, sent);
        self.settle(id, false, wakes);
        self.plan(id, now, sent > 0);
    }

    /// When must the socket be looked at next? Without `progress` not at once, whatever it says.
    fn plan(&mut self, id: u32, now: u64, progress: bool) {
        let Some(Some(sock)) = self.socks.get_mut(id as usize) else {
            return;
        };
        let nic = &mut self.nics[sock.nic];
        let mut at = match nic.iface.poll_at(clock(now), &sock.set) {
            None => u64::MAX,
            Some(at) if at <= clock(now) => {
                if progress && nic.link.has_room() {
                    if !core::mem::replace(&mut sock.dirty, true) {
                        self.dirty.push_back(id);
                    }
                    return;
                }
                now + 1_000_000 // the link is full, or the packet has nowhere to go: soon
            }
            // Rounded up: the stack counts microseconds.
            Some(at) => at.total_micros() as u64 * 1000 + 999,
        };
        match &sock.kind {
            Kind::Tcp(c) => at = at.min(c.expires),
            Kind::Udp(d) => at = at.min(d.stuck_until),
            _ => {}
        }
        if at != u64::MAX {
            self.deadlines.no_later_than(at, id);
        }
    }

    /// Tells the socket's goroutines what they can do now, and moves a connection along.
    pub(super) fn settle(&mut self, id: u32, reset: bool, wakes: &mut Wakes) {
        let sock = self.sock(id);
        let (readable, writable) = match &sock.kind {
            Kind::Tcp(_) => return self.settle_tcp(id, reset, wakes),
            Kind::Udp(d) => {
                let failed = d.error.is_some();
                let s = sock.udp();
                (s.can_recv() || failed, s.can_send())
            }
            Kind::Icmp => {
                let s = sock.icmp();
                (s.can_recv(), s.can_send())
            }
            Kind::Dhcp => return self.settle_dhcp(id),
        };
        wake(&sock.pd, readable, writable, wakes);
    }
}

/// The frame is not for anybody, and not to be answered.
pub(super) struct Dropped;

/// Collects who may go on.
pub(super) fn wake(pd: &PollDesc, readable: bool, writable: bool, wakes: &mut Wakes) {
    for (is, mode) in [(readable, Mode::Read), (writable, Mode::Write)] {
        if is
            && let Some(g) = pd.ready(mode)
            && wakes.push(g).is_err()
        {
            unreachable!("more goroutines woken than a round may")
        }
    }
}

/// Something changes for a listener.
pub(super) fn wake_reader(pd: &PollDesc, wakes: &mut Wakes) {
    wake(pd, true, false, wakes);
}
