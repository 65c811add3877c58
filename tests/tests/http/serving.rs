//! What a client in good order gets.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use burrow::net::{
    self, TcpStream,
    http::{Client, Error, Method, Server},
};

use super::{Running, body, status};

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
    while s.server.connections() > 1 {
        burrow::yield_now(); // the one before may be on its way out
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
