//! A network interface: a link, its addresses and gateways, and what was counted on it.
//!
//! **Routes.** A packet to an address of ours stays in the machine. Any other leaves by the interface whose own network
//! has the longest prefix in common with it, else by the first one with a gateway of its family. An address whose
//! network no interface is in, without a gateway, is unreachable at once instead of after a time-out.
//!
//! The loopback interface also has the addresses of all others, because packets to them arrive there.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, fmt::Write as _, net::IpAddr, time::Duration};

use smoltcp::{
    config::IFACE_MAX_ADDR_COUNT,
    iface::{Config, Interface as Iface},
    phy::Medium,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address},
};

use super::{
    link::{Feed, Link},
    stack::{Stack, clock, with},
};
use crate::sched;

/// What was counted on an interface, or on all.
///
/// ```
/// use burrow::net::UdpSocket;
/// let lo = || burrow::net::interfaces()[0].counters;
/// let before = lo();
/// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
/// s.send_to(b"ping", s.local_addr()).unwrap();
/// s.recv_from(&mut [0; 16]).unwrap();
/// assert!(lo().frames_in > before.frames_in);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Frames received.
    pub frames_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Received and dropped: a wrong checksum.
    pub bad_checksums: u64,
    /// Received and dropped: no packet of a known kind, or one that contradicts itself.
    pub malformed: u64,
    /// Received and dropped: a part of a larger packet. They are not put together.
    pub fragments: u64,
    /// Received and dropped: resets of connections that do not have the exact number, and may be forged.
    pub inexact_resets: u64,
    /// To be sent and dropped: the link was full.
    pub no_room: u64,
    /// To be sent and dropped: no memory.
    pub no_memory: u64,
    /// Datagrams to be sent and dropped: the receiver did not say where it is.
    pub no_neighbor: u64,
}

impl core::ops::AddAssign for Counters {
    fn add_assign(&mut self, o: Self) {
        self.frames_in += o.frames_in;
        self.bytes_in += o.bytes_in;
        self.frames_out += o.frames_out;
        self.bytes_out += o.bytes_out;
        self.bad_checksums += o.bad_checksums;
        self.malformed += o.malformed;
        self.fragments += o.fragments;
        self.inexact_resets += o.inexact_resets;
        self.no_room += o.no_room;
        self.no_memory += o.no_memory;
        self.no_neighbor += o.no_neighbor;
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in {} frames {} bytes, out {} frames {} bytes; dropped: checksum {}, malformed {}, fragment {}, reset {}, \
             link full {}, no memory {}, no neighbor {}",
            self.frames_in,
            self.bytes_in,
            self.frames_out,
            self.bytes_out,
            self.bad_checksums,
            self.malformed,
            self.fragments,
            self.inexact_resets,
            self.no_room,
            self.no_memory,
            self.no_neighbor
        )
    }
}

/// Where an interface has its IPv4 address from.
///
/// ```
/// use burrow::net::Origin;
/// for i in burrow::net::interfaces() {
///     if let Origin::Dhcp { server, left } = i.origin {
///         println!("{}: from {server} for {left:?}", i.name);
///     }
/// }
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It has none yet.
    #[default]
    Unset,
    /// Given on the command line, or by the program.
    Static,
    /// A lease.
    Dhcp {
        /// Who gave it.
        server: IpAddr,
        /// What is left of it.
        left: Duration,
    },
    /// Nobody answered: the one that QEMU's user network would have given.
    Fallback,
}

/// An interface, as `interfaces` describes it.
///
/// ```
/// let lo = &burrow::net::interfaces()[0];
/// assert_eq!((lo.name.as_str(), lo.up, lo.mac, lo.gateways.len()), ("lo", true, None, 0));
/// assert!(lo.to_string().starts_with("lo: up mtu "));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Interface {
    /// `lo`, `eth0`, …
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the largest packet.
    pub mtu: usize,
    /// Is there a cable?
    pub up: bool,
    /// Addresses and the bits of their networks.
    pub addrs: Vec<(IpAddr, u8)>,
    /// Where the IPv4 address came from.
    pub origin: Origin,
    /// Where packets go that are for no network of ours.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// See there.
    pub counters: Counters,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "up" } else { "down" };
        write!(f, "{}: {state} mtu {}", self.name, self.mtu)?;
        if let Some([a, b, c, d, e, g]) = self.mac {
            write!(f, " mac {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")?;
        }
        for (addr, bits) in &self.addrs {
            write!(f, "\n  addr {addr}/{bits}")?;
            match self.origin {
                Origin::Dhcp { server, left } if addr.is_ipv4() => {
                    write!(f, " dhcp from {server}, {} s left", left.as_secs())?;
                }
                Origin::Fallback if addr.is_ipv4() => f.write_str(" fallback, nobody answered")?,
                _ => {}
            }
        }
        for gw in &self.gateways {
            write!(f, "\n  gateway {gw}")?;
        }
        for dns in &self.dns {
            write!(f, "\n  dns {dns}")?;
        }
        write!(f, "\n  {}", self.counters)
    }
}

