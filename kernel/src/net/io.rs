//! The traits of `embedded-io`, so that code written for them runs over sockets.
#![forbid(unsafe_code)]

use embedded_io::{ErrorKind, ErrorType, Read, Write};

use super::{Error, ReadHalf, TcpStream, WriteHalf};

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Refused => ErrorKind::ConnectionRefused,
            Error::Reset => ErrorKind::ConnectionReset,
            Error::BrokenPipe => ErrorKind::BrokenPipe,
            Error::TimedOut => ErrorKind::TimedOut,
            Error::Closed | Error::NotConnected => ErrorKind::NotConnected,
            Error::NoSuchHost => ErrorKind::NotFound,
            Error::AddrInUse => ErrorKind::AddrInUse,
            Error::AddrNotAvailable => ErrorKind::AddrNotAvailable,
            Error::OutOfMemory => ErrorKind::OutOfMemory,
            Error::InvalidAddr | Error::MessageTooLong => ErrorKind::InvalidInput,
            Error::Unreachable | Error::NameServer => ErrorKind::Other,
        }
    }
}

macro_rules! reads {
    ($($t:ty),*) => {$(
        impl Read for $t {
            fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
                (*self).stream_ref().read(buf)
            }
        }
    )*};
}

macro_rules! writes {
    ($($t:ty),*) => {$(
        impl Write for $t {
            fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
                (*self).stream_ref().write(buf)
            }

            /// What was written is under way already.
            fn flush(&mut self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

macro_rules! errors {
    ($($t:ty),*) => {$(
        impl ErrorType for $t {
            type Error = Error;
        }
    )*};
}

errors!(TcpStream, &TcpStream, ReadHalf, WriteHalf);
reads!(TcpStream, &TcpStream, ReadHalf);
writes!(TcpStream, &TcpStream, WriteHalf);

impl TcpStream {
    fn stream_ref(&self) -> &TcpStream {
        self
    }
}

impl ReadHalf {
    fn stream_ref(&self) -> &TcpStream {
        self.stream()
    }
}

impl WriteHalf {
    fn stream_ref(&self) -> &TcpStream {
        self.stream()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use embedded_io::{Read, Write};

    use crate::net::{TcpListener, TcpStream};

    #[test]
    fn generic_code_runs_over_sockets() {
        fn copy(mut from: impl Read, mut to: impl Write, n: usize) {
            let mut buf = [0; 3];
            for _ in 0..n {
                from.read_exact(&mut buf).unwrap();
                to.write_all(&buf).unwrap();
            }
        }
        let l = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(l.local_addr()).unwrap();
        let (b, _) = l.accept().unwrap();
        a.write_all(b"abcabc").unwrap();
        copy(&b, &b, 2);
        let mut back = [0; 6];
        assert_eq!((a.read_full(&mut back), &back), (Ok(6), b"abcabc"));
    }
}
