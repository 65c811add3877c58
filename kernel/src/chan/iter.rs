//! `for v in &ch`: receiving until the channel is closed and drained.
#![forbid(unsafe_code)]

use core::iter::FusedIterator;

use super::{Chan, Receiver};

/// Receives from a borrowed channel until it is closed and drained.
///
/// ```
/// let c = burrow::chan(1);
/// c.send(1);
/// c.close();
/// for v in &c {
///     assert_eq!(v, 1);
/// }
/// ```
#[derive(Debug)]
pub struct Iter<'a, T>(pub(super) &'a Chan<T>);

/// Receives from an owned handle until the channel is closed and drained.
///
/// ```
/// let c = burrow::chan(1);
/// let jobs = c.receiver();
/// burrow::go(move || for job in jobs { assert_eq!(job, 1) });
/// c.send(1);
/// c.close();
/// ```
#[derive(Debug)]
pub struct IntoIter<T>(pub(super) Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.recv()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.recv()
    }
}

// A closed channel stays closed.
impl<T> FusedIterator for Iter<'_, T> {}
impl<T> FusedIterator for IntoIter<T> {}
