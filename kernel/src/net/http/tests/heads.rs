//! Requests' heads: what is understood, what is refused, and with which status.
#![forbid(unsafe_code)]

use alloc::{format, vec::Vec};

use super::super::{
    Method,
    head::{Framing, Head},
    limits::Limits,
    url,
};

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
