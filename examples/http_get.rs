//! A program that fetches pages, by name: it asks a name server, then a web server.
//!
//! By itself it is all three, on the loopback link. For others: `make qemu EXAMPLE=http_get NET=1
//! OPTS=get=http://10.0.2.2:8000/`, with `python3 -m http.server 8000` on the host; `resolver=10.0.2.2:5353` names a name
//! server and its port.
// expect: says=www.burrow.test is 127.0.0.1
// expect: says=200 hello, www.burrow.test
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use core::net::SocketAddr;

use burrow::{
    net::{
        Resolver, UdpSocket,
        http::{Client, Method, Request, ResponseWriter, Server},
    },
    prelude::*,
};

/// A name server in a few lines: every name is 127.0.0.1, and has no other address.
fn answer_names(socket: UdpSocket) {
    let mut buf = [0; 512];
    while let Ok((n, from)) = socket.recv_from(&mut buf) {
        let question = &buf[12..n];
        let wants_ipv4 = question[question.len() - 4..] == [0, 1, 0, 1];
        let mut reply = buf[..2].to_vec(); // its identifier
        reply.extend([0x81, 0x80, 0, 1, 0, wants_ipv4.into(), 0, 0, 0, 0]);
        reply.extend(question);
        if wants_ipv4 {
            // The name above, type A, class IN, a minute to live, four bytes.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&reply, from);
    }
}

/// Fetches `http://HOST:PORT/PATH` after asking this name server for the host.
fn get(url: &str, resolver: SocketAddr) -> String {
    let rest = url.strip_prefix("http://").expect("a URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let addrs = Resolver::with_servers(vec![resolver])
        .lookup(host)
        .expect("it has an address");
    println!("{host} is {}", addrs[0]);
    let url = format!("http://{}:{port}/{path}", addrs[0]);
    let client = Client::new();
    let request = client.request(Method::Get, &url).header("Host", authority);
    let mut answer = request.send().expect("it answers");
    format!("{} {}", answer.status(), answer.text().expect("text"))
}

#[burrow::main]
fn main() {
    let names = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut resolver = names.local_addr();
    let serving = names.clone();
    go(move || answer_names(serving));
    if let Some(at) = burrow::opts::get("resolver") {
        resolver = at.parse().expect("an address and a port");
    }
    if let Some(url) = burrow::opts::get("get") {
        println!("{}", get(url, resolver));
        return;
    }
    let server = Server::bind("127.0.0.1:0", |w: &mut ResponseWriter, r: &mut Request| {
        let host = r.host().split(':').next().unwrap_or("nobody");
        w.text(&format!("hello, {host}"));
    })
    .expect("a free port");
    let port = server.local_addr().expect("bound").port();
    let s = server.clone();
    go(move || s.run().expect("closed by us"));
    println!("{}", get(&format!("http://www.burrow.test:{port}/"), resolver));
    server.close();
    let _ = names.close();
}
