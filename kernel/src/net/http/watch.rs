//! Tells a request's context that its client has gone, while the handler waits for something else.
//!
//! Nobody reads from the connection then, and nobody has to: the stack sees the end arrive and starts a timer, which
//! starts a goroutine, which cancels. So a request costs no goroutine, and bytes of pipelined requests stay where they
//! are. (Refused: a goroutine per request that reads ahead, as Go has it. Here it would cost a stack of its own for
//! each.) Connections whose handlers never ask for their context are not watched at all.
//!
//! One watch serves all requests of its connection. What the stack holds of it is weak: the connection may outlive its
//! handles, and then goes under the stack's lock, where nothing of ours may be dropped.
//!
//! | `gone` | `cancel` | |
//! | --- | --- | --- |
//! | no | none | no request, or its handler did not ask |
//! | no | some | a handler runs that has asked for its context |
//! | yes | none | the client has gone; contexts of later requests (read before) are cancelled as they begin |
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::{context::CancelFn, net::TcpStream, sync::Mutex, time};

/// See the file head.
pub(super) struct Watch(Mutex<State>);

struct State {
    gone: bool,
    cancel: Option<CancelFn>,
}

impl Watch {
    /// Watches the connection from now on.
    pub(super) fn start(stream: &TcpStream) -> Arc<Watch> {
        let watch = Arc::new(Watch(Mutex::new(State {
            gone: false,
            cancel: None,
        })));
        let weak = Arc::downgrade(&watch);
        stream.watch(time::stopped_func(move || {
            if let Some(w) = weak.upgrade() {
                w.hung_up();
            }
        }));
        watch
    }

    /// A request begins whose context is ended by `cancel`.
    pub(super) fn begin(&self, cancel: CancelFn) {
        let mut s = self.0.lock();
        match s.gone {
            true => {
                drop(s);
                cancel();
            }
            false => s.cancel = Some(cancel),
        }
    }

    /// The request ends.
    pub(super) fn end(&self) {
        let cancel = self.0.lock().cancel.take();
        if let Some(cancel) = cancel {
            cancel();
        }
    }

    fn hung_up(&self) {
        self.0.lock().gone = true;
        self.end();
    }
}
