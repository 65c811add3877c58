//! HTTP/1.1: a server, a router, and a client, as blocking code on a goroutine per connection.
//!
//! ```
//! use burrow::net::http::{Client, Router, Server};
//! let mut router = Router::new();
//! router.on("GET /hello/{name}", |w, r| {
//!     w.text(&format!("hello {}", r.path_value("name").unwrap()));
//! }).unwrap();
//! let server = Server::bind("127.0.0.1:0", router).unwrap();
//! let addr = server.local_addr().unwrap();
//! let s = server.clone();
//! burrow::go(move || s.run().unwrap());
//!
//! let mut answer = Client::new().get(&format!("http://{addr}/hello/burrow")).unwrap();
//! assert_eq!((answer.status(), answer.text().unwrap().as_str()), (200, "hello burrow"));
//! server.close();
//! ```
//!
//! | file | what is in it | does I/O |
//! | --- | --- | --- |
//! | `method`, `status`, `headers`, `date`, `url` | the vocabulary | no |
//! | `head` | a request's head: parsed by `httparse`, then judged; how its body is framed | no |
//! | `pieces` | when a head that comes in pieces is parsed | no |
//! | `chunked`, `inbox` | body framing; bytes that came in and are not used up | no |
//! | `wire`, `outbox` | a connection with deadlines that cost nothing until they matter; bytes that are to go out | yes |
//! | `request`, `response` | what a handler holds | yes |
//! | `render` | a response's head, and how its body is framed | no |
//! | `watch` | cancels a request's context when the client has gone | no |
//! | `conn` | one connection's life: request, handler, response, again | yes |
//! | `server`, `limits` | accepting, limits, shutting down | yes |
//! | `pattern`, `router` | which handler | no |
//! | `client`, `exchange`, `pool`, `answer` | the other side | yes |
//!
//! Everything that looks at bytes of strangers is in the files without I/O, so that it is tested and fuzzed on slices.
#![forbid(unsafe_code)]

mod answer;
mod chunked;
mod client;
mod conn;
mod date;
mod error;
#[doc(hidden)] // for the examples in the documentation
pub mod example;
mod exchange;
mod head;
mod headers;
mod inbox;
mod limits;
mod method;
mod outbox;
mod pattern;
mod pieces;
mod pool;
mod render;
mod request;
mod response;
mod router;
mod server;
pub mod status;
#[cfg(test)]
mod tests;
mod url;
mod watch;
mod wire;

pub use answer::Response;
pub use client::Client;
pub use error::Error;
pub use exchange::RequestBuilder;
pub use headers::{BadHeader, Headers};
pub use limits::{Builder, ConfigError};
pub use method::Method;
pub use pattern::PatternError;
pub use request::Request;
pub use response::ResponseWriter;
pub use router::Router;
pub use server::{Handler, Server};
