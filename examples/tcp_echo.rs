//! The seed program of every text on Go's networking: an echo server, one goroutine per connection.
//!
//! It serves itself over the loopback link: 16 clients, 100 messages each. To talk to it from the host:
//! `make qemu EXAMPLE=tcp_echo NET=7007:7 OPTS=serve`, then `nc 127.0.0.1 7007`.
// expect: says=echoed 1600 messages
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::sync::Arc;

use burrow::{
    net::{Error, TcpListener, TcpStream},
    prelude::*,
    sync::WaitGroup,
};

fn serve(conn: TcpStream) -> Result<(), Error> {
    let mut buf = [0; 1024];
    loop {
        match conn.read(&mut buf)? {
            0 => return Ok(()),
            n => conn.write_all(&buf[..n])?,
        }
    }
}

fn client(k: u8) -> Result<u64, Error> {
    let conn = TcpStream::connect("127.0.0.1:7")?;
    let mut back = [0; 64];
    for i in 0..100 {
        let message = [k ^ i; 64];
        conn.write_all(&message)?;
        conn.read_full(&mut back)?;
        assert_eq!(back, message);
    }
    Ok(100)
}

#[burrow::main]
fn main() {
    let listener = TcpListener::bind(":7").expect("nobody else has port 7");
    let server = listener.clone();
    go(move || {
        for conn in server.incoming() {
            go(move || {
                if let Err(e) = serve(conn) {
                    println!("connection: {e}");
                }
            });
        }
    });
    let (wg, replies) = (Arc::new(WaitGroup::new()), chan::<u64>(16));
    for k in 0..16 {
        let tx = replies.sender();
        wg.go(move || tx.send(client(k).expect("the server answers")));
    }
    wg.wait();
    let total: u64 = (0..16).filter_map(|_| replies.recv()).sum();
    println!("echoed {total} messages");
    if burrow::opts::flag("serve") {
        println!("serving on port 7");
        burrow::select! {}
    }
    listener.close().expect("closed once");
}
