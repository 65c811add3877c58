//! The network at boot: devices, their addresses, the netpoller's place in the scheduler.
//!
//! | option | meaning |
//! | --- | --- |
//! | `nonet` | leave devices alone |
//! | `ip=10.0.2.15/24`, `gw=10.0.2.2` | `eth0`'s address and gateway; `ip1=`, `gw1=` are `eth1`'s, and so on |
//! | `ip6=fec0::15/64`, `gw6=fec0::2` | the same for IPv6 |
//! | `dns=10.0.2.3` | the name server, whatever DHCP says; several with commas or `\|` between them |
//! | `netfaults=loss:5,seed:7` | see `faults` |
//!
//! Without `ip=`, or with one that makes no sense, DHCP is asked; when nobody has answered on any device after `PATIENCE`, the
//! address is the one that QEMU's user network would have given. DHCP goes on asking: an answer replaces it.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, format, string::String};
use core::{fmt::Display, str::FromStr, time::Duration};

use smoltcp::wire::{IpCidr, Ipv4Address, Ipv4Cidr, Ipv6Address, Ipv6Cidr};

use super::{
    faults::Faults,
    link::Link,
    nic::{LINK_LOCAL, Nic, Origin, own_address},
    stack, virtio,
};
use crate::{opts, sched, time};

const PATIENCE: Duration = Duration::from_secs(5);
const FALLBACK: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24);
const FALLBACK_GATEWAY: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
const FALLBACK_DNS: Ipv4Address = Ipv4Address::new(10, 0, 2, 3);

/// Starts what devices there are. On a goroutine; costs a few port reads without any.
pub(crate) fn init() {
    sched::set_netpoll_hook(stack::netpoll); // the loopback link may have more to do than one call should
    if opts::flag("nonet") {
        return;
    }
    let mut number = 0;
    virtio::discover(|link| {
        start(number, with_faults(link));
        number += 1;
    });
}

/// A device that does what `netfaults=` says, for tests.
fn with_faults(link: Box<dyn Link>) -> Box<dyn Link> {
    match Faults::parse(opts::list("netfaults")) {
        Ok(faults) if faults == Faults::default() => link,
        Ok(faults) => faults.around(link),
        Err(e) => {
            println!("net: netfaults: {e}");
            link
        }
    }
}

/// The option `key` of interface `n`: plain for the first, with the number for others.
fn option<T: FromStr>(key: &str, n: usize, what: impl Display) -> Option<T> {
    let key = if n == 0 {
        String::from(key)
    } else {
        format!("{key}{n}")
    };
    let text = opts::get(&key)?;
    let value = text.parse().ok();
    if value.is_none() {
        println!("net: {key}={text}: not {what}");
    }
    value
}

fn start(n: usize, link: Box<dyn Link>) {
    let mac = link.mac();
    let ip: Option<Ipv4Cidr> = option("ip", n, "ADDRESS/BITS, such as 10.0.2.15/24; asking by DHCP");
    let gw: Option<Ipv4Address> = option("gw", n, "an IPv4 address");
    let ip6: Option<Ipv6Cidr> = option("ip6", n, "ADDRESS/BITS, such as fec0::15/64");
    let gw6: Option<Ipv6Address> = option("gw6", n, "an IPv6 address");
    let nic = stack::with(|s| {
        let nic = s.add_nic("eth", link);
        if let Some(mac) = mac {
            let own = own_address(LINK_LOCAL, mac);
            s.add_address(nic, IpCidr::Ipv6(Ipv6Cidr::new(own, 64)));
        }
        if let Some(ip6) = ip6 {
            s.add_address(nic, IpCidr::Ipv6(ip6));
        }
        s.nics[nic].set_gateway6(gw6);
        if let Some(ip) = ip {
            s.set_ipv4(nic, Some(ip), Origin::Static);
            s.nics[nic].set_gateway4(gw);
        }
        nic
    });
    for word in opts::list("dns") {
        match word.parse() {
            Ok(server) => stack::with(|s| {
                s.nics[nic].dns_given = true;
                let _ = s.nics[nic].dns.push(server); // eight are enough
            }),
            Err(_) => println!("net: dns={word}: not an address"),
        }
    }
    if ip.is_none() && stack::with(|s| s.start_dhcp(nic)).is_ok() {
        sched::go_system("net", move || fall_back(nic));
    }
}

fn fall_back(nic: usize) {
    time::sleep_as(PATIENCE, true);
    stack::with(|s| {
        // Of several devices one may well have no network; two with one address would help nobody.
        let has = |n: &Nic| !n.link.loops() && n.iface.ipv4_addr().is_some();
        if s.nics.iter().any(has) {
            return;
        }
        s.set_ipv4(nic, Some(FALLBACK), Origin::Fallback);
        let nic = &mut s.nics[nic];
        nic.set_gateway4(Some(FALLBACK_GATEWAY));
        if nic.dns.is_empty() {
            let _ = nic.dns.push(FALLBACK_DNS.into());
        }
    });
}
