//! Addresses as callers like to write them.
#![forbid(unsafe_code)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::Error;

/// What names a socket address: a [`SocketAddr`], `(ip, port)`, or text such as `"127.0.0.1:80"` and `"[::1]:80"`. A
/// text without a host (`":80"`) is every address of this machine for who binds, and this machine for who connects.
///
/// ```
/// use burrow::net::ToAddr;
/// assert_eq!("127.0.0.1:80".to_addr().unwrap().port(), 80);
/// assert!(":80".to_addr().unwrap().ip().is_unspecified());
/// assert!("nonsense".to_addr().is_err());
/// ```
pub trait ToAddr {
    /// The address.
    ///
    /// # Errors
    /// [`Error::InvalidAddr`] if it is none.
    fn to_addr(&self) -> Result<SocketAddr, Error>;
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
        if let Some(port) = self.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| Error::InvalidAddr)?;
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        self.parse().map_err(|_| Error::InvalidAddr)
    }
}

impl ToAddr for alloc::string::String {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        self.as_str().to_addr()
    }
}

impl<T: ToAddr + ?Sized> ToAddr for &T {
    fn to_addr(&self) -> Result<SocketAddr, Error> {
        (**self).to_addr()
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