/// The interfaces of this machine; the loopback one first.
///
/// ```
/// let lo = &burrow::net::interfaces()[0];
/// assert_eq!((lo.name.as_str(), lo.up, lo.mac), ("lo", true, None));
/// assert!(lo.addrs.contains(&(core::net::Ipv4Addr::LOCALHOST.into(), 8)));
/// println!("{lo}");
/// ```
pub fn interfaces() -> Vec<Interface> {
    let count = with(|s| s.nics.len()); // none ever goes
    let looks = (0..count).map(|n| with(|s| s.nics[n].look(s.now)));
    looks.map(Interface::from).collect()
}

/// The addresses of this machine, those of the loopback interface included.
///
/// ```
/// assert!(burrow::net::local_addrs().contains(&core::net::Ipv4Addr::LOCALHOST.into()));
/// ```
pub fn local_addrs() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for (ip, _) in interfaces().into_iter().flat_map(|i| i.addrs) {
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    all
}

/// The network of link-local addresses.
pub(super) const LINK_LOCAL: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// The address that a device gives itself in a network of 64 bits: the rest is made from its Ethernet address.
pub(super) fn own_address(network: Ipv6Address, mac: [u8; 6]) -> Ipv6Address {
    let mut ip = network.octets();
    ip[8..].copy_from_slice(&[mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]]);
    ip.into()
}

type Name = heapless::String<16>;
/// The first few are enough.
pub(super) type Servers = heapless::Vec<IpAddr, 8>;

/// What an [`Interface`] is made of, without memory from the heap: it is taken under the stack's lock.
struct Look {
    name: Name,
    mac: Option<[u8; 6]>,
    mtu: usize,
    up: bool,
    addrs: heapless::Vec<IpCidr, IFACE_MAX_ADDR_COUNT>,
    origin: Origin,
    gateways: [Option<IpAddr>; 2],
    dns: Servers,
    counters: Counters,
}

impl From<Look> for Interface {
    fn from(l: Look) -> Self {
        let addrs = l.addrs.iter().map(|c| (c.address().into(), c.prefix_len()));
        Self {
            name: l.name.as_str().into(),
            mac: l.mac,
            mtu: l.mtu,
            up: l.up,
            addrs: addrs.collect(),
            origin: l.origin,
            gateways: l.gateways.into_iter().flatten().collect(),
            dns: l.dns.to_vec(),
            counters: l.counters,
        }
    }
}

/// A link and what the stack knows about it.
pub(super) struct Nic {
    pub(super) name: Name,
    pub(super) iface: Iface,
    pub(super) link: Box<dyn Link>,
    /// Sockets that wait to learn where a neighbor is: see `neighbors`.
    pub(super) asking: Vec<u32>,
    pub(super) counters: Counters,
    pub(super) origin: Origin,
    /// When the lease ends (ns).
    pub(super) lease_until: u64,
    pub(super) gateway4: Option<Ipv4Address>,
    pub(super) gateway6: Option<Ipv6Address>,
    pub(super) dns: Servers,
    /// By the command line, whatever DHCP says.
    pub(super) dns_given: bool,
}

impl Nic {
    fn look(&self, now: u64) -> Look {
        let caps = self.link.capabilities();
        let header = if caps.medium == Medium::Ethernet { 14 } else { 0 };
        let mut origin = self.origin;
        if let Origin::Dhcp { left, .. } = &mut origin {
            *left = Duration::from_nanos(self.lease_until.saturating_sub(now));
        }
        let addrs = heapless::Vec::from_slice(self.iface.ip_addrs());
        Look {
            name: self.name.clone(),
            mac: self.link.mac(),
            mtu: caps.max_transmission_unit - header,
            up: self.link.is_up(),
            addrs: addrs.unwrap_or_default(),
            origin,
            gateways: [self.gateway4.map(IpAddr::V4), self.gateway6.map(IpAddr::V6)],
            dns: self.dns.clone(),
            counters: self.counters,
        }
    }

    pub(super) fn has_addr(&self, ip: IpAddr) -> bool {
        self.iface
            .ip_addrs()
            .iter()
            .any(|c| IpAddr::from(c.address()) == ip)
    }

    /// Bits of the longest network of ours that `to` is in.
    fn prefix_of(&self, to: &IpAddress) -> Option<u8> {
        let ours = self.iface.ip_addrs().iter().filter(|c| c.contains_addr(to));
        ours.map(IpCidr::prefix_len).max()
    }

    fn has_gateway(&self, to: IpAddr) -> bool {
        match to {
            IpAddr::V4(_) => self.gateway4.is_some(),
            IpAddr::V6(_) => self.gateway6.is_some(),
        }
    }

