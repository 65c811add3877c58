//! The HTTP server and client over the loopback link: what raw bytes get back, and who waits for whom.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

mod attack;
mod client;
mod context;
mod lifetime;
mod limits;
mod memory;
mod responses;
mod serving;

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use burrow::{
    JoinHandle,
    context::Context,
    net::{
        self, TcpStream,
        http::{Builder, Request, ResponseWriter, Router, Server},
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
