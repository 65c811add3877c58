//! Connections without memory.

use alloc::{string::ToString, vec::Vec};
use core::time::Duration;

use burrow::{
    Builder, net,
    net::{TcpListener, TcpStream},
    println, spawn, time,
};
use burrow_tests::{MemoryLimit, Procs};

use super::{memory_comes_back, take};

/// Connections that have come find no memory for their handles: each is closed, once, and what was theirs serves others.
#[burrow::test(timeout = 120)]
fn connections_without_memory_for_a_handle() {
    let l = TcpListener::bind("127.0.0.1:0").expect("there is memory");
    let connect = || TcpStream::connect(l.local_addr()).expect("there is memory");
    let clients: [TcpStream; 8] = core::array::from_fn(|_| connect());
    let mut rest: Vec<Vec<u8>> = Vec::with_capacity(20_000);
    let one = Procs::one(); // no other core has memory left over
    let limit = MemoryLimit::to(256 << 10);
    let sizes = || {
        [64 << 10, 4096, 1024]
            .into_iter()
            .chain((1..=40).rev().map(|n| 16 * n))
    }; // whatever class it is
    while take(&mut rest, sizes()) {} // failing shakes some memory loose
    let handles: [_; 8] = core::array::from_fn(|_| l.accept().map(|(conn, _)| conn));
    drop((rest, limit, one));
    let refused = handles.iter().filter(|h| h.is_err()).count();
    println!("{refused} of 8 found no memory");
    assert!(refused > 0, "none met the end of memory");
    let others: [_; 8] = core::array::from_fn(|_| (connect(), l.accept().expect("there is memory").0));
    let pairs = clients
        .into_iter()
        .zip(handles)
        .chain(others.map(|(c, s)| (c, Ok(s))));
    for (i, (client, handle)) in pairs.enumerate() {
        let mut got = [0];
        match handle {
            Ok(conn) => {
                conn.write_all(&[i as u8]).expect("it lives");
                assert_eq!((client.read(&mut got), got[0]), (Ok(1), i as u8));
            }
            Err(e) => {
                assert_eq!(e, net::Error::OutOfMemory);
                assert_eq!(client.read(&mut got), Ok(0), "it was closed");
            }
        }
    }
}

/// Connections until there is no memory for more: the next is an error that says so, those that live go on, and each one
/// that closes makes room. Both ends are here, and a refused request goes without an answer, so a try has a limit.
#[burrow::test(timeout = 120)]
fn connections_at_the_limit() {
    const MOST: usize = 2_000;
    const SOON: Duration = Duration::from_millis(500);
    let l = TcpListener::bind("127.0.0.1:0").expect("there is memory");
    let at = l.local_addr();
    let server = l.clone();
    let serving = spawn(move || {
        let mut refused = 0;
        loop {
            let echo = match server.accept() {
                Ok((conn, _)) => move || {
                    let mut buf = [0; 64];
                    while let Ok(n @ 1..) = conn.read(&mut buf) {
                        if conn.write_all(&buf[..n]).is_err() {
                            return;
                        }
                    }
                },
                Err(net::Error::OutOfMemory) => {
                    refused += 1;
                    continue;
                }
                Err(_) => return refused,
            };
            // A connection for which there is no goroutine is closed.
            refused += u32::from(Builder::new().spawn(echo).is_err());
        }
    });
    let echoes = |c: &TcpStream, word: u64| {
        let mut back = [0; 8];
        c.set_deadline(Some(time::Instant::now() + 20 * SOON));
        let r = c
            .write_all(&word.to_le_bytes())
            .and_then(|()| c.read_full(&mut back));
        r == Ok(8) && u64::from_le_bytes(back) == word
    };
    let crowd = |conns: &mut Vec<TcpStream>| {
        let mut refused = 0; // also those that get no goroutine
        while refused < 5 && conns.len() < MOST {
            match TcpStream::connect_timeout(at, SOON) {
                Ok(c) if echoes(&c, 1) => conns.push(c),
                Ok(_) | Err(net::Error::TimedOut) => refused += 1, // the server had no memory for it
                Err(net::Error::OutOfMemory) => refused += 1,
                Err(e) => panic!("{e}"),
            }
        }
        println!("{} connections, {}", conns.len(), net::stats());
        assert_eq!(refused, 5, "there is an end to memory");
        assert!(conns.len() > 20);
        conns.len()
    };
    memory_comes_back(|| {
        let mut conns: Vec<TcpStream> = Vec::with_capacity(MOST);
        let mut rest: Vec<Vec<u8>> = Vec::with_capacity(10_000);
        let limit = MemoryLimit::to(8 << 20);
        let first = crowd(&mut conns);
        let sizes = [1 << 20, 64 << 10, 20 << 10, 4096, 512]; // all that sockets need
        while take(&mut rest, sizes) {} // failing shakes some memory loose
        let refusals = [
            TcpStream::connect_timeout(at, SOON).map(drop),
            TcpListener::bind("127.0.0.1:0").map(drop),
            net::UdpSocket::bind("127.0.0.1:0").map(drop),
            net::ping(at.ip(), SOON).map(drop),
        ];
        let alive = conns.iter().enumerate().all(|(i, c)| echoes(c, i as u64));
        drop(rest);
        assert_eq!(refusals, [Err(net::Error::OutOfMemory); 4]);
        assert!(alive, "a connection does not echo any more");
        assert_eq!(net::Error::OutOfMemory.to_string(), "cannot allocate memory");
        // Some go: there is room again.
        conns.truncate(first / 2);
        let new = loop {
            match TcpStream::connect_timeout(at, SOON) {
                Ok(c) if echoes(&c, 2) => break c,
                _ => time::sleep(Duration::from_millis(10)), // those closed take a round trip to go
            }
        };
        assert!(conns.iter().all(|c| echoes(c, 3)) && echoes(&new, 4));
        drop(new);
        conns.clear();
        let lives = |(state, n): &(&str, u64)| *state != "time-wait" && *n != 0;
        while net::stats().states.iter().any(lives) {
            time::sleep(Duration::from_millis(10));
        }
        // All that went wait to be forgotten, with their buffers: without other memory they give them to the next.
        let waiting = || {
            let states = net::stats().states;
            states.iter().find(|s| s.0 == "time-wait").map_or(0, |s| s.1)
        };
        let before = waiting();
        let mut rest: Vec<Vec<u8>> = Vec::with_capacity(10_000);
        while take(&mut rest, sizes) {}
        let next = TcpStream::connect_timeout(at, SOON);
        let after = waiting();
        drop((rest, next, conns, limit));
        assert!(before > 20 && after < before, "{before}, then {after}");
        while !net::connections(1).is_empty() {
            time::sleep(Duration::from_millis(100));
        }
    });
    l.close().expect("closed once");
    println!("the server refused {}", serving.join().expect("no panic"));
}
