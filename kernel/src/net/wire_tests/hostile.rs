//! Peers that mean harm, and neighbors that are not there.
#![forbid(unsafe_code)]

use smoltcp::{
    socket::tcp::State,
    wire::{Ipv4Address, Ipv4Packet, TcpControl, UdpPacket},
};

use super::{
    super::{
        Error,
        demux::Tuple,
        listen::{EPHEMERAL, TRIES},
        round::Wakes,
        tcp_state::{ORPHANS, TIME_WAITS},
        udp_state::{ROOM, new_socket},
    },
    IP, MS, OUR_IP, Rig, SECOND, frames,
};

/// In the stack's own network, but nobody answers for it.
const NOBODY: Ipv4Address = Ipv4Address::new(10, 7, 0, 99);

/// Opens a connection to port 80 from `port`: its socket and the stack's next sequence number.
fn open(r: &mut Rig, l: u32, port: u16) -> (u32, u32) {
    let us = (OUR_IP, port);
    r.input(frames::tcp(us, (IP, 80), TcpControl::Syn, 100, None, b""));
    let out = r.output();
    let answer = out
        .iter()
        .filter_map(|f| frames::tcp_of(f))
        .find(|t| t.dst_port() == port);
    let seq = answer.unwrap().seq_number().0 as u32 + 1;
    r.input(frames::tcp(us, (IP, 80), TcpControl::None, 101, Some(seq), b""));
    let (id, ..) = r.s.accept(l).unwrap();
    (id, seq)
}

fn listen(r: &mut Rig) -> u32 {
    r.s.listen("0.0.0.0:80".parse().unwrap()).unwrap().0
}

/// Requests with senders in our own network who do not exist: neither the answer nor the reset can be delivered, and
/// still each goes after its time, without keeping the stack busy.
#[test]
fn requests_of_neighbors_that_are_not_there() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    for i in 0..100 {
        r.input(frames::tcp(
            (NOBODY, 1000 + i),
            (IP, 80),
            TcpControl::Syn,
            1,
            None,
            b"",
        ));
    }
    assert_eq!(r.s.tuples.len(), 100);
    for _ in 0..13 {
        r.pass(SECOND);
        r.output();
    }
    assert_eq!((r.s.tuples.len(), r.s.orphans), (0, 0));
    assert_eq!(r.s.socks.iter().flatten().count(), 0);
    open(&mut r, l, 2000);
}

/// A listener that goes takes along who waits and who is half open, whether they can be told or not.
#[test]
fn a_listener_goes_with_all_it_has() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    for i in 0..50 {
        r.input(frames::tcp(
            (NOBODY, 1000 + i),
            (IP, 80),
            TcpControl::Syn,
            1,
            None,
            b"",
        ));
        r.input(frames::tcp(
            (OUR_IP, 1000 + i),
            (IP, 80),
            TcpControl::Syn,
            1,
            None,
            b"",
        ));
    }
    r.output();
    r.s.unlisten(l);
    let resets = |r: &mut Rig| {
        let out = r.output();
        let of = out.iter().filter(|f| frames::tcp_of(f).is_some_and(|t| t.rst()));
        of.count()
    };
    assert_eq!(resets(&mut r), 50);
    r.pass(2 * SECOND);
    assert_eq!(r.s.socks.iter().flatten().count(), 0);
    assert_eq!((r.s.orphans, r.s.deadlines.len()), (0, 0));
}

/// A datagram to somebody who is not there does not keep back those to others.
#[test]
fn a_datagram_to_nobody_does_not_block_the_socket() {
    let mut r = Rig::new();
    let (id, ..) =
        r.s.bind_udp(&mut new_socket(ROOM).ok(), "0.0.0.0:53".parse().unwrap())
            .unwrap();
    let to = |ip: Ipv4Address| core::net::SocketAddr::new(ip.into(), 9);
    for data in [&b""[..], b"lost", b"lost too"] {
        r.s.send_to(id, data, to(NOBODY)).unwrap();
        r.s.send_to(id, b"arrives", to(OUR_IP)).unwrap();
    }
    let (mut arrived, begin) = (0, r.now);
    while arrived < 3 {
        assert!(r.now - begin < 2 * SECOND, "{arrived} of 3 arrived");
        r.pass(10 * MS);
        for f in r.output() {
            let Ok(ip) = Ipv4Packet::new_checked(&f[14..]) else {
                continue;
            };
            let udp = UdpPacket::new_checked(ip.payload()).unwrap();
            assert_eq!((ip.dst_addr(), udp.payload()), (OUR_IP, &b"arrives"[..]));
            arrived += 1;
        }
    }
    assert_eq!(r.s.nics[r.nic].counters.no_neighbor, 3);
}

/// Peers that never answer the FIN do not use up the memory.
#[test]
fn orphans_are_bounded() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    let mut resets = 0;
    for i in 0..ORPHANS as u16 + 100 {
        let (id, _) = open(&mut r, l, 2000 + i);
        r.s.release(id);
        resets += r
            .output()
            .iter()
            .filter(|f| frames::tcp_of(f).unwrap().rst())
            .count();
    }
    assert_eq!((r.s.orphans, resets), (ORPHANS, 100));
    r.pass(62 * SECOND);
    r.pass(2 * SECOND);
    assert_eq!((r.s.orphans, r.s.tuples.len()), (0, 0));
}

/// Frames that come faster than they are handled keep neither what is to be sent nor the deadlines waiting.
#[test]
fn a_flood_does_not_keep_back_what_is_to_be_sent() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    let (id, _) = open(&mut r, l, 2000);
    let junk = frames::udp((OUR_IP, 1), (IP, 9), b"junk");
    for _ in 0..10_000 {
        r.tap.0.lock().unwrap().inward.push_back(junk.clone());
    }
    r.s.send(id, b"urgent").unwrap();
    assert!(r.s.round(&mut Wakes::new()), "there is more to do");
    let out = &r.tap.0.lock().unwrap().outward;
    assert!(out.iter().any(|f| f.ends_with(b"urgent")));
}

