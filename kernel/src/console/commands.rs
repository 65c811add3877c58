//! What can be typed: the table of commands, and `run` for a program's own.
#![forbid(unsafe_code)]

use alloc::{string::String, vec::Vec};

use super::{
    input,
    line::{Editor, Typed},
    mem, net, ps, top,
};
use crate::{
    arch,
    sched::{Builder, sched_stats},
};

/// A program that `run NAME` starts.
///
/// ```
/// use burrow::console::Program;
/// let hello = Program { name: "hello", about: "says so", run: || burrow::println!("hello") };
/// (hello.run)();
/// assert_eq!(alloc::format!("{hello:?}"), "hello");
/// ```
#[derive(Clone, Copy)]
pub struct Program {
    /// Its word.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Its body; runs as a goroutine of its own.
    pub run: fn(),
}

impl core::fmt::Debug for Program {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// Why a command was not obeyed: the words for the user.
type Refusal = String;

struct Command {
    name: &'static str,
    args: &'static str,
    about: &'static str,
    run: fn(&[Program], &[&str]) -> Result<(), Refusal>,
}

/// All commands, in the order of `help`.
const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        args: "",
        about: "this list",
        run: |_, _| {
            help();
            Ok(())
        },
    },
    Command {
        name: "ps",
        args: "[leaks]",
        about: "goroutines: state, what they wait for and how long; those that nobody will ever wake",
        run: |_, args| ps::ps(args),
    },
    Command {
        name: "top",
        args: "[TIMES]",
        about: "Ps, queues and rates, live; any key ends it",
        run: do_top,
    },
    Command {
        name: "sched",
        args: "",
        about: "the schedtrace line, then a line per P, M and G",
        run: |_, _| {
            sched();
            Ok(())
        },
    },
    Command {
        name: "mem",
        args: "[heap|free]",
        about: "memory by use and by size class; the heap profile; give back what is idle",
        run: |_, args| mem::mem(args),
    },
    Command {
        name: "net",
        args: "[ping HOST|lookup NAME]",
        about: "interfaces, connections, counters; ask a host, or for a name's addresses",
        run: |_, args| net::net(args),
    },
    Command {
        name: "run",
        args: "NAME",
        about: "run a program; without a name, list them",
        run,
    },
    Command {
        name: "panic",
        args: "",
        about: "crash a goroutine, and go on",
        run: |_, _| {
            contain("panic", || panic!("you asked for it"));
            Ok(())
        },
    },
    Command {
        name: "exit",
        args: "[CODE]",
        about: "stop the machine",
        run: exit,
    },
];

fn help() {
    for c in COMMANDS {
        crate::println!("  {:<16} {}", alloc::format!("{} {}", c.name, c.args), c.about);
    }
    crate::println!("  {:<16} dump all goroutines, at any time", "Ctrl-\\");
}

fn do_top(_: &[Program], args: &[&str]) -> Result<(), Refusal> {
    let times = match args {
        [] => None,
        [n, ..] => Some(n.parse().map_err(|_| alloc::format!("top: not a number: {n}"))?),
    };
    top::top(times);
    Ok(())
}

fn sched() {
    let text = alloc::format!("{}\n{}", sched_stats(), crate::runtime::sched_detail());
    crate::print::raw(text.as_bytes());
}

fn run(programs: &[Program], args: &[&str]) -> Result<(), Refusal> {
    let Some(name) = args.first() else {
        for p in programs {
            crate::println!("  {:<12} {}", p.name, p.about);
        }
        return Ok(());
    };
    let Some(p) = programs.iter().find(|p| p.name == *name) else {
        return Err(alloc::format!("run: no program {name:?}; `run` lists them"));
    };
    contain(p.name, p.run);
    Ok(())
}

fn exit(_: &[Program], args: &[&str]) -> Result<(), Refusal> {
    let code = match args.first() {
        None => 0,
        Some(n) => n.parse().map_err(|_| alloc::format!("exit: not a number: {n}"))?,
    };
    arch::exit(code)
}

/// Runs `f` as a goroutine; its panic is shown, not passed on. `true` if it did not panic.
fn contain(name: &str, f: impl FnOnce() + Send + 'static) -> bool {
    let goroutine = match Builder::new().name(name).spawn(f) {
        Ok(handle) => handle,
        Err(e) => {
            crate::println!("{name}: {e}");
            return false;
        }
    };
    match goroutine.join() {
        Ok(()) => true,
        Err(p) => {
            crate::println!("goroutine {} ({name}) panicked: {p}", p.goid());
            if let Some(at) = p.location() {
                crate::println!("\tat {at}");
            }
            let mut frames = String::new();
            // A String takes everything.
            let _ = crate::panic::backtrace::write_frames(&mut frames, p.backtrace().frames());
            crate::print::raw(frames.as_bytes());
            false
        }
    }
}

fn obey(programs: &[Program], line: &str) -> Result<(), Refusal> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((name, args)) = words.split_first() else {
        return Ok(());
    };
    match COMMANDS.iter().find(|c| c.name == *name) {
        Some(c) => (c.run)(programs, args),
        None if programs.iter().any(|p| p.name == *name) => {
            Err(alloc::format!("{name} is a program: `run {name}`"))
        }
        None => Err(alloc::format!("unknown command {name:?}; `help` lists them")),
    }
}

/// Obeys the words of `run=a,b,…` on the kernel command line, one after the other: each is a program or a
/// command. A word that is neither, or a program that panics, ends the machine with code 2: nobody watches.
/// `false` without the option.
///
/// ```
/// use burrow::console::{Program, run_list};
/// let hello = Program { name: "hello", about: "says so", run: || burrow::println!("hello") };
/// assert!(!run_list(&[hello])); // booted without `run=hello`
/// ```
pub fn run_list(programs: &[Program]) -> bool {
    let mut any = false;
    for word in crate::opts::list("run") {
        any = true;
        let ok = match programs.iter().find(|p| p.name == word) {
            Some(p) => contain(p.name, p.run),
            None => obey(programs, word)
                .map_err(|refusal| crate::println!("{refusal}"))
                .is_ok(),
        };
        if !ok {
            arch::exit(2);
        }
    }
    any
}

/// The prompt. Never returns: `exit` ends the machine.
///
/// ```no_run
/// use burrow::console::{Program, prompt};
/// prompt(&[Program { name: "hello", about: "says so", run: || burrow::println!("hello") }]);
/// ```
pub fn prompt(programs: &[Program]) -> ! {
    input::start();
    let mut editor = Editor::new("burrow> ");
    loop {
        let obeyed = crate::recover(|| {
            editor.redraw(&mut Echo);
            let line = loop {
                match editor.key(input::key(), &mut Echo) {
                    Typed::More => {}
                    Typed::Line(line) => break line,
                    Typed::Cancelled => editor.redraw(&mut Echo),
                }
            };
            obey(programs, &line)
        });
        match obeyed {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => crate::println!("{refusal}"),
            Err(p) => crate::println!("{p}"), // there was no memory for it
        }
    }
}

/// The terminal.
struct Echo;

impl core::fmt::Write for Echo {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        crate::print::raw(s.as_bytes());
        Ok(())
    }
}
