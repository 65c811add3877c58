//! Sockets over the loopback link, on goroutines: echo, crowds, deadlines from interrupts, close against everything.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{string::ToString, vec, vec::Vec};
use core::time::Duration;

use burrow::{
    go,
    net::{Error, Shutdown, TcpListener, TcpStream, UdpSocket},
    println, runtime, spawn,
    time::{self, Instant},
};
use burrow_tests::{Procs, at_the_end};

burrow::test_main!();

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
                let mut buf = [0; 1024];
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

#[burrow::test]
fn messages() {
    assert_eq!(Error::Refused.to_string(), "connection refused");
    assert_eq!(Error::TimedOut.to_string(), "i/o timeout");
    assert_eq!(Error::Closed.to_string(), "use of closed network connection");
}

#[burrow::test]
fn echo_over_both_families() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let l = echo_server(at);
        let c = TcpStream::connect(l.local_addr()).unwrap();
        for n in [1, 64, 1000, 4096, 20_000] {
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

#[burrow::test]
fn refused_and_in_use() {
    assert_eq!(TcpStream::connect("127.0.0.1:9").unwrap_err(), Error::Refused);
    assert_eq!(TcpStream::connect("[::1]:9").unwrap_err(), Error::Refused);
    let l = TcpListener::bind(":0").unwrap();
    assert_eq!(TcpListener::bind(l.local_addr()).unwrap_err(), Error::AddrInUse);
}

#[burrow::test]
fn half_close() {
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

#[burrow::test]
fn deadlines_fire_move_and_stay() {
    let (a, b) = pair();
    let begin = Instant::now();
    a.set_read_deadline(Some(begin + 5 * MS));
    assert_eq!(a.read(&mut [0; 8]), Err(Error::TimedOut));
    assert!(begin.elapsed() >= 5 * MS);
    b.write_all(b"late").unwrap();
    assert_eq!(a.read(&mut [0; 8]), Err(Error::TimedOut));
    a.set_read_deadline(None);
    assert_eq!(a.read(&mut [0; 8]), Ok(4));
    a.set_write_deadline(Some(Instant::now() + 5 * MS));
    assert_eq!(a.write_all(&[0; 100_000]), Err(Error::TimedOut));
    // A deadline in the past wakes who waits already.
    let r = b.clone();
    let (c, _d) = pair();
    drop(r);
    let waiting = c.clone();
    let h = spawn(move || waiting.read(&mut [0; 8]));
    time::sleep(2 * MS);
    c.set_read_deadline(Some(Instant::now()));
    assert_eq!(h.join().unwrap(), Err(Error::TimedOut));
}

#[burrow::test]
fn close_ends_every_wait() {
    for _ in 0..20 {
        let (a, _b) = pair();
        let (r, r2, w) = (a.clone(), a.clone(), a.clone());
        let hs = [
            spawn(move || r.read(&mut [0; 8]).map(|_| ())),
            spawn(move || r2.read(&mut [0; 8]).map(|_| ())),
            spawn(move || w.write_all(&[0; 100_000])),
        ];
        time::sleep(MS);
        a.close().unwrap();
        for h in hs {
            assert_eq!(h.join().unwrap(), Err(Error::Closed));
        }
        assert_eq!(a.close(), Err(Error::Closed));
        let l = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = l.clone();
        let h = spawn(move || other.accept().map(|_| ()));
        burrow::yield_now();
        l.close().unwrap();
        assert_eq!(h.join().unwrap(), Err(Error::Closed));
    }
}

#[burrow::test]
fn dropping_resets_what_is_unread() {
    let (a, b) = pair();
    a.write_all(b"never read").unwrap();
    drop(b);
    assert_eq!(a.read(&mut [0; 8]), Err(Error::Reset));
}

#[burrow::test]
fn a_megabyte_in_order() {
    let (a, b) = pair();
    let begin = Instant::now();
    let h = spawn(move || {
        for i in 0..256u32 {
            let block: Vec<u8> = (0..4096u32).map(|k| (i * 31 + k * 7) as u8).collect();
            a.write_all(&block).unwrap();
        }
    });
    let mut got = Vec::new();
    b.read_to_end(&mut got).unwrap();
    h.join().unwrap();
    assert_eq!(got.len(), 1 << 20);
    assert!(got.iter().enumerate().all(|(n, &g)| {
        let (i, k) = (n as u32 / 4096, n as u32 % 4096);
        g == (i * 31 + k * 7) as u8
    }));
    println!("1 MiB in {:?}", begin.elapsed());
}

/// A goroutine that never lets go of its core does not keep sockets from being served.
#[burrow::test]
fn hogs_do_not_stop_the_network() {
    use core::sync::atomic::{AtomicBool, Ordering};
    static STOP: AtomicBool = AtomicBool::new(false);
    for _ in 0..runtime::gomaxprocs(0) {
        go(|| {
            while !STOP.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
        });
    }
    let l = echo_server("127.0.0.1:0");
    let c = TcpStream::connect(l.local_addr()).unwrap();
    for _ in 0..3 {
        c.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        assert_eq!(c.read_full(&mut back), Ok(5));
    }
    STOP.store(true, Ordering::Relaxed);
    l.close().unwrap();
}

#[burrow::test]
fn a_thousand_connections() {
    let l = echo_server("127.0.0.1:0");
    let addr = l.local_addr();
    let hs: Vec<_> = (0..10u32)
        .map(|k| {
            spawn(move || {
                let conns: Vec<_> = (0..100).map(|_| TcpStream::connect(addr).unwrap()).collect();
                for round in 0..3u32 {
                    for (i, c) in conns.iter().enumerate() {
                        let word = (k << 24 | round << 16 | i as u32).to_le_bytes();
                        c.write_all(&word).unwrap();
                        let mut back = [0; 4];
                        assert_eq!(c.read_full(&mut back), Ok(4));
                        assert_eq!(back, word);
                    }
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    l.close().unwrap();
}

/// 10,000 connections, both ends here: each is pinged twice, and a ping costs the same as with one connection.
#[burrow::test(timeout = 300)]
fn ten_thousand_connections() {
    let l = echo_server("127.0.0.1:0");
    let addr = l.local_addr();
    let begin = Instant::now();
    // In deterministic mode an instruction takes 32 ns, and a test a minute at most.
    let n = if burrow::opts::flag("det") { 1_000 } else { 10_000 };
    let conns: Vec<_> = (0..n).map(|_| TcpStream::connect(addr).unwrap()).collect();
    println!("{n} connections in {:?}", begin.elapsed());
    for _ in 0..2 {
        let begin = Instant::now();
        for (i, c) in conns.iter().enumerate() {
            let word = (i as u32).to_le_bytes();
            c.write_all(&word).unwrap();
            let mut back = [0; 4];
            assert_eq!(c.read_full(&mut back), Ok(4));
            assert_eq!(back, word);
        }
        println!("a ping on each in {:?}", begin.elapsed());
    }
    let begin = Instant::now();
    drop(conns);
    l.close().unwrap();
    println!("closed in {:?}, {:?}", begin.elapsed(), burrow::net::stats());
}

#[burrow::test]
fn datagrams() {
    let (a, b) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    for n in [0, 1, 1472, 9000] {
        a.send_to(&vec![7; n], b.local_addr()).unwrap();
        let mut buf = vec![0; 10_000];
        let (m, from) = b.recv_from(&mut buf).unwrap();
        assert_eq!((m, from), (n, a.local_addr()));
    }
    a.set_read_deadline(Some(Instant::now() + 2 * MS));
    assert_eq!(a.recv_from(&mut [0]), Err(Error::TimedOut));
    let c = b.clone();
    let h = spawn(move || c.recv_from(&mut [0; 4]));
    time::sleep(2 * MS);
    b.close().unwrap();
    assert_eq!(h.join().unwrap(), Err(Error::Closed));
}

/// Reports the round trip; PEERS.md has Go's in instructions.
#[burrow::test]
fn round_trips() {
    let l = echo_server("127.0.0.1:0");
    let c = TcpStream::connect(l.local_addr()).unwrap();
    let (message, mut back) = ([7; 64], [0; 64]);
    const N: u32 = 2000;
    let begin = Instant::now();
    for _ in 0..N {
        c.write_all(&message).unwrap();
        c.read_full(&mut back).unwrap();
    }
    println!(
        "lo_tcp_echo64: {} ns per round trip",
        begin.elapsed().as_nanos() / u128::from(N)
    );
    l.close().unwrap();
}

/// Thousands of connections come and go, half of them in peace: nothing of them stays.
#[burrow::test(timeout = 120)]
fn closed_connections_leave_nothing_behind() {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = l.local_addr();
    let round = |peace: bool| {
        let a = TcpStream::connect(addr).unwrap();
        let (b, _) = l.accept().unwrap();
        b.write_all(b"hello").unwrap();
        if peace {
            assert_eq!(a.read(&mut [0; 8]), Ok(5));
        } // else it is unread, and resets the peer
        drop(a);
        assert!(peace == matches!(b.read(&mut [0; 8]), Ok(0)));
    };
    // What lingers after a close in peace goes as newer ones come, so both counts are taken with as many.
    let n = if burrow::opts::flag("det") { 200 } else { 2_500 };
    (0..n).for_each(|_| round(true));
    (0..100).for_each(|_| round(false));
    // Once what is on its way to its end (a FIN not yet answered, on another core) has got there.
    let count = || {
        let on_the_way = |s: &burrow::net::Stats| {
            let calm = ["time-wait", "listen", "closed"];
            s.states.iter().any(|(name, n)| *n > 0 && !calm.contains(name))
        };
        while on_the_way(&burrow::net::stats()) {
            time::sleep(MS);
        }
        let stats = burrow::net::stats();
        println!("{stats}");
        let lingering = stats
            .states
            .iter()
            .find(|s| s.0 == "time-wait")
            .map_or(0, |s| s.1);
        (stats.sockets, runtime::read_mem_stats().heap_alloc, lingering)
    };
    let before = count();
    (0..2 * n).for_each(|i| round(i % 2 == 0));
    let after = count();
    println!("sockets, bytes, lingering: {before:?}, then {after:?}");
    assert!(after.0 <= before.0 + n, "{before:?} {after:?}");
    // As many linger each time, but on a host so slow that their ten seconds are over before there are as many as may.
    if n > 1024 && after.2 <= before.2 {
        assert!(after.0 <= before.0, "{before:?} {after:?}");
        assert!(after.1 < before.1 + 65_536, "{before:?} {after:?}");
    }
}

/// The stack of a goroutine ends somewhere inside of a call into the network: that is its panic, the connection and
/// the network go on.
#[burrow::test]
fn a_call_at_the_end_of_a_stack() {
    #[inline(never)]
    fn deeper(a: &TcpStream, b: &TcpStream, n: u64) -> u64 {
        let room = core::hint::black_box([n; 40]);
        if n == u64::MAX {
            return 0;
        }
        a.write_all(b"x").unwrap();
        assert_eq!(b.read(&mut [0]), Ok(1));
        deeper(a, b, core::hint::black_box(n + 1)) + room[3]
    }
    let (a, b) = pair();
    for _ in 0..3 {
        let (a, b) = (a.clone(), b.clone());
        let p = spawn(move || deeper(&a, &b, 0)).join().unwrap_err();
        assert!(
            matches!(p.kind(), burrow::panic::Kind::StackOverflow { .. }),
            "{p:?}"
        );
    }
    a.set_read_deadline(Some(Instant::now() + 5000 * MS));
    a.write_all(b"end").unwrap();
    b.write_all(b"end").unwrap();
    let mut word = [0; 3];
    while a.read(&mut word) != Ok(3) {}
    assert_eq!(&word, b"end");
}

/// Whom the last call of a goroutine wakes is awake, wherever in that call its stack ended: also between the lock under which
/// the sleeper was found and the waking. On one P he sleeps again before each call.
#[burrow::test]
fn who_is_woken_at_the_end_of_a_stack() {
    use core::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let _one = Procs::one();
    fn write(a: &TcpStream, _: &TcpStream, _: Instant) {
        a.write_all(b"x").unwrap();
    }
    fn hurry(_: &TcpStream, b: &TcpStream, past: Instant) {
        b.set_read_deadline(Some(past));
    }
    let calls: [fn(&TcpStream, &TcpStream, Instant); 2] = [write, hurry];
    let past = Instant::now();
    // For one step of `deeper`: the end of the stack comes to be everywhere.
    for (shift, call) in (0..60).flat_map(|s| calls.map(|c| (s, c))) {
        let (a, b) = pair();
        let done = burrow::chan::<()>(1);
        let (reader, last) = (b.clone(), done.sender());
        go(move || {
            loop {
                match reader.read(&mut [0; 8]) {
                    Ok(1..) => {}
                    Err(Error::TimedOut) => reader.set_read_deadline(None),
                    _ => break,
                }
            }
            last.send(());
        });
        let c = a.clone();
        let p = spawn(move || {
            burrow::yield_now();
            at_the_end(shift, &|| {
                CALLS.fetch_add(1, Ordering::Relaxed);
                call(&c, &b, past);
                burrow::yield_now(); // the reader reads, and sleeps
            })
        });
        let p = p.join().unwrap_err();
        assert!(
            matches!(p.kind(), burrow::panic::Kind::StackOverflow { .. }),
            "{p:?}"
        );
        drop(a);
        let begin = Instant::now();
        while done.try_recv().is_err() {
            assert!(
                begin.elapsed() < 20_000 * MS,
                "the reader was woken, and sleeps on"
            );
            burrow::yield_now();
        }
    }
    assert!(CALLS.load(Ordering::Relaxed) > 100);
}
