//! Very many connections at once: opened one by one, held, each pinged ten times, none lost.
//!
//! QEMU's user network spends a descriptor of its own on each, so both processes may have more than usual.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{
    Server, Service,
    client::{Client, Protocol},
};

const ROUNDS: usize = 10;
/// Requests under way at a time.
const WINDOW: usize = 64;

/// Lets this process and its children have descriptors for `conns` connections.
pub(super) fn raise_descriptors(conns: usize) -> Result<()> {
    let want = (conns as u64 + 1000).max(25_000);
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: it writes only `limit`.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let raised = libc::rlimit {
        rlim_cur: want,
        rlim_max: limit.rlim_max.max(want),
    };
    // SAFETY: it reads only `raised`.
    if limit.rlim_cur >= want || unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
        return Ok(());
    }
    // Not allowed to go beyond the hard limit: that may still be enough.
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    ensure!(
        limit.rlim_max >= conns as u64 + 100,
        "{conns} connections need more descriptors than the limit of {}",
        limit.rlim_max
    );
    Ok(())
}

/// See the file head.
pub(super) fn hold_and_ping(server: &Server, conns: usize) -> Result<()> {
    let mut client = Client::new(Protocol::Echo)?;
    let began = Instant::now();
    client.open(server.port(Service::Echo))?;
    let before = server.host_memory();
    while client.len() < conns {
        client.open(server.port(Service::Echo))?;
        if client.len() % 1000 == 0 {
            eprintln!(
                "burrow-boot: {} connections after {:.1?}",
                client.len(),
                began.elapsed()
            );
        }
    }
    let opening = began.elapsed();
    let mut took: Vec<Duration> = Vec::with_capacity(conns * ROUNDS);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        took.extend(client.ping_all(WINDOW)?);
    }
    let pinging = began.elapsed();
    took.sort();
    let at = |q: f64| took[((took.len() - 1) as f64 * q) as usize];
    println!(
        "net name=scale conns={conns} open_s={:.1} pings={} lost=0 ping_s={:.1} p50_us={} p99_us={} host_mib={} before_mib={before}",
        opening.as_secs_f64(),
        took.len(),
        pinging.as_secs_f64(),
        at(0.5).as_micros(),
        at(0.99).as_micros(),
        server.host_memory()
    );
    Ok(())
}
