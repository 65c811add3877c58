//! Throughput over one connection: both ways at once through the echo service, and each way alone.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{Server, Service};

const BLOCK: usize = 1 << 20;
const STALL: Duration = Duration::from_secs(30);

fn connect(server: &Server, service: Service) -> Result<TcpStream> {
    let s = TcpStream::connect(("127.0.0.1", server.port(service)))?;
    s.set_read_timeout(Some(STALL))?;
    s.set_write_timeout(Some(STALL))?;
    Ok(s)
}

/// Bytes whose order shows.
fn pattern() -> Vec<u8> {
    (0..BLOCK as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn mb_per_s(bytes: usize, began: Instant) -> f64 {
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// Writes `blocks` MiB in writes of 1 MiB to the echo service while reading them back. MB/s of what came back.
pub(super) fn echo(server: &Server, blocks: usize) -> Result<f64> {
    let mut s = connect(server, Service::Echo)?;
    let block = pattern();
    let (mut writer, sent) = (s.try_clone()?, block.clone());
    let began = Instant::now();
    let writing = std::thread::spawn(move || (0..blocks).try_for_each(|_| writer.write_all(&sent)));
    let mut back = vec![0; BLOCK];
    for _ in 0..blocks {
        s.read_exact(&mut back)?;
        ensure!(back == block, "what comes back is not what was sent");
    }
    let speed = mb_per_s(blocks * BLOCK, began);
    writing.join().expect("no panic")?;
    Ok(speed)
}

/// Host to guest.
pub(super) fn sink(server: &Server, blocks: usize) -> Result<f64> {
    let mut s = connect(server, Service::Sink)?;
    let block = pattern();
    let began = Instant::now();
    for _ in 0..blocks {
        s.write_all(&block)?;
    }
    s.shutdown(Shutdown::Write)?;
    let mut count = [0; 8];
    s.read_exact(&mut count)?;
    let speed = mb_per_s(blocks * BLOCK, began);
    ensure!(
        u64::from_le_bytes(count) == (blocks * BLOCK) as u64,
        "the guest counts otherwise"
    );
    Ok(speed)
}

/// Guest to host.
pub(super) fn source(server: &Server, blocks: usize) -> Result<f64> {
    let mut s = connect(server, Service::Source)?;
    let began = Instant::now();
    s.write_all(&((blocks * BLOCK) as u64).to_le_bytes())?;
    let (mut buf, mut total) = (vec![0; BLOCK], 0);
    while total < blocks * BLOCK {
        let n = s.read(&mut buf)?;
        ensure!(n > 0, "the guest closed after {total} bytes");
        total += n;
    }
    Ok(mb_per_s(total, began))
}
