//! A request's head: parsed by `httparse`, then judged.
//!
//! What `httparse` accepts is grammar. What makes servers on the way to us and ourselves disagree about where a request
//! ends (request smuggling) is refused here: a length and an encoding at once, two lengths that differ, encodings other
//! than `chunked`, a folded header, more than one `Host` or none.
#![forbid(unsafe_code)]

use alloc::string::String;
use core::{mem::MaybeUninit, ops::Range};

use super::{Headers, Method, limits::Limits, status, url};

/// The most headers any setting of the limit allows: they are parsed into an array on the stack.
pub(super) const MAX_HEADERS: usize = 128;

/// A request that is answered without a handler, and then the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

pub(super) const fn refuse(status: u16, why: &'static str) -> Refusal {
    Refusal { status, why }
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Framing {
    /// There is none.
    #[default]
    Empty,
    /// After so many bytes.
    Length(u64),
    /// After its last chunk.
    Chunked,
    /// With the connection; responses only.
    Close,
}

/// See the file head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// As sent, without scheme and host.
    pub(super) target: String,
    /// The path in `target`; the query is behind it.
    pub(super) path: Range<usize>,
    /// The path decoded, if that makes a difference.
    pub(super) decoded: Option<String>,
    /// HTTP/1.`minor`.
    pub(super) minor: u8,
    pub(super) headers: Headers,
    pub(super) host: Option<String>,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl Head {
    pub(super) fn new() -> Head {
        Head {
            method: Method::Get,
            target: String::new(),
            path: 0..0,
            decoded: None,
            minor: 1,
            headers: Headers::new(),
            host: None,
            framing: Framing::Empty,
            keep_alive: false,
            expects_continue: false,
        }
    }

    /// The path's bytes in the target as sent.
    pub(super) fn raw_path(&self) -> &str {
        &self.target[self.path.clone()]
    }

    /// Behind the question mark.
    pub(super) fn query(&self) -> &str {
        self.target.get(self.path.end + 1..).unwrap_or("")
    }

    /// Reads a head at the beginning of `buf` into `self`: how long it is, or `None` if it is not all there.
    #[inline(never)] // its array of headers is not on the stack of a goroutine that waits
    pub(super) fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let room = &mut headers[..limits.headers.min(MAX_HEADERS)];
        let len = match request.parse_with_uninit_headers(buf, room) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return too_large(buf, limits).map_or(Ok(None), Err),
            Err(e) => return Err(bad_syntax(buf, e)),
        };
        if len > limits.header_bytes {
            return Err(too_large(&buf[..len], limits).unwrap_or(HEAD_TOO_LARGE));
        }
        let bad = |why| refuse(status::BAD_REQUEST, why);
        self.method = match request.method.and_then(Method::parse) {
            Some(m) => m,
            None => return Err(refuse(status::NOT_IMPLEMENTED, "method too long")),
        };
        self.minor = request.version.unwrap_or(1);
        self.take_target(request.path.unwrap_or(""), limits)?;
        self.take_headers(request.headers)?;
        if self.host.is_none() {
            if self.minor == 1 {
                return Err(bad("no Host header"));
            }
            self.host = Some(String::new());
        }
        Ok(Some(len))
    }

    fn take_target(&mut self, target: &str, limits: &Limits) -> Result<(), Refusal> {
        let bad = refuse(status::BAD_REQUEST, "malformed request target");
        if target.len() > limits.uri {
            return Err(URI_TOO_LONG);
        }
        self.target.clear();
        self.host = None;
        self.decoded = None;
        let origin = match target.as_bytes().first() {
            Some(b'/') => target,
            Some(b'*') if target == "*" && self.method == Method::Options => target,
            _ if self.method == Method::Connect => {
                return Err(refuse(status::NOT_IMPLEMENTED, "CONNECT is not supported"));
            }
            // The absolute form is what proxies are sent; its host counts, the header does not.
            _ => match url::Url::parse(target) {
                Some(u) => {
                    self.host = Some(u.authority);
                    self.target = u.target;
                    ""
                }
                None => return Err(bad),
            },
        };
        self.target.push_str(origin);
        if self.target.contains('#') {
            return Err(bad);
        }
        self.path = 0..self.target.find('?').unwrap_or(self.target.len());
        let raw = &self.target[self.path.clone()];
        if raw.contains('%') {
            self.decoded = match url::decode(raw, false) {
                Some(path) => Some(path.into_owned()),
                None => return Err(bad),
            };
        }
        Ok(())
    }

    fn take_headers(&mut self, headers: &[httparse::Header<'_>]) -> Result<(), Refusal> {
        let bad = |why| Err(refuse(status::BAD_REQUEST, why));
        self.headers.clear();
        let (mut length, mut encoding, mut hosts) = (None::<u64>, None::<bool>, 0);
        let (mut close, mut keep) = (false, false);
        self.expects_continue = false;
        for h in headers {
            let (name, value) = (h.name.as_bytes(), h.value.trim_ascii());
            self.headers.push(name, value);
            // One look at the length decides about most headers.
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => {
                    hosts += 1;
                    match core::str::from_utf8(value) {
                        Ok(v) if hosts == 1 && host_ok(v) => {
                            self.host.get_or_insert_with(|| v.into());
                        }
                        _ => return bad("bad Host header, or several"),
                    }
                }
                6 if name.eq_ignore_ascii_case(b"expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(refuse(status::EXPECTATION_FAILED, "unknown expectation"));
                    }
                    self.expects_continue = self.minor == 1;
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    let has = |word: &[u8]| {
                        value
                            .split(|b| *b == b',')
                            .any(|w| w.trim_ascii().eq_ignore_ascii_case(word))
                    };
                    close |= has(b"close");
                    keep |= has(b"keep-alive");
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => match (decimal(value), length) {
                    (None, _) => return bad("bad Content-Length"),
                    (Some(n), Some(before)) if n != before => return bad("contradicting Content-Length"),
                    (n, _) => length = n,
                },
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    if encoding.is_some() {
                        return bad("several Transfer-Encodings");
                    }
                    encoding = Some(value.eq_ignore_ascii_case(b"chunked"));
                }
                _ => {}
            }
        }
        self.framing = match (encoding, length) {
            (Some(_), _) if self.minor == 0 => return bad("Transfer-Encoding in HTTP/1.0"),
            (Some(_), Some(_)) => return bad("both Content-Length and Transfer-Encoding"),
            (Some(false), _) => return Err(refuse(status::NOT_IMPLEMENTED, "unknown Transfer-Encoding")),
            (Some(true), _) => Framing::Chunked,
            (None, Some(n @ 1..)) => Framing::Length(n),
            (None, _) => Framing::Empty,
        };
        self.expects_continue &= self.framing != Framing::Empty;
        self.keep_alive = !close && (self.minor == 1 || keep);
        Ok(())
    }
}

