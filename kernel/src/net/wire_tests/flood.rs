//! A flood of connection requests that nobody means.
#![forbid(unsafe_code)]

use smoltcp::wire::{Ipv4Address, TcpControl};

use super::{super::listen::HALF_OPEN, IP, MS, OUR_IP, Rig, frames};

fn random(x: &mut u64) -> u64 {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    *x
}

/// A request that nobody means.
fn stranger(r: &mut Rig, x: &mut u64) {
    let n = random(x);
    let from = Ipv4Address::from((0x0b00_0000 | n as u32 & 0x00ff_ffff).to_be_bytes());
    let port = 1024 + (n >> 32) as u16 % 60_000;
    r.input(frames::tcp(
        (from, port),
        (IP, 80),
        TcpControl::Syn,
        n as u32,
        None,
        b"",
    ));
}

/// An honest client asks from this port; what it is to acknowledge, if it is answered.
fn syn(r: &mut Rig, port: u16) -> Option<u32> {
    r.input(frames::tcp(
        (OUR_IP, port),
        (IP, 80),
        TcpControl::Syn,
        100,
        None,
        b"",
    ));
    let answers = r.output();
    let mut answers = answers.iter().filter_map(|f| frames::tcp_of(f));
    let answer = answers.find(|t| t.dst_port() == port)?;
    assert!(answer.syn() && answer.ack());
    Some(answer.seq_number().0 as u32 + 1)
}

/// Its answer to the answer, and a word.
fn ack(r: &mut Rig, port: u16, seq: u32, data: &[u8]) {
    let me = (OUR_IP, port);
    r.input(frames::tcp(me, (IP, 80), TcpControl::Psh, 101, Some(seq), data));
    r.output();
}

/// 100,000 requests from everywhere: memory stays bounded, and who means it is served all the while.
#[test]
fn a_hundred_thousand_requests() {
    let mut r = Rig::new();
    let (l, _pd, _) = r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    let (mut x, mut served) = (0x9e37_79b9_7f4a_7c15, 0u16);
    for i in 0..100_000u32 {
        stranger(&mut r, &mut x);
        if i % 1000 != 0 {
            continue;
        }
        r.output();
        assert!(r.s.socks.len() <= HALF_OPEN + 200, "{} sockets", r.s.socks.len());
        // A real client: its request, three hundred of the flood, its answer to the answer, and a word.
        let port = 2000 + served;
        let seq = syn(&mut r, port).expect("the request is answered");
        for k in 0..300u16 {
            let from = Ipv4Address::from((0x0c00_0000 | random(&mut x) as u32 & 0x00ff_ffff).to_be_bytes());
            r.input(frames::tcp(
                (from, 1024 + k),
                (IP, 80),
                TcpControl::Syn,
                1,
                None,
                b"",
            ));
        }
        ack(&mut r, port, seq, b"hello");
        let (id, _pd, tuple) = r.s.accept(l).expect("it is open");
        assert_eq!(
            tuple.remote,
            "10.7.0.2:0"
                .parse::<core::net::SocketAddr>()
                .map(|mut a| {
                    a.set_port(port);
                    a
                })
                .unwrap()
        );
        let mut buf = [0; 8];
        assert_eq!(r.s.recv(id, &mut buf), Ok(Some(5)));
        served += 1;
        r.pass(MS);
    }
    assert_eq!(served, 100);
    assert!(r.s.opens.forgotten > 90_000);
}

/// When memory is short, nobody new gets in; who is on the way or lives stays, and as soon as there is room the next may.
#[test]
fn newcomers_leave_memory_to_those_who_live() {
    let mut r = Rig::new();
    let (l, _pd, _) = r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    r.s.room = |_, on_the_way| on_the_way < 8;
    let seqs: Vec<u32> = (0..8)
        .map(|n| syn(&mut r, 3000 + n).expect("there is room"))
        .collect();
    assert_eq!(syn(&mut r, 3008), None, "no room, no answer");
    assert_eq!((r.s.opens.refused_memory, r.s.opens.forgotten), (1, 0));
    for (n, seq) in (0..).zip(seqs) {
        ack(&mut r, 3000 + n, seq, b"hello");
        assert_eq!(
            syn(&mut r, 3008),
            None,
            "those in the queue are on their way still"
        );
    }
    let mut held = Vec::new();
    while let Some((id, pd, _)) = r.s.accept(l) {
        held.push((id, pd));
    }
    assert_eq!(held.len(), 8);
    r.s.room = |_, _| false;
    assert_eq!(syn(&mut r, 3008), None);
    for (id, _) in &held {
        let mut buf = [0; 8];
        assert_eq!(r.s.recv(*id, &mut buf), Ok(Some(5)), "those who live go on");
    }
    r.s.room = |_, on_the_way| on_the_way < 8;
    assert!(syn(&mut r, 3008).is_some(), "it asked again");
    assert_eq!(r.s.opens.forgotten, 0);
    // Those who live are counted, neither those on their way nor those nobody holds any more.
    r.s.room = |live, _| live < 8;
    assert_eq!(syn(&mut r, 3009), None);
    let (id, _pd) = held.pop().expect("eight");
    r.s.release(id);
    assert!(syn(&mut r, 3009).is_some());
}

/// A flood on a small machine: there is never room for more than a hundred, and who means it gets in all the while.
#[test]
fn a_flood_where_memory_is_short() {
    let mut r = Rig::new();
    let (l, _pd, _) = r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap();
    r.s.room = |_, on_the_way| on_the_way < 100;
    let mut x = 0x9e37_79b9_7f4a_7c15;
    let mut flood = |r: &mut Rig, times| (0..times).for_each(|_| stranger(r, &mut x));
    for n in 0..50 {
        flood(&mut r, 300);
        let seq = syn(&mut r, 3000 + n).expect("answered");
        flood(&mut r, 50);
        ack(&mut r, 3000 + n, seq, b"hello");
        let (id, _pd, _) = r.s.accept(l).expect("it is open");
        let mut buf = [0; 8];
        assert_eq!(r.s.recv(id, &mut buf), Ok(Some(5)));
        assert!(r.s.socks.len() <= 100 + 51, "{} sockets", r.s.socks.len());
    }
    assert!(r.s.opens.forgotten > 15_000);
    assert_eq!(r.s.opens.refused_memory, 0);
}
