//! A head that comes in pieces: when is it worth parsing?
//!
//! Whoever parses what is there of a head anew for each piece reads n²/2 bytes of one that dribbles in byte by byte. So a
//! head is parsed when it is first seen, and from then on only when the answer may be another one: a line is empty, the
//! target or the whole has just become too long, or there is twice as much as the last time (what is wrong with a head is to
//! show before its end). Each byte is looked at once for that, and all parsing together reads at most four times the head.
//!
//! An empty line before the first one is no end: clients send them between requests, and strangers as many as they like.
//!
//! Requests and responses alike; only requests have a target whose length is limited.
#![forbid(unsafe_code)]

/// See the file head.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Bytes looked through.
    seen: usize,
    /// Bytes there were when it was last parsed; 0: it was not yet.
    parsed: usize,
    at: At,
    /// Bytes of the second word.
    target: usize,
    /// Nothing but CRs so far in this line.
    blank: bool,
    /// An empty line has come: this is the end, or an error.
    whole: bool,
    /// Bytes read, by us and by whoever parses.
    #[cfg(test)]
    pub(super) read: usize,
}

/// Where in a head a byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    /// Before its first line.
    #[default]
    Before,
    /// In this word of it, counted from 0.
    Word(u8),
    /// After it.
    Headers,
}

impl Pieces {
    /// The next byte is the first one of another head.
    pub(super) fn restart(&mut self) {
        let fresh = Self::default();
        #[cfg(test)]
        let fresh = Self {
            read: self.read,
            ..fresh
        };
        *self = fresh;
    }

    /// Is the head at the beginning of `bytes` to be parsed now? It should have at most `most` bytes, and `longest` in its
    /// target; one that has more is parsed as soon as that shows.
    pub(super) fn due(&mut self, bytes: &[u8], longest: usize, most: usize) -> bool {
        // The first time there may be much more behind its end.
        let first = self.parsed == 0;
        if !first {
            for &b in &bytes[self.seen..] {
                self.step(b);
            }
            #[cfg(test)]
            {
                self.read += bytes.len() - self.seen;
            }
            self.seen = bytes.len();
        }
        let twice = bytes.len() >= 2 * self.parsed;
        let due = first || self.whole || twice || self.target > longest || bytes.len() > most;
        if due {
            self.parsed = bytes.len();
            #[cfg(test)]
            {
                self.read += bytes.len();
            }
        }
        due
    }

    fn step(&mut self, b: u8) {
        match (self.at, b) {
            (At::Before, b'\r' | b'\n') => return,
            (At::Before, _) => self.at = At::Word(0),
            (At::Word(n), b' ') => self.at = At::Word(n.saturating_add(1)),
            (At::Word(1), _) => self.target += 1,
            _ => {}
        }
        match b {
            b'\n' => {
                self.whole |= self.blank;
                self.blank = true;
                self.at = At::Headers;
            }
            b'\r' => {}
            _ => self.blank = false,
        }
    }
}
