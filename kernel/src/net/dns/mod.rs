//! Names to addresses: `lookup_host` and [`Resolver`].
//!
//! ```text
//!   literal, localhost ─▶ answered here
//!   name ─▶ valid? ─▶ cache ─▶ one flight per name ─▶ exchange: A and AAAA at once, server after server ─▶ cache
//! ```
//! The client is ours, as plain blocking code over [`UdpSocket`](super::UdpSocket) and
//! [`TcpStream`](super::TcpStream); names and records are read by smoltcp's wire types. Its resolver socket was refused:
//! it tells no time to live (so nothing could be cached), asks for one family at a time, cannot fall back to TCP, and
//! would be one more kind of socket in the stack, where goroutines are free.
//!
//! **What is believed**: an answer that comes from the server asked to the random port it was asked from (the socket
//! is connected), with our random identifier, and that repeats our question. Whatever else arrives is as if it had not.
//!
//! **Servers** are those of DHCP or `dns=`. Each is given `timeout` per attempt; the next is asked at once if one refuses
//! or fails. "No such host" is an answer, and ends the search.
//!
//! Not here: search domains, a hosts file, DNSSEC, EDNS (an answer beyond 512 bytes is fetched by TCP).
#![forbid(unsafe_code)]

mod cache;
mod exchange;
mod message;
#[cfg(all(test, not(loom)))]
mod tests;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
};

use cache::Cache;

use super::{Error, stack};
use crate::{
    chan::chan,
    sched,
    sync::{Mutex, singleflight::Group},
    time::Duration,
};

const PORT: u16 = 53;
/// Names that name each other, at most.
const CHAIN: u32 = 8;

/// Asks name servers and remembers what they said. [`lookup_host`] uses one for all.
///
/// ```
/// use burrow::net::Resolver;
/// let r = Resolver::with_servers(vec!["127.0.0.1:5353".parse().unwrap()]);
/// assert_eq!(r.lookup("192.0.2.1").unwrap(), ["192.0.2.1".parse::<core::net::IpAddr>().unwrap()]);
/// ```
pub struct Resolver {
    /// `None`: those of the interfaces.
    servers: Option<Vec<SocketAddr>>,
    timeout: Duration,
    attempts: u32,
    cache: Mutex<Cache>,
    flights: Group<String, Result<Vec<IpAddr>, Error>>,
}

static SYSTEM: Resolver = Resolver::new();

impl Resolver {
    /// Asks the servers that DHCP or `dns=` named.
    ///
    /// ```
    /// static RESOLVER: burrow::net::Resolver = burrow::net::Resolver::new();
    /// assert_eq!(RESOLVER.lookup("localhost").unwrap()[0], core::net::Ipv4Addr::LOCALHOST);
    /// ```
    pub const fn new() -> Self {
        Self {
            servers: None,
            timeout: Duration::from_secs(3),
            attempts: 2,
            cache: Mutex::new(Cache::new()),
            flights: Group::new(),
        }
    }

