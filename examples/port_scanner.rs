//! Who listens here? A thousand ports, tried by goroutines of which at most 32 do so at once.
//!
//! `OPTS=scan=10.0.2.2` with `NET=1` scans the host's loopback address; names work as well.
// expect: says=open: 2001 2042 2777
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{format, string::ToString, sync::Arc, vec::Vec};

use burrow::{
    net::{TcpListener, TcpStream, lookup_host},
    prelude::*,
    sync::{Mutex, Semaphore, WaitGroup},
    time::Duration,
};

const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);

#[burrow::main]
fn main() {
    let host = burrow::opts::get("scan").unwrap_or("localhost");
    let ip = lookup_host(host).expect("the host has an address")[0];
    // Something to be found.
    let _listeners: Vec<_> = [2001, 2042, 2777]
        .into_iter()
        .map(|port| TcpListener::bind(format!(":{port}")).expect("nobody else is there"))
        .collect();
    let (wg, open) = (Arc::new(WaitGroup::new()), Arc::new(Mutex::new(Vec::new())));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    for port in 2000..3000u16 {
        turns.acquire(1);
        let (turns, open) = (turns.clone(), open.clone());
        wg.go(move || {
            if TcpStream::connect_timeout((ip, port), PATIENCE).is_ok() {
                open.lock().push(port);
            }
            turns.release(1);
        });
    }
    wg.wait();
    let mut open = open.lock().clone();
    open.sort_unstable();
    let list: Vec<_> = open.iter().map(|p| p.to_string()).collect();
    println!("open: {}", list.join(" "));
}
