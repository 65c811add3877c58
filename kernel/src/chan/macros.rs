//! The `select!` macro.
//!
//! It expands to one `match`: the scrutinee is a block that makes the arms, in source order, waits, and says
//! which arm it was and what it received; the bodies are match arms outside of that block, so that `break`,
//! `return`, `?` and borrows in them mean what they mean around the macro. The answer is a chain of
//! `Choice::There(…There(Here(value)))`, since a macro cannot make an enum of unknown types.
#![forbid(unsafe_code)]

/// Waits until one of several channel operations can proceed, and does it. If several can, each is equally
/// likely to be chosen.
///
/// - `recv(rx) -> v => body`: `v` is an `Option<T>`, `None` if the channel is closed. `-> _`, or nothing, if
///   the value does not matter.
/// - `send(tx, value) => body`: panics if it is chosen and the channel is closed. A value that is not sent is
///   dropped; with `send(tx, &mut option)` it stays in the option (an empty one is an arm that is never ready).
/// - `default => body`: if none can proceed now.
/// - `default(duration) => body`: if none can within that time.
///
/// Channels and values are evaluated once, in source order, before anything else. A nil channel is never
/// ready. Without arms, `select! {}` blocks for ever.
///
/// ```
/// use burrow::{chan, select, time::Duration};
/// let (numbers, quit) = (chan::<u32>(1), chan::<()>(0));
/// numbers.send(7);
/// let mut got = Vec::new();
/// loop {
///     select! {
///         recv(numbers) -> n => got.extend(n),
///         recv(quit) => break,
///         default(Duration::from_millis(1)) => break,
///     }
/// }
/// assert_eq!(got, [7]);
///
/// let tx = numbers.sender();
/// let mut offer = Some(1);
/// let sent = select! {
///     send(tx, &mut offer) => true,
///     default => false,
/// };
/// assert!(sent && offer.is_none());
/// ```
#[macro_export]
macro_rules! select {
    () => { $crate::__select::block_on_nothing() };
    ($($t:tt)+) => { $crate::__select_parse!([] [] $($t)+) };
}

/// Sorts the arms: `[arms] [default]` and what is left to read. An arm is `(recv (rx) (pattern) (body))` or
/// `(send (tx) (value) (pattern) (body))`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_parse {
    ([$($arms:tt)*] [$($def:tt)*]) => { $crate::__select_run!([$($arms)*] [$($def)*]) };
    ([$($arms:tt)*] [$($def:tt)*] , $($t:tt)*) => { $crate::__select_parse!([$($arms)*] [$($def)*] $($t)*) };

    // Which operation.
    ($a:tt $d:tt recv($rx:expr $(,)?) -> $p:pat => $($t:tt)+) => {
        $crate::__select_body!($a $d (recv ($rx) ($p)) $($t)+)
    };
    ($a:tt $d:tt recv($rx:expr $(,)?) => $($t:tt)+) => { $crate::__select_body!($a $d (recv ($rx) (_)) $($t)+) };
    ($a:tt $d:tt send($tx:expr, $v:expr $(,)?) -> $p:pat => $($t:tt)+) => {
        $crate::__select_body!($a $d (send ($tx) ($v) ($p)) $($t)+)
    };
    ($a:tt $d:tt send($tx:expr, $v:expr $(,)?) => $($t:tt)+) => {
        $crate::__select_body!($a $d (send ($tx) ($v) (_)) $($t)+)
    };
    ($a:tt [] default => $($t:tt)+) => { $crate::__select_body!($a [] (default) $($t)+) };
    ($a:tt [] default() => $($t:tt)+) => { $crate::__select_body!($a [] (default) $($t)+) };
    ($a:tt [] default($d:expr $(,)?) => $($t:tt)+) => { $crate::__select_body!($a [] (default ($d)) $($t)+) };
    ($a:tt [$($def:tt)+] default $($t:tt)*) => { compile_error!("select!: more than one `default` arm") };
    ($a:tt $d:tt $($t:tt)+) => {
        compile_error!(concat!("select!: expected `recv(rx) -> v => body`, `send(tx, v) => body`, ",
            "`default => body` or `default(duration) => body`, found `", stringify!($($t)+), "`"))
    };
}

