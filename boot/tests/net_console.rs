//! The network as the console of the default kernel shows it: the link, addresses, name servers, interrupts, and what is
//! refused when memory ends.

#[path = "support/guest.rs"]
#[expect(dead_code, reason = "whole lines are typed and read here")]
mod guest;
#[path = "support/monitor.rs"]
mod monitor;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Mutex,
    time::{Duration, Instant},
};

use guest::{Guest, PATIENCE};
use monitor::Monitor;

/// How long a client waits that may not be served.
const SOON: Duration = Duration::from_secs(4);

/// One machine at a time: several starve each other on a small host.
static ONE: Mutex<()> = Mutex::new(());

/// What `net` prints.
fn net(guest: &mut Guest) -> String {
    guest.types("net");
    guest.says("all: in ")
}

/// Types `net` until it prints `text`.
fn shows(guest: &mut Guest, text: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = net(guest);
        if seen.contains(text) {
            return seen;
        }
        assert!(Instant::now() < end, "never {text:?}:\n{seen}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A figure of those that `net` prints.
fn figure(seen: &str, name: &str) -> u64 {
    let rest = seen
        .split_once(name)
        .unwrap_or_else(|| panic!("no {name}:\n{seen}"))
        .1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|d| d.parse().ok()).expect("a number")
}

/// Goroutines wait for packets on a machine that does nothing else: the device's interrupt wakes them, and it alone. Not
/// sysmon, nor somebody who happens to poll: both would be late, and that is counted.
#[test]
fn an_interrupt_wakes_who_waits() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    for flags in [
        ["--smp", "1", "--intx", "0"],
        ["--smp", "2", "--intx", "0"],
        ["--smp", "2", "--intx", "1"],
        ["--smp", "1", "--machine", "microvm"],
    ] {
        let flags = [&flags[..], &["--opts", "run="]].concat();
        let mut guest = Guest::boot("burrow", "PORT:80", &flags);
        let port = guest.port();
        shows(&mut guest, " dhcp from 10.0.2.2");
        let mut in_time = || {
            let before = net(&mut guest);
            // The server waits in `accept`, then the connection's goroutine for the request. Nothing is typed meanwhile:
            // after a key somebody looks, too.
            let served = Client::new(port, SOON).is_ok();
            let after = net(&mut guest);
            let more = |name| figure(&after, name) - figure(&before, name);
            served && more("interrupts=") > 0 && more(" wakes=") > 0 && more(" late=") == 0
        };
        // On a busy host it is late now and then, and without the interrupt always.
        let (mut n, mut tries) = (0, 0);
        while n < 3 {
            assert!(
                tries < 40,
                "{flags:?}: {n} of {tries} in time\n{}",
                net(&mut guest)
            );
            n += u32::from(in_time());
            tries += 1;
        }
        println!("{flags:?}: {n} of {tries} in time");
    }
}

/// QEMU's own name server passes questions on to the host's, which may be silent, out of reach, or know everything but this: a
/// name that there cannot be (RFC 6761). The question goes out, an error that says why comes back, and that it does is
/// not the console's end.
#[test]
fn a_lookup_through_qemus_name_server() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let file = std::env::temp_dir().join(format!("burrow-{}-dns.pcap", std::process::id()));
    let flags = [
        "--smp",
        "2",
        "--opts",
        "run=",
        "--pcap",
        file.to_str().expect("text"),
    ];
    let mut guest = Guest::boot("burrow", "PORT:80", &flags);
    shows(&mut guest, "dns 10.0.2.3");
    guest.types("net lookup example.invalid");
    let seen = guest.says("net: lookup example.invalid: ");
    assert!(
        ["no such host", "i/o timeout", "name server failure"]
            .iter()
            .any(|why| seen.trim_end().ends_with(why)),
        "{seen}"
    );
    guest.types("net lookup localhost");
    guest.says("localhost 127.0.0.1");
    drop(guest);
    let dump = std::fs::read(&file).expect("written");
    let _ = std::fs::remove_file(&file);
    // To port 53 of 10.0.2.3, from any port: the addresses and the ports are side by side in a frame.
    let asked = dump
        .windows(8)
        .any(|w| w[..4] == [10, 0, 2, 3] && w[6..] == [0, 53]);
    assert!(asked, "no question went to 10.0.2.3");
    assert!(
        dump.windows(17).any(|w| w == b"\x07example\x07invalid\0"),
        "nor this one"
    );
}

/// Whether there is a cable is seen on both kinds of device.
#[test]
fn the_console_shows_the_link() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    for machine in ["q35", "microvm"] {
        let mut monitor = Monitor::new(machine);
        let path = monitor.path().to_string();
        let flags = ["--smp", "2", "--machine", machine, "--monitor", &path];
        let mut guest = Guest::boot("burrow", "PORT:80", &flags);
        shows(&mut guest, "eth0: up");
        monitor.obey("set_link net0 off");
        assert!(net(&mut guest).contains("eth0: down"), "{machine}");
        monitor.obey("set_link net0 on");
        assert!(net(&mut guest).contains("eth0: up"), "{machine}");
    }
}

