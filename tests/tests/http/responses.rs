//! Responses that end otherwise than they began, or may have no body.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use burrow::{
    chan, go,
    net::{
        self, TcpStream,
        http::{Builder, Client, Error, Request, ResponseWriter, Server},
    },
    time::{self, Duration},
};

use super::{MS, body, status};

fn serve(f: impl Fn(&mut ResponseWriter, &mut Request) + Send + Sync + 'static) -> (Server, String) {
    serve_with(Server::builder(), f)
}

fn serve_with(
    builder: Builder,
    f: impl Fn(&mut ResponseWriter, &mut Request) + Send + Sync + 'static,
) -> (Server, String) {
    let server = builder.log(|_| ()).bind("127.0.0.1:0", f).unwrap();
    let at = server.local_addr().unwrap().to_string();
    let s = server.clone();
    go(move || s.run().unwrap());
    (server, at)
}

/// Sends `text`, reads to the end; the error with which it ended, if one did.
fn ask(at: &str, text: &str) -> (String, Option<net::Error>) {
    let c = TcpStream::connect(at).unwrap();
    c.write_all(text.as_bytes()).unwrap();
    let mut out = Vec::new();
    let end = c.read_to_end(&mut out).err();
    (String::from_utf8(out).unwrap(), end)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn last(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

fn odd(w: &mut ResponseWriter, r: &mut Request) {
    match r.path() {
        "/204" => w.status(204).text("not allowed"),
        "/304" => w.status(304).header("ETag", "\"1\"").text("not allowed"),
        "/204flush" => {
            w.status(204);
            let _ = w.write(b"not allowed").and_then(|()| w.flush());
        }
        "/head" => w.text("five!"),
        "/panic" => {
            w.header("Content-Type", "application/json")
                .header("Set-Cookie", "a=1");
            let _ = w.write(b"{\"half\":");
            panic!("on purpose");
        }
        "/error" => {
            w.header("Content-Type", "application/json").header("X-Kept", "1");
            w.error(503, &"e".repeat(5000));
        }
        "/stream" => {
            w.write(b"begun").and_then(|()| w.flush()).unwrap();
            panic!("in the middle");
        }
        "/abort" => w.abort(),
        "/short" => {
            w.header("Content-Length", "10").text("12345");
        }
        "/long" => {
            w.header("Content-Length", "3");
            let _ = w.write(&[b'l'; 5000]);
        }
        "/close" => w.header("Connection", " Close ").text("bye"),
        _ => w.text("hello"),
    }
}

#[burrow::test(timeout = 60)]
fn bodies_where_none_may_be() {
    let (server, at) = serve(odd);
    for path in ["/204", "/304", "/204flush"] {
        let (a, end) = ask(&at, &(get(path) + &last("/")));
        assert_eq!((status(&a), end), (&path[1..4], None), "{a}");
        // The next response begins where the body would be.
        assert!(body(&a).starts_with("HTTP/1.1 200 OK"), "{a}");
        assert!(!a.contains("not allowed") && a.ends_with("hello"), "{a}");
    }
    let head = "HEAD /head HTTP/1.1\r\nHost: h\r\n\r\n";
    let (a, _) = ask(&at, &(head.to_string() + &last("/")));
    assert!(
        a.contains("Content-Length: 5\r\n") && body(&a).starts_with("HTTP/1.1"),
        "{a}"
    );
    // What is refused after a HEAD has a body again.
    let (a, _) = ask(&at, &(head.to_string() + "nonsense\r\n\r\n"));
    assert!(a.contains("HTTP/1.1 400 ") && a.ends_with("line\n"), "{a}");
    server.close();
}

#[burrow::test(timeout = 60)]
fn errors_replace_what_was_begun() {
    let (server, at) = serve(odd);
    let (a, end) = ask(&at, &get("/panic"));
    assert_eq!((status(&a), end), ("500", None), "{a}");
    assert!(
        a.contains("text/plain") && !a.contains("json") && !a.contains("Cookie") && !a.contains("half"),
        "{a}"
    );
    let (a, end) = ask(&at, &last("/error"));
    assert_eq!((status(&a), end), ("503", None), "{a}");
    assert!(
        a.contains("text/plain") && a.contains("X-Kept: 1") && !a.contains("json"),
        "{a}"
    );
    assert!(a.ends_with("e\n") || a.ends_with("0\r\n\r\n"), "all of it: {a}");
    let (a, _) = ask(&at, &(get("/close") + &get("/")));
    assert!(a.ends_with("bye") && a.contains("Connection: close\r\n"), "{a}");
    server.close();
}

#[burrow::test(timeout = 60)]
fn what_is_given_up_does_not_look_whole() {
    let (server, at) = serve(odd);
    // Those before it are whole, and arrive.
    for path in ["/abort", "/stream"] {
        let (a, _) = ask(&at, &(get("/") + &get("/head") + &get(path) + &get("/")));
        assert!(a.contains("hello") && a.contains("five!"), "{path}: {a}");
        assert!(!a.contains("0\r\n\r\n") && !a.ends_with("hello"), "{path}: {a}");
    }
    // An old client sees the end of a body by the end of the connection: here a reset.
    let (a, end) = ask(&at, "GET /stream HTTP/1.0\r\n\r\n");
    assert!(end.is_some(), "{a}");
    let (a, _) = ask(&at, "GET /abort HTTP/1.0\r\n\r\n");
    assert!(!a.contains("200 OK"), "{a}");
    // Bodies that do not keep their word end the connection.
    let (a, end) = ask(&at, &(get("/short") + &get("/")));
    assert!(a.ends_with("12345") && end.is_none(), "{a}");
    let (a, _) = ask(&at, &(get("/long") + &get("/")));
    assert!(!a.contains("lll") && !a.ends_with("hello"), "{a}");
    for path in ["/abort", "/stream", "/short"] {
        let e = Client::new()
            .get(&format!("http://{at}{path}"))
            .and_then(|mut a| a.bytes());
        assert!(e.is_err(), "{path}: {e:?}");
    }
    server.close();
}

/// A client that takes nothing of its response is given up, and the handler hears of it.
#[burrow::test(timeout = 60)]
fn nobody_reads_the_response() {
    let failed = chan::<Error>(1);
    let tx = failed.sender();
    let (server, at) = serve_with(Server::builder().write_timeout(200 * MS), move |w, _| {
        let e = loop {
            if let Err(e) = w.write(&[b'x'; 10_000]) {
                break e;
            }
        };
        assert_eq!(w.flush(), Err(e), "it stays failed");
        tx.send(e);
    });
    let c = TcpStream::connect(&at).unwrap();
    c.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(failed.recv(), Some(Error::TimedOut));
    let mut out = Vec::new();
    assert!(c.read_to_end(&mut out).is_err(), "not a whole response");
    server.close();
}

/// An event stream: each event arrives by itself, and the writer ends when the client has gone.
#[burrow::test(timeout = 60)]
fn events_arrive_one_by_one() {
    let (next, ended) = (chan::<u32>(0), chan::<Error>(1));
    let (rx, tx) = (next.receiver(), ended.sender());
    let (server, at) = serve(move |w, _| {
        w.header("Content-Type", "text/event-stream");
        w.flush().unwrap();
        while let Some(i) = rx.recv() {
            if let Err(e) = w
                .write(format!("data: {i}\n\n").as_bytes())
                .and_then(|()| w.flush())
            {
                return tx.send(e);
            }
        }
    });
    let client = Client::new();
    let mut events = client.get(&format!("http://{at}/")).unwrap(); // the head came before any event
    let mut buf = [0; 100];
    for i in 0..20 {
        next.send(i);
        let n = events.read(&mut buf).unwrap(); // nothing else would come
        assert_eq!(buf[..n], *format!("data: {i}\n\n").as_bytes());
    }
    drop(events);
    let e = loop {
        burrow::select! {
            send(next, 0) => {}
            recv(ended) -> e => break e.unwrap(),
        }
    };
    assert!(matches!(e, Error::Net(_)), "{e:?}");
    assert_eq!(client.idle_connections(), 0, "it was not read to its end");
    server.close();
}

/// The go-ahead is sent with a deadline of its own, not with what is left of an earlier write's.
#[burrow::test(timeout = 60)]
fn a_late_go_ahead() {
    const LIMIT: Duration = Duration::from_millis(500);
    let (server, at) = serve_with(Server::builder().write_timeout(LIMIT), |w, r| {
        match r.read_to_end() {
            Ok(body) => w.text(&String::from_utf8(body).unwrap()),
            Err(e) => w.text(&format!("{e}")),
        }
    });
    let go_ahead = || {
        let c = TcpStream::connect(&at)?;
        let mut buf = [0; 1000];
        c.write_all(get("/").as_bytes())?;
        c.read(&mut buf)?;
        time::sleep(LIMIT + 50 * MS); // the write's deadline passes
        c.write_all(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n",
        )?;
        let n = c.read(&mut buf)?;
        c.write_all(b"body")?;
        let mut out = Vec::new();
        c.read_to_end(&mut out)?;
        Ok::<_, net::Error>(&buf[..n] == b"HTTP/1.1 100 Continue\r\n\r\n" && out.ends_with(b"\r\n\r\nbody"))
    };
    // The server itself may be kept from its core for longer than that: then again.
    assert!((0..10).any(|_| go_ahead() == Ok(true)));
    server.close();
}
