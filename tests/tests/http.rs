//! The HTTP server and client over the loopback link: what raw bytes get back, and who waits for whom.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    JoinHandle, chan,
    context::{Context, DeadlineExceeded},
    go,
    net::{
        self, TcpStream,
        http::{Builder, Client, Error, Method, Request, ResponseWriter, Router, Server},
    },
    spawn,
    sync::Mutex,
    time::Duration,
};

burrow::test_main!();

const MS: Duration = Duration::from_millis(1);

struct Running {
    server: Server,
    at: String,
    run: JoinHandle<Result<(), net::Error>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// A server of all that these tests ask for.
    fn start(builder: Builder) -> Running {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = log.clone();
        let builder = builder.log(move |line| lines.lock().push(line.to_string()));
        let server = builder.bind("127.0.0.1:0", routes()).unwrap();
        let at = server.local_addr().unwrap().to_string();
        let s = server.clone();
        let run = spawn(move || s.run());
        Running { server, at, run, log }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// Sends `bytes`, closes the writing side, reads to the end.
    fn raw(&self, bytes: &[u8]) -> String {
        let c = TcpStream::connect(&self.at).unwrap();
        let (w, bytes) = (c.clone(), bytes.to_vec());
        let writing = spawn(move || {
            w.write_all(&bytes)
                .and_then(|()| w.shutdown(net::Shutdown::Write))
        });
        let mut out = Vec::new();
        c.read_to_end(&mut out).unwrap();
        let _ = writing.join().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn stop(self) {
        self.server.shutdown(&Context::background()).unwrap();
        self.run.join().unwrap().unwrap();
        assert_eq!(self.server.connections(), 0);
    }
}

fn echo(w: &mut ResponseWriter, r: &mut Request) {
    if let Ok(body) = r.read_to_end() {
        let _ = w.write(&body);
    }
}

fn large(w: &mut ResponseWriter, _r: &mut Request) {
    for i in 0..20u8 {
        let _ = w.write(&[b'a' + i; 1000]);
    }
}

fn routes() -> Router {
    let mut r = Router::new();
    r.on("GET /hello", |w, _r| w.text("hello")).unwrap();
    r.on("POST /echo", echo).unwrap();
    r.on("POST /ignore", |w, _r| w.text("ignored")).unwrap();
    r.on("GET /large", large).unwrap();
    r.on("GET /panic", |_w, _r| panic!("on purpose")).unwrap();
    r.on("GET /late", |w, _r| {
        w.write(b"begun").and_then(|()| w.flush()).unwrap();
        panic!("in the middle");
    })
    .unwrap();
    r.on("GET /evil", |w, _r| {
        let refused = w.try_header("X", "a\r\nSet-Cookie: evil=1").is_err();
        w.text(&format!("refused: {refused}"));
    })
    .unwrap();
    r.on("GET /item/{id}", |w, r| w.text(r.path_value("id").unwrap()))
        .unwrap();
    r.on("GET /dir/", |w, _r| w.text("dir")).unwrap();
    r.on("GET /bounce", |w, _r| w.redirect(302, "/hello")).unwrap();
    r.on("GET /loop", |w, _r| w.redirect(302, "/loop")).unwrap();
    r
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, b)| b)
}

#[burrow::test]
fn keep_alive_and_pipelining() {
    let s = Running::start(Server::builder());
    let mut text = String::new();
    for i in 0..20 {
        text += &format!("GET /item/{i} HTTP/1.1\r\nHost: h\r\n\r\n");
        text += &format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nbody{i:02}");
        text += "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\nT: t\r\n\r\n";
        text += "POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz";
    }
    let answer = s.raw(text.as_bytes());
    let mut expected = Vec::new();
    for i in 0..20 {
        expected.extend([
            format!("{i}"),
            format!("body{i:02}"),
            "abcd".to_string(),
            "ignored".to_string(),
        ]);
    }
    let seen: Vec<&str> = answer.split("HTTP/1.1 200 OK\r\n").skip(1).map(body).collect();
    assert_eq!(seen, expected, "in order, all of them");

    let client = Client::new();
    for _ in 0..10 {
        assert_eq!(client.get(&s.url("/hello")).unwrap().text().unwrap(), "hello");
        assert_eq!(client.idle_connections(), 1);
    }
    assert_eq!(s.server.connections(), 1);
    s.stop();
}

