//! Limits: on sizes, to the byte; on times, at every stage; on connections.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    go,
    net::{
        self, TcpStream,
        http::{Client, Request, ResponseWriter, Server},
    },
    spawn,
};

use super::{MS, Running, status};

#[burrow::test]
fn bad_requests_are_told_and_cut_off() {
    let s = Running::start(Server::builder().header_bytes(2000).max_uri(500).max_body(10_000));
    let with = |headers: &str, body: &str| format!("POST /echo HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}");
    let flood = "f".repeat(300_000);
    for (code, text) in [
        ("400", "nonsense\r\n\r\n".to_string()),
        ("400", "GET /hello HTTP/1.1\r\n\r\n".to_string()),
        ("505", "GET /hello HTTP/3.0\r\nHost: h\r\n\r\n".to_string()),
        (
            "400",
            with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        ("501", with("Transfer-Encoding: gzip\r\n", "x")),
        ("400", with("Transfer-Encoding: chunked\r\n", "xyz\r\n")),
        ("400", with("Transfer-Encoding: chunked\r\n", "3\r\nab")),
        ("414", format!("GET /{} HTTP/1.1\r\n", "u".repeat(600))),
        ("431", with(&format!("X: {}\r\n", "x".repeat(3000)), "")),
        // The client is still sending when it is told: it sees the answer, not a reset.
        ("413", with("Content-Length: 300000\r\n", &flood)),
        (
            "413",
            with("Transfer-Encoding: chunked\r\n", &format!("40000\r\n{flood}")),
        ),
    ] {
        let a = s.raw(text.as_bytes());
        assert_eq!(status(&a), code, "{a}");
        assert!(a.contains("Connection: close\r\n"), "{a}");
        assert_eq!(a.matches("HTTP/1.1 ").count(), 1, "{a}");
    }
    s.stop();
}

#[burrow::test]
fn slow_clients_meet_limits() {
    let told = |s: &Running, text: &[u8]| {
        let c = TcpStream::connect(&s.at)?;
        c.write_all(text)?;
        let mut out = Vec::new();
        c.read_to_end(&mut out)?; // only the server's limit ends this
        Ok::<_, net::Error>(String::from_utf8(out).unwrap())
    };
    let s = Running::start(Server::builder().header_timeout(200 * MS));
    // The limit counts from the connection on: before its first byte the client may be kept from its core for longer.
    let late = || told(&s, b"GET /hello HT").is_ok_and(|a| status(&a) == "408");
    assert!((0..10).any(|_| late()));
    assert_eq!(
        told(&s, b""),
        Ok(String::new()),
        "a connection without a byte just ends"
    );
    s.stop();

    let s = Running::start(Server::builder().body_timeout(30 * MS));
    let a = told(
        &s,
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab",
    );
    assert_eq!(status(&a.unwrap()), "408");
    s.stop();

    let s = Running::start(Server::builder().idle_timeout(30 * MS));
    let a = told(&s, b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(a.unwrap().ends_with("hello"), "then the idle limit");
    s.stop();

    let s = Running::start(Server::builder());
    // Too long, and nothing more comes: no need to wait for the rest. In two pieces, and in many.
    for piece in [6000, 700] {
        let c = TcpStream::connect(&s.at).unwrap();
        let text = format!("GET /{}", "u".repeat(9000));
        for p in text.as_bytes().chunks(piece) {
            c.write_all(p).unwrap();
        }
        let mut out = Vec::new();
        c.read_to_end(&mut out).unwrap();
        assert_eq!(status(&String::from_utf8(out).unwrap()), "414", "{piece}");
    }
    s.stop();
}

#[burrow::test(timeout = 60)]
fn no_more_connections_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (n, m) = (now.clone(), most.clone());
    let handler = move |w: &mut ResponseWriter, _: &mut Request| {
        m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        burrow::time::sleep(MS);
        n.fetch_sub(1, Ordering::SeqCst);
        w.header("Connection", "close").text("ok");
    };
    let server = Server::builder()
        .max_connections(3)
        .bind("127.0.0.1:0", handler)
        .unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let s = server.clone();
    go(move || s.run().unwrap());
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let url = url.clone();
            spawn(move || Client::new().get(&url).and_then(|mut a| a.text()))
        })
        .collect();
    for c in clients {
        assert_eq!(c.join().unwrap().unwrap(), "ok");
    }
    assert!(
        (1..=3).contains(&most.load(Ordering::SeqCst)),
        "{most:?} at a time"
    );
    server.close();
}

