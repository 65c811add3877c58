//! Streams that two servers could read differently: nothing hidden in them is ever served.

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    go,
    net::{
        TcpStream,
        http::{Request, ResponseWriter, Server},
    },
    spawn,
};

use super::status;

/// What an attacker wants to have served.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

/// `POST /` with these headers; `{n}` is the length of `HIDDEN`.
fn post(headers: &str, body: &str) -> String {
    let headers = headers.replace("{n}", &format!("{}", HIDDEN.len()));
    format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}{HIDDEN}")
}

#[burrow::test(timeout = 120)]
fn nothing_is_smuggled() {
    let hits = Arc::new(AtomicUsize::new(0));
    let n = hits.clone();
    // Who reads a body finds its end, or what is wrong with it; for who does not, the server has to.
    let handler = move |w: &mut ResponseWriter, r: &mut Request| {
        if r.path() == "/hidden" {
            n.fetch_add(1, Ordering::SeqCst);
        }
        if r.path() != "/read" || r.read_to_end().is_ok() {
            w.text("ok");
        }
    };
    let server = Server::bind("127.0.0.1:0", handler).unwrap();
    let at = server.local_addr().unwrap();
    let s = server.clone();
    go(move || s.run().unwrap());
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (code, text) in [
        // The hidden one is the body, whole: it is read over.
        ("200", post("Content-Length: {n}\r\n", "")),
        ("200", post("Content-Length: {n}\r\nContent-Length: {n}\r\n", "")),
        ("200", post("Content-Length: 00{n}\r\n", "")),
        (
            "200",
            format!(
                "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
                HIDDEN.len()
            ),
        ),
        (
            "200",
            format!(
                "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
                HIDDEN.len()
            ),
        ),
        // Two answers to where the body ends.
        ("400", post("Content-Length: {n}\r\nContent-Length: 0\r\n", "")),
        ("400", post("Content-Length: 0\r\nContent-Length: {n}\r\n", "")),
        (
            "400",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        (
            "400",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
        (
            "400",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                "0\r\n\r\n",
            ),
        ),
        ("501", post("Transfer-Encoding: identity\r\n", "0\r\n\r\n")),
        (
            "501",
            post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ),
        ("501", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
        ("501", post("Transfer-Encoding:\r\n", "0\r\n\r\n")),
        ("400", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
        ("400", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        ("400", post("Transfer-Encoding\r\n : chunked\r\n", "0\r\n\r\n")),
        ("400", post(" Transfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("400", post("X: y\r\n Content-Length: 0\r\n", "")),
        ("400", post("X: y\r\n\tContent-Length: 0\r\n", "")),
        ("400", post("X: y\rContent-Length: {n}\r\n", "")),
        ("400", post("X: y\0\r\nContent-Length: 0\r\n", "")),
        ("400", post("Content-Length\0: 0\r\n", "")),
        // Lengths that are no digits.
        ("400", post("Content-Length: +{n}\r\n", "")),
        ("400", post("Content-Length: -1\r\n", "")),
        ("400", post("Content-Length: 0x5\r\n", "")),
        ("400", post("Content-Length: 5 5\r\n", "")),
        ("400", post("Content-Length: 5,5\r\n", "")),
        ("400", post("Content-Length: 5.0\r\n", "")),
        ("400", post("Content-Length: 1e1\r\n", "")),
        ("400", post("Content-Length: 18446744073709551616\r\n", "")),
        ("413", post("Content-Length: 9223372036854775807\r\n", "")),
        // Chunks that end in several places.
        ("200", post(chunked, "0\r\nX: y\r\n\r\n").replace(HIDDEN, "")),
        ("400", post(chunked, "+5\r\nhello\r\n0\r\n\r\n")),
        ("400", post(chunked, "0x5\r\nhello\r\n0\r\n\r\n")),
        ("400", post(chunked, "5 5\r\nhello\r\n0\r\n\r\n")),
        ("400", post(chunked, "5\nhello\n0\n\n")),
        ("400", post(chunked, "5;a\nhello\r\n0\r\n\r\n")),
        ("400", post(chunked, "5;a\rb\r\nhello\r\n0\r\n\r\n")),
        ("400", post(chunked, "5\r\nhelloX\r\n0\r\n\r\n")),
        ("400", post(chunked, "ffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        (
            "400",
            post(chunked, "fffffffffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
        ),
        ("400", post(chunked, "0\r\nX: y\n\r\n")),
        ("400", post(chunked, "-1\r\n\r\n")),
        ("400", post(chunked, "\r\n0\r\n\r\n")),
        // Whose host, and which version?
        (
            "400",
            format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{HIDDEN}"),
        ),
        (
            "400",
            format!("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n{HIDDEN}").replace("a, b", "a b"),
        ),
        ("400", format!("GET /x y HTTP/1.1\r\nHost: h\r\n\r\n{HIDDEN}")),
        ("400", format!("GET /\r\n\r\n{HIDDEN}")),
        ("505", format!("GET / HTTP/1.2\r\nHost: h\r\n\r\n{HIDDEN}")),
        ("400", format!("GET / http/1.1\r\nHost: h\r\n\r\n{HIDDEN}")),
        (
            "400",
            format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        ),
        // The body that was announced may never come: what comes is not taken for a request.
        ("200", post("Expect: 100-continue\r\nContent-Length: {n}\r\n", "")),
        ("417", post("Expect: 200-ok\r\n", "")),
    ] {
        for text in [text.replacen("POST / ", "POST /read ", 1), text] {
            let before = hits.load(Ordering::SeqCst);
            let c = TcpStream::connect(at).unwrap();
            let (w, bytes) = (c.clone(), text.clone().into_bytes());
            let writing = spawn(move || {
                let _ = w
                    .write_all(&bytes)
                    .and_then(|()| w.shutdown(burrow::net::Shutdown::Write));
            });
            let mut out = Vec::new();
            c.read_to_end(&mut out).unwrap();
            writing.join().unwrap();
            let out = String::from_utf8(out).unwrap();
            let out = out.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
            // What is wrong with a body that nobody reads shows after the response.
            let unread = text.starts_with("POST / ") && text.contains(chunked) && status(&out) == "200";
            assert!(unread || status(&out) == code, "{text:?}: {out}");
            assert_eq!(out.matches("HTTP/1.1 ").count(), 1, "{text:?}: {out}");
            assert_eq!(hits.load(Ordering::SeqCst), before, "smuggled by {text:?}");
        }
    }
    server.close();
}
