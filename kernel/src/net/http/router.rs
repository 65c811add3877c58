//! Which handler: a tree of path segments, one tree per host.
//!
//! At a node a literal is tried first, then `{one}`, then `{rest...}`, and a branch that has no leaf for the method is
//! left again; since conflicting patterns are refused (see `pattern`), the first leaf found is the most specific. A
//! lookup costs a step per segment however many routes there are, and allocates nothing unless there are wildcards.
#![forbid(unsafe_code)]

use alloc::{
    borrow::Cow,
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::fmt;

use super::{
    Handler, Method, PatternError, Request, ResponseWriter,
    pattern::{Pattern, Segment},
    status, url,
};

struct Route {
    pattern: Arc<Pattern>,
    handler: Box<dyn Handler>,
}

#[derive(Default)]
struct Node {
    literals: Vec<(Box<str>, Node)>,
    one: Option<Box<Node>>,
    rest: Option<Box<Node>>,
    /// Routes that end here, by method.
    leaf: Vec<(Option<Method>, usize)>,
}

/// Finds the handler for a request by method, host and path; is a [`Handler`] itself.
///
/// Patterns are those of Go 1.22's `ServeMux`: `"GET /users/{id}"`, `"/files/{path...}"`, `"/static/"` (everything
/// below), `"/{$}"` (the root alone), `"example.org/"`. A `GET` route answers `HEAD`, too. Without a route for the path
/// the answer is 404, without one for the method 405 with `Allow`. A path with `//`, `.` or `..` is redirected to the
/// clean one, and `/static` to `/static/` if only that exists.
///
/// ```
/// use burrow::net::http::Router;
/// let mut r = Router::new();
/// r.on("GET /users/{id}", |w, r| w.text(r.path_value("id").unwrap())).unwrap();
/// r.on("GET /users/me", |w, _r| w.text("you")).unwrap(); // more specific: no conflict
/// let e = r.on("GET /{any}/me", |_w, _r| {}).unwrap_err();
/// assert!(e.to_string().contains("conflicts with \"GET /users/{id}\""));
/// ```
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
    hosts: Vec<(String, Node)>,
}

/// What a lookup found.
#[derive(Default)]
struct Search<'a> {
    /// Values of wildcards on the way: pieces of the path.
    values: Vec<&'a str>,
    /// Methods that the path has routes for.
    allowed: Vec<Method>,
}

impl Router {
    /// No routes.
    ///
    /// ```
    /// # use burrow::net::http::{Router, example::ask};
    /// let answer = ask(Router::new(), "GET /", "").unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    /// ```
    pub fn new() -> Router {
        Router::default()
    }

    /// Registers a function.
    ///
    /// # Errors
    /// [`PatternError`]: the pattern is malformed, or in conflict with another.
    ///
    /// ```
    /// # use burrow::net::http::{Router, example::ask};
    /// let mut router = Router::new();
    /// router.on("GET /{$}", |w, _r| w.text("home")).unwrap().on("/echo/{text}", |w, r| {
    ///     w.text(r.path_value("text").unwrap());
    /// }).unwrap();
    /// # let answer = ask(router, "GET /echo/hello", "").unwrap();
    /// assert!(answer.ends_with("hello"), "{answer}");
    /// ```
    pub fn on(
        &mut self,
        pattern: &str,
        f: impl Fn(&mut ResponseWriter, &mut Request) + Send + Sync + 'static,
    ) -> Result<&mut Self, PatternError> {
        self.handle(pattern, f)
    }

    /// Registers a handler.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, Router, example::ask};
    /// fn hello(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// let mut router = Router::new();
    /// router.handle("GET /hello", hello).unwrap();
    /// # let answer = ask(router, "GET /hello", "").unwrap();
    /// assert!(answer.ends_with("hello"), "{answer}");
    /// ```
    pub fn handle(&mut self, pattern: &str, handler: impl Handler) -> Result<&mut Self, PatternError> {
        let p = Pattern::parse(pattern)?;
        if let Some(other) = self.routes.iter().find(|r| r.pattern.conflicts_with(&p)) {
            let other = other.pattern.text();
            return Err(PatternError(format!(
                "pattern {pattern:?} conflicts with {other:?}"
            )));
        }
        let index = self.routes.len();
        let at = match self.hosts.iter().position(|(h, _)| *h == p.host) {
            Some(at) => at,
            None => {
                self.hosts.push((p.host.clone(), Node::default()));
                self.hosts.len() - 1
            }
        };
        let mut node = &mut self.hosts[at].1;
        for s in &p.segments {
            node = match s {
                Segment::One => node.one.get_or_insert_default(),
                Segment::Rest => node.rest.get_or_insert_default(),
                Segment::Literal(l) => {
                    let at = match node.literals.binary_search_by(|(k, _)| (**k).cmp(l)) {
                        Ok(at) => at,
                        Err(at) => {
                            node.literals.insert(at, (l.clone(), Node::default()));
                            at
                        }
                    };
                    &mut node.literals[at].1
                }
            };
        }
        node.leaf.push((p.method, index));
        self.routes.push(Route {
            pattern: Arc::new(p),
            handler: Box::new(handler),
        });
        Ok(self)
    }