/// To the byte: what is as large as a limit passes, one byte more does not; whole, and byte by byte.
#[burrow::test(timeout = 120)]
fn limits_are_exact() {
    let s = Running::start(
        Server::builder()
            .header_bytes(200)
            .max_uri(50)
            .max_headers(5)
            .max_body(1000),
    );
    let end = "Connection: close\r\n\r\n";
    let head = |len: usize| {
        let fixed = "GET /hello HTTP/1.1\r\nHost: h\r\nX: \r\n".len() + end.len();
        format!(
            "GET /hello HTTP/1.1\r\nHost: h\r\nX: {}\r\n{end}",
            "x".repeat(len - fixed)
        )
    };
    let uri = |len: usize| format!("GET /item/{} HTTP/1.1\r\nHost: h\r\n{end}", "u".repeat(len - 6));
    let count = |n: usize| {
        format!(
            "GET /hello HTTP/1.1\r\nHost: h\r\n{}{end}",
            "X: y\r\n".repeat(n - 2)
        )
    };
    let sized = |n: usize| {
        let body = "b".repeat(n);
        format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n{end}{body}")
    };
    let chunks = |n: usize| {
        let (a, b) = ("b".repeat(400), "c".repeat(n - 400));
        format!(
            "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{end}190\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
            n - 400
        )
    };
    for (code, text) in [
        ("200", head(200)),
        ("431", head(201)),
        ("200", uri(50)),
        ("414", uri(51)),
        ("200", count(5)),
        ("431", count(6)),
        ("200", sized(1000)),
        ("413", sized(1001)),
        ("200", chunks(1000)),
        ("413", chunks(1001)),
    ] {
        let a = s.raw(text.as_bytes());
        assert_eq!(status(&a), code, "{text}: {a}");
        let c = TcpStream::connect(&s.at).unwrap();
        let (w, bytes) = (c.clone(), text.clone().into_bytes());
        let writing = spawn(move || bytes.chunks(1).all(|b| w.write_all(b).is_ok()));
        let mut out = Vec::new();
        c.read_to_end(&mut out).unwrap();
        writing.join().unwrap();
        assert_eq!(
            status(&String::from_utf8(out).unwrap()),
            code,
            "byte by byte: {text}"
        );
    }
    s.stop();
}

/// A client that sends a byte now and then gets nowhere with it, at no stage.
#[burrow::test(timeout = 60)]
fn dribbling_does_not_help() {
    // A head's time begins with the connection, so it may be over when a client that was kept from its core begins; a
    // body's begins with the head.
    let slow_heads = Running::start(Server::builder().header_timeout(60 * MS));
    let slow_bodies = Running::start(Server::builder().body_timeout(60 * MS));
    let hello = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
    for (answers, text, byte) in [
        (vec!["408"], "GET /".to_string(), b'u'),
        (vec!["408"], "GET / HTTP/1.1\r\nX: ".to_string(), b'x'),
        (
            vec!["408"],
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n".to_string(),
            b'b',
        ),
        (
            vec!["408"],
            "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;".to_string(),
            b'e',
        ),
        // Nobody reads it: the response comes first, then the connection ends.
        (
            vec!["200"],
            "POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n".to_string(),
            b'b',
        ),
        (vec!["200", "200", "408"], format!("{hello}{hello}GET /"), b'u'),
        // Empty lines before a request are read over, but count.
        (vec!["408"], "\r\n".to_string(), b'\n'),
        (vec!["200", "408"], format!("{hello}\r\n"), b'\n'),
    ] {
        let body = text.contains("POST");
        let at = if body { &slow_bodies.at } else { &slow_heads.at };
        let dribble = || {
            let c = TcpStream::connect(at).unwrap();
            let _ = c.write_all(text.as_bytes());
            let w = c.clone();
            let writing = spawn(move || {
                while w.write_all(&[byte]).is_ok() {
                    burrow::time::sleep(5 * MS);
                }
            });
            let mut out = Vec::new();
            // The server tells, and lingers while more comes: what it told is all we want.
            let _ = c.read_to_end(&mut out);
            c.close().unwrap();
            writing.join().unwrap();
            String::from_utf8(out).unwrap()
        };
        let mut out = dribble();
        for _ in 0..if body { 0 } else { 10 } {
            if out.starts_with("HTTP/1.1 ") {
                break;
            }
            out = dribble();
        }
        let seen: Vec<&str> = out
            .split("HTTP/1.1 ")
            .skip(1)
            .filter_map(|a| a.get(..3))
            .collect();
        assert_eq!(seen, answers, "{text:?}: {out}");
    }
    slow_heads.stop();
    slow_bodies.stop();
}
