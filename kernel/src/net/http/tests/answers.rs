//! Responses as the client reads them.
#![forbid(unsafe_code)]

use alloc::format;

use super::super::{Method, answer::AnswerHead, head::Framing};

#[test]
fn answers() {
    let parse = |text: &str, method| {
        let mut a = AnswerHead::default();
        a.parse(text.as_bytes(), method)
            .map(|n| n.map(|_| (a.status, a.framing, a.keep_alive)))
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    let get = |headers: &str| parse(&format!("{ok}{headers}\r\n"), Method::Get);
    assert_eq!(
        get("Content-Length: 3\r\n"),
        Ok(Some((200, Framing::Length(3), true)))
    );
    assert_eq!(
        get("Transfer-Encoding: chunked\r\n"),
        Ok(Some((200, Framing::Chunked, true)))
    );
    assert_eq!(
        get("Connection: close\r\n"),
        Ok(Some((200, Framing::Close, false)))
    );
    assert_eq!(
        get("Content-Length: 3\r\nContent-Length: 3\r\n")
            .unwrap()
            .unwrap()
            .1,
        Framing::Length(3)
    );
    assert_eq!(
        parse("HTTP/1.0 204 \r\nContent-Length: 3\r\n\r\n", Method::Get),
        Ok(Some((204, Framing::Empty, false)))
    );
    let head = parse(&format!("{ok}Content-Length: 3\r\n\r\n"), Method::Head);
    assert_eq!(head, Ok(Some((200, Framing::Empty, true))));
    assert_eq!(parse(ok, Method::Get), Ok(None));
    for bad in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -1\r\n",
    ] {
        assert!(get(bad).is_err(), "{bad:?}");
    }
    assert!(parse("ICY 200 OK\r\n\r\n", Method::Get).is_err());
}
