//! Patterns: which are in conflict, which is the most specific.
#![forbid(unsafe_code)]

use alloc::vec;

use super::super::{Method, Router, pattern::Pattern};

#[test]
fn routes_in_conflict() {
    let conflict = |a: &str, b: &str| {
        let (p, q) = (Pattern::parse(a).unwrap(), Pattern::parse(b).unwrap());
        assert_eq!(p.conflicts_with(&q), q.conflicts_with(&p), "{a} {b}");
        p.conflicts_with(&q)
    };
    for (a, b) in [
        ("/", "/"),
        ("/a/{x}", "/a/{y}"),
        ("/a/{x...}", "/a/"),
        ("/{x}/b", "/a/{y}"),
        ("GET /", "/a"), // fewer methods, more paths
        ("/a/{x}/", "/{y}/b/{z...}"),
    ] {
        assert!(conflict(a, b), "{a} {b}");
    }
    for (a, b) in [
        ("/", "/a"),
        ("/a/{x}", "/a/b"),
        ("/a/{x}", "/a/"),
        ("/a/{$}", "/a/"),
        ("/a/{$}", "/a/{x}"),
        ("GET /a", "POST /a"),
        ("GET /a", "/a"),
        ("GET /a", "HEAD /a"),
        ("h/{x}/b", "/a/{y}"),
        ("/{x}/b", "/a/{y}/c"),
        ("POST /a/{x}", "GET /{x}/b"),
    ] {
        assert!(!conflict(a, b), "{a} {b}");
    }
    for bad in [
        "",
        "a",
        "GET",
        "GET a",
        "G(T /",
        "/{x",
        "/x}",
        "/a{x}",
        "/{x}/{x}",
        "/{x...}/a",
        "/{$}/a",
        "/{}",
        "/a//b",
        "/%zz",
        "/..",
    ] {
        assert!(Pattern::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_most_specific_route_wins() {
    let mut r = Router::new();
    let patterns = [
        "/",
        "GET /{$}",
        "/a",
        "/a/{x}",
        "GET /a/b",
        "POST /a/c",
        "GET /a/{x}/d",
        "/f/{rest...}",
        "/f/g/",
        "h.org/",
        "/s p/{x}",
    ];
    for p in patterns {
        r.on(p, |_w, _r| {}).unwrap();
    }
    for (host, method, path, pattern, values) in [
        ("x", Method::Get, "/", "GET /{$}", vec![]),
        ("x", Method::Head, "/", "GET /{$}", vec![]),
        ("x", Method::Post, "/", "/", vec![""]),
        ("x", Method::Get, "/zzz/y", "/", vec!["zzz/y"]),
        ("x", Method::Get, "/a", "/a", vec![]),
        ("x", Method::Get, "/a/b", "GET /a/b", vec![]),
        ("x", Method::Put, "/a/b", "/a/{x}", vec!["b"]),
        ("x", Method::Get, "/a/c", "/a/{x}", vec!["c"]),
        ("x", Method::Get, "/a/%62", "GET /a/b", vec![]),
        ("x", Method::Get, "/a/b/d", "GET /a/{x}/d", vec!["b"]),
        ("x", Method::Get, "/a/b/e", "/", vec!["a/b/e"]),
        ("x", Method::Get, "/a/", "/", vec!["a/"]),
        ("x", Method::Get, "/f/", "/f/{rest...}", vec![""]),
        ("x", Method::Get, "/f/a/b", "/f/{rest...}", vec!["a/b"]),
        ("x", Method::Get, "/f/g/h", "/f/g/", vec!["h"]),
        ("x", Method::Get, "/s%20p/a%2Fb", "/s p/{x}", vec!["a%2Fb"]),
        ("H.org:80", Method::Get, "/a", "h.org/", vec!["a"]),
    ] {
        let (found, seen) = r.lookup(host, method, path);
        assert_eq!(
            (found.as_deref(), seen),
            (Some(pattern), values),
            "{method} {path}"
        );
    }
}
