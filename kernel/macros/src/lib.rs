//! Attribute macros: `#[burrow::main]` and `#[burrow::test]`.
//!
//! Both leave the function as it is and put a small item beside it: `main` defines the symbol that the boot
//! code calls, `test` puts a `TestDesc` into the linker section `.burrow_tests`, where the harness finds it.
//! The items come from hidden `macro_rules!` of the library (`kernel/src/test`), which may be unsafe inside where
//! the caller forbids unsafe code; a procedural macro may not.
//! The attributes are read by hand from the token stream (`attrs`): what they need is an identifier and a
//! few `key = value` pairs, and a parser crate would cost every first build its compile time.
#![forbid(unsafe_code)]

mod attrs;

use proc_macro::TokenStream;

use crate::attrs::{Arguments, Function};

/// Marks the entry of a program. Boot code calls it as the first goroutine once the machine is up; when it
/// returns, the machine ends with exit code 0.
///
/// ```ignore (needs the metal target)
/// #![no_std]
/// #![no_main]
/// extern crate alloc;
/// use burrow::prelude::*;
///
/// #[burrow::main]
/// fn main() {
///     println!("hello");
/// }
/// ```
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    if !args.is_empty() {
        return error("#[burrow::main] takes no arguments");
    }
    let function = match Function::parse(item) {
        Ok(function) => function,
        Err(message) => return error(&message),
    };
    let name = &function.name;
    let entry: TokenStream = format!("::burrow::__main!({name});")
        .parse()
        .expect("the template is Rust");
    function.item.into_iter().chain(entry).collect()
}

/// Marks a test that runs inside the virtual machine, as a goroutine with its own panic containment and a
/// time limit. `#[should_panic]`, `#[should_panic(expected = "…")]`, `#[ignore]` and `#[ignore = "why"]` mean
/// what they mean to libtest.
///
/// Arguments: `timeout = secs` (60 unless told); `exit = code` and `says = "…"` for a test that should end
/// the whole program with that exit code after printing that text. A test may return `Result<(), impl Debug>`.
///
/// ```ignore (needs the metal target)
/// #[burrow::test(timeout = 10)]
/// fn close_wakes_all() { /* … */ }
///
/// #[burrow::test(exit = 2, says = "all goroutines are asleep")]
/// fn deadlock_is_found() { burrow::select! {} }
/// ```
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = Arguments::parse(args).and_then(|args| Ok((args, Function::parse(item)?)));
    let (args, function) = match parsed {
        Ok(parsed) => parsed,
        Err(message) => return error(&message),
    };
    let Function {
        name,
        should_panic,
        ignore,
        ..
    } = &function;
    let plain = name.trim_start_matches("r#");
    let (timeout, exit, says) = (args.timeout, args.exit, &args.says);
    let entry: TokenStream = format!(
        "::burrow::__test!(::burrow::test::TestDesc {{
             name: ::core::concat!(::core::module_path!(), \"::{plain}\"),
             file: ::core::file!(),
             line: ::core::line!(),
             run: || ::burrow::test::check({name}()),
             should_panic: {should_panic},
             ignore: {ignore},
             timeout_secs: {timeout},
             exit: {exit},
             says: {says},
         }});"
    )
    .parse()
    .expect("the template is Rust");
    function.item.into_iter().chain(entry).collect()
}

fn error(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});")
        .parse()
        .expect("the template is Rust")
}