    /// The route for a request; `path` is as sent, and clean.
    fn find<'a>(&self, host: &str, method: Method, path: &'a str, search: &mut Search<'a>) -> Option<usize> {
        let host = host.rsplit_once(':').map_or(host, |(h, _)| h);
        let named = self
            .hosts
            .iter()
            .filter(|(h, _)| !h.is_empty() && h.eq_ignore_ascii_case(host));
        let any = self.hosts.iter().filter(|(h, _)| h.is_empty());
        named.chain(any).find_map(|(_, tree)| {
            search.values.clear();
            tree.find(path.get(1..), method, search)
        })
    }
}

#[cfg(test)]
impl Router {
    /// The pattern that a request leads to, and the values of its wildcards as sent.
    pub(super) fn lookup<'a>(
        &self,
        host: &str,
        method: Method,
        path: &'a str,
    ) -> (Option<String>, Vec<&'a str>) {
        let mut search = Search::default();
        let found = self.find(host, method, path, &mut search);
        (
            found.map(|i| self.routes[i].pattern.text().to_string()),
            search.values,
        )
    }
}

impl Node {
    /// `path`: what is left, without the slash before it; `None`: nothing.
    fn find<'a>(&self, path: Option<&'a str>, method: Method, search: &mut Search<'a>) -> Option<usize> {
        let Some(path) = path else {
            return self.leaf_for(method, search);
        };
        let (segment, left) = match path.find('/') {
            Some(at) => (&path[..at], Some(&path[at + 1..])),
            None => (path, None),
        };
        if !self.literals.is_empty() {
            let decoded = url::decode(segment, false).unwrap_or(Cow::Borrowed(segment));
            if let Ok(at) = self.literals.binary_search_by(|(k, _)| (**k).cmp(&*decoded))
                && let Some(found) = self.literals[at].1.find(left, method, search)
            {
                return Some(found);
            }
        }
        if let Some(one) = &self.one
            && !segment.is_empty()
        {
            search.values.push(segment);
            if let Some(found) = one.find(left, method, search) {
                return Some(found);
            }
            search.values.pop();
        }
        let rest = self.rest.as_ref()?;
        search.values.push(path);
        let found = rest.leaf_for(method, search);
        if found.is_none() {
            search.values.pop();
        }
        found
    }

    fn leaf_for(&self, method: Method, search: &mut Search<'_>) -> Option<usize> {
        let of = |m: Option<Method>| self.leaf.iter().find(|(k, _)| *k == m).map(|(_, index)| *index);
        let head = || {
            if method == Method::Head {
                of(Some(Method::Get))
            } else {
                None
            }
        };
        let found = of(Some(method)).or_else(head).or_else(|| of(None));
        if found.is_none() {
            search.allowed.extend(self.leaf.iter().filter_map(|(m, _)| *m));
        }
        found
    }
}

impl Handler for Router {
    fn handle(&self, w: &mut ResponseWriter, r: &mut Request) {
        let path = r.head.raw_path();
        let mut search = Search::default();
        if let Some(clean) = path.starts_with('/').then(|| url::clean(path)).flatten() {
            return redirect(w, r, &clean);
        }
        if let Some(index) = self.find(r.host(), r.method(), path, &mut search) {
            let route = &self.routes[index];
            let values = core::mem::take(&mut search.values);
            if !values.is_empty() {
                let mut text = core::mem::take(&mut r.values);
                for v in values {
                    text.0.push_str(&url::decode(v, false).unwrap_or_default());
                    text.1.push(text.0.len());
                }
                r.values = text;
            }
            r.route = Some(route.pattern.clone());
            return route.handler.handle(w, r);
        }
        if !search.allowed.is_empty() {
            if search.allowed.contains(&Method::Get) {
                search.allowed.push(Method::Head);
            }
            let mut names: Vec<String> = search.allowed.iter().map(Method::to_string).collect();
            names.sort();
            names.dedup();
            w.header("Allow", &names.join(", "));
            return w.error(status::METHOD_NOT_ALLOWED, "method not allowed");
        }
        if !path.ends_with('/') && path.starts_with('/') {
            let slashed = format!("{path}/");
            if self
                .find(r.host(), r.method(), &slashed, &mut Search::default())
                .is_some()
            {
                return redirect(w, r, &slashed);
            }
        }
        w.error(status::NOT_FOUND, "not found");
    }
}

fn redirect(w: &mut ResponseWriter, r: &Request, path: &str) {
    let query = r.query();
    let mark = if query.is_empty() { "" } else { "?" };
    // Browsers take a backslash for a slash: `/\\host` would lead to another host.
    let to = format!("{path}{mark}{query}").replace('\\', "%5C");
    w.redirect(status::TEMPORARY_REDIRECT, &to);
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.routes.iter().map(|r| r.pattern.text()))
            .finish()
    }
}