    /// Asks these, in this order.
    ///
    /// ```
    /// use burrow::{net::{Error, Resolver, UdpSocket}, time::Duration};
    /// let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// let r = Resolver::with_servers(vec![silent.local_addr()]).patience(Duration::from_millis(1), 1);
    /// assert_eq!(r.lookup("example.com"), Err(Error::TimedOut));
    /// ```
    pub fn with_servers(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers: Some(servers),
            ..Self::new()
        }
    }

    /// How long each server is waited for (3 s), and how often each is asked (twice).
    ///
    /// ```
    /// use burrow::{net::{Error, Resolver, UdpSocket}, time::Duration};
    /// let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// let r = Resolver::with_servers(vec![silent.local_addr()]).patience(Duration::from_millis(1), 3);
    /// assert_eq!(r.lookup("example.com"), Err(Error::TimedOut)); // after three times 1 ms
    /// ```
    #[must_use]
    pub fn patience(mut self, timeout: Duration, attempts: u32) -> Self {
        self.timeout = timeout;
        self.attempts = attempts;
        self
    }

    /// See [`lookup_host`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::Resolver;
    /// let r = Resolver::new();
    /// assert_eq!(r.lookup("::1").unwrap(), [core::net::Ipv6Addr::LOCALHOST]);
    /// assert!(r.lookup("not a name").is_err());
    /// ```
    pub fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        match self.known(name)? {
            Known::Here(addrs) => Ok(addrs),
            Known::Not(name) => self.fly(name),
        }
    }

    /// What needs no name server.
    fn known(&self, name: &str) -> Result<Known, Error> {
        if let Ok(ip) = name.parse() {
            return Ok(Known::Here([ip].to_vec()));
        }
        let name = canonical(name)?;
        if name == "localhost" || name.ends_with(".localhost") {
            let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(Known::Here(both.to_vec()));
        }
        match self.cache.lock().get(&name) {
            Some(known) => known.map(Known::Here),
            None => Ok(Known::Not(name)),
        }
    }

    fn fly(&self, name: String) -> Result<Vec<IpAddr>, Error> {
        let (answer, _shared) = self.flights.do_call(name.clone(), || self.ask(&name));
        answer
    }

    fn ask(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        // Somebody's flight may have landed between our look and this one.
        if let Some(known) = self.cache.lock().get(name) {
            return known;
        }
        let servers = match &self.servers {
            Some(list) => list.clone(),
            None => {
                let list = stack::with(|s| s.name_servers());
                list.into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect()
            }
        };
        let (mut asked, mut ttl, mut list) = (name.to_string(), u32::MAX, Vec::new());
        for _ in 0..CHAIN {
            let found = match exchange::ask(&servers, &asked, self.timeout, self.attempts) {
                Err(Error::NoSuchHost) => break,
                r => r?,
            };
            ttl = ttl.min(found.ttl);
            list = found.addrs;
            match found.alias {
                Some(alias) if list.is_empty() => asked = alias,
                _ => break,
            }
        }
        let answer = if list.is_empty() {
            Err(Error::NoSuchHost)
        } else {
            Ok(list)
        };
        self.cache.lock().put(name, answer.clone(), ttl);
        answer
    }
}

enum Known {
    Here(Vec<IpAddr>),
    /// The name to ask for.
    Not(String),
}

/// As `lookup`, for at most `limit`. The search is a goroutine's of its own and goes on after that: others may wait for the
/// same flight, and it leaves its answer in the cache.
fn within<R>(r: R, name: &str, limit: Duration) -> Result<Vec<IpAddr>, Error>
where
    R: Deref<Target = Resolver> + Send + 'static,
{
    let name = match r.known(name)? {
        Known::Here(addrs) => return Ok(addrs),
        Known::Not(name) => name,
    };
    let answer = chan(1);
    let to = answer.clone();
    let searching = sched::Builder::new()
        .name("lookup")
        .spawn(move || to.send(r.fly(name)));
    let _detached = searching.map_err(|_| Error::OutOfMemory)?;
    answer.recv_timeout(limit).unwrap_or(Err(Error::TimedOut))
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({:?})", self.servers)
    }
}

/// The addresses of a host, IPv4 first. Blocks the goroutine until a name server has answered; addresses and `localhost`
/// are answered at once. What was learned is remembered for as long as the server allows.
///
/// # Errors
/// [`Error::NoSuchHost`], [`Error::InvalidAddr`] for what cannot be a name, [`Error::TimedOut`] if no server answered,
/// [`Error::NameServer`] if there is none or they failed.
///
/// ```
/// use burrow::net::{Error, lookup_host};
/// assert_eq!(lookup_host("localhost").unwrap()[0], core::net::Ipv4Addr::LOCALHOST);
/// assert_eq!(lookup_host("no spaces").unwrap_err(), Error::InvalidAddr);
/// ```
pub fn lookup_host(name: &str) -> Result<Vec<IpAddr>, Error> {
    SYSTEM.lookup(name)
}

/// As [`lookup_host`], for at most `limit`.
pub(super) fn lookup_within(name: &str, limit: Duration) -> Result<Vec<IpAddr>, Error> {
    within(&SYSTEM, name, limit)
}

/// A name as it is asked for: small letters, without the last dot; letters, digits, `-` and `_` in labels of 1 to 63.
fn canonical(name: &str) -> Result<String, Error> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // An address that was mistyped is no name.
    let number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if name.len() > 253 || number || !name.split('.').all(good) {
        return Err(Error::InvalidAddr);
    }
    Ok(name)
}

/// An answer, for the fuzzer to damage.
#[cfg(all(test, not(loom)))]
pub(super) fn sample_answer() -> Vec<u8> {
    tests::sample()
}
