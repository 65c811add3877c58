//! Resets that somebody forges, and those that the peer means.
#![forbid(unsafe_code)]

use smoltcp::wire::TcpControl;

use super::{super::Error, IP, OUR_IP, Rig, SECOND, frames};

const US: (smoltcp::wire::Ipv4Address, u16) = (OUR_IP, 4000);

/// A connection that we opened, in which five bytes have come, two of which were read: the next number is 106.
fn open(r: &mut Rig) -> (u32, u32) {
    let (l, ..) = r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    r.input(frames::tcp(US, (IP, 80), TcpControl::Syn, 100, None, b""));
    let out = r.output();
    let seq = frames::tcp_of(&out[0]).unwrap().seq_number().0 as u32 + 1;
    r.input(frames::tcp(
        US,
        (IP, 80),
        TcpControl::Psh,
        101,
        Some(seq),
        b"bytes",
    ));
    let (id, ..) = r.s.accept(l).unwrap();
    assert_eq!(r.s.recv(id, &mut [0; 2]), Ok(Some(2)));
    r.pass(SECOND);
    r.output();
    (id, seq)
}

fn reset(r: &mut Rig, seq: u32, ack: Option<u32>) -> Vec<Vec<u8>> {
    r.input(frames::tcp(US, (IP, 80), TcpControl::Rst, seq, ack, b""));
    r.output()
}

#[test]
fn the_exact_number_resets() {
    let mut r = Rig::new();
    let (id, _) = open(&mut r);
    assert!(reset(&mut r, 106, None).is_empty());
    assert_eq!(r.s.send(id, b"x"), Err(Error::Reset));
}

/// Any other number in the window gets an acknowledgement with the exact one, at most one a second, whatever the reset
/// acknowledges, or nothing.
#[test]
fn another_number_is_asked_about() {
    // Our numbers are random, and may be in either half of the number space.
    for _ in 0..20 {
        let mut r = Rig::new();
        let (id, seq) = open(&mut r);
        let acks = [
            None,
            Some(seq),
            Some(seq.wrapping_sub(1)),
            Some(seq ^ 1 << 31),
            Some(0),
        ];
        for (n, ack) in acks.into_iter().enumerate() {
            let out = reset(&mut r, 107, ack);
            assert_eq!(out.len(), 1, "{ack:?} of {seq}");
            let answer = frames::tcp_of(&out[0]).unwrap();
            assert!(answer.ack() && !answer.rst());
            assert_eq!((answer.ack_number().0, answer.seq_number().0 as u32), (106, seq));
            assert!(reset(&mut r, 107 + n as u32, ack).is_empty(), "once a second");
            r.pass(2 * SECOND);
        }
        for far in [101, 105, 106 + (32 << 10), 106 + (1 << 31)] {
            assert!(reset(&mut r, far, Some(seq)).is_empty());
        }
        assert_eq!(r.s.nics[r.nic].counters.inexact_resets, 14);
        let mut rest = [0; 8];
        assert_eq!(r.s.recv(id, &mut rest), Ok(Some(3)));
        assert_eq!(&rest[..3], b"tes");
        assert_eq!(r.s.send(id, b"x"), Ok(Some(1)));
    }
}

/// Asking acknowledges nothing: what was sent and not answered is sent again.
#[test]
fn asking_believes_nothing() {
    for _ in 0..20 {
        let mut r = Rig::new();
        let (id, seq) = open(&mut r);
        assert_eq!(r.s.send(id, b"unanswered"), Ok(Some(10)));
        assert_eq!(r.output().len(), 1);
        reset(&mut r, 107, Some(seq.wrapping_add(10)));
        r.pass(10 * SECOND);
        let again = r.output();
        let first = frames::tcp_of(&again[0]).unwrap();
        assert_eq!(
            (first.seq_number().0 as u32, first.payload()),
            (seq, &b"unanswered"[..])
        );
    }
}

/// A reset with data is no way to get data in.
#[test]
fn data_in_a_reset_goes_nowhere() {
    let mut r = Rig::new();
    let (id, seq) = open(&mut r);
    for at in [104, 105, 107] {
        let f = frames::tcp(US, (IP, 80), TcpControl::Rst, at, Some(seq), b"forged");
        r.input(f);
        assert!(r.output().is_empty());
    }
    assert_eq!(r.s.recv(id, &mut [0; 8]), Ok(Some(3)));
    assert_eq!(r.s.recv(id, &mut [0; 8]), Ok(None));
}

/// The peer's FIN has a number too.
#[test]
fn after_the_end_of_the_stream() {
    let mut r = Rig::new();
    let (id, seq) = open(&mut r);
    r.input(frames::tcp(US, (IP, 80), TcpControl::Fin, 106, Some(seq), b""));
    reset(&mut r, 106, Some(seq));
    assert_eq!(r.s.send(id, b"x"), Ok(Some(1)));
    reset(&mut r, 107, None);
    assert_eq!(r.s.send(id, b"x"), Err(Error::Reset));
}

/// Half open: whoever asked takes it back.
#[test]
fn half_open_is_taken_back() {
    let mut r = Rig::new();
    r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    r.input(frames::tcp(US, (IP, 80), TcpControl::Syn, 100, None, b""));
    assert_eq!(r.output().len(), 1);
    for ack in [None, Some(0), Some(7)] {
        assert!(reset(&mut r, 102, ack).is_empty());
        assert_eq!(r.s.tuples.len(), 1);
    }
    reset(&mut r, 101, None);
    assert_eq!(r.s.tuples.len(), 0);
}

/// The side that connects: the peer's first number comes with its SYN.
#[test]
fn of_a_connection_of_ours() {
    let mut r = Rig::new();
    let (id, _, tuple) = r.s.connect("10.7.0.2:7".parse().unwrap()).unwrap();
    let out = r.output();
    let seq = frames::tcp_of(&out[0]).unwrap().seq_number().0 as u32 + 1;
    let (us, to) = ((OUR_IP, 7), (IP, tuple.local.port()));
    r.input(frames::tcp(us, to, TcpControl::Syn, 900, Some(seq), b""));
    assert_eq!(r.s.connected(id), Some(Ok(())));
    r.input(frames::tcp(us, to, TcpControl::Rst, 902, Some(seq), b""));
    assert_eq!(r.s.recv(id, &mut [0]), Ok(None));
    r.input(frames::tcp(us, to, TcpControl::Rst, 901, Some(seq), b""));
    assert_eq!(r.s.recv(id, &mut [0]), Err(Error::Reset));
}
