//! The values of a context: a list of entries shared by all contexts derived from the same one. The newest comes
//! first; types are the keys.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, sync::Arc};
use core::any::Any;

/// One value, and those that were there before it.
pub(super) struct Entry {
    next: Option<Arc<Entry>>,
    value: Box<dyn Any + Send + Sync>,
}

impl Entry {
    pub(super) fn before(next: Option<Arc<Entry>>, v: impl Any + Send + Sync) -> Arc<Entry> {
        Arc::new(Entry {
            next,
            value: Box::new(v),
        })
    }
}

/// The first value of type `K` in the list.
pub(super) fn find<K: Any>(mut list: Option<&Entry>) -> Option<&K> {
    while let Some(e) = list {
        if let Some(v) = e.value.downcast_ref() {
            return Some(v);
        }
        list = e.next.as_deref();
    }
    None
}

impl Drop for Entry {
    /// Takes a long list apart link by link: the drop of each link from within that of the one before would need a
    /// stack as deep as the list.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut e) = next.and_then(Arc::into_inner) {
            next = e.next.take();
        }
    }
}
