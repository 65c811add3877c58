//! DHCP inside the stack: a lease becomes an interface's address, gateway and name servers.
//!
//! smoltcp's client asks, renews at half of the lease and gives up at its end; then the address goes, and connections
//! from it find no more way out. It says what it has learned each time an answer comes, so the time left is known.
#![forbid(unsafe_code)]

use smoltcp::{
    socket::dhcpv4::{Event, Socket},
    wire::{DhcpRepr, IpCidr, Ipv4Cidr},
};

use super::{
    Error,
    buffers::filled,
    listen::push_at,
    nic::{Origin, Servers},
    poll::PollDesc,
    stack::{Kind, Stack},
};

/// The largest answer that is looked at, and a lease without a word about its length.
const ANSWER: usize = 1500;
const DEFAULT_LEASE_S: u32 = 120;
const SECOND: u64 = 1_000_000_000;

impl Stack {
    /// Asks for an address on this link, now and whenever the lease ends.
    pub(super) fn start_dhcp(&mut self, nic: usize) -> Result<(), Error> {
        let mut socket = Socket::new();
        // For ever: there is one per device.
        socket.set_receive_packet_buffer(filled(ANSWER, 0)?.leak());
        let id = self.add(nic, socket, Kind::Dhcp, PollDesc::try_new()?)?;
        push_at(&mut self.udp, 68, id)?;
        self.mark(id);
        Ok(())
    }

    /// After anything may have changed.
    pub(super) fn settle_dhcp(&mut self, id: u32) {
        let sock = self.sock(id);
        let nic = sock.nic;
        let (addr, router, dns, origin, seconds) = match sock.dhcp().poll() {
            None => return,
            Some(Event::Deconfigured) => (None, None, Servers::new(), Origin::Unset, 0),
            Some(Event::Configured(c)) => {
                let said = c.packet.and_then(|p| DhcpRepr::parse(&p).ok()?.lease_duration);
                let seconds = said.unwrap_or(DEFAULT_LEASE_S);
                let origin = Origin::Dhcp {
                    server: c.server.identifier.into(),
                    left: core::time::Duration::from_secs(seconds.into()),
                };
                let dns: Servers = c.dns_servers.iter().map(|&a| a.into()).collect();
                (Some(c.address), c.router, dns, origin, seconds)
            }
        };
        let until = self.now.saturating_add(u64::from(seconds) * SECOND);
        self.set_ipv4(nic, addr, origin);
        let nic = &mut self.nics[nic];
        nic.set_gateway4(router);
        nic.lease_until = until;
        if !nic.dns_given {
            nic.dns = dns;
        }
    }

    /// Replaces an interface's IPv4 address.
    pub(super) fn set_ipv4(&mut self, nic: usize, addr: Option<Ipv4Cidr>, origin: Origin) {
        self.drop_addresses(nic, |c| matches!(c, IpCidr::Ipv4(_)));
        if let Some(a) = addr {
            self.add_address(nic, IpCidr::Ipv4(a));
        }
        self.nics[nic].origin = origin;
    }
}
