//! Memory: what idle connections take, and what happens without.

use alloc::{format, vec::Vec};

use burrow::{
    go,
    net::{
        TcpStream,
        http::{Client, Server},
    },
    println, spawn,
    time::{Duration, Instant},
};
use burrow_tests::{MemoryLimit, used_memory};

use super::{MS, Running, routes};

/// Ten thousand keep-alive connections that have been served and wait, both ends here. What one takes is told, beside
/// what two ends of a plain connection take.
#[burrow::test(timeout = 300)]
fn ten_thousand_idle_connections() {
    let n = if burrow::opts::flag("det") { 500 } else { 10_000 };
    let listener = burrow::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let before = used_memory();
    let mut plain = Vec::with_capacity(n);
    for _ in 0..n / 10 {
        let c = TcpStream::connect(listener.local_addr()).unwrap();
        plain.push((c, listener.accept().unwrap()));
    }
    // The first connections have large buffers: see `net::buffers`.
    let large = used_memory() - before;
    for _ in 0..n / 10 {
        let c = TcpStream::connect(listener.local_addr()).unwrap();
        plain.push((c, listener.accept().unwrap()));
    }
    let pair = (used_memory() - before - large) / (n / 10);
    drop(plain);

    let server = Server::builder()
        .idle_timeout(Duration::from_secs(3600))
        .bind("127.0.0.1:0", routes())
        .unwrap();
    let at = server.local_addr().unwrap();
    let s = server.clone();
    go(move || s.run().unwrap());
    let ask = |c: &TcpStream| {
        c.write_all(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let (mut buf, mut seen) = ([0; 300], 0);
        while !buf[..seen].ends_with(b"hello") {
            match c.read(&mut buf[seen..]).unwrap() {
                0 => panic!("closed"),
                more => seen += more,
            }
        }
    };
    let before = used_memory();
    let begin = Instant::now();
    let open = || {
        let c = TcpStream::connect(at).unwrap();
        ask(&c);
        c
    };
    let mut conns: Vec<_> = (0..n / 10).map(|_| open()).collect();
    let first = used_memory();
    conns.extend((n / 10..n).map(|_| open()));
    let opened = begin.elapsed();
    assert_eq!(server.connections(), n);
    let (total, rest) = (used_memory() - before, used_memory() - first);
    let each = rest / (n - n / 10);
    let begin = Instant::now();
    conns.iter().for_each(ask);
    println!(
        "{n} idle connections: {} MiB, {each} bytes each beyond the first tenth, of which {pair} are two sockets; opened in {opened:?}, a request on each in {:?}",
        total >> 20,
        begin.elapsed()
    );
    assert!(each < pair + 16_384, "{each} bytes each, {pair} for the sockets");
    drop(conns);
    server.shutdown(&burrow::context::Context::background()).unwrap();
}

/// With less and less memory, requests fail, each for itself: the server lives, and so does who is connected and asks
/// for little.
#[burrow::test(timeout = 120)]
fn without_memory() {
    let s = Running::start(Server::builder().header_bytes(64 << 10));
    let old = TcpStream::connect(&s.at).unwrap();
    let hello = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
    let ask = || {
        old.write_all(hello).unwrap();
        let mut buf = [0; 300];
        let n = old.read(&mut buf).unwrap();
        assert!(buf[..n].ends_with(b"hello"));
    };
    ask();
    let large = format!(
        "GET /hello HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(50_000)
    );
    let body = format!(
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n{}",
        "b".repeat(400_000)
    );
    let texts: [&[u8]; 5] = [
        hello,
        b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n",
        large.as_bytes(),
        body.as_bytes(),
    ];
    let (mut whole, mut failed) = (0, 0);
    for left in [
        256 << 10,
        128 << 10,
        64 << 10,
        32 << 10,
        16 << 10,
        8 << 10,
        4 << 10,
        0,
    ] {
        for text in texts {
            // What this side needs is there before the memory goes.
            let Ok(c) = TcpStream::connect(&s.at) else {
                continue;
            };
            c.set_deadline(Some(Instant::now() + 300 * MS));
            let mut buf = alloc::vec![0; 4096];
            let limit = MemoryLimit::to(left);
            let _ = c.write_all(text);
            let _ = c.shutdown(burrow::net::Shutdown::Write);
            let mut seen = 0;
            while let Ok(n @ 1..) = c.read(&mut buf) {
                seen += n;
            }
            drop(c);
            drop(limit); // the loopback link itself needs memory
            ask();
            match seen {
                0 => failed += 1,
                _ => whole += 1,
            }
        }
    }
    println!("{whole} answered, {failed} not");
    let client = Client::new();
    assert_eq!(client.get(&s.url("/hello")).unwrap().text().unwrap(), "hello");
    drop(old);
    s.stop();
}

/// Connections come until there is no memory: the next is refused, those that are there are served.
#[burrow::test(timeout = 120)]
fn connections_until_memory_ends() {
    let s = Running::start(Server::builder());
    let hello = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut conns: Vec<TcpStream> = Vec::with_capacity(1000);
    let limit = MemoryLimit::to(6 << 20);
    let ask = |c: &TcpStream, within: Duration| {
        c.set_deadline(Some(Instant::now() + within));
        let mut buf = [0; 300];
        c.write_all(hello).is_ok() && matches!(c.read(&mut buf), Ok(1..))
    };
    let mut refused = 0;
    while refused < 3 && conns.len() < conns.capacity() {
        match TcpStream::connect_timeout(&s.at, 200 * MS) {
            Ok(c) if ask(&c, 1000 * MS) => conns.push(c),
            _ => refused += 1,
        }
    }
    assert!(
        refused > 0 && conns.len() > 2,
        "{} connections, {refused} refused",
        conns.len()
    );
    // The server takes nobody while there is little left for those it has: that is still there. (This side's end of a
    // connection may have come out of it: the guest's own programs get everything.)
    let mut kept: Vec<u8> = Vec::new();
    kept.try_reserve_exact(1 << 20).expect("kept for those who live");
    drop(kept);
    // A frame for which there was no memory is sent again, after a second or two.
    let goes_on = |c: &TcpStream| ask(c, 20_000 * MS);
    assert!(conns.iter().all(goes_on), "those that live go on");
    drop(limit);
    let c = spawn({
        let url = s.url("/hello");
        move || Client::new().get(&url).unwrap().text().unwrap()
    });
    assert_eq!(c.join().unwrap(), "hello");
    println!("{} connections in 6 MiB", conns.len());
    drop(conns);
    s.stop();
}
