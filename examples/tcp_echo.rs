//! The seed program of every text on Go's networking: an echo server, one goroutine per connection.
//!
//! It serves itself over the loopback link: 16 clients, 100 messages each. To talk to it from the host:
//! `make qemu EXAMPLE=tcp_echo NET=7007:7 OPTS=serve`, then `nc 127.0.0.1 7007`.
// expect: says=echoed 1600 messages
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use burrow::{
    net::{Error, Shutdown, TcpListener, TcpStream},
    prelude::*,
    sync::WaitGroup,
    time::{self, Duration},
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

/// Says a line to somebody outside and returns the answer. `OPTS=dial=10.0.2.2:9000` is port 9000 of the host.
fn dial(at: &str) -> Result<String, Error> {
    let conn = loop {
        match TcpStream::connect(at) {
            Err(Error::Unreachable) => time::sleep(Duration::from_millis(50)), // no address yet
            r => break r?,
        }
    };
    conn.write_all(b"hello from the guest\n")?;
    conn.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    conn.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).trim().to_string())
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
    if let Some(at) = burrow::opts::get("dial") {
        println!("{}", dial(at).expect("somebody listens there"));
    }
    if burrow::opts::flag("hogs") {
        // Each keeps a core to itself, as far as it is let: the interrupt of a device takes one off.
        (0..runtime::num_cpu()).for_each(|_| {
            go(|| {
                loop {
                    core::hint::spin_loop();
                }
            });
        });
    }
    if burrow::opts::flag("serve") {
        println!("serving on port 7");
        burrow::select! {}
    }
    listener.close().expect("closed once");
}
