//! A way around the short queue of QEMU's user network, which listens with a backlog of one.
//!
//! When many connections come at a time and QEMU is busy, the host's kernel drops what that queue has no place for, lets the
//! clients believe that they are connected, and resets them a minute later: the guest never hears of them. A relay takes
//! them from a queue of usual length, and opens a connection to the guest for each, the next one when QEMU has taken the
//! last. Then it passes bytes on, both ways, until either side ends.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Begins to relay to `port`; returns the port to use instead. Ends with the process.
pub(crate) fn to(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let here = listener.local_addr().expect("bound").port();
    let (taken, queue) = std::sync::mpsc::channel();
    thread::spawn(move || listener.incoming().flatten().try_for_each(|s| taken.send(s)));
    thread::spawn(move || {
        for client in queue {
            let end = Instant::now() + Duration::from_secs(60);
            while waiting(port) > 0 && Instant::now() < end {
                thread::sleep(Duration::from_micros(200));
            }
            // Who finds no guest sees his connection closed.
            if let Ok(guest) = TcpStream::connect(("127.0.0.1", port)) {
                join(client, guest);
            }
        }
    });
    here
}

/// Connections that whoever listens on `port` of 127.0.0.1 has not taken yet.
fn waiting(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let at = format!("0100007F:{port:04X}");
    let mut rows = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|w| w.len() > 4 && w[1] == at && w[3] == "0A"); // listening
    let queue = row.and_then(|w| Some(w[4].split_once(':')?.1.to_string()));
    queue.and_then(|n| u64::from_str_radix(&n, 16).ok()).unwrap_or(0)
}

/// Passes on what comes, both ways.
fn join(a: TcpStream, b: TcpStream) {
    for s in [&a, &b] {
        let _ = s.set_nodelay(true);
    }
    let clones = (a.try_clone(), b.try_clone());
    let (Ok(c), Ok(d)) = clones else { return };
    for (from, to) in [(a, d), (b, c)] {
        let small = thread::Builder::new().stack_size(128 << 10);
        let _ = small.spawn(move || pass(from, to));
    }
}

/// An end is passed on as an end; an error ends both.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buf = [0; 16 << 10];
    loop {
        match from.read(&mut buf) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) if to.write_all(&buf[..n]).is_ok() => {}
            _ => {
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                return;
            }
        }
    }
}
