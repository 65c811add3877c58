//! The client: connections used again and not, limits on times and sizes, redirects.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    chan, go,
    net::{
        TcpListener, TcpStream,
        http::{Client, Error, Method, Request, Response, ResponseWriter, Server},
    },
    time::{Duration, Instant},
    yield_now,
};

use super::{MS, Running};

const HOUR: Duration = Duration::from_secs(3600);

/// A server that does what `f` does with the connection of this number.
fn scripted(f: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> (TcpListener, String, Arc<AtomicUsize>) {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", l.local_addr());
    let count = Arc::new(AtomicUsize::new(0));
    let (listener, n, f) = (l.clone(), count.clone(), Arc::new(f));
    go(move || {
        while let Ok((c, _)) = listener.accept() {
            let (i, f) = (n.fetch_add(1, Ordering::Relaxed), f.clone());
            go(move || f(i, c));
        }
    });
    (l, url, count)
}

/// Reads a request's head; `false` if the connection ended first.
fn head(c: &TcpStream) -> bool {
    let (mut text, mut b) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        match c.read(&mut b) {
            Ok(1) => text.push(b[0]),
            _ => return false,
        }
    }
    true
}

fn response(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

fn ok(c: &TcpStream, text: &str) {
    c.write_all(response(text).as_bytes()).unwrap();
}

fn text(r: Result<Response, Error>) -> Result<String, Error> {
    r.and_then(|mut a| a.text())
}

#[burrow::test(timeout = 60)]
fn idle_connections_are_bounded_and_end() {
    let s = Running::start(Server::builder());
    let client = Client::new().max_idle(2);
    let get = || client.get(&s.url("/hello")).unwrap();
    let (mut a, mut b, mut c) = (get(), get(), get()); // at once: three connections, whose bodies are here
    for r in [&mut a, &mut b, &mut c] {
        assert_eq!(r.text().unwrap(), "hello");
    }
    assert_eq!(client.idle_connections(), 2);
    let other = client.clone().max_idle(1); // the clones share it
    assert_eq!((client.idle_connections(), other.idle_connections()), (1, 1));

    // The time runs out without another request; the server sees the connection end.
    let client = other.max_idle(2).idle_timeout(20 * MS);
    while client.idle_connections() > 0 || s.server.connections() > 0 {
        yield_now();
    }
    // A new one, whose time begins when it is idle, runs out too, and again.
    for _ in 0..2 {
        let get = || client.get(&s.url("/hello")).unwrap();
        get().text().unwrap();
        while client.idle_connections() > 0 || s.server.connections() > 0 {
            yield_now();
        }
    }
    let client = client.idle_timeout(HOUR);
    client.get(&s.url("/hello")).unwrap().text().unwrap();
    assert_eq!(client.idle_connections(), 1, "a new one");
    let client = client.idle_timeout(20 * MS);
    while client.idle_connections() > 0 {
        yield_now();
    }
    let client = Client::new().max_idle(0);
    client.get(&s.url("/hello")).unwrap().text().unwrap();
    assert_eq!(client.idle_connections(), 0);
    s.stop();
}

/// A connection that ends when it is used again: another one is tried, once, if that is allowed.
#[burrow::test(timeout = 60)]
fn stale_connections() {
    let (l, url, count) = scripted(|i, c| {
        if head(&c) && i != 2 {
            ok(&c, &format!("{i}"));
            head(&c); // and closes without an answer
        }
    });
    let client = Client::new();
    assert_eq!(text(client.get(&url)).unwrap(), "0");
    assert_eq!(
        text(client.get(&url)).unwrap(),
        "1",
        "repeated on a new connection"
    );
    assert_eq!(
        text(client.get(&url)),
        Err(Error::UnexpectedEnd),
        "once, not for ever"
    );
    assert_eq!(count.load(Ordering::Relaxed), 3);
    // What must not be repeated does not take one from the pool.
    assert_eq!(text(client.get(&url)).unwrap(), "3");
    assert_eq!(text(client.post(&url, "x/y", b"")).unwrap(), "4");
    l.close().unwrap();
}

#[burrow::test(timeout = 60)]
fn half_read_responses_are_not_used_again() {
    let s = Running::start(Server::builder());
    let client = Client::new();
    let mut a = client.get(&s.url("/large")).unwrap();
    assert!(a.read(&mut [0; 10]).unwrap() > 0);
    drop(a);
    assert_eq!(client.idle_connections(), 0);
    assert_eq!(text(client.get(&s.url("/hello"))).unwrap(), "hello");
    // More than was asked for is not the beginning of the next response.
    let (l, url, count) = scripted(|_, c| {
        head(&c);
        let both = response("right") + &response("wrong"); // at once: else it may be an answer to the next request
        c.write_all(both.as_bytes()).unwrap();
        head(&c);
    });
    for _ in 0..2 {
        assert_eq!(text(client.get(&url)).unwrap(), "right");
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
    l.close().unwrap();
    s.stop();
}

#[burrow::test(timeout = 60)]
fn time_limits() {
    // It reads nothing, answers nothing, and goes when it is told.
    let end = chan::<()>(0);
    let told = end.receiver();
    let (l, url, _) = scripted(move |_, c| {
        told.recv();
        drop(c);
    });
    let data = alloc::vec![7; 1 << 20];
    let short = Client::new().timeout(30 * MS);
    assert_eq!(text(short.get(&url)), Err(Error::TimedOut), "no answer");
    assert_eq!(
        text(short.request(Method::Put, &url).body(&data).send()),
        Err(Error::TimedOut),
        "it takes nothing"
    );
    let long = Client::new().timeout(HOUR);
    let soon = || Instant::now() + 30 * MS;
    assert_eq!(
        text(long.request(Method::Get, &url).deadline(soon()).send()),
        Err(Error::TimedOut)
    );
    let put = long.request(Method::Put, &url).body(&data);
    assert_eq!(text(put.deadline(soon()).send()), Err(Error::TimedOut));
    end.close();
    l.close().unwrap();
    // A byte now and then keeps the limit on silence away, not the deadline.
    let (l, url, _) = scripted(|_, c| {
        head(&c);
        ok(&c, "");
        c.write_all(b"HTTP/1.1 200 OK\r\nX: ").unwrap();
        while c.write_all(b"x").is_ok() {
            burrow::time::sleep(5 * MS);
        }
    });
    let (l2, endless, _) = scripted(|_, c| {
        head(&c);
        let _ = c.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while c.write_all(b"x").is_ok() {
            burrow::time::sleep(5 * MS);
        }
    });
    let client = Client::new().timeout(HOUR);
    assert!(client.get(&url).is_ok());
    let end = Instant::now() + 100 * MS;
    assert_eq!(
        text(client.request(Method::Get, &endless).deadline(end).send()),
        Err(Error::TimedOut)
    );
    l.close().unwrap();
    l2.close().unwrap();
}

#[burrow::test(timeout = 60)]
fn size_limits_and_nonsense() {
    let answers: [(&str, &[u8]); 8] = [
        ("many headers", &[b'A'; 0]),
        ("interim", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("switch", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (
            "encodings",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "both",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("no http", b"SSH-2.0\r\n\r\n"),
        ("half a head", b"HTTP/1.1 200 OK\r\nX: "),
        ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123"),
    ];
    for (what, bytes) in answers {
        let (l, url, _) = scripted(move |_, c| {
            head(&c);
            let times = if what == "interim" { 100 } else { 1 };
            for _ in 0..times {
                let _ = c.write_all(bytes);
            }
            if what == "many headers" {
                let _ = c.write_all(b"HTTP/1.1 200 OK\r\n");
                while c.write_all(&[b'x'; 1000]).is_ok() {}
            }
            let _ = c.shutdown(burrow::net::Shutdown::Write);
            head(&c);
        });
        let e = text(Client::new().get(&url)).unwrap_err();
        let fine = match what {
            "many headers" => e == Error::HeadTooLarge,
            "half a body" => e == Error::UnexpectedEnd,
            _ => matches!(e, Error::Malformed(_)),
        };
        assert!(fine, "{what}: {e:?}");
        l.close().unwrap();
    }
    let s = Running::start(Server::builder());
    for (path, size) in [("/large", 20_000), ("/hello", 5)] {
        let get = |most| {
            let client = Client::new().max_body(most);
            client
                .get(&s.url(path))
                .and_then(|mut a| a.bytes())
                .map(|b| b.len())
        };
        assert_eq!(get(size), Ok(size as usize), "exactly as much as is allowed");
        assert_eq!(get(size - 1), Err(Error::BodyTooLarge));
    }
    s.stop();
}

/// What came to the server, in words.
fn tell(w: &mut ResponseWriter, r: &mut Request) {
    let body = r.read_to_end().unwrap();
    w.text(&format!(
        "{} {} {} {} {}",
        r.method(),
        r.path(),
        r.host(),
        r.header("authorization").unwrap_or("-"),
        String::from_utf8(body).unwrap()
    ));
}

#[burrow::test(timeout = 60)]
fn redirects() {
    let other = Server::bind("[::1]:0", tell).unwrap();
    let there = other.local_addr().unwrap().to_string();
    let elsewhere = format!("http://{there}/there");
    let server = Server::bind(
        "127.0.0.1:80",
        move |w: &mut ResponseWriter, r: &mut Request| match r.path() {
            "/301" => w.redirect(301, "/to"),
            "/303" => w.redirect(303, "to"),
            "/307" => w.redirect(307, "/to"),
            "/away" => w.redirect(302, &elsewhere),
            "/tls" => w.redirect(302, "https://h/"),
            "/nowhere" => _ = w.status(302),
            _ => tell(w, r),
        },
    )
    .unwrap();
    for s in [&server, &other] {
        let s = s.clone();
        go(move || s.run().unwrap());
    }
    let client = Client::new();
    let send = |method, url: &str, body: &[u8]| {
        let r = client.request(method, url).header("Authorization", "secret");
        text(r.body(body).send())
    };
    let at = |path: &str| format!("http://127.0.0.1{path}"); // port 80
    let h = "127.0.0.1";
    assert_eq!(
        send(Method::Post, &at("/301"), b"x").unwrap(),
        format!("GET /to {h} secret ")
    );
    assert_eq!(
        send(Method::Put, &at("/303"), b"x").unwrap(),
        format!("GET /to {h} secret ")
    );
    assert_eq!(
        send(Method::Post, &at("/307"), b"x").unwrap(),
        format!("POST /to {h} secret x")
    );
    assert_eq!(
        send(Method::Get, &at("/away"), b"").unwrap(),
        format!("GET /there {there} - "),
        "secrets stay at home"
    );
    assert_eq!(send(Method::Get, &at("/tls"), b""), Err(Error::BadUrl));
    assert_eq!(client.get(&at("/nowhere")).unwrap().status(), 302);
    let mut once = Some(b'x');
    let mut source = |buf: &mut [u8]| {
        Ok(once.take().map_or(0, |b| {
            buf[0] = b;
            1
        }))
    };
    let streamed = client
        .request(Method::Post, &at("/307"))
        .body_from(None, &mut source)
        .send();
    assert_eq!(streamed.unwrap().status(), 307, "it cannot be sent again");
    // A redirect's connection serves the request it led to.
    let client = Client::new();
    client.get(&at("/301")).unwrap().text().unwrap();
    assert_eq!(client.idle_connections(), 1);
    server.close();
    other.close();
}

/// What a server says unasked is not the response to the next request.
#[burrow::test(timeout = 60)]
fn what_nobody_asked_for_is_no_response() {
    let (go_on, said) = (burrow::chan::<()>(0), burrow::chan::<()>(0));
    let (told, tell) = (go_on.clone(), said.clone());
    let (l, url, count) = scripted(move |i, c| {
        if i == 0 && head(&c) {
            ok(&c, "asked");
            told.recv();
            ok(&c, "unasked");
            tell.send(());
        }
        while head(&c) {
            ok(&c, "asked");
        }
    });
    let client = Client::new();
    assert_eq!(text(client.get(&url)).unwrap(), "asked");
    assert_eq!(client.idle_connections(), 1);
    go_on.send(());
    said.recv(); // the loopback link delivers at once
    for _ in 0..3 {
        assert_eq!(text(client.get(&url)).unwrap(), "asked");
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
    l.close().unwrap();
}

/// A source that says it gave more than there was room for.
#[burrow::test(timeout = 60)]
fn a_source_that_lies() {
    let s = Running::start(Server::builder());
    for length in [Some(3), None] {
        let mut source = |buf: &mut [u8]| Ok(buf.len() + 1);
        let url = s.url("/echo");
        let request = Client::new();
        let request = request.request(Method::Post, &url).body_from(length, &mut source);
        assert_eq!(request.send().unwrap_err(), Error::Aborted);
    }
    s.stop();
}

/// An idle connection is no reason for a deadlocked program to wait.
#[burrow::test(exit = 2, says = "all goroutines are asleep - deadlock!", timeout = 60)]
fn an_idle_connection_hides_no_deadlock() {
    let s = Running::start(Server::builder());
    let client = Client::new().idle_timeout(HOUR);
    assert_eq!(text(client.get(&s.url("/hello"))).unwrap(), "hello");
    assert_eq!(client.idle_connections(), 1);
    s.server.close();
    let _ = s.run.join();
    burrow::chan::<()>(0).recv();
}
