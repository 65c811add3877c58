//! Who waits to learn where a neighbor is.
//!
//! smoltcp keeps what it cannot send yet, and looks again when the neighbor has answered or a second has passed. It does
//! not look by itself at a socket that we do not show it. So each interface has a list of sockets that had something to
//! send and could not, whether they asked or another had just asked (smoltcp asks once a second and interface). When
//! a neighbor says where it is, those of the list that may go on are marked; the others stay, it was not theirs.
//!
//! The list is bounded, and what an answer costs with it: whoever finds it full waits for the second to pass.
#![forbid(unsafe_code)]

use super::stack::{Stack, clock};

/// Sockets on an interface's list, at most.
pub(super) const LISTED: usize = 256;

impl Stack {
    /// The socket has something to send by its interface, to a neighbor that is not known.
    pub(super) fn await_neighbor(&mut self, id: u32) {
        let n = self.sock(id).nic;
        if self.sock(id).asks == Some(n) {
            return;
        }
        let (socks, list) = (&self.socks, &mut self.nics[n].asking);
        if list.len() >= LISTED {
            // Sockets that are gone, or send elsewhere now.
            list.sort_unstable();
            list.dedup();
            list.retain(|&id| matches!(socks.get(id as usize), Some(Some(s)) if s.asks == Some(n)));
        }
        if list.len() < LISTED && list.try_reserve(1).is_ok() {
            list.push(id);
            self.sock(id).asks = Some(n);
        }
    }

    /// A neighbor at interface `n` has said where it is.
    pub(super) fn neighbor_found(&mut self, n: usize, now: u64) {
        let mut list = core::mem::take(&mut self.nics[n].asking);
        list.retain(|&id| {
            let Some(Some(s)) = self.socks.get_mut(id as usize) else {
                return false;
            };
            if s.asks != Some(n) {
                return false;
            }
            let next = self.nics[n].iface.poll_at(clock(now), &s.set);
            let waits = next.is_some_and(|at| at > clock(now));
            if !waits {
                s.asks = None;
                self.mark(id);
            }
            waits
        });
        self.nics[n].asking = list;
    }
}
