//! One connection's life: read a request, run the handler, send the response, again.
//!
//! ```text
//!   idle ── first byte ─▶ head ── whole ─▶ handler ─▶ rest of the body is read over ─▶ idle
//!     │                    │                  │                                         ▲ keep-alive
//!     └ idle timeout,      └ 408, 431, 400 …  └ panic: 500, or the connection breaks ───┴─▶ linger ─▶ closed
//!       shutdown, EOF
//! ```
//! **Responses leave** before the connection waits for anything: a pipelining client's answers go together, nobody's
//! answer is held back for a request that has not come.
//!
//! **Lingering.** Closing a socket with unread data resets it, and a reset can overtake the response that says why. So
//! after a response that leaves data unread, the writing side is shut down, and what comes is read over until the client
//! has seen the end, `LINGER` at most.
#![forbid(unsafe_code)]

use alloc::{format, sync::Arc};
use core::time::Duration;

use super::{
    Error, Method, Request, ResponseWriter,
    head::{Framing, Refusal, refuse},
    render::Mode,
    request::Continue,
    server::Inner,
    status,
    wire::Stop,
};
use crate::{
    net::{Shutdown, TcpStream},
    time::Instant,
};

/// What a handler left of a body is read over up to this, to keep the connection.
const DRAINED: usize = 256 << 10;
const LINGER: Duration = Duration::from_secs(2);
/// How long a server that shuts down waits for a request that may be under way.
const GRACE: Duration = Duration::from_millis(1);

enum Next {
    Request(Instant),
    Refused(Refusal),
    End,
}

/// Serves a connection to its end.
pub(super) fn serve(server: &Arc<Inner>, stream: TcpStream) {
    let limits = server.limits.clone();
    let mut r = Request::new(stream.clone(), limits.clone(), server.base.clone());
    let mut w = ResponseWriter::new(stream.clone(), limits.write_timeout, r.go_ahead.clone());
    let mut wait = limits.header_timeout; // for the first byte
    let unread = loop {
        match next(server, &mut r, &mut w, wait) {
            Next::Request(now) => {
                r.begin(now);
                w.begin(&r.head);
            }
            Next::Refused(refusal) => {
                w.refuse(refusal.status, refusal.why);
                break true;
            }
            Next::End => break false,
        }
        wait = limits.idle_timeout;
        if !respond(server, &mut r, &mut w) {
            break !r.body.is_done() || !r.inbox.is_empty();
        }
    };
    if w.out.failed().is_some() {
        break_off(&mut w, &stream);
    } else if w.out.send().is_ok() && unread {
        linger(&mut r, &stream);
    }
}

/// The client is to see that the response is not complete. Those before it are, and may not have left yet.
fn break_off(w: &mut ResponseWriter, stream: &TcpStream) {
    if w.out.failed() == Some(Error::Aborted) && w.mode != Mode::Close {
        w.out.send_rest();
        let _ = stream.close();
    } else {
        stream.abort(); // the body of such a response ends with the connection: only a reset tells
    }
}

/// Waits for a request's head.
fn next(server: &Inner, r: &mut Request, w: &mut ResponseWriter, wait: Duration) -> Next {
    let limits = r.limits.clone();
    let mut due = None;
    loop {
        match r.inbox.take_head(&mut r.head, &limits) {
            Ok(true) => return Next::Request(Instant::now()),
            Ok(false) => {}
            Err(refusal) => return Next::Refused(refusal),
        }
        if w.out.send().is_err() {
            return Next::End;
        }
        let idle = r.inbox.is_empty();
        if idle {
            r.inbox.shrink();
            w.shrink();
            r.head.headers.trim_to(4096);
        }
        let at = *due.get_or_insert_with(|| Instant::now() + if idle { wait } else { limits.header_timeout });
        r.clock.prepare(&r.stream, Some(at));
        // After `prepare`: whoever shuts down sets the flag, then the deadline.
        let at = match idle && server.is_closing() {
            true => at.min(Instant::now() + GRACE),
            false => at,
        };
        match r.clock.read(&r.stream, r.inbox.room(), Some(at)) {
            Ok(0) => return Next::End,
            Ok(n) => {
                r.inbox.arrived(n);
                if idle {
                    due = None; // a new limit from the first byte on
                }
            }
            Err(Stop::Look) => {}
            Err(Stop::Late) if !idle => {
                return Next::Refused(refuse(status::REQUEST_TIMEOUT, "the request took too long"));
            }
            Err(_) => return Next::End,
        }
    }
}

/// Runs the handler and completes its response. May the connection go on?
fn respond(server: &Inner, r: &mut Request, w: &mut ResponseWriter) -> bool {
    if server.is_closing() {
        w.last = true;
    }
    if matches!(r.head.framing, Framing::Length(n) if n > r.limits.body) {
        w.last = true;
        w.error(status::CONTENT_TOO_LARGE, "body too large");
        w.finish();
        return false;
    }
    // A handler may wait for the body: who sends it may wait for the responses before.
    if !r.body.is_done() && w.out.send().is_err() {
        return false;
    }
    if r.head.method == Method::Options && r.head.target == "*" {
        w.header("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    } else if !handle(server, r, w) {
        return false;
    }
    if server.is_closing() {
        w.last = true;
    }
    if let Some(e) = r.body_error {
        w.last = true;
        if w.is_untouched() {
            match e {
                Error::BodyTooLarge => w.error(status::CONTENT_TOO_LARGE, "body too large"),
                Error::TimedOut => w.error(status::REQUEST_TIMEOUT, "the body took too long"),
                _ => w.error(status::BAD_REQUEST, "malformed body"),
            }
        }
    }
    if r.body.is_done() {
        return w.finish();
    }
    let too_much = matches!(r.body, super::inbox::Body::Length(n) if n > DRAINED as u64);
    if too_much || (r.head.expects_continue && *r.go_ahead.lock() != Continue::Sent) {
        w.last = true;
    }
    let keep = w.finish();
    // The response goes first: the client may be waiting for it with the rest of the body in hand.
    keep && w.out.send().is_ok() && r.drain(DRAINED)
}

/// Runs the handler; a panic is logged, and answered if nothing of a response was sent. May the connection go on?
fn handle(server: &Inner, r: &mut Request, w: &mut ResponseWriter) -> bool {
    let ended = crate::recover(|| server.handler.handle(w, r));
    r.end();
    let Err(p) = ended else { return true };
    // There may be no memory for the line, or the log may panic itself.
    let _ = crate::recover(|| (server.log)(&format!("http: panic serving {r:?}: {p}")));
    if w.is_started() || w.out.failed().is_some() {
        w.abort();
        return false;
    }
    w.reset(); // headers of the response that was not to be
    w.last = true;
    w.error(status::INTERNAL_SERVER_ERROR, "internal server error");
    true
}

/// See the file head.
fn linger(r: &mut Request, stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let due = Some(Instant::now() + LINGER);
    let mut buf = [0; 1024];
    loop {
        match r.clock.read(stream, &mut buf, due) {
            Ok(1..) | Err(Stop::Look) => {}
            _ => return,
        }
    }
}
