//! An echo server for datagrams, and a client that asks again when an answer does not come in time.
// expect: says=10 answers
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use burrow::{
    net::{Error, UdpSocket},
    prelude::*,
    time::{Duration, Instant},
};

#[burrow::main]
fn main() {
    let server = UdpSocket::bind(":7").expect("nobody else has port 7");
    let at = "127.0.0.1:7";
    go(move || {
        let mut buf = [0; 1500];
        while let Ok((n, from)) = server.recv_from(&mut buf) {
            let _ = server.send_to(&buf[..n], from);
        }
    });
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (mut answers, mut buf) = (0, [0; 64]);
    while answers < 10 {
        client
            .send_to(b"anybody there?", at)
            .expect("loopback is always there");
        client.set_read_deadline(Some(Instant::now() + Duration::from_millis(200)));
        match client.recv_from(&mut buf) {
            Ok((n, from)) => {
                println!("{from}: {}", str::from_utf8(&buf[..n]).unwrap_or("?"));
                answers += 1;
            }
            Err(Error::TimedOut) => println!("again"),
            Err(e) => panic!("{e}"),
        }
    }
    println!("{answers} answers");
    if burrow::opts::flag("serve") {
        println!("serving on port 7");
        burrow::select! {}
    }
}
