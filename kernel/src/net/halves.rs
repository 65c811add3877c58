//! The two halves of a connection, for two goroutines: [`ReadHalf`] and [`WriteHalf`].
#![forbid(unsafe_code)]

use super::{Error, Shutdown, TcpStream};

/// The reading half of a connection.
#[derive(Debug)]
pub struct ReadHalf(pub(super) TcpStream);

impl ReadHalf {
    /// See [`TcpStream::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.0.read(buf)
    }

    /// The whole connection.
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

/// The writing half of a connection; dropping it shuts writing down.
#[derive(Debug)]
pub struct WriteHalf(pub(super) TcpStream);

impl WriteHalf {
    /// See [`TcpStream::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, buf: &[u8]) -> Result<usize, Error> {
        self.0.write(buf)
    }

    /// See [`TcpStream::write_all`].
    ///
    /// # Errors
    /// As there.
    pub fn write_all(&self, buf: &[u8]) -> Result<(), Error> {
        self.0.write_all(buf)
    }

    /// The whole connection.
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}
