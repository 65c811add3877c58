//! Sockets over the loopback link.
#![forbid(unsafe_code)]

use core::time::Duration;

use burrow::{
    go,
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// Operation = a request of 64 bytes and its echo, on one connection, server and client in the machine.
pub fn lo_tcp_echo64(n: usize) -> (usize, Duration) {
    let l = TcpListener::bind("127.0.0.1:0").expect("the loopback link is always there");
    let addr = l.local_addr();
    go(move || {
        if let Ok((conn, _)) = l.accept() {
            let mut buf = [0; 64];
            while let Ok(n @ 1..) = conn.read(&mut buf) {
                if conn.write_all(&buf[..n]).is_err() {
                    break;
                }
            }
        }
    });
    let conn = TcpStream::connect(addr).expect("it listens");
    let (message, mut back) = ([7; 64], [0; 64]);
    let begin = Instant::now();
    for _ in 0..n {
        conn.write_all(&message).expect("open");
        conn.read_full(&mut back).expect("open");
    }
    (n, begin.elapsed())
}