#[burrow::test]
fn heads_chunks_and_old_clients() {
    let s = Running::start(Server::builder());
    let close = "Host: h\r\nConnection: close\r\n\r\n";
    let a = s.raw(format!("HEAD /hello HTTP/1.1\r\n{close}").as_bytes());
    assert!(
        a.contains("Content-Length: 5\r\n") && a.contains("Date: ") && body(&a).is_empty(),
        "{a}"
    );
    let a = s.raw(format!("GET /large HTTP/1.1\r\n{close}").as_bytes());
    assert!(
        a.contains("Transfer-Encoding: chunked\r\n") && a.ends_with("\r\n0\r\n\r\n"),
        "{a}"
    );
    let a = s.raw(b"GET /large HTTP/1.0\r\n\r\n");
    assert!(
        !a.contains("chunked") && a.contains("Connection: close") && body(&a).len() == 20_000,
        "{a}"
    );
    let a = s.raw(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(
        a.contains("Connection: keep-alive") && a.ends_with("hello"),
        "{a}"
    );
    let mut large = Client::new().get(&s.url("/large")).unwrap();
    assert_eq!(large.bytes().unwrap().len(), 20_000);
    let head = Client::new()
        .request(Method::Head, &s.url("/large"))
        .send()
        .unwrap();
    assert_eq!(head.status(), 200);
    let a = s.raw(format!("OPTIONS * HTTP/1.1\r\n{close}").as_bytes());
    assert!(status(&a) == "200" && a.contains("Allow: "), "{a}");
    let a = s.raw(format!("GET /evil HTTP/1.1\r\n{close}").as_bytes());
    assert!(a.ends_with("refused: true") && !a.contains("evil="), "{a}");
    s.stop();
}

#[burrow::test]
fn routing() {
    let s = Running::start(Server::builder());
    let get =
        |line: &str| s.raw(format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!(status(&get("GET /nowhere")), "404");
    let a = get("DELETE /hello");
    assert!(status(&a) == "405" && a.contains("Allow: GET, HEAD\r\n"), "{a}");
    assert!(get("GET /dir?q=1").contains("Location: /dir/?q=1\r\n"));
    assert!(get("GET /a/../hello?q").contains("Location: /hello?q\r\n"));
    assert!(get("GET /item/%2e%2e%2Fx").ends_with("../x"));
    let client = Client::new();
    assert_eq!(client.get(&s.url("/bounce")).unwrap().text().unwrap(), "hello");
    assert_eq!(client.get(&s.url("/loop")).unwrap_err(), Error::TooManyRedirects);
    assert_eq!(
        client.clone().redirects(0).get(&s.url("/loop")).unwrap().status(),
        302
    );
    s.stop();
}

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
    let b = Server::builder()
        .header_timeout(30 * MS)
        .body_timeout(30 * MS)
        .idle_timeout(30 * MS);
    let s = Running::start(b);
    let told = |text: &[u8]| {
        let c = TcpStream::connect(&s.at).unwrap();
        c.write_all(text).unwrap();
        let mut out = Vec::new();
        c.read_to_end(&mut out).unwrap(); // only the server's limit ends this
        String::from_utf8(out).unwrap()
    };
    assert_eq!(status(&told(b"GET /hello HT")), "408");
    assert_eq!(
        status(&told(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"
        )),
        "408"
    );
    assert_eq!(told(b""), "", "a connection without a byte just ends");
    assert!(
        told(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("hello"),
        "then the idle limit"
    );
    s.stop();
}

#[burrow::test]
fn go_ahead_is_asked_for() {
    let s = Running::start(Server::builder());
    let ask = |path: &str| {
        let c = TcpStream::connect(&s.at).unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        c.write_all(head.as_bytes()).unwrap();
        let mut buf = [0; 25];
        assert_eq!(c.read_full(&mut buf), Ok(25));
        if &buf == b"HTTP/1.1 100 Continue\r\n\r\n" {
            c.write_all(b"body").unwrap();
        }
        c.shutdown(net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        c.read_to_end(&mut rest).unwrap();
        (
            String::from_utf8_lossy(&buf).into_owned(),
            String::from_utf8(rest).unwrap(),
        )
    };
    let (first, rest) = ask("/echo");
    assert!(
        first.contains("100 Continue") && rest.ends_with("body"),
        "{first}{rest}"
    );
    let (first, rest) = ask("/ignore");
    assert!(
        !first.contains("100") && rest.ends_with("ignored"),
        "{first}{rest}"
    );
    assert!(
        rest.contains("Connection: close"),
        "the body may never come: {first}{rest}"
    );
    s.stop();
}

#[burrow::test]
fn panics_stay_in_the_handler() {
    let s = Running::start(Server::builder());
    let client = Client::new();
    assert_eq!(client.get(&s.url("/panic")).unwrap().status(), 500);
    let mut late = client.get(&s.url("/late")).unwrap();
    assert_eq!(late.status(), 200);
    assert!(late.bytes().is_err(), "not a complete response");
    assert_eq!(client.get(&s.url("/hello")).unwrap().text().unwrap(), "hello");
    let log = s.log.lock().join("\n");
    assert!(
        log.contains("on purpose") && log.contains("in the middle") && log.contains("GET /panic"),
        "{log}"
    );
    s.stop();
}

#[burrow::test(timeout = 60)]
fn shutdown_drains() {
    let started = Arc::new(AtomicUsize::new(0));
    let release = chan::<()>(0);
    let (n, gate) = (started.clone(), release.receiver());
    let handler = move |w: &mut ResponseWriter, r: &mut Request| {
        if r.path() == "/wait" {
            n.fetch_add(1, Ordering::Relaxed);
            gate.recv();
        }
        w.text("done");
    };
    let server = Server::bind("127.0.0.1:0", handler).unwrap();
    let at = server.local_addr().unwrap().to_string();
    let s = server.clone();
    let run = spawn(move || s.run());
    let idle = Client::new();
    idle.get(&format!("http://{at}/")).unwrap().text().unwrap();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let url = format!("http://{at}/wait");
            spawn(move || Client::new().get(&url).and_then(|mut a| a.text()))
        })
        .collect();
    while started.load(Ordering::Relaxed) < 100 {
        burrow::yield_now();
    }
    let s = server.clone();
    let down = spawn(move || s.shutdown(&Context::background()));
    run.join().unwrap().unwrap(); // accepts no more
    // It wakes who accepts before the port is free: who comes in between is reset.
    loop {
        match Client::new().get(&format!("http://{at}/")) {
            Err(Error::Net(net::Error::Refused)) => break,
            Err(Error::Net(net::Error::Reset)) => burrow::yield_now(),
            r => panic!("served after the end: {r:?}"),
        }
    }
    assert!(!down.is_finished(), "100 requests are being served");
    release.close();
    for c in clients {
        assert_eq!(c.join().unwrap().unwrap(), "done");
    }
    down.join().unwrap().unwrap();
    assert_eq!(server.connections(), 0);
}

#[burrow::test(timeout = 60)]
fn shutdown_gives_up_when_told() {
    let seen = chan::<bool>(1);
    let tx = seen.sender();
    let handler = move |_: &mut ResponseWriter, r: &mut Request| {
        let ctx = r.context();
        ctx.done().recv(); // nothing else ends it
        tx.send(ctx.err().is_some());
    };
    let server = Server::bind("127.0.0.1:0", handler).unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let s = server.clone();
    go(move || s.run().unwrap());
    let client = spawn(move || Client::new().get(&url).map(|_| ()));
    while server.connections() == 0 {
        burrow::yield_now();
    }
    let (ctx, _cancel) = Context::background().with_timeout(20 * MS);
    assert_eq!(server.shutdown(&ctx), Err(DeadlineExceeded));
    // Cut off before the handler began, or in it.
    assert!(client.join().unwrap().is_err());
    while server.connections() > 0 {
        burrow::yield_now();
    }
    assert_ne!(seen.try_recv(), Ok(false));
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

#[burrow::test(timeout = 60)]
fn bodies_stream_both_ways() {
    let s = Running::start(Server::builder());
    let data: Vec<u8> = (0..300_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for length in [Some(data.len() as u64), None] {
        let mut left = &data[..];
        let mut source = |buf: &mut [u8]| {
            let n = left.len().min(buf.len()).min(1777);
            buf[..n].copy_from_slice(&left[..n]);
            left = &left[n..];
            Ok(n)
        };
        let client = Client::new();
        let url = s.url("/echo");
        let mut a = client
            .request(Method::Post, &url)
            .body_from(length, &mut source)
            .send()
            .unwrap();
        assert!(a.bytes().unwrap() == data, "{length:?}: it came back changed");
    }
    let mut failing = |_: &mut [u8]| Err(Error::Aborted);
    let url = s.url("/echo");
    let e = Client::new()
        .request(Method::Post, &url)
        .body_from(None, &mut failing)
        .send();
    assert_eq!(e.unwrap_err(), Error::Aborted);
    let mut buf = vec![0; 10];
    let mut a = Client::new().max_body(100).get(&s.url("/large")).unwrap();
    assert_eq!(a.read(&mut buf), Ok(10));
    assert_eq!(a.bytes(), Err(Error::BodyTooLarge));
    drop(a);
    s.stop();
}
