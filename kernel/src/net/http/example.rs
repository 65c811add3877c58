//! What the examples in the documentation of this module share: a server for one handler, and a client that shows what
//! comes back as text. Not for programs.
#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{Handler, Server};
use crate::{
    net::{Error, TcpStream},
    sched,
};

/// A server on the loopback link; dropping it closes it.
#[derive(Debug)]
pub struct Running {
    server: Server,
    url: String,
}

impl Running {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.close();
    }
}

/// Starts a server for `handler`.
///
/// # Panics
/// If there is no port or memory for it.
pub fn serve(handler: impl Handler) -> Running {
    let server = Server::bind("127.0.0.1:0", handler).expect("a port is free");
    let url = format!("http://{}", server.local_addr().expect("it was bound just now"));
    let running = server.clone();
    sched::go(move || running.run().expect("it was bound just now"));
    Running { server, url }
}

/// Sends one request (`"GET /path"`, and a body) to `handler`; the response as it comes over the wire.
///
/// # Errors
/// The connection's failure.
///
/// # Panics
/// If there is no port or memory for a server.
pub fn ask(handler: impl Handler, request: &str, body: &str) -> Result<String, Error> {
    let running = serve(handler);
    let conn = TcpStream::connect(running.url.trim_start_matches("http://"))?;
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    conn.write_all(head.as_bytes())?;
    conn.write_all(body.as_bytes())?;
    let mut all = Vec::new();
    conn.read_to_end(&mut all)?;
    Ok(String::from_utf8_lossy(&all).to_string())
}
