//! mcentral: per size class, the spans that have free objects and belong to no P.
//!
//! A list under a spin lock per class. Spans come when a P's cache is too long or the P goes away, and leave when a P
//! needs a span of the class, or when the last live object of one is freed. Spans without a free object are on no list at
//! all (`owner.rs`, state FULL). A trip here moves a whole span, dozens of objects, so the lock is cold.
//!
//! Order of locks: a class's lock, then the page heap's, for [`reap`] only.
//!
//! Why [`reap`] never frees a span twice or under somebody: who lowered `live` to 0 comes here afterwards and may be late. The
//! span may have been taken, used, returned, or even freed and reused for another class since. But being on *this* class's list
//! changes only under this lock, and while the word says "mcentral of class c, live 0" (one load) under the lock of class c, it
//! is on this list, and freeing it is right whoever does it.
#![forbid(unsafe_code)]

use super::{
    classes::CLASSES,
    mheap,
    owner::central,
    span::{List, Span},
};
use crate::lock::{Rank, SpinLock};

/// One class, alone on its cache lines.
#[repr(align(128))]
struct Class(SpinLock<List>);

static CENTRALS: [Class; CLASSES] = [const { Class(SpinLock::new(Rank::Central, List::new())) }; CLASSES];

/// Takes over a span of `class` from its owner, who counts `used` objects as handed out. False if all of those have been
/// freed meanwhile: then the span stays the owner's.
pub(crate) fn put(s: &'static Span, class: usize, used: u32) -> bool {
    let mut list = CENTRALS[class].0.lock();
    let moved = s.owner.to_central(used as u16, class);
    if moved {
        list.push(s);
    }
    moved
}

/// A span with free objects for `tag`, if there is one.
pub(crate) fn take(class: usize, tag: u16) -> Option<&'static Span> {
    let mut list = CENTRALS[class].0.lock();
    let s = list.pop()?;
    s.owner.take_central(tag);
    Some(s)
}

/// The last live object of a span that was in mcentral has been freed.
pub(crate) fn reap(s: &'static Span, class: usize) {
    let mut list = CENTRALS[class].0.lock();
    let w = s.owner.get();
    if w.owner != central(class) || w.live != 0 {
        return; // taken, and perhaps more, in the meantime
    }
    list.remove(s);
    mheap::free(s);
}

/// Spans in the list of a class.
pub(crate) fn len(class: usize) -> usize {
    CENTRALS[class].0.lock().len()
}
