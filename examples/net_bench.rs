//! The servers that `make bench-net` and `make net-scale` talk to, one goroutine per connection.
//!
//! | port | service |
//! | --- | --- |
//! | 7 | echo |
//! | 9 | sink: takes all bytes, then answers how many (8 bytes, little endian) |
//! | 19 | source: reads a number (8 bytes, little endian), answers as many bytes in writes of 1 MiB |
//! | 80 | "hello" over HTTP/1.1 by hand: reads up to the empty line, writes a fixed answer |
//! | 81 | "hello" by `net::http` |
//!
//! By itself it asks each of them once over the loopback link; with `OPTS=serve` it stays.
// expect: says=all services answer
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::vec;
use core::net::Ipv4Addr;

use burrow::{
    net::{
        Error, TcpListener, TcpStream,
        http::{Client, Router, Server},
    },
    prelude::*,
    runtime,
};

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const BLOCK: usize = 1 << 20;

fn echo(conn: &TcpStream) -> Result<(), Error> {
    let mut buf = [0; 16384];
    loop {
        match conn.read(&mut buf)? {
            0 => return Ok(()),
            n => conn.write_all(&buf[..n])?,
        }
    }
}

fn sink(conn: &TcpStream) -> Result<(), Error> {
    let (mut buf, mut total) = (vec![0; 65536], 0u64);
    loop {
        match conn.read(&mut buf)? {
            0 => return conn.write_all(&total.to_le_bytes()),
            n => total += n as u64,
        }
    }
}

fn source(conn: &TcpStream) -> Result<(), Error> {
    let mut wanted = [0; 8];
    conn.read_full(&mut wanted)?;
    let (mut left, block) = (u64::from_le_bytes(wanted) as usize, vec![0; BLOCK]);
    while left > 0 {
        let n = left.min(BLOCK);
        conn.write_all(&block[..n])?;
        left -= n;
    }
    Ok(())
}

fn http(conn: &TcpStream) -> Result<(), Error> {
    let (mut buf, mut have) = ([0; 4096], 0);
    loop {
        while let Some(end) = buf[..have].windows(4).position(|w| w == b"\r\n\r\n") {
            conn.write_all(HELLO)?;
            buf.copy_within(end + 4..have, 0);
            have -= end + 4;
        }
        match conn.read(&mut buf[have..])? {
            0 => return Ok(()), // the end, or a head that does not fit
            n => have += n,
        }
    }
}

fn serve(port: u16, service: fn(&TcpStream) -> Result<(), Error>) {
    let l = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a free port");
    go(move || {
        for conn in l.incoming() {
            go(move || {
                let _ = service(&conn); // a client that goes is no concern of the others
            });
        }
    });
}

fn serve_http() {
    let mut router = Router::new();
    router
        .on("GET /", |w, _r| w.text("hello"))
        .expect("a sound pattern");
    let server = Server::bind(":81", router).expect("a free port");
    go(move || server.run().expect("nobody closes it"));
}

/// Asks each service once.
fn ask() -> Result<(), Error> {
    let mut buf = vec![0; 2 * BLOCK];
    let c = TcpStream::connect("127.0.0.1:7")?;
    c.write_all(b"ping")?;
    assert_eq!((c.read_full(&mut buf[..4])?, &buf[..4]), (4, &b"ping"[..]));

    let c = TcpStream::connect("127.0.0.1:9")?;
    c.write_all(&buf)?;
    c.shutdown(burrow::net::Shutdown::Write)?;
    let mut count = [0; 8];
    c.read_full(&mut count)?;
    assert_eq!(u64::from_le_bytes(count), buf.len() as u64);

    let c = TcpStream::connect("127.0.0.1:19")?;
    c.write_all(&count)?;
    assert_eq!(c.read_full(&mut buf)?, buf.len());

    let c = TcpStream::connect("127.0.0.1:80")?;
    c.write_all(b"GET / HTTP/1.1\r\nHost: burrow\r\n\r\nGET / HTTP/1.1\r\nHost: burrow\r\n\r\n")?;
    let n = c.read_full(&mut buf[..2 * HELLO.len()])?;
    assert_eq!(&buf[..n], [HELLO, HELLO].concat());

    let answer = Client::new().get("http://127.0.0.1:81/").expect("served");
    assert_eq!(answer.status(), 200);
    Ok(())
}

#[burrow::main]
fn main() {
    serve(7, echo);
    serve(9, sink);
    serve(19, source);
    serve(80, http);
    serve_http();
    if burrow::opts::flag("serve") {
        println!("net_bench: ready, {} cores", runtime::num_cpu());
        burrow::select! {}
    }
    ask().expect("the loopback link is always there");
    println!("all services answer");
}
