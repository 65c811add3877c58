//! A request's context: what ends it, and what does not.

use alloc::{string::String, vec::Vec};

use burrow::{
    Chan, chan,
    context::{Context, DeadlineExceeded},
    go,
    net::{
        Shutdown, TcpStream,
        http::{Request, ResponseWriter, Server},
    },
    select, spawn,
};

use super::MS;

/// A server whose handler says that it runs, and then waits for the end of its context or for `release`. Says which.
struct Waiting {
    server: Server,
    begun: Chan<()>,
    release: Chan<()>,
    ended: Chan<bool>,
}

impl Waiting {
    fn start() -> Waiting {
        let (begun, release, ended) = (chan(0), chan(0), chan(10));
        let (b, r, e) = (begun.sender(), release.receiver(), ended.sender());
        let handler = move |w: &mut ResponseWriter, req: &mut Request| {
            if req.path() == "/body" {
                let _ = req.read_to_end();
            } else if req.path() == "/flush" {
                w.write(&[b'x'; 100]).and_then(|()| w.flush()).unwrap();
            }
            let ctx = req.context();
            b.send(());
            select! {
                recv(ctx.done()) => e.send(true),
                recv(r) => e.send(false),
            }
            w.text(if ctx.err().is_some() {
                "cancelled"
            } else {
                "released"
            });
        };
        let server = Server::bind("127.0.0.1:0", handler).unwrap();
        let s = server.clone();
        go(move || s.run().unwrap());
        Waiting {
            server,
            begun,
            release,
            ended,
        }
    }

    fn connect(&self, text: &str) -> TcpStream {
        let c = TcpStream::connect(self.server.local_addr().unwrap()).unwrap();
        c.write_all(text.as_bytes()).unwrap();
        c
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const LAST: &str = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn rest(c: &TcpStream) -> String {
    let mut out = Vec::new();
    c.read_to_end(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[burrow::test(timeout = 60)]
fn ends_when_the_client_goes_away() {
    let s = Waiting::start();
    let c = s.connect(GET);
    s.begun.recv();
    drop(c);
    assert_eq!(s.ended.recv(), Some(true), "it closed");

    let c = s.connect(GET);
    s.begun.recv();
    c.shutdown(Shutdown::Write).unwrap();
    assert_eq!(s.ended.recv(), Some(true), "it sends nothing more");
    assert!(rest(&c).ends_with("cancelled"), "it is still told");

    let c = s.connect("GET /flush HTTP/1.1\r\nHost: h\r\n\r\n");
    s.begun.recv();
    assert!(c.read(&mut [0; 10]).unwrap() > 0);
    drop(c); // the rest is unread: a reset
    assert_eq!(s.ended.recv(), Some(true), "it broke off");

    let c = s.connect(GET);
    c.shutdown(Shutdown::Write).unwrap(); // perhaps before the handler asks
    s.begun.recv();
    assert_eq!(s.ended.recv(), Some(true), "it had gone already");
    s.server.close();
}

#[burrow::test(timeout = 60)]
fn second_requests_do_not_end_the_first() {
    let s = Waiting::start();
    // The second is in the server's hands, or still in the socket, while the first is served.
    for later in [false, true] {
        let c = s.connect(GET);
        if later {
            s.begun.recv();
        }
        c.write_all(LAST.as_bytes()).unwrap();
        if !later {
            s.begun.recv();
        }
        s.release.send(());
        assert_eq!(s.ended.recv(), Some(false), "nobody has gone");
        s.begun.recv();
        s.release.send(());
        assert_eq!(s.ended.recv(), Some(false));
        let text = rest(&c);
        assert_eq!(text.matches("released").count(), 2, "{text}");
    }
    // With an end after the second: the first may not hear of it, the second must.
    let c = s.connect(GET);
    s.begun.recv();
    c.write_all(LAST.as_bytes()).unwrap();
    c.shutdown(Shutdown::Write).unwrap();
    s.release.send(());
    assert_eq!(s.ended.recv(), Some(false), "it still had something to say");
    s.begun.recv();
    assert_eq!(s.ended.recv(), Some(true), "that was all");
    let text = rest(&c);
    assert!(text.contains("released") && text.ends_with("cancelled"), "{text}");
    s.server.close();
}

#[burrow::test(timeout = 60)]
fn a_body_comes_before_the_end() {
    let s = Waiting::start();
    let c = s.connect("POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
    c.write_all(b"dy").unwrap();
    c.shutdown(Shutdown::Write).unwrap();
    s.begun.recv(); // it has read the whole body
    assert_eq!(s.ended.recv(), Some(true));
    let c = s.connect("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    s.begun.recv(); // it waits, and reads nothing
    c.write_all(b"body").unwrap();
    c.shutdown(Shutdown::Write).unwrap();
    s.release.send(());
    assert_eq!(s.ended.recv(), Some(false), "the body was still to be read");
    assert!(rest(&c).ends_with("released"));
    s.server.close();
}

#[burrow::test(timeout = 60)]
fn ends_with_the_handler_and_with_the_server() {
    let kept = chan::<Context>(1);
    let tx = kept.sender();
    let server = Server::bind("127.0.0.1:0", move |_: &mut ResponseWriter, r: &mut Request| {
        tx.send(r.context());
    })
    .unwrap();
    let at = server.local_addr().unwrap();
    let s = server.clone();
    go(move || s.run().unwrap());
    let c = TcpStream::connect(at).unwrap();
    for _ in 0..2 {
        c.write_all(GET.as_bytes()).unwrap();
        assert!(c.read(&mut [0; 500]).unwrap() > 0);
        kept.recv().unwrap().done().recv(); // the client is still there
    }
    server.close();

    let s = Waiting::start();
    let c = s.connect(GET);
    s.begun.recv();
    let (ctx, _cancel) = Context::background().with_timeout(20 * MS);
    let server = s.server.clone();
    let down = spawn(move || server.shutdown(&ctx));
    assert_eq!(s.ended.recv(), Some(true), "by the shutdown's deadline");
    assert_eq!(down.join().unwrap(), Err(DeadlineExceeded));
    drop(c);
}
