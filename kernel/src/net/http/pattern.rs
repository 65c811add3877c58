//! Routes as text: `[METHOD ][HOST]/path`, with the rules of Go 1.22's `ServeMux`.
//!
//! | in the path | matches |
//! | --- | --- |
//! | `users` | itself |
//! | `{id}` | one segment, not empty |
//! | `{rest...}` at the end | everything that follows, also nothing |
//! | a slash at the end | the same, without a name |
//! | `{$}` at the end | the slash alone |
//!
//! Of two patterns that match a request the more specific one gets it: one whose requests are all among the other's. If
//! neither is, they are in conflict, and the second cannot be registered. So the order of registration never matters.
#![forbid(unsafe_code)]

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{cmp::Ordering, fmt};

use super::{Method, url};

/// Why a route cannot be registered.
///
/// ```
/// let e = burrow::net::http::Router::new().on("GET nowhere", |_w, _r| {}).map(|_| ()).unwrap_err();
/// println!("{e}");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PatternError(pub(super) String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http: {}", self.0)
    }
}

impl core::error::Error for PatternError {}

/// A piece of a path between slashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    /// Itself; the empty one is a slash at the end.
    Literal(Box<str>),
    /// Any one that is not empty.
    One,
    /// Any number of them.
    Rest,
}

/// A parsed route.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    pub(super) method: Option<Method>,
    pub(super) host: String,
    pub(super) segments: Vec<Segment>,
    /// Of `One` and `Rest`, in order; empty for a slash at the end.
    names: Vec<String>,
}

/// How the requests of one pattern are related to another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    /// None in common.
    Disjoint,
    /// The same, all of them, or some of each.
    Related(Option<Ordering>),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, PatternError> {
        let err = |why: &str| Err(PatternError(format!("pattern {text:?}: {why}")));
        let (method, rest) = match text.split_once([' ', '\t']) {
            Some((m, rest)) if !m.contains('/') => match Method::parse(m) {
                Some(m) => (Some(m), rest.trim_start()),
                None => return err("bad method"),
            },
            _ => (None, text),
        };
        let Some(slash) = rest.find('/') else {
            return err("no path: it begins with a slash");
        };
        let (host, path) = rest.split_at(slash);
        if host.contains(['{', '}', ' ']) {
            return err("bad host");
        }
        let mut p = Pattern {
            text: text.to_string(),
            method,
            host: host.to_ascii_lowercase(),
            segments: Vec::new(),
            names: Vec::new(),
        };
        let mut parts = path[1..].split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let wild = part.strip_prefix('{').and_then(|w| w.strip_suffix('}'));
            let (segment, name) = match wild {
                Some("$") if last => (Segment::Literal("".into()), None),
                Some(w) => match w.strip_suffix("...") {
                    Some(name) if last => (Segment::Rest, Some(name)),
                    Some(_) => return err("{...} must be at the end"),
                    None => (Segment::One, Some(w)),
                },
                None if part.contains(['{', '}']) => return err("a wildcard is a whole segment"),
                None if part.is_empty() && last => (Segment::Rest, Some("")),
                None if part.is_empty() => return err("an empty segment"),
                None => match url::decode(part, false) {
                    Some(s) if s != "." && s != ".." => (Segment::Literal(s.into()), None),
                    _ => return err("a segment that no request can have"),
                },
            };
            if let Some(name) = name {
                let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if !word || (name.is_empty() && wild.is_some()) {
                    return err("bad wildcard name");
                }
                if !name.is_empty() && p.names.iter().any(|n| n == name) {
                    return err("two wildcards of one name");
                }
                p.names.push(name.to_string());
            }
            p.segments.push(segment);
        }
        Ok(p)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Which of the values is `name`'s.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name && !name.is_empty())
    }

    /// May both be registered?
    pub(super) fn conflicts_with(&self, other: &Pattern) -> bool {
        if self.host != other.host {
            return false; // a host is more specific than none
        }
        let methods = match (self.method, other.method) {
            (a, b) if a == b => Some(Ordering::Equal),
            (None, _) => Some(Ordering::Greater),
            (_, None) => Some(Ordering::Less),
            (Some(Method::Get), Some(Method::Head)) => Some(Ordering::Greater),
            (Some(Method::Head), Some(Method::Get)) => Some(Ordering::Less),
            _ => return false,
        };
        let paths = match self.path_relation(other) {
            Relation::Disjoint => return false,
            Relation::Related(r) => r,
        };
        match (methods, paths) {
            (Some(Ordering::Equal), Some(Ordering::Equal)) => true,
            (a, b) => join(a, b).is_none(),
        }
    }

    /// `Less`: this one's paths are among the other's.
    pub(super) fn path_relation(&self, other: &Pattern) -> Relation {
        use Segment::{Literal, One, Rest};
        let mut so_far = Some(Ordering::Equal);
        let mut at = 0;
        loop {
            let (a, b) = (self.segments.get(at), other.segments.get(at));
            let step = match (a, b) {
                (None, None) | (Some(Rest), Some(Rest)) => return Relation::Related(so_far),
                (None, _) | (_, None) => return Relation::Disjoint,
                (Some(Rest), Some(_)) => return Relation::Related(join(so_far, Some(Ordering::Greater))),
                (Some(_), Some(Rest)) => return Relation::Related(join(so_far, Some(Ordering::Less))),
                (Some(Literal(a)), Some(Literal(b))) if a == b => Ordering::Equal,
                (Some(Literal(_)), Some(Literal(_))) => return Relation::Disjoint,
                (Some(One), Some(Literal(l))) | (Some(Literal(l)), Some(One)) if l.is_empty() => {
                    return Relation::Disjoint;
                }
                (Some(Literal(_)), Some(One)) => Ordering::Less,
                (Some(One), Some(Literal(_))) => Ordering::Greater,
                (Some(One), Some(One)) => Ordering::Equal,
            };
            so_far = join(so_far, Some(step));
            at += 1;
        }
    }
}

/// Both at once: `None` if they point to different sides.
fn join(a: Option<Ordering>, b: Option<Ordering>) -> Option<Ordering> {
    match (a?, b?) {
        (Ordering::Equal, b) => Some(b),
        (a, Ordering::Equal) => Some(a),
        (a, b) if a == b => Some(a),
        _ => None,
    }
}