/// Reads an arm's body, an expression up to a comma or a block, and goes on. (One step: the compiler counts
/// nested expansions, and two per arm leave room for 40 arms.)
#[doc(hidden)]
#[macro_export]
macro_rules! __select_body {
    ($a:tt [] (default $($d:tt)?) $b:expr, $($t:tt)*) => {
        $crate::__select_parse!($a [(default ($($d)?) ($b))] $($t)*)
    };
    ($a:tt [] (default $($d:tt)?) $b:block $($t:tt)*) => {
        $crate::__select_parse!($a [(default ($($d)?) ($b))] $($t)*)
    };
    ($a:tt [] (default $($d:tt)?) $b:expr) => { $crate::__select_parse!($a [(default ($($d)?) ($b))]) };
    ([$($a:tt)*] $d:tt ($($op:tt)+) $b:expr, $($t:tt)*) => {
        $crate::__select_parse!([$($a)* ($($op)+ ($b))] $d $($t)*)
    };
    ([$($a:tt)*] $d:tt ($($op:tt)+) $b:block $($t:tt)*) => {
        $crate::__select_parse!([$($a)* ($($op)+ ($b))] $d $($t)*)
    };
    ([$($a:tt)*] $d:tt ($($op:tt)+) $b:expr) => { $crate::__select_parse!([$($a)* ($($op)+ ($b))] $d) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_run {
    ($arms:tt $def:tt) => {
        match { $crate::__select_make!($def [] $arms) } { choice => $crate::__select_match!(choice $arms $def) }
    };
}

/// Makes the arms, each under a name of its own (the names of one recursion step are not those of another).
#[doc(hidden)]
#[macro_export]
macro_rules! __select_make {
    ($def:tt [$($made:ident)*] [(recv ($rx:expr) $p:tt $b:tt) $($t:tt)*]) => {{
        let chan = &$rx;
        let arm = chan.__recv_arm();
        $crate::__select_make!($def [$($made)* arm] [$($t)*])
    }};
    ($def:tt [$($made:ident)*] [(send ($tx:expr) ($v:expr) $p:tt $b:tt) $($t:tt)*]) => {{
        let chan = &$tx;
        let arm = chan.__send_arm($v);
        $crate::__select_make!($def [$($made)* arm] [$($t)*])
    }};
    ([] [$($made:ident)*] []) => {{
        use $crate::__select::Arm as _;
        let i = $crate::__select::block([$($made.case()),*]);
        $crate::__select_pick!(i [] $($made)*)
    }};
    ([(default () $b:tt)] [$($made:ident)*] []) => {{
        use $crate::__select::Arm as _;
        let i = $crate::__select::poll([$($made.case()),*]);
        $crate::__select_pick!(i [()] $($made)*)
    }};
    ([(default (($d:expr)) $b:tt)] [$($made:ident)*] []) => {{
        use $crate::__select::Arm as _;
        let limit = $d;
        let i = $crate::__select::block_until([$($made.case()),*], limit);
        $crate::__select_pick!(i [()] $($made)*)
    }};
}

/// From the index to the chain of choices.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_pick {
    // Four at a time, for the compiler's limit on nested expansions.
    ($i:ident $def:tt $a:ident $b:ident $c:ident $d:ident $($rest:ident)*) => {
        match $i {
            0 => $crate::__select::Choice::Here($a.finish()),
            i => $crate::__select::Choice::There(match i {
                1 => $crate::__select::Choice::Here($b.finish()),
                i => $crate::__select::Choice::There(match i {
                    2 => $crate::__select::Choice::Here($c.finish()),
                    i => $crate::__select::Choice::There(match i {
                        3 => $crate::__select::Choice::Here($d.finish()),
                        i => $crate::__select::Choice::There({
                            let i = i - 4;
                            $crate::__select_pick!(i $def $($rest)*)
                        }),
                    }),
                }),
            }),
        }
    };
    ($i:ident $def:tt $first:ident $($rest:ident)*) => {
        match $i {
            0 => $crate::__select::Choice::Here($first.finish()),
            i => $crate::__select::Choice::There({
                let i = i - 1;
                $crate::__select_pick!(i $def $($rest)*)
            }),
        }
    };
    ($i:ident [()]) => { () };
    ($i:ident []) => {{ let _ = $i; $crate::__select::Nothing }};
}

/// The bodies.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_match {
    ($c:ident [($op:ident $x:tt $($y:tt)*) $($t:tt)*] $def:tt) => {
        match $c {
            $crate::__select::Choice::Here(value) => $crate::__select_do!(value ($op $x $($y)*)),
            $crate::__select::Choice::There(rest) => $crate::__select_match!(rest [$($t)*] $def),
        }
    };
    ($c:ident [] []) => { $crate::__select::no_arm($c) };
    ($c:ident [] [(default $d:tt ($b:expr))]) => {{ let () = $c; $b }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_do {
    ($v:ident (recv $rx:tt (_) ($b:expr))) => {{
        $crate::__select::discard($v);
        $b
    }};
    ($v:ident (recv $rx:tt ($p:pat) ($b:expr))) => {{
        let $p = $v;
        $b
    }};
    ($v:ident (send $tx:tt $value:tt ($p:pat) ($b:expr))) => {{
        let $p = $v;
        $b
    }};
}
