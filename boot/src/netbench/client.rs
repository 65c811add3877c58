//! Many connections on one thread: each has one request under way, and sends the next when its answer is complete.
//!
//! QEMU's user network listens with a backlog of one, so connections are opened one after the other, and each is proved
//! by a request before it counts.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream as Blocking,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// How long the first answer may take: QEMU accepts before the guest has an address, and a SYN sent too early is sent
/// again after seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long any other may take.
const STALL: Duration = Duration::from_secs(120);

/// What is asked, and what a complete answer looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// 64 bytes and the same back.
    Echo,
    /// `GET /`, answered with "hello".
    Http,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: burrow\r\n\r\n";

impl Protocol {
    fn request(self, k: usize) -> Vec<u8> {
        match self {
            Protocol::Echo => vec![b'a' + (k % 26) as u8; 64],
            Protocol::Http => GET.to_vec(),
        }
    }

    /// Is the answer to `request` complete? An error if it is wrong.
    fn is_complete(self, request: &[u8], answer: &[u8]) -> Result<bool> {
        match self {
            Protocol::Echo => {
                if answer.len() < request.len() {
                    return Ok(false);
                }
                ensure!(answer == request, "the echo is not what was sent");
            }
            Protocol::Http => {
                let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
                    return Ok(false);
                };
                let text = std::str::from_utf8(&answer[..head])?;
                let length = text.lines().find_map(|l| {
                    let (name, value) = l.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then_some(value)
                });
                let length: usize = length.context("no Content-Length")?.trim().parse()?;
                if answer.len() < head + 4 + length {
                    return Ok(false);
                }
                ensure!(
                    text.starts_with("HTTP/1.1 200") && &answer[head + 4..] == b"hello",
                    "unexpected answer {text:?}"
                );
            }
        }
        Ok(true)
    }
}

struct Conn {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    asked: Instant,
}

/// Open connections to one server.
pub(super) struct Client {
    protocol: Protocol,
    conns: Vec<Conn>,
    poll: Poll,
    answered: u64,
}

/// One blocking request; `false`: not answered, try anew.
fn proved(stream: &mut Blocking, protocol: Protocol, request: &[u8]) -> Result<bool> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut answer, mut buf) = (Vec::new(), [0; 4096]);
    if stream.write_all(request).is_err() {
        return Ok(false);
    }
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        answer.extend(&buf[..n]);
        if protocol.is_complete(request, &answer)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Client {
    pub(super) fn new(protocol: Protocol) -> Result<Client> {
        Ok(Client {
            protocol,
            conns: Vec::new(),
            poll: Poll::new()?,
            answered: 0,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Complete answers so far, those of warming up too.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// Opens one more connection and proves it.
    pub(super) fn open(&mut self, port: u16) -> Result<()> {
        let k = self.conns.len();
        let request = self.protocol.request(k);
        let end = Instant::now() + PATIENCE;
        let mut stream = loop {
            if let Ok(mut s) = Blocking::connect(("127.0.0.1", port))
                && proved(&mut s, self.protocol, &request)?
            {
                break s;
            }
            ensure!(
                Instant::now() < end,
                "connection {k}: nobody answers on port {port}"
            );
            std::thread::sleep(Duration::from_millis(50));
        };
        stream.flush()?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll
            .registry()
            .register(&mut stream, Token(k), Interest::READABLE)?;
        self.conns.push(Conn {
            stream,
            request,
            answer: Vec::with_capacity(256),
            asked: Instant::now(),
        });
        Ok(())
    }

    fn ask(&mut self, k: usize) -> Result<()> {
        let c = &mut self.conns[k];
        c.answer.clear();
        c.asked = Instant::now();
        let n = c.stream.write(&c.request)?;
        ensure!(n == c.request.len(), "connection {k} takes no more");
        Ok(())
    }

    /// Reads what is there. `true`: the answer is complete, so nothing more is under way.
    fn read(&mut self, k: usize) -> Result<bool> {
        let c = &mut self.conns[k];
        let mut buf = [0; 4096];
        loop {
            match c.stream.read(&mut buf) {
                Ok(0) => bail!("connection {k} was closed by the server"),
                Ok(n) => {
                    c.answer.extend(&buf[..n]);
                    if self.protocol.is_complete(&c.request, &c.answer)? {
                        return Ok(true);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).with_context(|| format!("connection {k}")),
            }
        }
    }

    /// Asks on every connection again and again, for `warm` without counting and then for `time`. Returns the time each
    /// counted answer took.
    pub(super) fn load(&mut self, warm: Duration, time: Duration) -> Result<Vec<Duration>> {
        let from = Instant::now() + warm;
        let to = from + time;
        let mut took = Vec::new();
        let mut open = self.conns.len();
        for k in 0..self.conns.len() {
            self.ask(k)?;
        }
        self.answers(&mut |client, k, asked, now| {
            if asked >= from && now <= to {
                took.push(now - asked);
            }
            if now < to {
                client.ask(k)?;
            } else {
                open -= 1;
            }
            Ok(open > 0)
        })?;
        Ok(took)
    }

    /// Asks once on every connection, at most `window` at a time. Returns the time each answer took.
    pub(super) fn ping_all(&mut self, window: usize) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(self.conns.len());
        let mut next = self.conns.len().min(window);
        for k in 0..next {
            self.ask(k)?;
        }
        self.answers(&mut |client, _, asked, now| {
            took.push(now - asked);
            if next < client.conns.len() {
                client.ask(next)?;
                next += 1;
            }
            Ok(took.len() < client.conns.len())
        })?;
        Ok(took)
    }

    /// Calls `on` for each complete answer until it says `false`.
    fn answers(&mut self, on: &mut OnAnswer<'_>) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.poll.poll(&mut events, Some(STALL))?;
            ensure!(!events.is_empty(), "no answer for {STALL:?}");
            for k in events.iter().map(|e| e.token().0) {
                if !self.read(k)? {
                    continue;
                }
                self.answered += 1;
                let (asked, now) = (self.conns[k].asked, Instant::now());
                if !on(self, k, asked, now)? {
                    return Ok(());
                }
            }
        }
    }
}

/// What to do with an answer: the connection's number, when it was asked, now. `false`: that was the last one.
type OnAnswer<'a> = dyn FnMut(&mut Client, usize, Instant, Instant) -> Result<bool> + 'a;
