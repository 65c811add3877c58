//! A link: what moves frames. The loopback link is here; `virtio` has the one to the outside.
//!
//! The stack's own device interface hands out tokens; ours is three calls (receive, room, send), and `Feed` makes the
//! tokens: it shows the stack exactly one incoming frame, so that we decide which sockets see it.
#![forbid(unsafe_code)]

use alloc::{collections::VecDeque, vec::Vec};

use smoltcp::{
    phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

use super::nic::Counters;
use crate::lock::{Rank, SpinLock};

/// Moves frames. Called under the stack's lock.
pub(super) trait Link: Send {
    /// Its medium, frame size and checksum offload.
    fn capabilities(&self) -> DeviceCapabilities;
    /// The next frame received.
    fn receive(&mut self) -> Option<Vec<u8>>;
    /// Gets the buffer of a received frame back.
    fn recycle(&mut self, frame: Vec<u8>);
    /// Is there room to send one more?
    fn has_room(&self) -> bool;
    /// An empty buffer of `len` bytes for a frame; `None` without memory.
    fn buffer(&mut self, len: usize) -> Option<Vec<u8>>;
    /// Sends a frame.
    fn send(&mut self, frame: Vec<u8>);
    /// All frames of this round were sent: tell the device.
    fn flush(&mut self) {}
    /// Is there a cable?
    fn is_up(&self) -> bool {
        true
    }
    /// Does what is sent to this link's own address come back on it?
    fn loops(&self) -> bool {
        false
    }
    /// How to address it, if it is not point to point.
    fn mac(&self) -> Option<[u8; 6]> {
        None
    }
}

/// Frames under way on the loopback link, at most.
const RING: usize = 1024;
/// Buffers kept for reuse, and the largest kept.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 8192;

/// Used buffers.
#[derive(Default)]
pub(super) struct Buffers {
    spare: Vec<Vec<u8>>,
    /// Bytes that each has room for.
    least: usize,
}

impl Buffers {
    /// `n` of them, each with room for `least` bytes: as long as no more than these are out at a time, there is always one.
    #[cfg(any(target_os = "none", all(test, not(loom))))]
    pub(super) fn ready(n: usize, least: usize) -> Option<Self> {
        let mut all = Self {
            spare: Vec::new(),
            least,
        };
        for _ in 0..n {
            let mut b = Vec::new();
            b.try_reserve_exact(least).ok()?;
            all.keep(b);
        }
        (all.spare.len() == n).then_some(all)
    }

    /// A buffer of `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let mut b = self.spare.pop().unwrap_or_default();
        b.clear();
        if b.try_reserve(len.max(self.least)).is_err() {
            // Without memory a larger one of those that are there will do; none is given up.
            let larger = self.spare.iter().position(|s| s.capacity() >= len);
            let larger = larger.map(|i| self.spare.swap_remove(i));
            self.keep(b);
            b = larger?;
            b.clear();
        }
        b.resize(len, 0);
        Some(b)
    }

    /// Keeps `b` for another time.
    pub(super) fn keep(&mut self, b: Vec<u8>) {
        if self.spare.len() < KEPT
            && (1..=KEPT_BYTES).contains(&b.capacity())
            && self.spare.try_reserve(KEPT - self.spare.len()).is_ok()
        {
            self.spare.push(b);
        }
    }
}

/// 127.0.0.1 and ::1.
#[derive(Default)]
pub(super) struct Loopback {
    queue: VecDeque<Vec<u8>>,
    spare: Buffers,
    /// Small frames with checksums, for tests.
    like_ethernet: bool,
}

impl Loopback {
    /// With the frame size of Ethernet, and checksums.
    pub(super) fn like_ethernet() -> Self {
        Self {
            like_ethernet: true,
            ..Self::default()
        }
    }
}

impl Link for Loopback {
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        if self.like_ethernet {
            caps.max_transmission_unit = 1500;
            return caps;
        }
        caps.max_transmission_unit = 65535;
        caps.checksum = ChecksumCapabilities::ignored(); // memory to memory
        caps
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.queue.pop_front()
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.spare.keep(frame);
    }

    fn has_room(&self) -> bool {
        self.queue.len() < RING
    }

    fn buffer(&mut self, len: usize) -> Option<Vec<u8>> {
        self.spare.take(len)
    }

    fn loops(&self) -> bool {
        true
    }

    fn send(&mut self, frame: Vec<u8>) {
        if self.queue.try_reserve(1).is_ok() {
            self.queue.push_back(frame);
        }
    }
}

