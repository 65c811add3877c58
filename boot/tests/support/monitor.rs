//! QEMU's monitor of a guest, where a cable is pulled.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use crate::guest::PATIENCE;

pub(crate) struct Monitor {
    path: PathBuf,
    stream: Option<UnixStream>,
}

impl Monitor {
    pub(crate) fn new(name: &str) -> Monitor {
        let path = std::env::temp_dir().join(format!("burrow-{}-{name}.monitor", std::process::id()));
        Monitor { path, stream: None }
    }

    /// What `--monitor` takes.
    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("text")
    }

    /// Waits until the command is obeyed.
    pub(crate) fn obey(&mut self, command: &str) {
        let path = &self.path;
        let first = self.stream.is_none();
        let stream = self
            .stream
            .get_or_insert_with(|| UnixStream::connect(path).expect("the monitor listens"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
            .write_all(format!("{command}\n").as_bytes())
            .expect("obeyed");
        let (mut seen, mut byte) = (String::new(), [0]);
        while seen.matches("(qemu)").count() < 1 + usize::from(first) {
            assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{seen}");
            seen.push(char::from(byte[0]));
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
