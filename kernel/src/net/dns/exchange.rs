//! Questions and answers over the wire: both families at once, server after server, TCP for what does not fit.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::DnsQueryType;

use super::{
    super::{Error, TcpStream, UdpSocket, udp_state::Room},
    message::{Answer, Found, Question},
};
use crate::{
    sched,
    time::{Duration, Instant},
};

/// Answers that may wait, forged ones among them; each is 512 bytes at most.
const ROOM: Room = Room {
    bytes: 16384,
    packets: 64,
};
/// The longest answer read from a TCP connection.
const LONGEST: usize = 16384;

/// Asks the servers in turn, each up to `attempts` times for `timeout`, until one knows.
pub(super) fn ask(
    servers: &[SocketAddr],
    name: &str,
    timeout: Duration,
    attempts: u32,
) -> Result<Found, Error> {
    let mut why = Error::NameServer;
    for _ in 0..attempts {
        for &server in servers {
            match ask_one(server, name, timeout) {
                Err(Error::TimedOut) => why = Error::TimedOut,
                Err(Error::NoSuchHost) => return Err(Error::NoSuchHost),
                Err(_) => {} // refused, failed, no way to it: the next one
                found => return found,
            }
        }
    }
    Err(why)
}

/// A socket with a port nobody can foresee.
fn socket(server: SocketAddr) -> Result<UdpSocket, Error> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut tries = 0;
    loop {
        let port = 1024 + (sched::rand32() % 64000) as u16;
        match UdpSocket::bind_sized(SocketAddr::new(any, port), ROOM) {
            Err(Error::AddrInUse) if tries < 100 => tries += 1,
            r => {
                let s = r?;
                s.connect(server)?;
                return Ok(s);
            }
        }
    }
}

fn ask_one(server: SocketAddr, name: &str, timeout: Duration) -> Result<Found, Error> {
    let s = socket(server)?;
    s.set_deadline(Some(Instant::now() + timeout));
    let question = |kind| Question {
        id: sched::rand32() as u16,
        name,
        kind,
    };
    let questions = [question(DnsQueryType::A), question(DnsQueryType::Aaaa)];
    for q in &questions {
        s.send(&q.message())?;
    }
    let mut answers: [Option<Answer>; 2] = [None, None];
    let mut buf = [0; 1500];
    while answers.iter().any(Option::is_none) {
        let n = match s.recv(&mut buf) {
            Ok(n) => n,
            // One family is better than none.
            Err(_)
                if answers
                    .iter()
                    .any(|a| matches!(a, Some(Answer::Found(f)) if !f.addrs.is_empty())) =>
            {
                break;
            }
            Err(e) => return Err(e),
        };
        for (q, a) in questions.iter().zip(&mut answers) {
            if a.is_none() {
                *a = match q.read(&buf[..n]) {
                    Some(Answer::Truncated) => Some(by_tcp(server, q, timeout)?),
                    other => other,
                };
            }
        }
    }
    merge(answers)
}

/// Both families' answers in one, IPv4 first.
fn merge(answers: [Option<Answer>; 2]) -> Result<Found, Error> {
    let mut all = Found {
        ttl: u32::MAX,
        ..Found::default()
    };
    let (mut missing, mut failed) = (false, 0);
    for a in answers.into_iter().flatten() {
        match a {
            Answer::Found(f) => {
                if !f.addrs.is_empty() || f.alias.is_some() {
                    all.ttl = all.ttl.min(f.ttl);
                }
                all.addrs.extend(f.addrs);
                all.alias = all.alias.or(f.alias);
            }
            Answer::NoSuchName => missing = true,
            Answer::Failed | Answer::Truncated => failed += 1,
        }
    }
    if all.addrs.is_empty() && all.alias.is_none() {
        if missing {
            return Err(Error::NoSuchHost);
        }
        if failed > 0 {
            return Err(Error::NameServer);
        }
    }
    Ok(all)
}

fn by_tcp(server: SocketAddr, q: &Question<'_>, timeout: Duration) -> Result<Answer, Error> {
    let end = Instant::now() + timeout;
    let conn = TcpStream::connect_timeout(server, timeout)?;
    conn.set_deadline(Some(end));
    let message = q.message();
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&(message.len() as u16).to_be_bytes());
    framed.extend_from_slice(&message);
    conn.write_all(&framed)?;
    let mut len = [0; 2];
    if conn.read_full(&mut len)? != 2 {
        return Err(Error::NameServer);
    }
    let len = usize::from(u16::from_be_bytes(len)).min(LONGEST);
    let mut answer = alloc::vec![0; len];
    if conn.read_full(&mut answer)? != len {
        return Err(Error::NameServer);
    }
    match q.read(&answer) {
        Some(Answer::Truncated) | None => Err(Error::NameServer),
        Some(a) => Ok(a),
    }
}
