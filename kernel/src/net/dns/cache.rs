//! What name servers said, for as long as they said it holds.
//!
//! Bounded: when it is full, what is stale goes, else what will be first. "No such host" is remembered shortly, so that
//! a loop over a wrong name does not become one over the network.
#![forbid(unsafe_code)]

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

use super::super::Error;
use crate::sched;

const ENTRIES: usize = 256;
const SECOND: u64 = 1_000_000_000;
const LONGEST: u32 = 24 * 3600;
const NEGATIVE: u32 = 5;

type Answer = Result<Vec<IpAddr>, Error>;

/// See the file head.
pub(super) struct Cache(BTreeMap<String, (u64, Answer)>);

impl Cache {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// What is known and still holds.
    pub(super) fn get(&mut self, name: &str) -> Option<Answer> {
        let (until, answer) = self.0.get(name)?;
        if *until <= sched::now_ns() {
            self.0.remove(name);
            return None;
        }
        Some(answer.clone())
    }

    /// Remembers an answer that holds for `ttl` seconds.
    pub(super) fn put(&mut self, name: &str, answer: Answer, ttl: u32) {
        let seconds = if answer.is_ok() {
            ttl.min(LONGEST)
        } else {
            ttl.min(NEGATIVE)
        };
        if seconds == 0 {
            return;
        }
        let now = sched::now_ns();
        if self.0.len() >= ENTRIES {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() >= ENTRIES
            && let Some(first) = self.0.iter().min_by_key(|e| e.1.0).map(|e| e.0.clone())
        {
            self.0.remove(&first);
        }
        self.0
            .insert(name.to_string(), (now + u64::from(seconds) * SECOND, answer));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
