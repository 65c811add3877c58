//! Addresses as callers like to write them.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{Error, dns::lookup_within, lookup_host};
use crate::time::Duration;

/// What names a socket address: a [`SocketAddr`], `(ip, port)`, or text such as `"127.0.0.1:80"` and `"[::1]:80"`. A
/// name (`"example.com:80"`) is looked up, which waits for a name server. A text without a host (`":80"`) is every address of this machine for who binds, and this machine for who connects.
///
/// ```
/// use burrow::net::ToAddr;
/// assert_eq!("127.0.0.1:80".to_addr().unwrap().port(), 80);
/// assert!(":80".to_addr().unwrap().ip().is_unspecified());
/// assert!("nonsense".to_addr().is_err());
/// ```
pub trait ToAddr {
    /// The address; of several the first.
    ///
    /// # Errors
    /// [`Error::InvalidAddr`] if it is none; if there is a name in it, as [`lookup_host`].
    fn to_addr(&self) -> Result<SocketAddr, Error>;

    /// All addresses, in the order in which to try them.
    ///
    /// # Errors
    /// As [`to_addr`](Self::to_addr).
    ///
    /// ```
    /// use burrow::net::ToAddr;
    /// assert_eq!("127.0.0.1:80".to_addrs(), Ok(vec!["127.0.0.1:80".to_addr().unwrap()]));
    /// assert_eq!("localhost:80".to_addrs().unwrap().len(), 2); // IPv4 and IPv6
    /// assert!("no port".to_addrs().is_err());
    /// ```
    fn to_addrs(&self) -> Result<Vec<SocketAddr>, Error> {
        only(self.to_addr()?)
    }

    /// As [`to_addrs`](Self::to_addrs), but a name server is waited for no longer than `limit`.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or as there.
    ///
    /// ```
    /// use burrow::{net::ToAddr, time::Duration};
    /// assert_eq!("127.0.0.1:80".to_addrs_within(Duration::ZERO).unwrap().len(), 1); // nobody is asked
    /// ```
    fn to_addrs_within(&self, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        let _ = limit;
        self.to_addrs()
    }
}

/// A list of one.
fn only(addr: SocketAddr) -> Result<Vec<SocketAddr>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(1).map_err(|_| Error::OutOfMemory)?;
    list.push(addr);
    Ok(list)
}

impl ToAddr for SocketAddr {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        Ok(*self)
    }
}

impl ToAddr for SocketAddrV4 {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        Ok(SocketAddr::V4(*self))
    }
}

impl ToAddr for SocketAddrV6 {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        Ok(SocketAddr::V6(*self))
    }
}

impl<I: Into<IpAddr> + Copy> ToAddr for (I, u16) {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        Ok(SocketAddr::new(self.0.into(), self.1))
    }
}

impl ToAddr for str {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        if let Some(port) = self.strip_prefix(':') {
            let port = port.parse().map_err(|_| Error::InvalidAddr)?;
            return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
        }
        if let Ok(addr) = self.parse() {
            return Ok(addr);
        }
        self.to_addrs()?.first().copied().ok_or(Error::NoSuchHost)
    }

    fn to_addrs(&self) -> Result<Vec<SocketAddr>, Error> {
        resolve(self, lookup_host)
    }

    fn to_addrs_within(&self, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        resolve(self, |name| lookup_within(name, limit))
    }
}

/// The addresses that `text` names; names are looked up by `lookup`.
fn resolve(
    text: &str,
    lookup: impl FnOnce(&str) -> Result<Vec<IpAddr>, Error>,
) -> Result<Vec<SocketAddr>, Error> {
    if text.starts_with(':') || text.parse::<SocketAddr>().is_ok() {
        return only(text.to_addr()?);
    }
    let (name, port) = text.rsplit_once(':').ok_or(Error::InvalidAddr)?;
    let port = port.parse().map_err(|_| Error::InvalidAddr)?;
    let ips = lookup(name)?;
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

impl ToAddr for alloc::string::String {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        self.as_str().to_addr()
    }

    fn to_addrs(&self) -> Result<Vec<SocketAddr>, Error> {
        self.as_str().to_addrs()
    }

    fn to_addrs_within(&self, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        self.as_str().to_addrs_within(limit)
    }
}

impl<T: ToAddr + ?Sized> ToAddr for &T {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        (**self).to_addr()
    }

    fn to_addrs(&self) -> Result<Vec<SocketAddr>, Error> {
        (**self).to_addrs()
    }

    fn to_addrs_within(&self, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        (**self).to_addrs_within(limit)
    }
}

/// Where a connection to `addr` goes: "every address" is this machine.
pub(super) fn destination(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        ip if !ip.is_unspecified() => addr,
        // Also `:80`, which names both families: the older one is served by every listener.
        _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port()),
    }
}
