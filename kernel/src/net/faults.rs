//! A link with a bad day, for tests: it loses, doubles, reorders and corrupts frames, or lets nothing through at all.
//!
//! It goes around any link: around a loopback link with an address of its own (`add_faulty_link`), or around the real
//! devices with `netfaults=loss:5,dup:2,reorder:5,corrupt:1,seed:7` (percent of the frames, each way) on the command line.
//! All chance comes from the seed.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
};

use smoltcp::{phy::DeviceCapabilities, wire::IpCidr};

use super::{
    link::{Link, Loopback},
    stack,
};

/// How often what goes wrong, in frames of a thousand.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Lost.
    pub loss: u32,
    /// Delivered twice.
    pub duplication: u32,
    /// Delivered after the next one.
    pub reordering: u32,
    /// Delivered with a wrong bit.
    pub corruption: u32,
    /// Of the chance.
    pub seed: u64,
}

impl Faults {
    /// Reads words such as `loss:5`, in percent.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Faults, String> {
        let mut f = Faults::default();
        for word in words {
            let (name, number) = word.split_once(':').unwrap_or((word, ""));
            let n: u32 = number.parse().map_err(|_| format!("{word}: not NAME:NUMBER"))?;
            let field = match name {
                "seed" => {
                    f.seed = n.into();
                    continue;
                }
                "loss" => &mut f.loss,
                "dup" => &mut f.duplication,
                "reorder" => &mut f.reordering,
                "corrupt" => &mut f.corruption,
                _ => return Err(format!("{name}: not loss, dup, reorder, corrupt or seed")),
            };
            if n > 100 {
                return Err(format!("{word}: more than all"));
            }
            *field = n * 10;
        }
        Ok(f)
    }

    /// `link` with these faults, each way.
    pub(super) fn around(self, link: Box<dyn Link>) -> Box<dyn Link> {
        Box::new(Faulty {
            inner: link,
            sending: Chance::new(self),
            receiving: Some(Chance::new(Faults {
                seed: self.seed ^ 1,
                ..self
            })),
            arrived: None,
            cut: Arc::default(),
        })
    }
}

/// The faults of one direction.
struct Chance {
    faults: Faults,
    held: Option<Vec<u8>>,
    state: u64,
}

impl Chance {
    fn new(faults: Faults) -> Self {
        Self {
            faults,
            held: None,
            state: faults.seed,
        }
    }

    fn comes(&mut self, of_thousand: u32) -> bool {
        of_thousand != 0 && self.random() % 1000 < of_thousand
    }

    fn random(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 33) as u32
    }

    /// What becomes of a frame: none, itself, itself and a copy, itself and one from before.
    fn suffer(&mut self, mut frame: Vec<u8>) -> [Option<Vec<u8>>; 2] {
        let f = self.faults;
        if self.comes(f.loss) {
            return [None, None];
        }
        if self.comes(f.corruption) && !frame.is_empty() {
            let bit = self.random() as usize % (frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        if self.comes(f.duplication) {
            return [Some(frame.clone()), Some(frame)];
        }
        if self.held.is_none() && self.comes(f.reordering) {
            self.held = Some(frame);
            return [None, None];
        }
        [Some(frame), self.held.take()]
    }
}

struct Faulty {
    inner: Box<dyn Link>,
    sending: Chance,
    /// `None`: what is sent comes back here, and has suffered enough.
    receiving: Option<Chance>,
    /// The second of two frames that became of one.
    arrived: Option<Vec<u8>>,
    /// Nothing gets through.
    cut: Arc<AtomicBool>,
}

impl Link for Faulty {
    fn capabilities(&self) -> DeviceCapabilities {
        self.inner.capabilities()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        if let Some(second) = self.arrived.take() {
            return Some(second);
        }
        loop {
            let frame = self.inner.receive()?;
            if self.cut.load(Ordering::Relaxed) {
                self.inner.recycle(frame);
                continue;
            }
            let Some(chance) = &mut self.receiving else {
                return Some(frame);
            };
            let [first, second] = chance.suffer(frame);
            self.arrived = second;
            if first.is_some() {
                return first;
            }
        }
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.inner.recycle(frame);
    }

    fn has_room(&self) -> bool {
        self.inner.has_room()
    }

    fn buffer(&mut self, len: usize) -> Option<Vec<u8>> {
        self.inner.buffer(len)
    }

    fn send(&mut self, frame: Vec<u8>) {
        if self.cut.load(Ordering::Relaxed) {
            return self.inner.recycle(frame);
        }
        for f in self.sending.suffer(frame).into_iter().flatten() {
            if self.inner.has_room() {
                self.inner.send(f);
            }
        }
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn loops(&self) -> bool {
        self.inner.loops()
    }

    fn mac(&self) -> Option<[u8; 6]> {
        self.inner.mac()
    }

    fn is_up(&self) -> bool {
        self.inner.is_up() && !self.cut.load(Ordering::Relaxed)
    }
}

/// A faulty link to ourselves.
#[derive(Clone, Debug)]
pub struct FaultyLink {
    /// Its address, 192.0.2.1 for the first.
    pub ip: IpAddr,
    cut: Arc<AtomicBool>,
}

impl FaultyLink {
    /// From now on nothing gets through, or all that the faults leave.
    pub fn cut(&self, yes: bool) {
        self.cut.store(yes, Ordering::Relaxed);
    }
}

/// Adds such a link. It has the frame size of Ethernet and real checksums, so TCP has to make good what goes wrong.
pub fn add_faulty_link(faults: Faults) -> FaultyLink {
    let cut = Arc::<AtomicBool>::default();
    let link = Faulty {
        inner: Box::new(Loopback::like_ethernet()),
        sending: Chance::new(faults),
        receiving: None,
        arrived: None,
        cut: cut.clone(),
    };
    stack::with(|s| {
        let nic = s.add_nic("test", Box::new(link));
        let ip = Ipv4Addr::new(192, 0, 2, nic as u8);
        s.add_address(nic, IpCidr::new(ip.into(), 32));
        FaultyLink { ip: ip.into(), cut }
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn words() {
        let parse = |text: &'static str| Faults::parse(text.split(','));
        let want = Faults {
            loss: 50,
            duplication: 20,
            seed: 7,
            ..Faults::default()
        };
        assert_eq!(parse("loss:5,dup:2,seed:7"), Ok(want));
        assert_eq!(parse("loss"), Err("loss: not NAME:NUMBER".to_string()));
        assert_eq!(parse("loss:101"), Err("loss:101: more than all".to_string()));
        assert!(parse("lost:1").unwrap_err().starts_with("lost: not loss, dup"));
    }
}
