//! Streams of requests: cut into pieces at random, and damaged at random.
#![forbid(unsafe_code)]

use alloc::{format, string::String, vec::Vec};

use super::{
    super::{
        Method,
        answer::AnswerHead,
        head::Head,
        inbox::{Body, Inbox},
        limits::Limits,
    },
    Rng,
};

/// Takes requests with their bodies out of a stream that comes in pieces.
fn run(stream: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<String>, bool) {
    let limits = Limits::default();
    let (mut inbox, mut head, mut out, mut fed) = (Inbox::new(), Head::new(), Vec::new(), 0);
    let mut feed = |inbox: &mut Inbox| {
        let room = inbox.room();
        let n = piece().clamp(1, room.len()).min(stream.len() - fed);
        room[..n].copy_from_slice(&stream[fed..fed + n]);
        inbox.arrived(n);
        fed += n;
        n > 0
    };
    loop {
        match inbox.take_head(&mut head, &limits) {
            Ok(true) => {}
            Ok(false) if feed(&mut inbox) => continue,
            Ok(false) => {
                // What is wrong with a head that never became whole shows sooner or later.
                let tail = head
                    .parse(inbox.bytes(), &limits)
                    .map_err(|r| format!("{}", r.status));
                out.extend(tail.err());
                return (out, inbox.is_empty());
            }
            Err(r) => {
                out.push(format!("{}", r.status));
                return (out, false);
            }
        }
        let (mut body, mut data, mut buf) = (Body::new(head.framing), Vec::new(), [0; 13]);
        while !body.is_done() {
            match inbox.take_body(&mut body, &mut buf) {
                Ok(0) if body.is_done() || feed(&mut inbox) => {}
                Ok(0) => return (out, false),
                Ok(n) => data.extend_from_slice(&buf[..n]),
                Err(e) => {
                    out.push(format!("{e}"));
                    return (out, false);
                }
            }
        }
        let text = String::from_utf8_lossy(&data);
        out.push(format!(
            "{} {} {:?} {text}",
            head.method, head.target, head.headers
        ));
    }
}

fn sample(rng: &mut Rng) -> Vec<u8> {
    let mut stream = Vec::new();
    for i in 0..1 + rng.below(4) {
        let body = "b".repeat(rng.below(60));
        let text = match rng.below(4) {
            0 => format!(
                "GET /{i}?q={i} HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
                "x".repeat(rng.below(50))
            ),
            1 => format!(
                "POST /{i} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            2 => format!(
                "PUT /{i} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x};e\r\n{body}!\r\n3\r\nabc\r\n0\r\nT: t\r\n\r\n",
                body.len() + 1
            ),
            _ => String::from("HEAD / HTTP/1.1\nHost: h\nConnection: keep-alive\n\n"),
        };
        stream.extend_from_slice(text.as_bytes());
    }
    stream
}

#[test]
fn pieces_do_not_matter() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2_000 {
        let mut stream = sample(&mut rng);
        if rng.below(4) == 0 {
            mutate(&mut stream, &mut rng);
        }
        let whole = run(&stream, || usize::MAX);
        for most in [1, 2, 7, 40] {
            let split = run(&stream, || 1 + rng.below(most));
            assert_eq!(split, whole, "{:?}", String::from_utf8_lossy(&stream));
        }
    }
}

fn mutate(stream: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(stream.len().max(1));
        match rng.below(5) {
            _ if stream.is_empty() => stream.push(b'G'),
            0 => stream[at] = rng.below(256) as u8,
            1 => stream[at] = b"\r\n :;0f%/\0\t,"[rng.below(12)],
            2 => _ = stream.remove(at),
            3 => stream.insert(at, b"\r\n :;0f%/\0\t,"[rng.below(12)]),
            _ => {
                let piece = stream[at..(at + rng.below(40)).min(stream.len())].to_vec();
                let to = rng.below(stream.len());
                stream.splice(to..to, piece);
            }
        }
    }
}

/// `BURROW_FUZZ=1000000` makes it longer; the count is printed.
#[test]
fn mutated_streams_end_in_order() {
    let rounds = std::env::var("BURROW_FUZZ")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000);
    let mut rng = Rng(std::env::var("BURROW_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
        | 1 << 40);
    let (mut whole, mut refused, mut requests) = (0, 0, 0);
    for _ in 0..rounds {
        let mut stream = sample(&mut rng);
        mutate(&mut stream, &mut rng);
        let most = 1 + rng.below(stream.len().max(1));
        let (seen, ended) = run(&stream, || most);
        requests += seen.len();
        whole += usize::from(ended);
        refused += usize::from(seen.last().is_some_and(|s| s.len() == 3));
        let _ = AnswerHead::default().parse(&stream, Method::Get);
    }
    std::eprintln!("{rounds} mutated streams: {requests} requests, {whole} whole, {refused} refused");
    assert!(
        whole > rounds / 20 && refused > rounds / 20,
        "the mutations are too wild, or too tame"
    );
}
