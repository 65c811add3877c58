//! Two HTTP servers in one program, and one graceful shutdown of both: an error group runs them, a context says when it
//! is over, and each finishes the requests that it has begun.
// expect: says=public: hello
// expect: says=admin: 1 request
// expect: says=the slow request was served: slow but served
// expect: says=both are down
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use burrow::{
    context::Context,
    errgroup,
    net::http::{Client, Error, Request, ResponseWriter, Router, Server},
    prelude::*,
};

fn get(url: &str) -> Result<String, Error> {
    Client::new().get(url)?.text()
}

#[burrow::main]
fn main() {
    let served = Arc::new(AtomicU64::new(0));
    let begun = chan::<()>(1);
    let (n, tx) = (served.clone(), begun.sender());
    let mut public = Router::new();
    public
        .on("GET /", move |w, _r| {
            n.fetch_add(1, Ordering::Relaxed);
            w.text("hello");
        })
        .and_then(|r| {
            r.on("GET /slow", move |w, _r| {
                tx.send(());
                time::sleep(Duration::from_millis(200));
                w.text("slow but served");
            })
        })
        .expect("no two routes are in conflict");
    let public = Server::bind(":8000", public).expect("the port is free");
    let status = move |w: &mut ResponseWriter, _: &mut Request| {
        w.text(&format!("{} request", served.load(Ordering::Relaxed)));
    };
    let admin = Server::bind(":8001", status).expect("the port is free");

    // Whoever fails first, or calls `stop`, ends both.
    let (ctx, stop) = Context::background().with_cancel();
    let (group, ctx) = errgroup::Group::<String>::with_context(&ctx);
    for server in [public, admin] {
        let (s, ctx) = (server.clone(), ctx.clone());
        group.go(move || s.run().map_err(|e| e.to_string()));
        group.go(move || {
            ctx.done().recv();
            let (limit, _cancel) = Context::background().with_timeout(Duration::from_secs(10));
            server.shutdown(&limit).map_err(|e| e.to_string())
        });
    }

    println!("public: {}", get("http://127.0.0.1:8000/").expect("it answers"));
    println!("admin: {}", get("http://127.0.0.1:8001/").expect("it answers"));
    let slow = spawn(|| get("http://127.0.0.1:8000/slow"));
    begun.recv();
    stop();
    group.wait().expect("neither fails");
    let slow = slow
        .join()
        .expect("no panic")
        .expect("it was begun before the shutdown");
    println!("the slow request was served: {slow}");
    get("http://127.0.0.1:8000/").expect_err("nobody listens any more");
    println!("both are down");
}
