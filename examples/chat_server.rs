//! A chat: what one says all hear. One goroutine, the room, owns the list of guests; nobody locks anything.
//!
//! ```text
//!   guest ─▶ its reader ─┐                ┌─▶ queue ─▶ its writer ─▶ guest
//!                        ├─▶ events ─▶ room
//!   guest ─▶ its reader ─┘                └─▶ queue ─▶ its writer ─▶ guest
//! ```
//! Every queue is bounded. The room never waits for a guest: if a guest's queue is full, it is too slow, and is shown the
//! door. Readers do wait for the room, so a guest that talks too fast is slowed down by TCP.
//!
//! It is tried out over the loopback link by two who talk and one who never reads. From the host:
//! `make qemu EXAMPLE=chat_server NET=7777:7777 OPTS=serve`, then `nc 127.0.0.1 7777` twice.
// expect: says=* eve was too slow
// expect: says=ann and bob heard each other 300 times
// expect: says=* bob has left
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use burrow::{
    net::{Error, TcpListener, TcpStream},
    prelude::*,
};

/// Lines that may wait for a guest, and the longest line.
const QUEUE: usize = 32;
const LINE: usize = 512;

struct Guest {
    name: String,
    queue: Chan<Arc<str>>,
    conn: TcpStream,
}

enum Event {
    Came(u64, Guest),
    Said(u64, String),
    Went(u64),
}

/// Everything that happens, in order.
fn room(events: &Chan<Event>) {
    let mut guests = BTreeMap::<u64, Guest>::new();
    let mut news = VecDeque::<Arc<str>>::new();
    for event in events {
        match event {
            Event::Came(id, guest) => {
                news.push_back(format!("* {} is here\n", guest.name).into());
                guests.insert(id, guest);
            }
            Event::Said(id, line) => {
                if let Some(guest) = guests.get(&id) {
                    news.push_back(format!("{}: {line}\n", guest.name).into());
                }
            }
            Event::Went(id) => {
                if let Some(guest) = guests.remove(&id) {
                    guest.queue.close(); // its writer sends what is left, then hangs up
                    news.push_back(format!("* {} has left\n", guest.name).into());
                }
            }
        }
        // Whoever is shown the door is news, too.
        while let Some(line) = news.pop_front() {
            if line.starts_with('*') {
                print!("{line}");
            }
            let slow = guests.extract_if(.., |_, guest| {
                select! {
                    send(guest.queue, line.clone()) => false,
                    default => true,
                }
            });
            for (_, guest) in slow {
                guest.queue.close();
                let _ = guest.conn.close(); // its reader and its writer end at once
                news.push_back(format!("* {} was too slow\n", guest.name).into());
            }
        }
    }
}

/// Takes a connection apart into lines; what is longer than `LINE` is several.
struct Lines {
    conn: TcpStream,
    buf: [u8; LINE],
    len: usize,
}

impl Lines {
    fn of(conn: TcpStream) -> Lines {
        Lines {
            conn,
            buf: [0; LINE],
            len: 0,
        }
    }

    /// The next one; `None` at the end.
    fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            let end = self.buf[..self.len].iter().position(|&b| b == b'\n');
            let (line, rest) = match end {
                Some(i) => (i, i + 1),
                None if self.len == LINE => (LINE, LINE),
                None => match self.conn.read(&mut self.buf[self.len..])? {
                    0 => return Ok(None),
                    n => {
                        self.len += n;
                        continue;
                    }
                },
            };
            let text = String::from_utf8_lossy(&self.buf[..line]);
            let text = text.chars().filter(|c| !c.is_control()).collect(); // nobody plays with others' screens
            self.buf.copy_within(rest..self.len, 0);
            self.len -= rest;
            return Ok(Some(text));
        }
    }
}

/// A guest, from its name on the first line to the end.
fn welcome(id: u64, conn: TcpStream, events: &Sender<Event>) -> Result<(), Error> {
    conn.write_all(b"your name?\n")?;
    let mut lines = Lines::of(conn.clone());
    let Some(name) = lines.next()? else { return Ok(()) };
    let queue = chan::<Arc<str>>(QUEUE);
    let (theirs, writer) = (queue.clone(), conn.clone());
    go(move || {
        for line in &theirs {
            if writer.write_all(line.as_bytes()).is_err() {
                return;
            }
        }
        let _ = writer.shutdown(burrow::net::Shutdown::Both);
    });
    events.send(Event::Came(id, Guest { name, queue, conn }));
    while let Ok(Some(line)) = lines.next() {
        events.send(Event::Said(id, line));
    }
    events.send(Event::Went(id));
    Ok(())
}

fn serve(l: &TcpListener, events: &Chan<Event>) {
    for (id, conn) in (0..).zip(l.incoming()) {
        let events = events.sender();
        go(move || {
            let _ = welcome(id, conn, &events); // gone before it said its name
        });
    }
}

/// Enters under this name.
fn enter(name: &str) -> Lines {
    let conn = TcpStream::connect("127.0.0.1:7777").expect("the server listens");
    let mut lines = Lines::of(conn);
    hear(&mut lines, "your name?");
    say(&lines, name);
    lines
}

fn say(to: &Lines, text: &str) {
    let line = format!("{text}\n");
    to.conn.write_all(line.as_bytes()).expect("still welcome");
}

/// Listens until a line begins with `what`.
fn hear(from: &mut Lines, what: &str) {
    while let Some(line) = from.next().expect("still welcome") {
        if line.starts_with(what) {
            return;
        }
    }
    panic!("nobody said {what:?}");
}

#[burrow::main]
fn main() {
    let listener = TcpListener::bind(":7777").expect("nobody else has port 7777");
    let events = chan::<Event>(64);
    let (inbox, server) = (events.clone(), listener.clone());
    go(move || room(&inbox));
    go(move || serve(&server, &events));

    let mut ann = enter("ann");
    hear(&mut ann, "* ann is here");
    let _eve = enter("eve"); // never reads: soon the buffers on both sides are full, then her queue
    hear(&mut ann, "* eve is here");
    let mut bob = enter("bob");
    hear(&mut ann, "* bob is here");
    let bob = spawn(move || {
        for i in 0..300 {
            hear(&mut bob, &format!("ann: {i} "));
            say(&bob, &format!("{i} {}", "indeed! ".repeat(55)));
        }
    });
    for i in 0..300 {
        say(&ann, &format!("{i} {}", "isn't it? ".repeat(40)));
        hear(&mut ann, &format!("bob: {i} "));
    }
    println!("ann and bob heard each other 300 times");
    bob.join().expect("no panic"); // and his connection is dropped
    hear(&mut ann, "* bob has left");
    if burrow::opts::flag("serve") {
        println!("serving on port 7777");
        select! {}
    }
    listener.close().expect("closed once");
}
