//! A small web server: plain text, JSON, and uploads that are counted and summed as they stream in.
//!
//! It asks itself over the loopback link. To ask from the host: `make qemu EXAMPLE=http_hello NET=8080:80 OPTS=serve`,
//! then `curl http://127.0.0.1:8080/`, `curl -T FILE http://127.0.0.1:8080/upload`, and compare with `crc32 FILE` or
//! Python's `zlib.crc32`.
// expect: says=hello, burrow
// expect: says={"goroutines":
// expect: says=1000000 bytes, crc32 27c442b8
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    net::http::{Client, Request, ResponseWriter, Router, Server},
    prelude::*,
};

fn stats(w: &mut ResponseWriter, _r: &mut Request) {
    w.json(&format!(
        "{{\"goroutines\":{},\"cores\":{},\"watchers\":{}}}",
        runtime::num_goroutine(),
        runtime::num_cpu(),
        WATCHERS.load(Ordering::Relaxed)
    ));
}

/// The body never is in memory as a whole.
fn upload(w: &mut ResponseWriter, r: &mut Request) {
    let mut crc = crc32fast::Hasher::new();
    let (mut buf, mut bytes) = (vec![0; 16 << 10], 0u64);
    loop {
        match r.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => {
                crc.update(&buf[..n]);
                bytes += n as u64;
            }
            Err(_) => return, // the client gets a 400, 408 or 413
        }
    }
    w.text(&format!("{bytes} bytes, crc32 {:08x}\n", crc.finalize()));
}

/// Five chunks, one by one.
fn count(w: &mut ResponseWriter, _r: &mut Request) {
    w.header("Content-Type", "text/event-stream");
    for i in 1..=5 {
        if w.write(format!("data: {i}\n\n").as_bytes())
            .and_then(|()| w.flush())
            .is_err()
        {
            return;
        }
        time::sleep(Duration::from_millis(10));
    }
}

/// Who listens to `/events`.
static WATCHERS: AtomicUsize = AtomicUsize::new(0);

/// An event every 20 ms, until the client goes away: `curl -N http://127.0.0.1:8080/events`.
fn events(w: &mut ResponseWriter, r: &mut Request) {
    WATCHERS.fetch_add(1, Ordering::Relaxed);
    defer! { WATCHERS.fetch_sub(1, Ordering::Relaxed); }
    w.header("Content-Type", "text/event-stream");
    let (gone, ticker) = (r.context().done(), time::Ticker::new(Duration::from_millis(20)));
    for i in 1.. {
        let event = format!("data: {i}\n\n");
        if w.write(event.as_bytes()).and_then(|()| w.flush()).is_err() {
            return;
        }
        select! {
            recv(gone) => return,
            recv(ticker.c) => {}
        }
    }
}

fn routes() -> Router {
    let mut router = Router::new();
    router
        .on("GET /{$}", |w, _r| w.text("hello, world\n"))
        .and_then(|r| {
            r.on("GET /hello/{name}", |w, r| {
                w.text(&format!("hello, {}\n", r.path_value("name").unwrap_or("you")));
            })
        })
        .and_then(|r| r.on("GET /stats", stats))
        .and_then(|r| r.on("PUT /upload", upload))
        .and_then(|r| r.on("POST /upload", upload))
        .and_then(|r| r.on("PUT /upload/{name}", upload)) // curl -T adds the file's name after a slash
        .and_then(|r| r.on("GET /count", count))
        .and_then(|r| r.on("GET /events", events))
        .and_then(|r| r.on("GET /panic", |_w, _r| panic!("asked for")))
        .expect("no two routes are in conflict");
    router
}

#[burrow::main]
fn main() {
    let server = Server::builder()
        .max_body(1 << 30)
        .bind(":80", routes())
        .expect("port 80 is free");
    let s = server.clone();
    let running = spawn(move || s.run());

    let client = Client::new();
    let get = |path: &str| {
        let mut answer = client
            .get(&format!("http://127.0.0.1{path}"))
            .expect("it answers");
        answer.text().expect("text")
    };
    print!("{}", get("/hello/burrow"));
    println!("{}", get("/stats"));
    print!("{}", get("/count"));
    let data: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    let answer = client.post("http://127.0.0.1/upload", "application/octet-stream", &data);
    print!("{}", answer.expect("it answers").text().expect("text"));

    if burrow::opts::flag("serve") {
        println!("serving on port 80");
        select! {}
    }
    server.close();
    running.join().expect("no panic").expect("closed by us");
}