/// The device that the stack sees: at most one frame in, any number out.
pub(super) struct Feed<'a> {
    link: &'a mut dyn Link,
    counters: &'a mut Counters,
    frame: Option<&'a [u8]>,
    /// The last attempt to send came to nothing, or to a question where a neighbor is: the sender has to wait for the
    /// answer.
    pub(super) waits: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(link: &'a mut dyn Link, counters: &'a mut Counters, frame: Option<&'a [u8]>) -> Self {
        Self {
            link,
            counters,
            frame,
            waits: false,
        }
    }
}

impl Device for Feed<'_> {
    type RxToken<'b>
        = In<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Out<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(In<'_>, Out<'_>)> {
        let frame = self.frame.take()?;
        Some((
            In(frame),
            Out {
                link: self.link,
                counters: self.counters,
                waits: &mut self.waits,
            },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<Out<'_>> {
        if !self.link.has_room() {
            return None;
        }
        self.waits = true; // until something is sent
        Some(Out {
            link: self.link,
            counters: self.counters,
            waits: &mut self.waits,
        })
    }

    /// Checksums of TCP and UDP are looked at in `demux`, where a frame that is damaged can be counted; never twice.
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = self.link.capabilities();
        let sum = &mut caps.checksum;
        for c in [&mut sum.tcp, &mut sum.udp] {
            *c = if c.tx() { Checksum::Tx } else { Checksum::None };
        }
        caps
    }
}

/// Where frames are written that nobody shall get. Larger than any frame, because it may be for lack of memory.
static NOTHING: SpinLock<[u8; 1 << 16]> = SpinLock::new(Rank::Console, [0; 1 << 16]);

fn into_nothing<R>(len: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
    f(&mut NOTHING.lock()[..len])
}

/// A device without neighbors, whose frames go nowhere.
pub(super) struct Nowhere {
    /// How many frames it takes.
    pub(super) room: usize,
}

/// The right to send one.
pub(super) struct Lost;

impl TxToken for Lost {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        into_nothing(len, f)
    }
}

impl Device for Nowhere {
    type RxToken<'b> = In<'b>;
    type TxToken<'b> = Lost;

    fn receive(&mut self, _: Instant) -> Option<(In<'_>, Lost)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Lost> {
        self.room = self.room.checked_sub(1)?;
        Some(Lost)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        Loopback::default().capabilities()
    }
}

/// The incoming frame.
pub(super) struct In<'a>(&'a [u8]);

impl RxToken for In<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send a frame.
pub(super) struct Out<'a> {
    link: &'a mut dyn Link,
    counters: &'a mut Counters,
    waits: &'a mut bool,
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // Without memory the frame is written nowhere and lost, like any frame may be.
        let Some(mut buffer) = self.link.buffer(len) else {
            self.counters.no_memory += 1;
            *self.waits = false;
            return into_nothing(len, f);
        };
        let r = f(&mut buffer);
        *self.waits = is_question(&buffer);
        if self.link.has_room() {
            self.counters.frames_out += 1;
            self.counters.bytes_out += len as u64;
            self.link.send(buffer);
        } else {
            self.counters.no_room += 1;
        }
        r
    }
}

/// An ARP request, or a neighbor solicitation, on Ethernet. (An IP packet never begins with these bytes in these
/// places on the loopback link: byte 12 is the sender's address.)
fn is_question(f: &[u8]) -> bool {
    match f.get(12..14) {
        Some([8, 6]) => true,
        Some([0x86, 0xdd]) => f.get(20) == Some(&58) && f.get(54) == Some(&135),
        _ => false,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A request that there is no memory for costs no buffer.
    #[test]
    fn buffers_are_not_given_up() {
        let mut all = Buffers::ready(2, 1514).unwrap();
        for _ in 0..3 {
            assert!(all.take(isize::MAX as usize).is_none());
            assert_eq!(all.spare.len(), 2);
        }
        let both = [all.take(60).unwrap(), all.take(1514).unwrap()];
        assert!(all.spare.is_empty() && both.iter().all(|b| b.capacity() == 1514));
        both.into_iter().for_each(|b| all.keep(b));
        assert_eq!(all.spare.len(), 2);
    }
}
