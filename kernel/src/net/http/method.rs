//! Request methods.
#![forbid(unsafe_code)]

use core::fmt;

/// A request's method. Methods are case-sensitive; those nobody has standardized are [`Method::Other`].
///
/// ```
/// use burrow::net::http::Method;
/// assert_eq!(Method::parse("GET"), Some(Method::Get));
/// assert_eq!(Method::parse("PURGE").unwrap().as_str(), "PURGE");
/// assert_eq!(Method::parse("not a token"), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// Any other token of at most 15 bytes.
    Other(Token),
}

/// A short word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    len: u8,
    bytes: [u8; 15],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Token {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len.into()]).unwrap_or("")
    }
}

/// May `b` be in a method or a header's name?
pub(super) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

const KNOWN: [(&str, Method); 9] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
    ("CONNECT", Method::Connect),
    ("OPTIONS", Method::Options),
    ("TRACE", Method::Trace),
    ("PATCH", Method::Patch),
];

impl Method {
    /// The method called `name`; `None` if that is no token or longer than 15 bytes.
    ///
    /// ```
    /// use burrow::net::http::Method;
    /// assert_eq!(Method::parse("DELETE"), Some(Method::Delete));
    /// assert_eq!(Method::parse("no token"), None);
    /// ```
    pub fn parse(name: &str) -> Option<Method> {
        if let Some((_, m)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Some(*m);
        }
        if name.is_empty() || name.len() > 15 || !name.bytes().all(is_token_byte) {
            return None;
        }
        let mut bytes = [0; 15];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Method::Other(Token {
            len: name.len() as u8,
            bytes,
        }))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Other(t) => t.as_str(),
            known => KNOWN
                .iter()
                .find(|(_, m)| m == known)
                .map_or("", |(name, _)| name),
        }
    }

    /// May a client send the request again if it does not know what became of it?
    pub(super) fn is_idempotent(self) -> bool {
        !matches!(
            self,
            Method::Post | Method::Patch | Method::Connect | Method::Other(_)
        )
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