/// A connection that pauses time and again has one deadline, not one for each pause.
#[test]
fn pauses_leave_no_deadlines_behind() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    let (id, seq) = open(&mut r, l, 2000);
    for i in 0..1000 {
        let at = 101 + i;
        r.input(frames::tcp(
            (OUR_IP, 2000),
            (IP, 80),
            TcpControl::Psh,
            at,
            Some(seq),
            b"x",
        ));
        assert_eq!(r.s.recv(id, &mut [0; 8]), Ok(Some(1)));
        r.pass(20 * MS);
        r.output();
    }
    assert_eq!(r.s.deadlines.len(), 1);
}

/// Who asks for a port that nobody has does not get himself, whatever port he asks from.
#[test]
fn nobody_connects_to_himself() {
    let mut r = Rig::new();
    let to = "127.0.0.1:50000".parse().unwrap();
    for _ in 0..16_384 + 100 {
        let (id, _, tuple) = r.s.connect(to).unwrap();
        assert_ne!(tuple.local, to);
        r.run();
        assert_eq!(r.s.connected(id), Some(Err(Error::Refused)));
        r.s.release(id);
        r.run();
    }
    assert_eq!(r.s.tuples.len(), 0);
}

/// A server that answers forged senders, each from a place where nobody is, still serves the others: their answers wait
/// at most a tenth of the time.
#[test]
fn forged_senders_do_not_stop_a_server() {
    let mut r = Rig::new();
    let (id, ..) =
        r.s.bind_udp(&mut new_socket(ROOM).ok(), "0.0.0.0:53".parse().unwrap())
            .unwrap();
    let (mut answered, mut asked, begin) = (0, 0, r.now);
    while r.now - begin < SECOND {
        // Ten from nobody for each honest one.
        for host in 10..250 {
            let from = if host % 11 == 0 {
                OUR_IP
            } else {
                Ipv4Address::new(10, 7, 0, host)
            };
            asked += u32::from(from == OUR_IP);
            r.input(frames::udp((from, 9), (IP, 53), b"question"));
            let mut buf = [0; 8];
            while let Ok(Some((n, who))) = r.s.recv_from(id, &mut buf, false) {
                let _ = r.s.send_to(id, &buf[..n], who); // a full queue loses it
            }
            r.pass(MS);
        }
        let out = r.output();
        answered += out.iter().filter(|f| f.ends_with(b"question")).count() as u32;
    }
    assert!(answered * 10 >= asked * 8, "{answered} of {asked} were answered");
}

/// When all ports are taken nobody is kept waiting for the search through all of them; the one that is free is found.
#[test]
fn the_search_for_a_port_goes_in_steps() {
    let mut r = Rig::new();
    let remote = "10.7.0.2:7".parse().unwrap();
    let free = 49152 + 5000;
    for port in 49152..=65535u16 {
        if port != free {
            let local = core::net::SocketAddr::new(IP.into(), port);
            r.s.tuples.insert(Tuple { local, remote }, 0);
        }
    }
    r.s.next_port = 0;
    let mut steps = 0;
    let got = loop {
        let before = r.s.next_port;
        match r.s.connect(remote) {
            Ok((_, _, tuple)) => break tuple.local.port(),
            Err(e) => assert_eq!(e, Error::AddrNotAvailable),
        }
        assert_eq!(r.s.next_port - before, TRIES);
        steps += 1;
        assert!(steps < EPHEMERAL / TRIES);
    };
    assert_eq!((got, steps), (free, 5000 / TRIES));
}

/// Whole windows of many connections are sent in many rounds, so that the lock is let go in between.
#[test]
fn windows_are_sent_in_rounds() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    let ids: Vec<_> = (0..20).map(|i| open(&mut r, l, 2000 + i).0).collect();
    for id in ids {
        assert_eq!(r.s.send(id, &[7; 4000]), Ok(Some(4000)));
    }
    let (mut rounds, mut sent) = (0, 0);
    loop {
        let more = r.s.round(&mut Wakes::new());
        let n = r.tap.0.lock().unwrap().outward.drain(..).count();
        assert!(n <= 48, "{n} frames in one round");
        (rounds, sent) = (rounds + 1, sent + n);
        if !more {
            break;
        }
    }
    assert_eq!(sent, 20 * 3);
    assert!(rounds >= 2);
}

/// At most so many orphans linger in TIME_WAIT, whether they came there before their handle went or after.
#[test]
fn lingering_orphans_are_bounded() {
    let mut r = Rig::new();
    let l = listen(&mut r);
    for i in 0..TIME_WAITS as u16 + 100 {
        let port = 2000 + i;
        let (id, seq) = open(&mut r, l, port);
        let fin = frames::tcp((OUR_IP, port), (IP, 80), TcpControl::Fin, 101, Some(seq + 1), b"");
        if i % 2 == 0 {
            r.s.finish(id);
            r.run();
            r.input(fin);
            assert_eq!(r.s.sock(id).tcp().state(), State::TimeWait);
            r.s.release(id);
        } else {
            r.s.release(id);
            r.run();
            r.input(fin);
        }
        r.run();
    }
    assert_eq!((r.s.orphans, r.s.time_waits.len()), (TIME_WAITS, TIME_WAITS));
    r.pass(11 * SECOND);
    assert_eq!((r.s.orphans, r.s.tuples.len()), (0, 0));
}
