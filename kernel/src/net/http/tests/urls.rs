//! Paths and URLs.
#![forbid(unsafe_code)]

use super::super::url::{self, Url};

#[test]
fn paths_and_urls() {
    for (path, clean) in [
        ("/", None),
        ("/a/b", None),
        ("/a/", None),
        ("//", Some("/")),
        ("//a", Some("/a")),
        ("/a//b/", Some("/a/b/")),
        ("/a/./b", Some("/a/b")),
        ("/a/../b", Some("/b")),
        ("/../../b", Some("/b")),
        ("/a/%2e%2E/b", Some("/b")),
        ("/a/b/..", Some("/a/")),
        ("/a/.", Some("/a/")),
        ("/.", Some("/")),
    ] {
        assert_eq!(url::clean(path).as_deref(), clean, "{path}");
    }
    let u = |s| Url::parse(s).map(|u| (u.address(), u.target));
    assert_eq!(u("http://h"), Some(("h:80".into(), "/".into())));
    assert_eq!(u("HTTP://h:8080?q#f"), Some(("h:8080".into(), "/?q".into())));
    assert_eq!(u("http://[::1]/x"), Some(("[::1]:80".into(), "/x".into())));
    for bad in [
        "",
        "h",
        "https://h/",
        "http://",
        "http:///x",
        "http://u@h/",
        "http://h/ x",
        "http://h/\r\nX: y",
    ] {
        assert_eq!(u(bad), None, "{bad:?}");
    }
    let base = Url::parse("http://h/a/b?q").unwrap();
    for (to, target) in [
        ("/x", "/x"),
        ("c", "/a/c"),
        ("?r", "/a/b?r"),
        ("../c?d", "/c?d"),
        ("http://h/z", "/z"),
    ] {
        assert_eq!(base.join(to).unwrap().target, target, "{to}");
    }
    assert_eq!(base.join("//other/x").unwrap().authority, "other");
}
