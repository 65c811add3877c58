//! The whole stack over its loopback link, on the host: real threads, real races.
#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::{
    go, spawn,
    time::{Duration, Instant, sleep},
};

const MS: Duration = Duration::from_millis(1);

fn pair() -> (TcpStream, TcpStream) {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(l.local_addr()).unwrap();
    let (b, from) = l.accept().unwrap();
    assert_eq!((from, b.local_addr()), (a.local_addr(), a.peer_addr()));
    (a, b)
}

fn echo_server(at: &str) -> TcpListener {
    let l = TcpListener::bind(at).unwrap();
    let server = l.clone();
    go(move || {
        for conn in server.incoming() {
            go(move || {
                let mut buf = [0; 2048];
                while let Ok(n @ 1..) = conn.read(&mut buf) {
                    if conn.write_all(&buf[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    l
}

#[test]
fn echo_over_both_families() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let l = echo_server(at);
        let c = TcpStream::connect(l.local_addr()).unwrap();
        for n in [1, 64, 1000, 4096, 10_000] {
            let data: Vec<u8> = (0..n).map(|i| i as u8).collect();
            let (w, d) = (c.clone(), data.clone());
            let h = spawn(move || w.write_all(&d));
            let mut back = vec![0; n];
            assert_eq!(c.read_full(&mut back), Ok(n));
            assert_eq!(back, data);
            h.join().unwrap().unwrap();
        }
        c.shutdown(Shutdown::Write).unwrap();
        assert_eq!(c.read(&mut [0; 8]), Ok(0));
        l.close().unwrap();
    }
}

#[test]
fn refused_in_use_and_nonsense() {
    assert_eq!(TcpStream::connect("127.0.0.1:9").unwrap_err(), Error::Refused);
    assert_eq!(TcpStream::connect("[::1]:9").unwrap_err(), Error::Refused);
    assert_eq!(TcpStream::connect("127.0.0.1:0").unwrap_err(), Error::InvalidAddr);
    assert_eq!(
        TcpStream::connect("203.0.113.7:80").unwrap_err(),
        Error::Unreachable
    );
    assert_eq!(
        TcpListener::bind("203.0.113.7:80").unwrap_err(),
        Error::AddrNotAvailable
    );
    let l = TcpListener::bind(":0").unwrap();
    assert_eq!(TcpListener::bind(l.local_addr()).unwrap_err(), Error::AddrInUse);
    assert_eq!(
        TcpListener::bind((
            "127.0.0.1".parse::<core::net::IpAddr>().unwrap(),
            l.local_addr().port()
        ))
        .unwrap_err(),
        Error::AddrInUse
    );
    let port = l.local_addr().port();
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    assert!(TcpStream::connect(format!("[::1]:{port}")).is_ok());
    drop(l);
    assert_eq!(
        TcpStream::connect(format!("127.0.0.1:{port}")).unwrap_err(),
        Error::Refused
    );
}

#[test]
fn half_close_and_end() {
    let (a, b) = pair();
    a.write_all(b"question").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    assert_eq!(a.write(b"x"), Err(Error::BrokenPipe));
    let mut got = Vec::new();
    b.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"question");
    b.write_all(b"answer").unwrap();
    drop(b);
    got.clear();
    a.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"answer");
}

#[test]
fn peek_keeps_what_it_shows() {
    let (a, b) = pair();
    let waiting = b.clone();
    let h = spawn(move || waiting.peek(&mut [0; 3]));
    a.write_all(b"word").unwrap();
    assert!((1..=3).contains(&h.join().unwrap().unwrap()));
    let mut all = [0; 8];
    assert_eq!(
        (b.peek(&mut all), b.read(&mut all), &all[..4]),
        (Ok(4), Ok(4), &b"word"[..])
    );
    drop(a);
    assert_eq!((b.peek(&mut all), b.peek(&mut all)), (Ok(0), Ok(0)));
    b.set_read_deadline(Some(Instant::now()));
    assert_eq!(b.peek(&mut all), Err(Error::TimedOut));
    b.close().unwrap();
    assert_eq!(b.peek(&mut all), Err(Error::Closed));
}

/// A connection that was reset says so, as often as it is asked.
#[test]
fn why_it_failed() {
    let (a, b) = pair();
    a.write_all(b"never read").unwrap();
    drop(b);
    while a.read(&mut [0; 8]).is_ok() {}
    assert_eq!(
        (a.take_error(), a.take_error()),
        (Ok(Some(Error::Reset)), Ok(Some(Error::Reset)))
    );
}

#[test]
fn deadlines() {
    let (a, b) = pair();
    let begin = Instant::now();
    a.set_read_deadline(Some(begin + 5 * MS));
    assert_eq!(a.read(&mut [0; 8]), Err(Error::TimedOut));
    assert!(begin.elapsed() >= 5 * MS);
    b.write_all(b"late").unwrap();
    assert_eq!(a.read(&mut [0; 8]), Err(Error::TimedOut), "passed is passed");
    a.set_read_deadline(None);
    assert_eq!(a.read(&mut [0; 8]), Ok(4));
    // A writer whose peer does not read.
    a.set_write_deadline(Some(Instant::now() + 5 * MS));
    assert_eq!(a.write_all(&[0; 100_000]), Err(Error::TimedOut));
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    l.set_deadline(Some(Instant::now() + 2 * MS));
    assert_eq!(l.accept().unwrap_err(), Error::TimedOut);
}

#[test]
fn close_while_reading_writing_accepting() {
    let (a, _b) = pair();
    let (r, w) = (a.clone(), a.clone());
    let r = spawn(move || r.read(&mut [0; 8]));
    let w = spawn(move || w.write_all(&[0; 100_000]));
    sleep(5 * MS);
    a.close().unwrap();
    assert_eq!(r.join().unwrap(), Err(Error::Closed));
    assert_eq!(w.join().unwrap(), Err(Error::Closed));
    assert_eq!(
        (a.close(), a.read(&mut [0])),
        (Err(Error::Closed), Err(Error::Closed))
    );
}

#[test]
fn unread_data_resets_the_peer() {
    let (a, b) = pair();
    a.write_all(b"never read").unwrap();
    drop(b);
    let r = (0..100).find_map(|_| a.read(&mut [0; 8]).err());
    assert_eq!(r, Some(Error::Reset));
    assert_eq!(a.write(b"x"), Err(Error::Reset));
}

#[test]
fn a_megabyte_arrives_in_order() {
    let (a, b) = pair();
    let h = spawn(move || {
        let mut x = 1u32;
        for _ in 0..256 {
            let block: Vec<u8> = (0..4096)
                .map(|_| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (x >> 24) as u8
                })
                .collect();
            a.write_all(&block).unwrap();
        }
    });
    let (mut got, mut x) = (Vec::new(), 1u32);
    b.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 1 << 20);
    assert!(got.iter().all(|&g| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        g == (x >> 24) as u8
    }));
    h.join().unwrap();
}

#[test]
fn many_connections_at_once() {
    let l = echo_server("127.0.0.1:0");
    let addr = l.local_addr();
    let done = Arc::new(AtomicUsize::new(0));
    let hs: Vec<_> = (0..8)
        .map(|k| {
            let done = done.clone();
            spawn(move || {
                let conns: Vec<_> = (0..60).map(|_| TcpStream::connect(addr).unwrap()).collect();
                for round in 0..10u32 {
                    for (i, c) in conns.iter().enumerate() {
                        let word = (k << 24 | round << 16 | i as u32).to_le_bytes();
                        c.write_all(&word).unwrap();
                        let mut back = [0; 4];
                        assert_eq!(c.read_full(&mut back), Ok(4));
                        assert_eq!(back, word);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), 8 * 60 * 10);
    l.close().unwrap();
}

#[test]
fn datagrams() {
    let (a, b) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind(":0").unwrap(),
    );
    assert_eq!(UdpSocket::bind(a.local_addr()).unwrap_err(), Error::AddrInUse);
    for n in [0, 1, 1472, 9000] {
        a.send_to(
            &vec![7; n],
            (
                "127.0.0.1".parse::<core::net::IpAddr>().unwrap(),
                b.local_addr().port(),
            ),
        )
        .unwrap();
        let mut buf = vec![0; 10_000];
        let (m, from) = b.recv_from(&mut buf).unwrap();
        assert_eq!((m, from), (n, a.local_addr()));
        b.send_to(&buf[..m], from).unwrap();
        assert_eq!(a.recv_from(&mut buf).unwrap().0, n);
    }
    assert_eq!(a.send_to(&[0; 70_000], "127.0.0.1:9"), Err(Error::MessageTooLong));
    a.set_read_deadline(Some(Instant::now() + 2 * MS));
    assert_eq!(a.recv_from(&mut [0]), Err(Error::TimedOut));
    let c = b.clone();
    let h = spawn(move || c.recv_from(&mut [0; 4]));
    sleep(2 * MS);
    b.close().unwrap();
    assert_eq!(h.join().unwrap(), Err(Error::Closed));
}

/// A connection that talks now and then puts its delayed answer before its keep-alive each time. That must not leave
/// anything behind.
#[test]
fn pauses_leave_no_deadlines_behind() {
    let (a, b) = pair();
    for _ in 0..25 {
        a.write_all(b"ping").unwrap();
        assert_eq!(b.read(&mut [0; 8]), Ok(4));
        sleep(Duration::from_micros(100));
        b.write_all(b"pong").unwrap();
        assert_eq!(a.read(&mut [0; 8]), Ok(4));
        sleep(12 * MS);
    }
    let (entries, sockets) = stack::with(|s| (s.deadlines.len(), s.socks.len()));
    assert!(entries <= sockets, "{entries} deadlines of {sockets} sockets");
}

/// Loss, doubles, disorder and wrong bits: the stream arrives whole and in order all the same.
#[test]
fn a_bad_link_loses_nothing() {
    let FaultyLink { ip, .. } = add_faulty_link(Faults {
        loss: 50,
        duplication: 20,
        reordering: 50,
        corruption: 10,
        seed: 42,
    });
    let l = TcpListener::bind((ip, 0)).unwrap();
    let a = TcpStream::connect(l.local_addr()).unwrap();
    let (b, _) = l.accept().unwrap();
    let data: Vec<u8> = (0..40_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let sent = data.clone();
    let h = spawn(move || a.write_all(&sent));
    let mut got = vec![0; data.len()];
    assert_eq!(b.read_full(&mut got), Ok(data.len()));
    assert!(got == data);
    h.join().unwrap().unwrap();
}

/// Frames that were damaged in every way, through the path of a device: nothing panics, and the stack lives.
#[test]
fn malformed_frames_do_no_harm() {
    let FaultyLink { ip, .. } = add_faulty_link(Faults {
        corruption: 700,
        duplication: 300,
        seed: 7,
        ..Faults::default()
    });
    let l = TcpListener::bind((ip, 0)).unwrap();
    let u = UdpSocket::bind((ip, 0)).unwrap();
    for i in 0..3000 {
        let _ = u.send_to(&[i as u8; 100], u.local_addr());
        if i % 30 == 0 {
            let _ = TcpStream::connect_timeout(l.local_addr(), Duration::from_micros(200));
        }
    }
    drop(l);
    let (a, b) = pair();
    a.write_all(b"alive").unwrap();
    assert_eq!(b.read(&mut [0; 8]), Ok(5));
}
