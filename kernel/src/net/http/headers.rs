//! Headers: names without regard to case, in the order they came, in two allocations that are used again.
//!
//! All text lies in one vector; a span says where a header's name and value are. So the headers of a request cost no
//! allocation once a connection is warm, which a map of strings would. Removing one leaves its text behind until
//! `clear`. Names and values are checked when they come in: what is in here can be written to the wire.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;

use super::method::is_token_byte;

/// A header that must not be sent: its name is no token, or its value has a control character. A line break in a value
/// would let whoever chose the value write headers and bodies of his own.
///
/// ```
/// use burrow::net::http::{BadHeader, Headers};
/// assert_eq!(Headers::new().set("Location", "/\r\nSet-Cookie: evil=1"), Err(BadHeader));
/// assert_eq!(Headers::new().set("no token", "x"), Err(BadHeader));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadHeader;

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("http: invalid header name or value")
    }
}

impl core::error::Error for BadHeader {}

#[derive(Clone, Copy)]
struct Span {
    at: u32,
    name: u16,
    value: u32,
}

/// Headers in order; names are compared without regard to case, and may occur more than once.
///
/// ```
/// use burrow::net::http::Headers;
/// let mut h = Headers::new();
/// h.append("Set-Cookie", "a=1").unwrap();
/// h.append("Set-Cookie", "b=2").unwrap();
/// h.set("content-type", "text/plain").unwrap();
/// assert_eq!(h.get("Content-Type"), Some("text/plain"));
/// assert_eq!(h.get_all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
/// assert!(h.set("Location", "/\r\nSet-Cookie: evil=1").is_err());
/// ```
#[derive(Default)]
pub struct Headers {
    text: Vec<u8>,
    spans: Vec<Span>,
}

impl Headers {
    /// None yet.
    ///
    /// ```
    /// assert!(burrow::net::http::Headers::new().is_empty());
    /// ```
    pub const fn new() -> Self {
        Headers {
            text: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// How many there are.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.append("Set-Cookie", "a=1").unwrap();
    /// h.append("Set-Cookie", "b=2").unwrap();
    /// assert_eq!(h.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Are there none?
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// assert!(h.is_empty());
    /// h.set("Host", "example.com").unwrap();
    /// assert!(!h.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Removes all.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.set("Host", "example.com").unwrap();
    /// h.clear();
    /// assert_eq!((h.len(), h.get("Host")), (0, None));
    /// ```
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    fn name_of(&self, s: Span) -> &[u8] {
        &self.text[s.at as usize..][..s.name.into()]
    }

    fn value_of(&self, s: Span) -> &[u8] {
        &self.text[s.at as usize + usize::from(s.name)..][..s.value as usize]
    }

    fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let wanted = move |s: &&Span| {
            usize::from(s.name) == name.len() && self.name_of(**s).eq_ignore_ascii_case(name.as_bytes())
        };
        self.spans.iter().filter(wanted).map(|s| self.value_of(*s))
    }

    /// The first value of `name`; `None` also if it is not UTF-8.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.set("Content-Type", "text/plain").unwrap();
    /// assert_eq!(h.get("content-type"), Some("text/plain"));
    /// assert_eq!(h.get("host"), None);
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        core::str::from_utf8(self.get_bytes(name)?).ok()
    }

