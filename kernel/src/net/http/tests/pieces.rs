//! Heads that dribble in: what is read, in all, to find their end. Counted in bytes.
#![forbid(unsafe_code)]

use alloc::format;

use super::super::{Error, Method, answer::AnswerHead, head::Head, inbox::Inbox, limits::Limits};

fn one_more(inbox: &mut Inbox, b: u8) {
    inbox.room()[0] = b;
    inbox.arrived(1);
}

/// Feeds a head byte by byte until `take` is content with it, or refuses it; and how many bytes were read for each.
fn dribble<E>(text: &str, mut take: impl FnMut(&mut Inbox) -> Result<bool, E>) -> (Result<usize, E>, f64) {
    let mut inbox = Inbox::new();
    for (i, b) in text.bytes().enumerate() {
        one_more(&mut inbox, b);
        let end = match take(&mut inbox) {
            Ok(false) => continue,
            Ok(true) => Ok(i + 1),
            Err(e) => Err(e),
        };
        return (end, inbox.pieces.read as f64 / (i + 1) as f64);
    }
    panic!("neither an end nor a refusal: {:?}…", &text[..20]);
}

/// Each byte is looked at once, and all that is parsed is four times the head at most.
const MOST: f64 = 5.0;

#[test]
fn requests_byte_by_byte() {
    let limits = Limits {
        header_bytes: 32 << 10,
        uri: 16 << 10,
        ..Limits::default()
    };
    let get = "GET / HTTP/1.1\r\nHost: h\r\n";
    let long = "x".repeat(31 << 10);
    for (end, text) in [
        (None, format!("{get}X: {long}\r\n\r\n")),
        (None, format!("{get}{}\r\n", "X: y\r\n".repeat(90))),
        // Empty lines before it, with and without CR, and parts of them within it.
        (None, format!("{}{get}\r\n", "\r\n".repeat(15 << 10))),
        (None, format!("{}{get}\n", "\n".repeat(30 << 10))),
        (
            None,
            format!("GET /{} HTTP/1.1\nHost: h\n\n", "y".repeat(15 << 10)),
        ),
        (Some(431), "\r\n".repeat(20 << 10)),
        (Some(431), format!("{get}X: {long}{long}")),
        (
            Some(431),
            format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(8 << 10)),
        ),
        (Some(414), format!("GET /{long}")),
        (Some(414), format!("{}GET /{long}", "\r\n".repeat(100))),
        (
            Some(431),
            format!("{}GET /{}", "\r\n".repeat(15 << 10), &long[..10 << 10]),
        ),
        (Some(431), format!("{long}{long}")), // a method without end
    ] {
        let mut head = Head::new();
        let (got, read) = dribble(&text, |i| i.take_head(&mut head, &limits).map_err(|r| r.status));
        let shown = &text[..60];
        assert_eq!(got, end.map_or(Ok(text.len()), Err), "{shown:?}");
        assert!(read <= MOST, "each byte read {read} times: {shown:?}");
    }
}

/// A target that is too long is refused as soon as that shows.
#[test]
fn no_byte_later() {
    let limits = Limits::default();
    let text = format!("GET /{}", "a".repeat(limits.uri));
    let (mut inbox, mut head) = (Inbox::new(), Head::new());
    for (i, b) in text.bytes().enumerate() {
        one_more(&mut inbox, b);
        let got = inbox.take_head(&mut head, &limits).map_err(|r| r.status);
        assert_eq!(got, if i + 1 < text.len() { Ok(false) } else { Err(414) });
    }
}

#[test]
fn responses_byte_by_byte() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let long = "x".repeat(63 << 10);
    let too_large = || Some(Error::HeadTooLarge);
    for (end, text) in [
        (None, format!("{ok}X: {long}\r\n\r\n")),
        (None, format!("{ok}{}\r\n", "X: y\r\n".repeat(100))),
        (None, format!("{}{ok}\r\n", "\r\n".repeat(30 << 10))),
        (too_large(), format!("{ok}X: {long}{long}")),
        (too_large(), "\r\n".repeat(40 << 10)),
        (too_large(), format!("HTTP/1.1 200 {long}{long}")),
    ] {
        let mut head = AnswerHead::default();
        let (got, read) = dribble(&text, |i| i.take_answer(&mut head, Method::Get));
        let shown = &text[..60];
        assert_eq!(got, end.map_or(Ok(text.len()), Err), "{shown:?}");
        assert!(read <= MOST, "each byte read {read} times: {shown:?}");
    }
}