    pub(super) fn set_gateway4(&mut self, gw: Option<Ipv4Address>) {
        self.gateway4 = gw;
        match gw {
            Some(gw) => _ = self.iface.routes_mut().add_default_ipv4_route(gw), // four are enough
            None => _ = self.iface.routes_mut().remove_default_ipv4_route(),
        }
    }

    pub(super) fn set_gateway6(&mut self, gw: Option<Ipv6Address>) {
        self.gateway6 = gw;
        match gw {
            Some(gw) => _ = self.iface.routes_mut().add_default_ipv6_route(gw),
            None => _ = self.iface.routes_mut().remove_default_ipv6_route(),
        }
    }
}

impl Stack {
    /// Adds a link; returns its number. At boot, or for a test: memory is taken for granted.
    pub(super) fn add_nic(&mut self, prefix: &str, mut link: Box<dyn Link>) -> usize {
        let hardware = match link.mac() {
            Some(mac) => HardwareAddress::Ethernet(EthernetAddress(mac)),
            None => HardwareAddress::Ip,
        };
        let mut config = Config::new(hardware);
        config.random_seed = u64::from(sched::rand32()) << 32 | u64::from(sched::rand32());
        let mut counters = Counters::default();
        let mut feed = Feed::new(&mut *link, &mut counters, None);
        let iface = Iface::new(config, &mut feed, clock(sched::now_ns()));
        let same = self.nics.iter().filter(|n| n.name.starts_with(prefix)).count();
        let mut name = Name::new();
        let _ = match prefix {
            "lo" => write!(name, "lo"),
            _ => write!(name, "{prefix}{same}"), // there is room
        };
        self.nics.push(Nic {
            name,
            iface,
            link,
            asking: Vec::new(),
            counters,
            origin: Origin::Unset,
            lease_until: u64::MAX,
            gateway4: None,
            gateway6: None,
            dns: Servers::new(),
            dns_given: false,
        });
        self.nics.len() - 1
    }

    /// Gives an interface an address.
    pub(super) fn add_address(&mut self, nic: usize, addr: IpCidr) {
        self.nics[nic].iface.update_ip_addrs(|list| {
            if !list.contains(&addr) {
                let _ = list.push(addr); // eight are enough
            }
        });
        self.tell_loopback();
    }

    /// Takes the addresses from an interface that `which` picks.
    pub(super) fn drop_addresses(&mut self, nic: usize, which: impl Fn(&IpCidr) -> bool) {
        self.nics[nic]
            .iface
            .update_ip_addrs(|list| list.retain(|c| !which(c)));
        self.tell_loopback();
    }

    /// Packets to any address of ours arrive at the loopback interface.
    fn tell_loopback(&mut self) {
        let Some((lo, rest)) = self.nics.split_first_mut() else {
            return;
        };
        lo.iface.update_ip_addrs(|list| {
            list.retain(|c| IpAddr::from(c.address()).is_loopback());
            for addr in rest
                .iter()
                .filter(|n| !n.link.loops())
                .flat_map(|n| n.iface.ip_addrs())
            {
                let addr = addr.address();
                let bits = if addr.version() == smoltcp::wire::IpVersion::Ipv4 {
                    32
                } else {
                    128
                };
                let _ = list.push(IpCidr::new(addr, bits));
            }
        });
    }

    /// The interface by which `to` is reached: see the file head.
    pub(super) fn route(&self, to: IpAddr) -> Option<usize> {
        if to.is_loopback() {
            return Some(0);
        }
        // The loopback interface has everybody's addresses, but a link that loops has its own.
        if let Some(n) = self.nics.iter().rposition(|n| n.has_addr(to)) {
            return Some(if self.nics[n].link.loops() { n } else { 0 });
        }
        let outside = || self.nics.iter().enumerate().filter(|(_, n)| !n.link.loops());
        let addr = IpAddress::from(to);
        let near = outside().filter_map(|(i, n)| Some((n.prefix_of(&addr)?, i)));
        if let Some((_, i)) = near.max_by_key(|&(bits, i)| (bits, core::cmp::Reverse(i))) {
            return Some(i);
        }
        let everybody = match to {
            IpAddr::V4(ip) => ip.is_broadcast() || ip.is_multicast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        let speaks = |n: &Nic| {
            let mut all = n.iface.ip_addrs().iter();
            all.any(|c| c.address().version() == addr.version())
        };
        let mut far = outside().filter(|(_, n)| n.has_gateway(to) || everybody && speaks(n));
        far.next().map(|(i, _)| i)
    }

    /// Name servers, those of the first interface first.
    pub(super) fn name_servers(&self) -> Servers {
        let all = self.nics.iter().flat_map(|n| &n.dns);
        all.copied().take(8).collect()
    }

    /// The medium of a link.
    pub(super) fn is_ethernet(&self, nic: usize) -> bool {
        self.nics[nic].link.capabilities().medium == Medium::Ethernet
    }
}