    /// The first value of `name`, whatever bytes it has.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.set("X-Name", b"J\xfcrgen").unwrap(); // Latin-1
    /// assert_eq!((h.get("X-Name"), h.get_bytes("X-Name")), (None, Some(&b"J\xfcrgen"[..])));
    /// ```
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        let wanted = |s: &&Span| {
            usize::from(s.name) == name.len() && self.name_of(**s).eq_ignore_ascii_case(name.as_bytes())
        };
        self.spans.iter().find(wanted).map(|s| self.value_of(*s))
    }

    /// All values of `name` that are UTF-8, in order.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.append("Set-Cookie", "a=1").unwrap();
    /// h.append("Set-Cookie", "b=2").unwrap();
    /// assert_eq!(h.get_all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    /// ```
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.find(name).filter_map(|v| core::str::from_utf8(v).ok())
    }

    /// Is there one of this name?
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.set("Host", "example.com").unwrap();
    /// assert!(h.contains("HOST") && !h.contains("Date"));
    /// ```
    pub fn contains(&self, name: &str) -> bool {
        self.get_bytes(name).is_some()
    }

    /// Does some value of `name`, a list with commas, have this word in it? Without regard to case.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.append("Connection", "keep-alive, Upgrade").unwrap();
    /// assert!(h.has_word("connection", "upgrade"));
    /// ```
    pub fn has_word(&self, name: &str, word: &str) -> bool {
        self.get_all(name)
            .any(|v| v.split(',').any(|w| w.trim().eq_ignore_ascii_case(word)))
    }

    /// Name and value of each, in order.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.append("Host", "example.com").unwrap();
    /// h.append("Accept", "*/*").unwrap();
    /// assert_eq!(h.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["Host", "Accept"]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.spans.iter().map(|s| {
            let name = core::str::from_utf8(self.name_of(*s)).unwrap_or("");
            (name, self.value_of(*s))
        })
    }

    /// Makes this the only value of `name`.
    ///
    /// # Errors
    /// [`BadHeader`]; nothing has changed then.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.set("Server", "one").unwrap();
    /// h.set("server", "two").unwrap();
    /// assert_eq!(h.get_all("Server").collect::<Vec<_>>(), ["two"]);
    /// ```
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), BadHeader> {
        let value = checked(name, value.as_ref())?;
        self.remove(name);
        self.push(name.as_bytes(), value);
        Ok(())
    }

    /// Adds a value of `name` after those there are.
    ///
    /// # Errors
    /// [`BadHeader`]; nothing has changed then.
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.append("Via", "one").unwrap();
    /// h.append("Via", "two").unwrap();
    /// assert_eq!(h.get_all("Via").count(), 2);
    /// assert!(h.append("Via", "line\nbreak").is_err());
    /// ```
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), BadHeader> {
        let value = checked(name, value.as_ref())?;
        self.push(name.as_bytes(), value);
        Ok(())
    }

    /// Removes all values of `name`; was there one?
    ///
    /// ```
    /// let mut h = burrow::net::http::Headers::new();
    /// h.set("Server", "x").unwrap();
    /// assert!(h.remove("server"));
    /// assert!(!h.remove("server"));
    /// ```
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.spans.len();
        let text = &self.text;
        self.spans
            .retain(|s| !text[s.at as usize..][..s.name.into()].eq_ignore_ascii_case(name.as_bytes()));
        self.spans.len() < before
    }

    /// Adds one that was checked before: a token and no control characters.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let s = Span {
            at: self.text.len() as u32,
            name: name.len() as u16,
            value: value.len() as u32,
        };
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.spans.push(s);
    }

    /// Writes them as they stand on the wire.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        for s in &self.spans {
            out.extend_from_slice(self.name_of(*s));
            out.extend_from_slice(b": ");
            out.extend_from_slice(self.value_of(*s));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Gives back memory that an unusually large head has taken.
    pub(super) fn trim_to(&mut self, bytes: usize) {
        if self.text.capacity() > bytes {
            self.clear();
            self.text = Vec::new();
            self.spans = Vec::new();
        }
    }
}

/// The value without spaces around it.
fn checked<'a>(name: &str, value: &'a [u8]) -> Result<&'a [u8], BadHeader> {
    let value = value.trim_ascii();
    let fine = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    let name_ok = !name.is_empty() && name.len() <= u16::MAX.into() && name.bytes().all(is_token_byte);
    if name_ok && value.len() < 1 << 24 && value.iter().all(fine) {
        Ok(value)
    } else {
        Err(BadHeader)
    }
}

impl Clone for Headers {
    fn clone(&self) -> Self {
        let mut h = Headers::new();
        for s in &self.spans {
            h.push(self.name_of(*s), self.value_of(*s));
        }
        h
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |v| alloc::string::String::from_utf8_lossy(v);
        f.debug_map()
            .entries(self.iter().map(|(n, v)| (n, text(v))))
            .finish()
    }
}
