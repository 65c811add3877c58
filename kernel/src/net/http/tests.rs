//! Bytes of strangers: what is accepted, what is refused and how, in pieces of any size. No sockets here.
#![forbid(unsafe_code)]

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Error, Method, Router,
    answer::AnswerHead,
    chunked::Chunked,
    head::{Framing, Head},
    inbox::{Body, Inbox},
    limits::Limits,
    pattern::Pattern,
    url::{self, Url},
};

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

fn parse(text: &[u8]) -> Result<Option<Head>, u16> {
    let mut h = Head::new();
    match h.parse(text, &Limits::default()) {
        Ok(n) => Ok(n.map(|_| h)),
        Err(r) => Err(r.status),
    }
}

#[test]
fn good_heads() {
    let h = parse(b"GET /a%20b/c?x=1&y=%26+z HTTP/1.1\r\nHost: h:80\r\nX: 1\r\nx: 2\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(
        (h.method, h.minor, h.keep_alive, h.framing),
        (Method::Get, 1, true, Framing::Empty)
    );
    assert_eq!(
        (h.decoded.as_deref(), h.query(), h.host.as_deref()),
        (Some("/a b/c"), "x=1&y=%26+z", Some("h:80"))
    );
    assert_eq!(h.headers.get_all("X").collect::<Vec<_>>(), ["1", "2"]);
    let pairs: Vec<_> = url::pairs(h.query()).map(|(a, b)| format!("{a}={b}")).collect();
    assert_eq!(pairs, ["x=1", "y=& z"]);

    let framing = |headers: &str| {
        let text = format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        let h = parse(text.as_bytes()).unwrap().unwrap();
        (h.framing, h.keep_alive, h.expects_continue)
    };
    assert_eq!(
        framing("Content-Length: 5\r\n"),
        (Framing::Length(5), true, false)
    );
    assert_eq!(
        framing("Content-Length: 5\r\nContent-Length: 5\r\n").0,
        Framing::Length(5)
    );
    assert_eq!(
        framing("Content-Length: 0\r\nExpect: 100-continue\r\n"),
        (Framing::Empty, true, false)
    );
    assert_eq!(framing("transfer-encoding: Chunked\r\n").0, Framing::Chunked);
    assert_eq!(framing("Connection: Upgrade, CLOSE\r\n").1, false);
    assert_eq!(
        framing("Content-Length: 1\r\nExpect: 100-Continue\r\n"),
        (Framing::Length(1), true, true)
    );

    let old = |connection: &str| {
        parse(format!("GET / HTTP/1.0\r\n{connection}\r\n").as_bytes())
            .unwrap()
            .unwrap()
    };
    assert!(!old("").keep_alive && old("Connection: keep-alive\r\n").keep_alive);
    let proxied = parse(b"GET http://other/p?q HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(
        (proxied.host.as_deref(), proxied.target.as_str()),
        (Some("other"), "/p?q")
    );
    assert_eq!(
        parse(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap()
            .unwrap()
            .target,
        "*"
    );
    assert!(parse(b"\r\nGET / HTTP/1.0\n\n").unwrap().is_some());
    assert!(parse(b"GET / HTTP/1.1\r\nHost: h\r\n").unwrap().is_none());
}

#[test]
fn refused_heads() {
    let long = "a".repeat(9000);
    let many = "X: 1\r\n".repeat(101);
    let large = format!("X: {}\r\n", "b".repeat(17 << 10));
    let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    for (status, text) in [
        (400, "GET\r\n\r\n".into()),
        (400, "GET / \r\n\r\n".into()),
        (400, "GET / HTTPS/1.1\r\n\r\n".into()),
        (400, "G@T( / HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET a HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\n\r\n".into()), // no Host
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into()),
        (400, with("X: a\r\n folded\r\n")),
        (400, with("X : a\r\n")),
        (400, with("X\r\n")),
        (400, with("X: a\0b\r\n")),
        (400, with("Content-Length: 5\r\nContent-Length: 6\r\n")),
        (400, with("Content-Length: 5, 5\r\n")),
        (400, with("Content-Length: +5\r\n")),
        (400, with("Content-Length: 5x\r\n")),
        (400, with("Content-Length:\r\n")),
        (400, with("Content-Length: 99999999999999999999\r\n")),
        (400, with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        (
            400,
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ),
        (
            400,
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        ),
        (501, with("Transfer-Encoding: gzip, chunked\r\n")),
        (501, with("Transfer-Encoding: xchunked\r\n")),
        (501, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (501, "AVERYLONGMETHODNAME / HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (417, with("Expect: magic\r\n")),
        (505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n".into()),
        (505, "GET / HTTP/1.2\r\nHost: h\r\n\r\n".into()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")),
        (414, format!("GET /{long}")), // no need to wait for the rest
        (431, with(&many)),
        (431, with(&large)),
        (431, format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(3000))),
        (431, "\r\n".repeat(9000)),
    ] {
        let got = parse(text.as_bytes()).map(|h| h.is_some());
        assert_eq!(got, Err(status), "{}", &text[..text.len().min(80)]);
    }
}

fn decode(text: &[u8], step: usize) -> Result<Option<Vec<u8>>, Error> {
    let (mut c, mut data, mut input) = (Chunked::new(), Vec::new(), text);
    let mut seen = 0;
    while !c.is_done() {
        if seen == input.len() {
            return Ok(None);
        }
        let piece = &input[seen..(seen + step).min(input.len())];
        let (skip, n) = c.next(piece, 7)?;
        data.extend_from_slice(&piece[skip..skip + n]);
        seen += skip + n;
    }
    input = &input[seen..];
    assert!(
        input.is_empty() || input == b"next",
        "the next request is untouched"
    );
    Ok(Some(data))
}

#[test]
fn chunked_bodies() {
    for (text, data) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\nnext", "hello"),
        (
            "5;a=b\r\nhello\r\n00a \r\n0123456789\r\n0\r\nX: trailer\r\nY: z\r\n\r\n",
            "hello0123456789",
        ),
        ("A\r\n0123456789\r\n0;last\r\n\r\nnext", "0123456789"),
    ] {
        for step in [1, 2, 3, 1000] {
            assert_eq!(
                decode(text.as_bytes(), step).unwrap().unwrap(),
                data.as_bytes(),
                "{text:?}"
            );
        }
        for end in 0..text.trim_end_matches("next").len() {
            assert_eq!(
                decode(&text.as_bytes()[..end], 1000),
                Ok(None),
                "{:?}",
                &text[..end]
            );
        }
    }
    let wrapping = format!("1;{}\r\na\r\n", "x".repeat(5000));
    let trailers = format!("0\r\n{}", "X: y\r\n".repeat(1000));
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        " 5\r\nhello\r\n",
        ";\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\rx",
        "fffffffffffffffff\r\n",
        "0x5\r\nhello\r\n",
        "0\r\nX: y\n\r\n",
        &wrapping,
        &trailers,
    ] {
        for step in [1, 1000] {
            assert!(
                matches!(decode(text.as_bytes(), step), Err(Error::Malformed(_))),
                "{text:?}"
            );
        }
    }
}

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

#[test]
fn answers() {
    let parse = |text: &str, method| {
        let mut a = AnswerHead::default();
        a.parse(text.as_bytes(), method)
            .map(|n| n.map(|_| (a.status, a.framing, a.keep_alive)))
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    let get = |headers: &str| parse(&format!("{ok}{headers}\r\n"), Method::Get);
    assert_eq!(
        get("Content-Length: 3\r\n"),
        Ok(Some((200, Framing::Length(3), true)))
    );
    assert_eq!(
        get("Transfer-Encoding: chunked\r\n"),
        Ok(Some((200, Framing::Chunked, true)))
    );
    assert_eq!(
        get("Connection: close\r\n"),
        Ok(Some((200, Framing::Close, false)))
    );
    assert_eq!(
        get("Content-Length: 3\r\nContent-Length: 3\r\n")
            .unwrap()
            .unwrap()
            .1,
        Framing::Length(3)
    );
    assert_eq!(
        parse("HTTP/1.0 204 \r\nContent-Length: 3\r\n\r\n", Method::Get),
        Ok(Some((204, Framing::Empty, false)))
    );
    let head = parse(&format!("{ok}Content-Length: 3\r\n\r\n"), Method::Head);
    assert_eq!(head, Ok(Some((200, Framing::Empty, true))));
    assert_eq!(parse(ok, Method::Get), Ok(None));
    for bad in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -1\r\n",
    ] {
        assert!(get(bad).is_err(), "{bad:?}");
    }
    assert!(parse("ICY 200 OK\r\n\r\n", Method::Get).is_err());
}

#[test]
fn paths_and_urls() {
    for (path, clean) in [
        ("/", None),
        ("/a/b", None),
        ("/a/", None),
        ("//", Some("/")),
        ("//a", Some("/a")),
        ("/a//b/", Some("/a/b/")),
        ("/a/./b", Some("/a/b")),
        ("/a/../b", Some("/b")),
        ("/../../b", Some("/b")),
        ("/a/%2e%2E/b", Some("/b")),
        ("/a/b/..", Some("/a/")),
        ("/a/.", Some("/a/")),
        ("/.", Some("/")),
    ] {
        assert_eq!(url::clean(path).as_deref(), clean, "{path}");
    }
    let u = |s| Url::parse(s).map(|u| (u.address(), u.target));
    assert_eq!(u("http://h"), Some(("h:80".into(), "/".into())));
    assert_eq!(u("HTTP://h:8080?q#f"), Some(("h:8080".into(), "/?q".into())));
    assert_eq!(u("http://[::1]/x"), Some(("[::1]:80".into(), "/x".into())));
    for bad in [
        "",
        "h",
        "https://h/",
        "http://",
        "http:///x",
        "http://u@h/",
        "http://h/ x",
        "http://h/\r\nX: y",
    ] {
        assert_eq!(u(bad), None, "{bad:?}");
    }
    let base = Url::parse("http://h/a/b?q").unwrap();
    for (to, target) in [
        ("/x", "/x"),
        ("c", "/a/c"),
        ("?r", "/a/b?r"),
        ("../c?d", "/c?d"),
        ("http://h/z", "/z"),
    ] {
        assert_eq!(base.join(to).unwrap().target, target, "{to}");
    }
    assert_eq!(base.join("//other/x").unwrap().authority, "other");
}

#[test]
fn routes_in_conflict() {
    let conflict = |a: &str, b: &str| {
        let (p, q) = (Pattern::parse(a).unwrap(), Pattern::parse(b).unwrap());
        assert_eq!(p.conflicts_with(&q), q.conflicts_with(&p), "{a} {b}");
        p.conflicts_with(&q)
    };
    for (a, b) in [
        ("/", "/"),
        ("/a/{x}", "/a/{y}"),
        ("/a/{x...}", "/a/"),
        ("/{x}/b", "/a/{y}"),
        ("GET /", "/a"), // fewer methods, more paths
        ("/a/{x}/", "/{y}/b/{z...}"),
    ] {
        assert!(conflict(a, b), "{a} {b}");
    }
    for (a, b) in [
        ("/", "/a"),
        ("/a/{x}", "/a/b"),
        ("/a/{x}", "/a/"),
        ("/a/{$}", "/a/"),
        ("/a/{$}", "/a/{x}"),
        ("GET /a", "POST /a"),
        ("GET /a", "/a"),
        ("GET /a", "HEAD /a"),
        ("h/{x}/b", "/a/{y}"),
        ("/{x}/b", "/a/{y}/c"),
        ("POST /a/{x}", "GET /{x}/b"),
    ] {
        assert!(!conflict(a, b), "{a} {b}");
    }
    for bad in [
        "",
        "a",
        "GET",
        "GET a",
        "G(T /",
        "/{x",
        "/x}",
        "/a{x}",
        "/{x}/{x}",
        "/{x...}/a",
        "/{$}/a",
        "/{}",
        "/a//b",
        "/%zz",
        "/..",
    ] {
        assert!(Pattern::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_most_specific_route_wins() {
    let mut r = Router::new();
    let patterns = [
        "/",
        "GET /{$}",
        "/a",
        "/a/{x}",
        "GET /a/b",
        "POST /a/c",
        "GET /a/{x}/d",
        "/f/{rest...}",
        "/f/g/",
        "h.org/",
        "/s p/{x}",
    ];
    for p in patterns {
        r.on(p, |_w, _r| {}).unwrap();
    }
    for (host, method, path, pattern, values) in [
        ("x", Method::Get, "/", "GET /{$}", vec![]),
        ("x", Method::Head, "/", "GET /{$}", vec![]),
        ("x", Method::Post, "/", "/", vec![""]),
        ("x", Method::Get, "/zzz/y", "/", vec!["zzz/y"]),
        ("x", Method::Get, "/a", "/a", vec![]),
        ("x", Method::Get, "/a/b", "GET /a/b", vec![]),
        ("x", Method::Put, "/a/b", "/a/{x}", vec!["b"]),
        ("x", Method::Get, "/a/c", "/a/{x}", vec!["c"]),
        ("x", Method::Get, "/a/%62", "GET /a/b", vec![]),
        ("x", Method::Get, "/a/b/d", "GET /a/{x}/d", vec!["b"]),
        ("x", Method::Get, "/a/b/e", "/", vec!["a/b/e"]),
        ("x", Method::Get, "/a/", "/", vec!["a/"]),
        ("x", Method::Get, "/f/", "/f/{rest...}", vec![""]),
        ("x", Method::Get, "/f/a/b", "/f/{rest...}", vec!["a/b"]),
        ("x", Method::Get, "/f/g/h", "/f/g/", vec!["h"]),
        ("x", Method::Get, "/s%20p/a%2Fb", "/s p/{x}", vec!["a%2Fb"]),
        ("H.org:80", Method::Get, "/a", "h.org/", vec!["a"]),
    ] {
        let (found, seen) = r.lookup(host, method, path);
        assert_eq!(
            (found.as_deref(), seen),
            (Some(pattern), values),
            "{method} {path}"
        );
    }
}