/// Where no server gives out addresses, the guest takes one itself after a while, and says so.
#[test]
fn nobody_gives_an_address() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("burrow", "none", &["--smp", "2"]);
    let seen = shows(&mut guest, "fallback, nobody answered");
    assert!(
        seen.contains("addr 10.0.2.15/24 fallback") && seen.contains("gateway 10.0.2.2"),
        "{seen}"
    );
}

#[test]
fn devices_are_left_alone_if_so_told() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("burrow", "PORT:80", &["--opts", "nonet"]);
    let seen = shows(&mut guest, "lo: up");
    assert!(!seen.contains("eth0"), "{seen}");
}

/// A client that keeps its connection.
struct Client(TcpStream);

impl Client {
    /// Connects, and asks once within `limit`.
    fn new(port: u16, limit: Duration) -> std::io::Result<Client> {
        let s = TcpStream::connect(("127.0.0.1", port))?;
        s.set_nodelay(true)?;
        let mut c = Client(s);
        c.ask(limit)?;
        Ok(c)
    }

    /// Asks for `/healthz`, and waits for the answer.
    fn ask(&mut self, limit: Duration) -> std::io::Result<()> {
        self.send(0)?;
        self.answered(limit)
    }

    /// Asks for `/healthz`, with so many lines of 100 bytes that nobody reads.
    fn send(&mut self, more: usize) -> std::io::Result<()> {
        let more: String = (0..more).map(|i| format!("X-{i:02}: {:92}\r\n", "x")).collect();
        self.0
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{more}\r\n").as_bytes())
    }

    fn answered(&mut self, limit: Duration) -> std::io::Result<()> {
        self.0.set_read_timeout(Some(limit))?;
        let (mut seen, mut buf) = (Vec::new(), [0; 512]);
        while !seen.ends_with(b"\r\n\r\nok\n") {
            match self.0.read(&mut buf)? {
                0 => {
                    let seen = String::from_utf8_lossy(&seen);
                    return Err(std::io::Error::other(format!("ended after {seen:?}")));
                }
                n => seen.extend_from_slice(&buf[..n]),
            }
        }
        Ok(())
    }
}

/// Connections come until the guest has no memory for one more: it takes none then, serves those it has, obeys its console,
/// and has room again as soon as they have gone.
#[test]
fn connections_until_memory_ends() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let flags = ["--smp", "2", "--mem", "24M", "--opts", "run="];
    let mut guest = Guest::boot("burrow", "PORT:80", &flags);
    let port = guest.port();
    shows(&mut guest, " dhcp from 10.0.2.2");
    let open = || {
        let end = Instant::now() + PATIENCE;
        loop {
            match Client::new(port, SOON) {
                Ok(c) => return c,
                Err(e) => assert!(Instant::now() < end, "nobody answers: {e}"),
            }
        }
    };
    for round in 0..2 {
        let mut conns = vec![open()];
        let lacked = figure(&net(&mut guest), "(no memory ");
        let (mut refused, mut late) = (0, 0);
        while refused < 3 {
            assert!(conns.len() < 3000, "there is no end to memory");
            match Client::new(port, SOON) {
                Ok(c) => conns.push(c),
                // Who says that it was for lack of memory is the guest: a busy host serves late, too.
                Err(_) if figure(&net(&mut guest), "(no memory ") > lacked => refused += 1,
                Err(e) => {
                    late += 1;
                    assert!(
                        late < 20,
                        "with memory left, not served: {e}\n{}",
                        net(&mut guest)
                    );
                }
            }
        }
        println!("round {round}: {} connections", conns.len());
        assert!(conns.len() > 50);
        for (i, c) in conns.iter_mut().enumerate() {
            c.ask(PATIENCE)
                .unwrap_or_else(|e| panic!("connection {i}: {e}\n{}", net(&mut guest)));
        }
        // All at once: each needs more stack than it waits on, and with more to read a larger buffer.
        for more in [0, 30] {
            conns.iter_mut().for_each(|c| c.send(more).expect("sent"));
            for (i, c) in conns.iter_mut().enumerate() {
                c.answered(PATIENCE)
                    .unwrap_or_else(|e| panic!("connection {i}, {more} more lines: {e}"));
            }
        }
        let seen = net(&mut guest);
        assert!(figure(&seen, "(no memory ") > 0, "{seen}");
        drop(conns);
        let mut c = open();
        (0..20).for_each(|_| c.ask(PATIENCE).expect("served"));
    }
}
