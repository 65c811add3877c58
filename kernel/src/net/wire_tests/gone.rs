//! Peers that vanish without a word, and links that go and come back.
#![forbid(unsafe_code)]

use smoltcp::wire::TcpControl;

use super::{super::Error, IP, MS, OUR_IP, Rig, SECOND, frames};

const US: (smoltcp::wire::Ipv4Address, u16) = (OUR_IP, 4000);

/// A connection that we opened to port 80: the listener's socket, and the next sequence number of the stack's.
fn open(r: &mut Rig) -> (u32, u32) {
    let (l, ..) = r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    r.input(frames::tcp(US, (IP, 80), TcpControl::Syn, 100, None, b""));
    let out = r.output();
    let seq = frames::tcp_of(&out[0]).unwrap().seq_number().0 as u32 + 1;
    r.input(frames::tcp(US, (IP, 80), TcpControl::None, 101, Some(seq), b""));
    let (id, ..) = r.s.accept(l).unwrap();
    (id, seq)
}

/// The silent one is asked every minute, and after three without an answer the connection fails.
#[test]
fn an_idle_peer_that_is_gone_is_found_out() {
    let mut r = Rig::new();
    let (id, _) = open(&mut r);
    let (mut asked, begin) = (0, r.now);
    let mut buf = [0; 8];
    while r.s.recv(id, &mut buf) == Ok(None) {
        assert!(r.now - begin < 400 * SECOND, "never found out");
        r.pass(SECOND);
        r.input(frames::arp_request(OUR_IP, IP)); // the host itself is still there
        asked += r
            .output()
            .iter()
            .filter(|f| frames::tcp_of(f).is_some_and(|t| !t.rst()))
            .count();
    }
    assert_eq!(r.s.recv(id, &mut buf), Err(Error::TimedOut));
    assert!((2..=6).contains(&asked), "asked {asked} times");
    assert!(r.now - begin >= 170 * SECOND);
    r.s.release(id);
    r.run();
    assert_eq!(r.s.tuples.len(), 0);
}

/// An answer to the question keeps the connection.
#[test]
fn an_idle_peer_that_is_there_is_kept() {
    let mut r = Rig::new();
    let (id, seq) = open(&mut r);
    let mut buf = [0; 8];
    for _ in 0..900 {
        r.pass(SECOND);
        r.input(frames::arp_request(OUR_IP, IP));
        if r.output().iter().any(|f| frames::tcp_of(f).is_some()) {
            r.input(frames::tcp(US, (IP, 80), TcpControl::None, 101, Some(seq), b""));
        }
        assert_eq!(r.s.recv(id, &mut buf), Ok(None));
    }
}

/// What nobody acknowledges is sent again, ever more rarely, until the peer is given up; then both directions know.
#[test]
fn unacknowledged_data_gives_up() {
    let mut r = Rig::new();
    let (id, _) = open(&mut r);
    assert_eq!(r.s.send(id, b"into the void"), Ok(Some(13)));
    let (mut sent, begin) = (0, r.now);
    while r.s.send(id, b"").is_ok() && r.s.recv(id, &mut [0; 8]) == Ok(None) {
        assert!(r.now - begin < 400 * SECOND);
        r.pass(100 * MS);
        r.input(frames::arp_request(OUR_IP, IP));
        sent += r
            .output()
            .iter()
            .filter(|f| f.ends_with(b"into the void"))
            .count();
    }
    assert_eq!(r.s.recv(id, &mut [0; 8]), Err(Error::TimedOut));
    assert!((4..60).contains(&sent), "sent {sent} times");
}

/// A link that was away for half a minute: what was lost is sent again and everything goes on.
#[test]
fn a_link_that_comes_back() {
    let mut r = Rig::new();
    let (id, seq) = open(&mut r);
    r.s.send(id, b"patience").unwrap();
    for _ in 0..30 {
        r.pass(SECOND);
        r.output(); // lost
    }
    let mut waited = 0;
    loop {
        r.pass(100 * MS);
        r.input(frames::arp_request(OUR_IP, IP));
        if r.output().iter().any(|f| f.ends_with(b"patience")) {
            break;
        }
        waited += 1;
        assert!(waited < 650, "not within a minute");
    }
    r.input(frames::tcp(
        US,
        (IP, 80),
        TcpControl::Psh,
        101,
        Some(seq + 8),
        b"back",
    ));
    let mut buf = [0; 8];
    assert_eq!(r.s.recv(id, &mut buf), Ok(Some(4)));
}

/// Half open is given up after ten seconds.
#[test]
fn half_open_ends() {
    let mut r = Rig::new();
    r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    r.input(frames::tcp(US, (IP, 80), TcpControl::Syn, 100, None, b""));
    assert_eq!(r.s.tuples.len(), 1);
    for _ in 0..12 {
        r.pass(SECOND);
    }
    r.output();
    assert_eq!(r.s.tuples.len(), 0);
}

/// A request from somebody who never says where they are: neither the answer nor the reset can be sent, and the stack
/// neither keeps the connection nor asks itself for ever whether it may.
#[test]
fn a_peer_that_cannot_be_reached() {
    let mut r = Rig::new();
    r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    let silent = ([10, 7, 0, 77].into(), 4000);
    r.input(frames::tcp(silent, (IP, 80), TcpControl::Syn, 100, None, b""));
    assert_eq!(r.s.tuples.len(), 1);
    for _ in 0..15 {
        r.pass(SECOND);
        assert!(r.output().iter().all(|f| frames::tcp_of(f).is_none()));
    }
    assert_eq!(r.s.tuples.len(), 0);
}
