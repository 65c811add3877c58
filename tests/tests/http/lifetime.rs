//! Handlers that panic, and servers that shut down.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    chan,
    context::{Context, DeadlineExceeded},
    go,
    net::{
        self, TcpStream,
        http::{Client, Error, Request, ResponseWriter, Server},
    },
    spawn,
};

use super::{MS, Running};

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
    // It wakes who accepts before the port is free: who comes in between is cut off, sooner or later.
    loop {
        match Client::new().get(&format!("http://{at}/")) {
            Err(Error::Net(net::Error::Refused)) => break,
            Err(_) => burrow::yield_now(),
            Ok(r) => panic!("served after the end: {r:?}"),
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

/// Shut down twice, by two: a request that has begun is still served to its end.
#[burrow::test(timeout = 60)]
fn shut_down_twice_with_half_a_request() {
    let s = Running::start(Server::builder());
    let c = TcpStream::connect(&s.at).unwrap();
    // The answer to the first says that the half of the second is in the server's hands.
    c.write_all(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HT")
        .unwrap();
    let mut buf = [0; 500];
    assert!(c.read(&mut buf).unwrap() > 0);
    let downs: Vec<_> = (0..3)
        .map(|_| {
            let server = s.server.clone();
            spawn(move || server.shutdown(&Context::background()))
        })
        .collect();
    while !matches!(TcpStream::connect(&s.at), Err(net::Error::Refused)) {
        burrow::yield_now();
    }
    c.write_all(b"TP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut out = Vec::new();
    c.read_to_end(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.ends_with("hello") && out.contains("Connection: close"),
        "{out}"
    );
    for d in downs {
        d.join().unwrap().unwrap();
    }
    s.run.join().unwrap().unwrap();
}

/// Servers go down while clients come, ask and stay: nobody waits for ever, no response is cut off.
#[burrow::test(timeout = 120)]
fn shutdown_races_with_everything() {
    let rounds = if burrow::opts::flag("det") { 5 } else { 10 };
    for round in 0..rounds {
        let s = Running::start(Server::builder());
        let clients: Vec<_> = (0..8)
            .map(|i| {
                let url = s.url(if i % 2 == 0 { "/hello" } else { "/large" });
                spawn(move || {
                    let client = Client::new();
                    let mut served = 0;
                    loop {
                        match client.get(&url) {
                            Ok(mut a) => {
                                let body = a.bytes().expect("a response that has begun is whole");
                                assert!(body.len() == 5 || body.len() == 20_000);
                                served += 1;
                            }
                            Err(Error::Net(_) | Error::UnexpectedEnd) => return served,
                            Err(e) => panic!("{e:?}"),
                        }
                    }
                })
            })
            .collect();
        let idle = TcpStream::connect(&s.at).unwrap(); // says nothing
        for _ in 0..round * 3 {
            burrow::yield_now();
        }
        s.stop();
        for c in clients {
            let _: usize = c.join().unwrap();
        }
        assert!(!matches!(idle.read(&mut [0]), Ok(1)));
    }
}
