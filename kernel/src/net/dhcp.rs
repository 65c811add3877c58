//! DHCP inside the stack: a lease becomes a link's address and route.
#![forbid(unsafe_code)]

use smoltcp::{
    socket::dhcpv4::{Event, Socket},
    wire::IpCidr,
};

use super::{
    Error,
    poll::PollDesc,
    stack::{Kind, Stack},
};

impl Stack {
    /// Asks for an address on this link, now and whenever the lease ends.
    pub(super) fn start_dhcp(&mut self, nic: usize) -> Result<(), Error> {
        let id = self.add(nic, Socket::new(), Kind::Dhcp, PollDesc::new())?;
        self.udp.entry(68).or_default().push(id);
        self.mark(id);
        Ok(())
    }

    pub(super) fn settle_dhcp(&mut self, id: u32) {
        let sock = self.sock(id);
        let nic = sock.nic;
        let (addr, router) = match sock.dhcp().poll() {
            None => return,
            Some(Event::Configured(c)) => (Some(c.address), c.router),
            Some(Event::Deconfigured) => (None, None),
        };
        let iface = &mut self.nics[nic].iface;
        iface.update_ip_addrs(|list| {
            list.retain(|c| !matches!(c, IpCidr::Ipv4(_)));
            if let Some(a) = addr {
                let _ = list.push(IpCidr::Ipv4(a));
            }
        });
        match router {
            Some(r) => _ = iface.routes_mut().add_default_ipv4_route(r),
            None => _ = iface.routes_mut().remove_default_ipv4_route(),
        }
    }
}
