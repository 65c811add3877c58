//! `Select`: any number of operations, known only at run time (Go's `reflect.Select`).
#![forbid(unsafe_code)]

use alloc::{boxed::Box, vec::Vec};
use core::mem::MaybeUninit;

use super::{
    Receiver, Sender,
    arm::{Arm, Case, RecvArm, SendArm},
    select,
};
use crate::time::{self, Duration};

/// A `select!` put together at run time.
///
/// Operations are numbered in the order in which they are added. A received value goes into the place given
/// with the operation (`None` there if the channel is closed); a value to send is taken from its place.
///
/// ```
/// use burrow::{Select, chan};
/// let chans: Vec<_> = (0..3).map(|_| chan::<char>(1)).collect();
/// chans[1].send('x');
/// let receivers: Vec<_> = chans.iter().map(|c| c.receiver()).collect();
/// let mut got = [None; 3];
/// let mut sel = Select::new();
/// for (rx, place) in receivers.iter().zip(&mut got) {
///     sel.recv(rx, place);
/// }
/// assert_eq!(sel.select(), 1);
/// assert_eq!(got[1], Some('x'));
/// ```
#[derive(Default)]
#[must_use = "does nothing before `select` or one of its kin is called"]
pub struct Select<'a> {
    arms: Vec<Box<dyn DynArm + 'a>>,
}

/// An arm that knows where its result goes.
trait DynArm {
    fn case(&self) -> Case<'_>;
    /// This arm was chosen.
    fn deliver(&mut self);
}

struct DynRecv<'a, T>(RecvArm<'a, T>, &'a mut Option<T>);
struct DynSend<'a, T>(SendArm<'a, T, &'a mut Option<T>>);

impl<T> DynArm for DynRecv<'_, T> {
    fn case(&self) -> Case<'_> {
        self.0.case()
    }
    fn deliver(&mut self) {
        *self.1 = self.0.finish();
    }
}

impl<T> DynArm for DynSend<'_, T> {
    fn case(&self) -> Case<'_> {
        self.0.case()
    }
    fn deliver(&mut self) {
        self.0.finish();
    }
}

impl<'a> Select<'a> {
    /// No operations yet: would block for ever.
    ///
    /// ```
    /// assert_eq!(burrow::Select::new().try_select(), None); // nothing to choose from
    /// ```
    pub fn new() -> Self {
        Self { arms: Vec::new() }
    }

    /// Adds a receive into `place`; returns its number.
    ///
    /// ```
    /// let rx = burrow::chan::<u8>(0).receiver();
    /// let (mut place, mut sel) = (None, burrow::Select::new());
    /// assert_eq!(sel.recv(&rx, &mut place), 0); // its number
    /// assert_eq!(sel.try_select(), None); // nobody sends
    /// ```
    pub fn recv<T>(&mut self, rx: &'a Receiver<T>, place: &'a mut Option<T>) -> usize {
        self.add(Box::new(DynRecv(RecvArm::new(rx.chan()), place)))
    }

    /// Adds a send of the value in `place`, which is empty after it was sent; returns its number. With an
    /// empty place it is never ready.
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// let (tx, mut value) = (c.sender(), Some(5));
    /// let mut sel = burrow::Select::new();
    /// sel.send(&tx, &mut value);
    /// sel.select();
    /// assert_eq!((value, c.recv()), (None, Some(5)));
    /// ```
    pub fn send<T>(&mut self, tx: &'a Sender<T>, place: &'a mut Option<T>) -> usize {
        self.add(Box::new(DynSend(SendArm::new(tx.chan(), place))))
    }

    fn add(&mut self, arm: Box<dyn DynArm + 'a>) -> usize {
        self.arms.push(arm);
        self.arms.len() - 1
    }

    /// Waits until one can proceed, does it, and returns its number.
    ///
    /// # Panics
    /// If it is a send on a closed channel.
    ///
    /// ```
    /// let c = burrow::chan::<u8>(0);
    /// c.close();
    /// let (rx, mut got) = (c.receiver(), Some(1));
    /// let mut sel = burrow::Select::new();
    /// sel.recv(&rx, &mut got);
    /// assert_eq!((sel.select(), got), (0, None)); // closed: received nothing
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn select(self) -> usize {
        crate::lock::might_sleep();
        match self.run(None) {
            Some(i) => i,
            None => unreachable!("a select without default came back empty"),
        }
    }

    /// Does one that can proceed now, if any can.
    ///
    /// ```
    /// let (full, mut value) = (burrow::chan(0).sender(), Some(1));
    /// let mut sel = burrow::Select::new();
    /// sel.send(&full, &mut value);
    /// assert_eq!(sel.try_select(), None);
    /// assert_eq!(value, Some(1)); // still ours
    /// ```
    pub fn try_select(mut self) -> Option<usize> {
        let cases: Vec<Case<'_>> = self.arms.iter().map(|a| a.case()).collect();
        let i = select::poll_slice(&cases)?;
        drop(cases);
        self.arms[i].deliver();
        Some(i)
    }

    /// Waits no longer than `d`; `None` if none could proceed in time.
    ///
    /// ```
    /// let (rx, mut got) = (burrow::chan::<u8>(0).receiver(), None);
    /// let mut sel = burrow::Select::new();
    /// sel.recv(&rx, &mut got);
    /// assert_eq!(sel.select_timeout(burrow::time::Duration::from_millis(1)), None);
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn select_timeout(self, d: Duration) -> Option<usize> {
        crate::lock::might_sleep();
        if d.is_zero() {
            return self.try_select();
        }
        self.run(Some(time::deadline(d)))
    }

    fn run(mut self, when: Option<u64>) -> Option<usize> {
        let cases: Vec<Case<'_>> = self.arms.iter().map(|a| a.case()).collect();
        let n = cases.len();
        let mut waiters: Vec<_> = (0..n).map(|_| MaybeUninit::uninit()).collect();
        let mut order = alloc::vec![0; n];
        let i = select::block_at(&cases, &mut waiters, &mut order, when);
        drop(cases);
        if i == n {
            return None;
        }
        self.arms[i].deliver();
        Some(i)
    }
}

impl core::fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Select({} operations)", self.arms.len())
    }
}
