//! The two halves of a connection, for two goroutines: [`ReadHalf`] and [`WriteHalf`].
#![forbid(unsafe_code)]

use super::{Error, Shutdown, TcpStream};

/// The reading half of a connection.
///
/// ```
/// use burrow::net::{TcpListener, TcpStream};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
/// let (peer, _) = l.accept().unwrap();
/// let reader = burrow::spawn(move || r.read(&mut [0; 16]));
/// w.write_all(b"question").unwrap();
/// assert_eq!(peer.read_full(&mut [0; 8]), Ok(8));
/// peer.write_all(b"answer").unwrap();
/// assert_eq!(reader.join().unwrap(), Ok(6));
/// ```
#[derive(Debug)]
pub struct ReadHalf(pub(super) TcpStream);

impl ReadHalf {
    /// See [`TcpStream::read`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
    /// l.accept().unwrap().0.write_all(b"hello").unwrap();
    /// assert_eq!(r.read(&mut [0; 16]), Ok(5));
    /// assert_eq!(r.read(&mut [0; 16]), Ok(0)); // closed
    /// drop(w);
    /// ```
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.0.read(buf)
    }

    /// The whole connection.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
    /// assert_eq!(r.stream().peer_addr(), l.local_addr());
    /// drop(w);
    /// ```
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

/// The writing half of a connection; dropping it shuts writing down.
///
/// ```
/// use burrow::net::{TcpListener, TcpStream};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
/// let (peer, _) = l.accept().unwrap();
/// w.write_all(b"all").unwrap();
/// drop(w); // the peer reads to the end
/// assert_eq!(peer.read_to_end(&mut Vec::new()), Ok(3));
/// drop(r);
/// ```
#[derive(Debug)]
pub struct WriteHalf(pub(super) TcpStream);

impl WriteHalf {
    /// See [`TcpStream::write`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
    /// assert_eq!(w.write(b"hello"), Ok(5));
    /// assert_eq!(l.accept().unwrap().0.read(&mut [0; 16]), Ok(5));
    /// drop(r);
    /// ```
    pub fn write(&self, buf: &[u8]) -> Result<usize, Error> {
        self.0.write(buf)
    }

    /// See [`TcpStream::write_all`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
    /// w.write_all(&[7; 1000]).unwrap();
    /// assert_eq!(l.accept().unwrap().0.read_full(&mut [0; 1000]), Ok(1000));
    /// drop(r);
    /// ```
    pub fn write_all(&self, buf: &[u8]) -> Result<(), Error> {
        self.0.write_all(buf)
    }

    /// The whole connection.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
    /// assert_eq!(w.stream().peer_addr(), l.local_addr());
    /// drop(r);
    /// ```
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}
