//! The resolver against a name server on loopback that answers well, badly, wrongly, late or never.
#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use smoltcp::wire::{DnsPacket, DnsQueryType, DnsQuestion};

use super::{
    super::{TcpListener, UdpSocket},
    *,
};
use crate::{go, spawn, time::sleep};

/// For whom an answer comes: a host that stalls is not a silent name server.
const PATIENT: Duration = Duration::from_secs(60);
/// For whom none comes.
const SHORT: Duration = Duration::from_millis(300);
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const NXDOMAIN: u16 = 3;
const SERVFAIL: u16 = 2;
const TRUNCATED: u16 = 0x200;
const ANSWER: u16 = 0x8180;

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn v6() -> IpAddr {
    "2001:db8::1".parse().unwrap()
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// The answer to `query` with these records: owner, type, time to live, data.
fn answer(query: &[u8], flags: u16, records: &[(&str, u16, u32, &[u8])]) -> Vec<u8> {
    let (rest, _) = DnsQuestion::parse(&query[12..]).unwrap();
    let mut out = query[..query.len() - rest.len()].to_vec();
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for (owner, kind, ttl, data) in records {
        out.extend(wire_name(owner));
        out.extend(kind.to_be_bytes());
        out.extend(1u16.to_be_bytes());
        out.extend(ttl.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// What the name server says to `query`; the last is the good answer.
fn zone(query: &[u8]) -> Vec<Vec<u8>> {
    let p = DnsPacket::new_checked(query).unwrap();
    let (_, q) = DnsQuestion::parse(p.payload()).unwrap();
    let labels: Vec<_> = p
        .parse_name(q.name)
        .map(|l| String::from_utf8(l.unwrap().to_vec()).unwrap())
        .collect();
    let name = labels.join(".");
    let six = q.type_ == DnsQueryType::Aaaa;
    let v6_octets = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
    let ours = |owner: &str, ttl: u32| match six {
        true => answer(query, ANSWER, &[(owner, AAAA, ttl, &v6_octets)]),
        false => answer(
            query,
            ANSWER,
            &[(owner, A, ttl, &[192, 0, 2, 1]), (owner, A, ttl, &[192, 0, 2, 2])],
        ),
    };
    let evil = answer(query, ANSWER, &[(&name, A, 60, &[6, 6, 6, 6])]);
    match name.as_str() {
        "good.test" => vec![ours(&name, 60)],
        "brief.test" => vec![ours(&name, 0)],
        "alias.test" if !six => vec![answer(
            query,
            ANSWER,
            &[
                // In disorder, and in other letters.
                ("c.test", A, 60, &[192, 0, 2, 3]),
                ("B.test", CNAME, 60, &wire_name("c.test")),
                ("alias.test", CNAME, 60, &wire_name("b.TEST")),
                ("stranger.test", A, 60, &[6, 6, 6, 6]),
            ],
        )],
        "far.test" => vec![answer(
            query,
            ANSWER,
            &[(&name, CNAME, 60, &wire_name("good.test"))],
        )],
        "loop.test" => vec![answer(
            query,
            ANSWER,
            &[
                ("loop.test", CNAME, 60, &wire_name("pool.test")),
                ("pool.test", CNAME, 60, &wire_name("loop.test")),
            ],
        )],
        "self.test" => vec![answer(
            query,
            ANSWER,
            &[(&name, CNAME, 60, &wire_name("self.test"))],
        )],
        "none.test" => vec![answer(query, ANSWER | NXDOMAIN, &[])],
        "fails.test" => vec![answer(query, ANSWER | SERVFAIL, &[])],
        "big.test" => vec![answer(query, ANSWER | TRUNCATED, &[])],
        "four.test" if six => vec![],
        "four.test" => vec![ours(&name, 60)],
        "silent.test" => vec![],
        "forged.test" => {
            let mut wrong_id = evil.clone();
            wrong_id[0] ^= 1;
            let mut asks = evil.clone();
            asks[2] &= 0x7f; // a question, not an answer
            let mut other_type = evil.clone();
            let at = 12 + wire_name(&name).len();
            other_type[at + 1] ^= 0x40;
            let mut other_name = evil.clone();
            other_name[13] ^= 1;
            let mut loops = evil.clone();
            loops[12..14].copy_from_slice(&[0xc0, 12]);
            let cut = evil[..evil.len() - 3].to_vec();
            let garbage = (0..200u8).map(|i| i.wrapping_mul(167)).collect();
            let mut nothing = vec![
                vec![],
                vec![0; 5],
                wrong_id,
                asks,
                other_type,
                other_name,
                loops,
                cut,
                garbage,
            ];
            nothing.push(ours(&name, 60));
            nothing
        }
        _ => vec![answer(query, ANSWER, &[])],
    }
}

/// An answer with aliases in it.
pub(super) fn sample() -> Vec<u8> {
    let q = message::Question {
        id: 7,
        name: "alias.test",
        kind: DnsQueryType::A,
    };
    zone(&q.message()).pop().unwrap()
}

struct Server {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.udp.close(), self.tcp.close());
    }
}

/// A name server for `zone`.
fn serve() -> Server {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = tcp.local_addr();
    let udp = UdpSocket::bind(at).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (s, n) = (udp.clone(), asked.clone());
    go(move || {
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut buf = [0; 512];
        while let Ok((len, from)) = s.recv_from(&mut buf) {
            n.fetch_add(1, Ordering::SeqCst);
            // A right answer from a wrong address is none.
            let evil = answer(&buf[..len], ANSWER, &[("good.test", A, 60, &[6, 6, 6, 6])]);
            let _ = stranger.send_to(&evil, from);
            for message in zone(&buf[..len]) {
                let _ = s.send_to(&message, from);
            }
        }
    });
    let l = tcp.clone();
    go(move || {
        for conn in l.incoming() {
            let mut len = [0; 2];
            conn.read_full(&mut len).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            conn.read_full(&mut query).unwrap();
            let many: Vec<[u8; 4]> = (0..100).map(|i| [192, 0, 2, i]).collect();
            let records: Vec<_> = many.iter().map(|a| ("big.test", A, 60, &a[..])).collect();
            let six = query[query.len() - 3] == 28;
            let message = answer(&query, ANSWER, if six { &[] } else { &records });
            conn.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
            conn.write_all(&message).unwrap();
        }
    });
    Server { at, asked, udp, tcp }
}

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::with_servers(servers.to_vec()).patience(PATIENT, 2)
}

/// One that must give up on a server: if it gives up on one that would have answered, there are more attempts.
fn hasty(servers: &[SocketAddr], attempts: u32) -> Resolver {
    Resolver::with_servers(servers.to_vec()).patience(SHORT, attempts)
}

#[test]
fn answers() {
    let s = serve();
    let r = resolver(&[s.at]);
    assert_eq!(r.lookup("good.test"), Ok(vec![v4(1), v4(2), v6()]));
    assert_eq!(
        r.lookup("GOOD.test."),
        Ok(vec![v4(1), v4(2), v6()]),
        "the same name"
    );
    assert_eq!(
        s.asked.load(Ordering::SeqCst),
        2,
        "the second time from the cache"
    );
    assert_eq!(r.lookup("alias.test"), Ok(vec![v4(3)]));
    assert_eq!(r.lookup("far.test"), Ok(vec![v4(1), v4(2), v6()]));
    for name in ["none.test", "loop.test", "self.test", "empty.test"] {
        assert_eq!(r.lookup(name), Err(Error::NoSuchHost), "{name}");
    }
    let before = s.asked.load(Ordering::SeqCst);
    assert_eq!(r.lookup("none.test"), Err(Error::NoSuchHost));
    assert_eq!(s.asked.load(Ordering::SeqCst), before, "also that is remembered");
    assert_eq!(
        hasty(&[s.at], 8).lookup("four.test"),
        Ok(vec![v4(1), v4(2)]),
        "one family is enough"
    );
    for _ in 0..2 {
        let before = s.asked.load(Ordering::SeqCst);
        assert!(r.lookup("brief.test").is_ok());
        assert_eq!(s.asked.load(Ordering::SeqCst), before + 2, "not to be remembered");
    }
}

#[test]
fn what_does_not_fit_comes_by_tcp() {
    let s = serve();
    assert_eq!(resolver(&[s.at]).lookup("big.test").map(|l| l.len()), Ok(100));
}

#[test]
fn forgeries_are_not_believed() {
    let s = serve();
    let r = resolver(&[s.at]);
    assert_eq!(r.lookup("forged.test"), Ok(vec![v4(1), v4(2), v6()]));
}

#[test]
fn servers_that_are_silent_fail_or_are_not_there() {
    let (s, quiet) = (serve(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let nobody = "127.0.0.1:9".parse().unwrap();
    assert_eq!(hasty(&[s.at], 2).lookup("silent.test"), Err(Error::TimedOut));
    while s.asked.load(Ordering::SeqCst) < 4 {
        sleep(Duration::from_millis(1)); // he may be slow to look
    }
    assert_eq!(s.asked.load(Ordering::SeqCst), 4, "two families, two attempts");
    assert_eq!(resolver(&[s.at]).lookup("fails.test"), Err(Error::NameServer));
    assert_eq!(resolver(&[nobody]).lookup("good.test"), Err(Error::NameServer));
    assert_eq!(resolver(&[]).lookup("good.test"), Err(Error::NameServer));
    let r = hasty(&[nobody, quiet.local_addr(), s.at], 8);
    assert_eq!(
        r.lookup("good.test").map(|l| l.len()),
        Ok(3),
        "the third one knows"
    );
}

#[test]
fn many_ask_and_one_goes() {
    let s = serve();
    let r = Arc::new(resolver(&[s.at]));
    let hs: Vec<_> = (0..50)
        .map(|_| {
            let r = r.clone();
            spawn(move || r.lookup("good.test"))
        })
        .collect();
    for h in hs {
        assert_eq!(h.join().unwrap().map(|l| l.len()), Ok(3));
    }
    assert_eq!(s.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn names() {
    let r = resolver(&[]);
    let long = format!("{}.test", "x".repeat(64));
    let longer = vec!["abcdefgh"; 30].join(".");
    for bad in [
        "",
        ".",
        "a..b",
        "-a.test",
        "a-.test",
        "sp ace",
        "ä.test",
        "1.2.3",
        "300.1.1.1",
        &long,
        &longer,
    ] {
        assert_eq!(r.lookup(bad), Err(Error::InvalidAddr), "{bad:?}");
    }
    for (here, n) in [
        ("localhost", 2),
        ("a.LOCALHOST.", 2),
        ("127.0.0.1", 1),
        ("::1", 1),
    ] {
        assert_eq!(r.lookup(here).map(|l| l.len()), Ok(n), "{here}");
    }
}

#[test]
fn the_cache_is_bounded_and_forgets() {
    let mut c = Cache::new();
    c.put("brief", Ok(vec![v4(1)]), 1);
    for i in 0..1000 {
        c.put(&format!("n{i}"), Ok(vec![v4(1)]), 1000 + i);
        assert!(c.len() <= 256);
    }
    assert_eq!(
        (c.get("brief"), c.get("n0")),
        (None, None),
        "what ends first goes first"
    );
    assert_eq!(c.get("n999"), Some(Ok(vec![v4(1)])));
    let mut c = Cache::new();
    c.put("short", Ok(vec![v4(2)]), 1);
    c.put("long", Ok(vec![v4(3)]), u32::MAX);
    while c.get("short").is_some() {
        sleep(Duration::from_millis(50));
    }
    assert_eq!(c.get("long"), Some(Ok(vec![v4(3)])));
}

/// Whatever a name server says is read without a panic.
#[test]
fn damaged_answers() {
    let q = message::Question {
        id: 7,
        name: "alias.test",
        kind: DnsQueryType::A,
    };
    let good = sample();
    assert!(matches!(q.read(&good), Some(message::Answer::Found(_))));
    let mut x = 88_172_645_463_325_252_u64;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as usize
    };
    for _ in 0..100_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random() % 4 {
            let at = 2 + random() % (bytes.len() - 2);
            bytes[at] = [0, 0xc0, 0xff, random() as u8][random() % 4];
        }
        bytes.truncate(bytes.len() - random() % 8);
        let _ = q.read(&bytes);
    }
}

/// Who waits no longer than so does not, whatever the name server's patience; and hears what is known at once.
#[test]
fn a_lookup_with_a_limit() {
    let s = serve();
    let patient = Resolver::with_servers(vec![s.at]).patience(Duration::from_secs(3600), 1);
    let r = Arc::new(patient);
    assert_eq!(
        within(r.clone(), "silent.test", Duration::from_millis(5)),
        Err(Error::TimedOut)
    );
    assert_eq!(r.lookup("good.test"), Ok(vec![v4(1), v4(2), v6()]));
    assert_eq!(
        within(r.clone(), "good.test", Duration::ZERO).map(|l| l.len()),
        Ok(3)
    );
    let fresh = Arc::new(resolver(&[s.at]));
    let long = Duration::from_secs(3600);
    assert_eq!(within(fresh.clone(), "good.test", long).map(|l| l.len()), Ok(3));
    assert_eq!(within(fresh, "none.test", long), Err(Error::NoSuchHost));
}
