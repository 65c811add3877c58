//! The network at boot: devices, their addresses, the netpoller's place in the scheduler.
//!
//! An address comes from `ip=10.0.2.15/24` and `gw=10.0.2.2` on the command line, else by DHCP, else, when nobody has
//! answered after `PATIENCE`, it is the one that QEMU's user network would have given.
#![forbid(unsafe_code)]

use core::time::Duration;

use smoltcp::wire::{IpCidr, Ipv4Address, Ipv4Cidr};

use super::{stack, virtio};
use crate::{opts, sched, time};

const PATIENCE: Duration = Duration::from_secs(5);
const FALLBACK: (&str, &str) = ("10.0.2.15/24", "10.0.2.2");

/// Starts what devices there are. On a goroutine; costs a few port reads without any.
pub(crate) fn init() {
    if opts::flag("nonet") {
        return;
    }
    virtio::discover(|link| {
        sched::find::set_netpoll_hook(stack::netpoll);
        let nic = stack::with(|s| s.add_nic(link));
        match opts::get("ip") {
            Some(ip) => configure(nic, ip, opts::get("gw").unwrap_or("")),
            None => {
                if stack::with(|s| s.start_dhcp(nic)).is_ok() {
                    sched::go_system("net", move || fall_back(nic));
                }
            }
        }
    });
}

fn fall_back(nic: usize) {
    time::sleep_as(PATIENCE, true);
    if stack::with(|s| s.nics[nic].iface.ipv4_addr().is_none()) {
        configure(nic, FALLBACK.0, FALLBACK.1);
    }
}

fn configure(nic: usize, ip: &str, gw: &str) {
    let Ok(ip) = ip.parse::<Ipv4Cidr>() else {
        crate::println!("net: ip={ip}: not ADDRESS/BITS");
        return;
    };
    stack::with(|s| {
        s.add_address(nic, IpCidr::Ipv4(ip));
        if let Ok(gw) = gw.parse::<Ipv4Address>() {
            let _ = s.nics[nic].iface.routes_mut().add_default_ipv4_route(gw);
        }
    });
}
