//! Sockets over the loopback link.
#![forbid(unsafe_code)]

use core::{net::SocketAddr, time::Duration};

use burrow::{
    go,
    net::{
        TcpListener, TcpStream,
        http::{Request, ResponseWriter, Router, Server},
    },
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

const HELLO: &[u8] = b"hello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: burrow\r\n\r\n";

/// Sends `GET` over one connection `n` times, each after the answer to the one before.
fn requests(addr: SocketAddr, n: usize) -> (usize, Duration) {
    let conn = TcpStream::connect(addr).expect("it listens");
    let mut buf = [0; 4096];
    let mut once = || {
        conn.write_all(GET).expect("open");
        let n = conn.read(&mut buf).expect("open"); // small replies on loopback come whole
        assert!(buf[..n].ends_with(HELLO), "short reply");
    };
    (0..50).for_each(|_| once());
    let begin = Instant::now();
    (0..n).for_each(|_| once());
    (n, begin.elapsed())
}

/// Operation = an HTTP request answered by hand: lines up to an empty one, then a constant.
pub fn lo_http_raw(n: usize) -> (usize, Duration) {
    let l = TcpListener::bind("127.0.0.1:0").expect("the loopback link is always there");
    let addr = l.local_addr();
    go(move || {
        let Ok((conn, _)) = l.accept() else { return };
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
        let (mut buf, mut have) = ([0; 4096], 0);
        while let Ok(n @ 1..) = conn.read(&mut buf[have..]) {
            have += n;
            let mut used = 0;
            while let Some(end) = buf[used..have].iter().position(|b| *b == b'\n') {
                let line = &buf[used..=used + end];
                used += end + 1;
                if line == b"\r\n" && conn.write_all(answer).is_err() {
                    return;
                }
            }
            buf.copy_within(used..have, 0);
            have -= used;
        }
    });
    requests(addr, n)
}

/// The same, answered by `net::http`: a router and a handler that writes the greeting.
pub fn lo_http_nethttp(n: usize) -> (usize, Duration) {
    let mut router = Router::new();
    let hello = |w: &mut ResponseWriter, _: &mut Request| {
        let _ = w.header("Content-Type", "text/plain; charset=utf-8").write(HELLO);
    };
    router.on("/", hello).expect("the only route");
    let server = Server::bind("127.0.0.1:0", router).expect("the loopback link is always there");
    let addr = server.local_addr().expect("bound");
    let s = server.clone();
    go(move || s.run().expect("closed by us"));
    let r = requests(addr, n);
    server.close();
    r
}
