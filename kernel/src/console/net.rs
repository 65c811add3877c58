//! `net`: interfaces, connections and counters; `net ping` and `net lookup`.
#![forbid(unsafe_code)]

use alloc::{format, string::String};
use core::time::Duration;

use crate::net;

/// Connections listed, at most; there may be ten thousand.
const LISTED: usize = 20;
const PINGS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(2);

/// Obeys `net …`.
pub(super) fn net(args: &[&str]) -> Result<(), String> {
    match args {
        [] => show(),
        ["ping", host] => return ping(host),
        ["lookup", name] => return lookup(name),
        _ => return Err("net: nothing, `ping HOST` or `lookup NAME`".into()),
    }
    Ok(())
}

fn show() {
    for i in net::interfaces() {
        println!("{i}");
    }
    for (at, waiting) in net::listeners() {
        println!("listening {at} waiting {waiting}");
    }
    let stats = net::stats();
    let all: u64 = stats.states.iter().map(|s| s.1).sum();
    let listed = net::connections(LISTED);
    for c in &listed {
        println!("{c}");
    }
    if all > listed.len() as u64 {
        println!("… and {} more", all - listed.len() as u64);
    }
    println!("{stats}");
}

fn ping(host: &str) -> Result<(), String> {
    let addrs = net::lookup_host(host).map_err(|e| format!("net: lookup {host}: {e}"))?;
    let Some(&ip) = addrs.first() else {
        return Err(format!("net: {host} has no address"));
    };
    for n in 1..=PINGS {
        match net::ping(ip, PATIENCE) {
            Ok(took) => println!("{ip}: answer {n} after {took:?}"),
            Err(e) => println!("{ip}: ping {n}: {e}"),
        }
    }
    Ok(())
}

fn lookup(name: &str) -> Result<(), String> {
    match net::lookup_host(name) {
        Ok(addrs) => {
            for ip in addrs {
                println!("{name} {ip}");
            }
            Ok(())
        }
        Err(e) => Err(format!("net: lookup {name}: {e}")),
    }
}
