//! A small reverse proxy: it passes requests on to another server, and streams bodies both ways.
//!
//! Headers that are about a connection, not about the message, are not passed on; `X-Forwarded-For` tells who asked. From
//! the host: `make qemu EXAMPLE=reverse_proxy NET=8080:80 OPTS=serve,to=http://10.0.2.2:9000` is a proxy in front of a
//! server on port 9000 of the host.
// expect: says=POST /echo?x=1 for 127.0.0.1, 200000 bytes
// expect: says=the origin is gone: 502
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use burrow::{
    net::http::{Client, Headers, Request, ResponseWriter, Server, status},
    prelude::*,
};

/// For one connection only (RFC 9110, 7.6.1), and what both sides set by themselves.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Is `name` passed on? Also what `Connection` names is not.
fn passes(name: &str, headers: &Headers) -> bool {
    !HOP_BY_HOP.iter().any(|h| name.eq_ignore_ascii_case(h))
        && !name.eq_ignore_ascii_case("content-length")
        && !name.eq_ignore_ascii_case("x-forwarded-for")
        && !headers.has_word("connection", name)
}

fn forward(client: &Client, origin: &str, w: &mut ResponseWriter, r: &mut Request) {
    let url = format!("{origin}{}", r.target());
    let mut request = client.request(r.method(), &url);
    for (name, value) in r.headers().iter().filter(|(name, _)| passes(name, r.headers())) {
        request = request.header(name, value);
    }
    let mut from: Vec<&str> = r.headers().get_all("x-forwarded-for").collect();
    let peer = r.peer_addr().ip().to_string();
    from.push(&peer);
    request = request.header("X-Forwarded-For", from.join(", "));

    let length = r.content_length();
    let mut body = |buf: &mut [u8]| r.read(buf);
    if length != Some(0) {
        request = request.body_from(length, &mut body);
    }
    let mut answer = match request.send() {
        Ok(answer) => answer,
        Err(e) => return w.error(status::BAD_GATEWAY, &format!("{e}")),
    };
    w.status(answer.status());
    for (name, value) in answer.headers().iter() {
        let length = name.eq_ignore_ascii_case("content-length");
        if length || passes(name, answer.headers()) {
            let _ = w.append_header(name, value); // what must not be sent is not
        }
    }
    let mut buf = vec![0; 16 << 10];
    loop {
        match answer.read(&mut buf) {
            Ok(0) => return,
            // Flushed at once: it may be a stream of events.
            Ok(n) if w.write(&buf[..n]).and_then(|()| w.flush()).is_ok() => {}
            _ => return w.abort(), // no complete response for half a one
        }
    }
}

fn proxy(origin: String) -> Server {
    let client = Client::new().redirects(0);
    let handler = move |w: &mut ResponseWriter, r: &mut Request| forward(&client, &origin, w, r);
    Server::builder()
        .max_body(1 << 30)
        .bind(":80", handler)
        .expect("port 80 is free")
}

fn main_server(w: &mut ResponseWriter, r: &mut Request) {
    let Ok(body) = r.read_to_end() else { return };
    assert!(r.header("keep-alive").is_none() && r.header("x-private").is_none());
    let who = r.header("x-forwarded-for").unwrap_or("nobody");
    w.text(&format!(
        "{} {} for {who}, {} bytes",
        r.method(),
        r.target(),
        body.len()
    ));
}

#[burrow::main]
fn main() {
    if burrow::opts::flag("serve") {
        let to = burrow::opts::get("to").expect("OPTS=to=http://HOST:PORT");
        println!("port 80 leads to {to}");
        return proxy(to.into()).run().expect("it listens");
    }
    let origin = Server::bind("127.0.0.1:0", main_server).expect("the loopback link is there");
    let server = proxy(format!("http://{}", origin.local_addr().expect("bound")));
    for s in [origin.clone(), server.clone()] {
        go(move || s.run().expect("closed by us"));
    }
    let (client, data) = (Client::new(), vec![b'x'; 200_000]);
    let send = || {
        let url = "http://127.0.0.1/echo?x=1";
        let request = client.request(burrow::net::http::Method::Post, url).body(&data);
        request
            .header("Connection", "X-Private")
            .header("X-Private", "1")
            .header("Keep-Alive", "9")
            .send()
    };
    println!("{}", send().expect("it answers").text().expect("text"));
    origin.close();
    println!(
        "the origin is gone: {}",
        send().expect("the proxy lives").status()
    );
    server.close();
}
