//! The network: plain blocking code on goroutines, and a netpoller that does all the waiting.
//!
//! ```
//! use burrow::net::{TcpListener, TcpStream};
//! let l = TcpListener::bind("127.0.0.1:0").unwrap();
//! let addr = l.local_addr();
//! burrow::go(move || {
//!     for conn in l.incoming() {
//!         burrow::go(move || {
//!             let mut buf = [0; 512];
//!             while let Ok(n @ 1..) = conn.read(&mut buf) {
//!                 conn.write_all(&buf[..n]).unwrap();
//!             }
//!         });
//!     }
//! });
//! let conn = TcpStream::connect(addr).unwrap();
//! conn.write_all(b"echo").unwrap();
//! let mut buf = [0; 4];
//! assert_eq!((conn.read_full(&mut buf), &buf), (Ok(4), b"echo"));
//! ```
//!
//! Read in this order: `poll` (where a goroutine waits for a socket), `stack` (who polls, who wakes whom) and its `round`, `demux`,
//! `tcp_state` and `listen` (a connection's life), `deadlines` and `alarm` (time), `link` (frames), then the handles that
//! programs hold: `conn` and `tcp`, `listener`, `udp`. The loopback link (127.0.0.1 and ::1) is always there.
//!
//! Under loom only `poll` is there: the stack has a static lock, which loom has not, and nothing to interleave.

#[cfg(not(loom))]
mod addr;
#[cfg(not(loom))]
mod alarm;
#[cfg(not(loom))]
mod bell;
#[cfg(not(loom))]
mod buffers;
#[cfg(not(loom))]
mod conn;
#[cfg(all(test, not(loom)))]
mod coverage;
#[cfg(not(loom))]
mod deadlines;
#[cfg(not(loom))]
mod demux;
#[cfg(not(loom))]
mod dhcp;
#[cfg(not(loom))]
mod dns;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod faults;
#[cfg(not(loom))]
mod halves;
#[cfg(not(loom))]
mod hash;
#[cfg(not(loom))]
pub mod http;
#[cfg(not(loom))]
mod io;
#[cfg(not(loom))]
mod link;
#[cfg(not(loom))]
mod listen;
#[cfg(not(loom))]
mod listener;
#[cfg(not(loom))]
mod neighbors;
#[cfg(not(loom))]
mod nic;
#[cfg(not(loom))]
mod ping;
pub(crate) mod poll;
#[cfg(not(loom))]
mod reset;
#[cfg(not(loom))]
mod round;
#[cfg(not(loom))]
mod stack;
#[cfg(target_os = "none")]
mod start;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod tcp;
#[cfg(not(loom))]
mod tcp_state;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(any(target_os = "none", all(test, not(loom))))]
mod tokens;
#[cfg(not(loom))]
mod turn;
#[cfg(not(loom))]
mod udp;
#[cfg(not(loom))]
mod udp_state;
#[cfg(target_os = "none")]
mod virtio;
#[cfg(all(test, not(loom)))]
mod wire_tests;

#[cfg(not(loom))]
pub use addr::ToAddr;
#[cfg(not(loom))]
pub use dns::{Resolver, lookup_host};
#[cfg(not(loom))]
pub use error::Error;
#[cfg(not(loom))]
#[doc(hidden)] // for tests
pub use faults::{Faults, FaultyLink, add_faulty_link};
#[cfg(not(loom))]
pub use halves::{ReadHalf, WriteHalf};
#[cfg(not(loom))]
pub use listener::TcpListener;
#[cfg(not(loom))]
pub use nic::{Counters, Interface, Origin, interfaces, local_addrs};
#[cfg(not(loom))]
pub use ping::ping;
#[cfg(target_os = "none")]
pub(crate) use start::init;
#[cfg(not(loom))]
pub use stats::{ConnectionInfo, Stats, connections, listeners, stats};
#[cfg(not(loom))]
pub use tcp::{Shutdown, TcpStream};
#[cfg(not(loom))]
pub use udp::UdpSocket;
