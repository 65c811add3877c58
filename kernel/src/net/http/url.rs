//! Paths, queries and URLs: percent-decoding and cleaning.
#![forbid(unsafe_code)]

use alloc::{borrow::Cow, string::String, vec::Vec};

/// Percent-decodes; `None` if an escape is broken, the result is not UTF-8, or has a NUL. `plus` is a space in queries.
pub(super) fn decode(s: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !s.bytes().any(|b| b == b'%' || b == 0 || plus && b == b'+') {
        return Some(Cow::Borrowed(s));
    }
    let hex = |b: Option<u8>| char::from(b?).to_digit(16);
    let mut out = Vec::with_capacity(s.len());
    let mut bytes = s.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => (hex(bytes.next())? * 16 + hex(bytes.next())?) as u8,
            b'+' if plus => b' ',
            b => b,
        });
    }
    if out.contains(&0) {
        return None;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// A segment that means this directory, or the one above, also if its dots are escaped.
fn dots(segment: &str) -> usize {
    match segment.len() {
        1..=6 => match decode(segment, false).as_deref() {
            Some(".") => 1,
            Some("..") => 2,
            _ => 0,
        },
        _ => 0,
    }
}

/// The path without `.`, `..` and empty segments, if it has any; a slash at the end stays. `path` begins with `/`.
pub(super) fn clean(path: &str) -> Option<String> {
    let inner = path[1..].strip_suffix('/').unwrap_or(&path[1..]);
    let fine = |s: &str| !s.is_empty() && dots(s) == 0;
    if path == "/" || !inner.is_empty() && inner.split('/').all(fine) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for s in path[1..].split('/') {
        match dots(s) {
            2 => _ = kept.pop(),
            0 if !s.is_empty() => kept.push(s),
            _ => {}
        }
    }
    let mut out = String::with_capacity(path.len());
    for s in &kept {
        out.push('/');
        out.push_str(s);
    }
    let last = path.rsplit('/').next().unwrap_or("");
    if kept.is_empty() || last.is_empty() || dots(last) > 0 {
        out.push('/');
    }
    Some(out)
}

/// Names and values of a query, decoded; pairs that cannot be decoded are left out.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|p| !p.is_empty()).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, true)?, decode(value, true)?))
    })
}

/// `http://authority/path?query`, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url {
    /// Host and port as written: the `Host` header.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

impl Url {
    /// `None`: not this scheme, no host, user names, or characters that do not belong.
    pub(super) fn parse(s: &str) -> Option<Url> {
        let (scheme, rest) = s.split_at_checked(7)?;
        let s_ok = |b: u8| b > b' ' && b != 0x7f;
        if !scheme.eq_ignore_ascii_case("http://") || !rest.bytes().all(s_ok) {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or("");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.starts_with(':') || authority.contains('@') {
            return None;
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Url {
            authority: authority.into(),
            target: alloc::format!("{slash}{target}"),
        })
    }

    /// Host and port, for connecting.
    pub(super) fn address(&self) -> String {
        let port = match self.authority.rsplit_once(':') {
            Some((_, p)) => !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()),
            None => false,
        };
        match port {
            true => self.authority.clone(),
            false => alloc::format!("{}:80", self.authority.trim_end_matches(':')),
        }
    }

    /// Where a `Location` leads from here.
    pub(super) fn join(&self, location: &str) -> Option<Url> {
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&alloc::format!("http://{rest}"));
        }
        if location.contains("://") {
            return Url::parse(location);
        }
        let base = self.target.split('?').next().unwrap_or("/");
        let target = match location.chars().next() {
            Some('/') => String::from(location),
            Some('?') => alloc::format!("{base}{location}"),
            _ => alloc::format!("{}{location}", &base[..=base.rfind('/').unwrap_or(0)]),
        };
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let path = clean(path).unwrap_or_else(|| path.into());
        Url::parse(&alloc::format!("http://{}{path}{query}", self.authority))
    }
}