const URI_TOO_LONG: Refusal = refuse(status::URI_TOO_LONG, "request target too long");
const HEAD_TOO_LARGE: Refusal = refuse(status::HEADER_FIELDS_TOO_LARGE, "headers too large");

/// Is what is there of a head already too much?
fn too_large(buf: &[u8], limits: &Limits) -> Option<Refusal> {
    if buf.len() <= limits.uri.min(limits.header_bytes) {
        return None;
    }
    let begin = buf.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(0);
    let line = buf[begin..].split(|b| *b == b'\n').next().unwrap_or(buf);
    let target = line.split(|b| *b == b' ').nth(1).map_or(0, <[u8]>::len);
    if target > limits.uri {
        return Some(URI_TOO_LONG);
    }
    (buf.len() > limits.header_bytes).then_some(HEAD_TOO_LARGE)
}

fn bad_syntax(buf: &[u8], e: httparse::Error) -> Refusal {
    use httparse::Error as E;
    let why = match e {
        E::HeaderName => "bad header name",
        E::HeaderValue => "bad header value",
        E::NewLine => "bad line end",
        E::TooManyHeaders => return refuse(status::HEADER_FIELDS_TOO_LARGE, "too many headers"),
        E::Version => {
            let begin = buf.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(0);
            let line = buf[begin..].split(|b| b"\r\n".contains(b)).next().unwrap_or(b"");
            match line.split(|b| *b == b' ').nth(2) {
                Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]) => {
                    return refuse(status::VERSION_NOT_SUPPORTED, "this is HTTP/1.1");
                }
                _ => "malformed request line",
            }
        }
        _ => "malformed request line",
    };
    refuse(status::BAD_REQUEST, why)
}

/// Digits alone: no sign, no spaces, no list.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    let digit = |n: u64, b: &u8| b.is_ascii_digit().then(|| n * 10 + u64::from(*b - b'0'));
    value.iter().try_fold(0, digit)
}

fn host_ok(host: &str) -> bool {
    host.len() <= 255
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&b))
}
