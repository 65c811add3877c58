//! The network as a host sees it: real clients of Linux against guests, through QEMU's user network on 127.0.0.1.

#[path = "support/guest.rs"]
#[expect(dead_code, reason = "nobody types here")]
mod guest;
#[path = "support/monitor.rs"]
mod monitor;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    sync::Mutex,
    time::{Duration, Instant},
};

use guest::{Guest, PATIENCE, build, runner};
use monitor::Monitor;

/// One machine at a time: several starve each other on a small host.
static ONE: Mutex<()> = Mutex::new(());

/// QEMU accepts before the guest has an address: a connection counts once it echoes.
fn connect(port: u16) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Ok(mut s) = TcpStream::connect(("127.0.0.1", port)) {
            s.set_nodelay(true).expect("a socket");
            s.set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a socket");
            let mut back = [0; 5];
            if s.write_all(b"hello").is_ok() && s.read_exact(&mut back).is_ok() && &back == b"hello" {
                s.set_read_timeout(Some(PATIENCE)).expect("a socket");
                return s;
            }
        }
        assert!(Instant::now() < end, "nobody answers on port {port}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn echo(flags: &[&str]) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("tcp_echo", "PORT:7", &[flags, &["--opts", "serve"]].concat());
    guest.says("serving on port 7");
    let port = guest.port();
    let mut conns: Vec<_> = (0..16).map(|_| connect(port)).collect();
    for round in 0..10u8 {
        for (i, c) in conns.iter_mut().enumerate() {
            let message = [round ^ i as u8; 64];
            c.write_all(&message).expect("open");
            let mut back = [0; 64];
            c.read_exact(&mut back).expect("echoed");
            assert_eq!(back, message);
        }
    }
    // A megabyte there and back while it is still being written.
    let data: Vec<u8> = (0..1 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut writer = conns[0].try_clone().expect("a socket");
    let sent = data.clone();
    let writing = std::thread::spawn(move || writer.write_all(&sent));
    let mut back = vec![0; data.len()];
    conns[0].read_exact(&mut back).expect("echoed");
    assert!(back == data, "a megabyte came back changed");
    writing.join().expect("no panic").expect("written");
    for c in &mut conns {
        c.shutdown(Shutdown::Write).expect("open");
        assert_eq!(c.read(&mut [0; 8]).expect("closed in order"), 0);
    }
}

/// With one core there is nobody to wake the reader but the device's interrupt.
fn echo_on_cores(flags: &[&str]) {
    for cores in ["1", "2", "4"] {
        echo(&[flags, &["--smp", cores]].concat());
    }
}

#[test]
fn echo_by_message_interrupts() {
    echo_on_cores(&[]);
}

#[test]
fn echo_by_line_interrupts() {
    echo_on_cores(&["--intx", "1"]);
}

#[test]
fn echo_on_pc_with_one_core() {
    echo(&["--smp", "1", "--machine", "pc"]);
}

#[test]
fn echo_on_microvm() {
    echo_on_cores(&["--machine", "microvm"]);
}

/// On every core runs a goroutine that never lets go by itself: who waits for a packet gets it all the same, by the
/// interrupt of the device and the timer.
#[test]
fn packets_arrive_on_busy_cores() {
    for flags in [["--smp", "1", "--intx", "0"], ["--smp", "2", "--intx", "1"]] {
        let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
        let flags = [&flags[..], &["--opts", "serve hogs"]].concat();
        let mut guest = Guest::boot("tcp_echo", "PORT:7", &flags);
        guest.says("serving on port 7");
        let mut c = connect(guest.port());
        for i in 0..100 {
            c.write_all(&[i; 100]).expect("open");
            let mut back = [0; 100];
            c.read_exact(&mut back).expect("echoed");
            assert_eq!(back, [i; 100]);
        }
    }
}

/// Five hundred connections at once, each pinged ten times, none lost; `make net-scale` does it with 10,000.
#[test]
fn many_connections() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let elf = build("net_bench");
    let run = || runner().arg("net-scale").arg(&elf).env("CONNS", "500").output();
    // Once more if somebody else takes one of its ports between its choice and QEMU.
    for attempt in 1.. {
        let out = run().expect("the runner starts");
        let (text, errors) = (
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
        );
        if attempt < 5 && errors.contains("Could not set up host forwarding rule") {
            continue;
        }
        let all = text.contains("conns=500") && text.contains("pings=5000 lost=0");
        return assert!(out.status.success() && all, "{text}\n{errors}");
    }
}

#[test]
fn datagrams() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("udp_echo", "udp:PORT:7", &["--opts", "serve"]);
    guest.says("serving on port 7");
    let port = guest.port();
    let s = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    s.set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a socket");
    let (mut answers, mut buf, end) = (0, [0; 1500], Instant::now() + PATIENCE);
    while answers < 20 {
        assert!(Instant::now() < end, "only {answers} answers");
        s.send_to(&[answers; 1000], ("127.0.0.1", port)).expect("sent");
        if let Ok((n, _)) = s.recv_from(&mut buf) {
            assert_eq!(n, 1000);
            answers += u8::from(buf[0] == answers);
        }
    }
}

/// Two people of the host chat; each hears who comes, what the other says, and who goes.
#[test]
fn people_chat() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("chat_server", "PORT:7777", &["--smp", "2", "--opts", "serve"]);
    guest.says("serving on port 7777");
    let port = guest.port();
    // QEMU accepts before the guest has an address.
    let enter = |name: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "nobody asks for {name}'s name");
            if let Ok(s) = TcpStream::connect(("127.0.0.1", port)) {
                s.set_read_timeout(Some(Duration::from_secs(10)))
                    .expect("a socket");
                let mut lines = BufReader::new(s);
                let mut line = String::new();
                if lines.read_line(&mut line).is_ok() && line == "your name?\n" {
                    lines
                        .get_mut()
                        .set_read_timeout(Some(PATIENCE))
                        .expect("a socket");
                    writeln!(lines.get_mut(), "{name}").expect("open");
                    return lines;
                }
            }
        }
    };
    let hears = |who: &mut BufReader<TcpStream>, what: &str| {
        let mut line = String::new();
        who.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), what);
    };
    let mut ann = enter("ann");
    hears(&mut ann, "* ann is here");
    let mut bob = enter("bob");
    for who in [&mut ann, &mut bob] {
        hears(who, "* bob is here");
    }
    for i in 0..50 {
        writeln!(ann.get_mut(), "question {i}").expect("open");
        for who in [&mut ann, &mut bob] {
            hears(who, &format!("ann: question {i}"));
        }
        writeln!(bob.get_mut(), "answer {i}").expect("open");
        for who in [&mut ann, &mut bob] {
            hears(who, &format!("bob: answer {i}"));
        }
    }
    drop(bob);
    hears(&mut ann, "* bob has left");
}

/// The guest opens the connection: it asks for an address by DHCP, then for the gateway's by ARP.
#[test]
fn the_guest_dials_out() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let l = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = l.local_addr().expect("bound").port();
    let serving = std::thread::spawn(move || {
        let (mut s, _) = l.accept().expect("the guest dials");
        let mut line = String::new();
        BufReader::new(s.try_clone().expect("a socket"))
            .read_line(&mut line)
            .expect("a line");
        s.write_all(line.to_uppercase().as_bytes()).expect("open");
    });
    let opts = format!("dial=10.0.2.2:{port}");
    let mut guest = Guest::boot("tcp_echo", "PORT:7", &["--opts", &opts]);
    guest.says("HELLO FROM THE GUEST");
    serving.join().expect("served");
}

/// The cable is pulled for a while in the middle of a transfer through a link that loses, doubles and reorders frames; the
/// transfer stalls, goes on and is intact. A second device is connected to nothing. All frames are in the file.
#[test]
fn the_link_goes_and_comes_back() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let file = std::env::temp_dir().join(format!("burrow-{}.pcap", std::process::id()));
    let mut monitor = Monitor::new("link");
    let path = monitor.path().to_string();
    let mut guest = Guest::boot(
        "tcp_echo",
        "PORT:7+none",
        &[
            "--smp",
            "2",
            "--opts",
            "serve netfaults=loss:3,dup:2,reorder:3,corrupt:1,seed:7",
            "--pcap",
            file.to_str().expect("text"),
            "--monitor",
            &path,
        ],
    );
    guest.says("serving on port 7");
    let mut c = connect(guest.port());
    let data: Vec<u8> = (0..100_000)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut writer = c.try_clone().expect("a socket");
    let sent = data.clone();
    let writing = std::thread::spawn(move || writer.write_all(&sent));
    let mut back = vec![0; data.len()];
    c.read_exact(&mut back[..20_000]).expect("echoed");
    monitor.obey("set_link net0 off");
    std::thread::sleep(Duration::from_millis(1500));
    monitor.obey("set_link net0 on");
    c.read_exact(&mut back[20_000..]).expect("echoed");
    writing.join().expect("no panic").expect("written");
    assert!(back == data, "what came back is not what was sent");
    drop(guest);
    let dump = std::fs::read(&file).expect("written");
    assert_eq!(dump[..4], [0xd4, 0xc3, 0xb2, 0xa1], "a pcap file");
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    assert!(dump.windows(6).any(|w| w == mac) && dump.len() > 2 * data.len());
    for leftover in [file.clone(), format!("{}.1", file.display()).into()] {
        let _ = std::fs::remove_file(leftover);
    }
}

/// An address that is none is complained about, and DHCP gives one.
#[test]
fn an_option_that_makes_no_sense() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let opts = "serve ip=10.0.2.999 gw=nowhere netfaults=lots:1";
    let mut guest = Guest::boot("tcp_echo", "PORT:7", &["--opts", opts]);
    let seen = guest.says("serving on port 7");
    for complaint in [
        "net: netfaults: lots: not loss",
        "net: ip=10.0.2.999: not ADDRESS/BITS",
        "net: gw=nowhere: not an IPv4 address",
    ] {
        assert!(seen.contains(complaint), "{complaint} is not in:\n{seen}");
    }
    connect(guest.port());
}

/// Two guests on one wire: one opens a connection to the other, which echoes.
#[test]
fn two_guests_on_one_wire() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut server = Guest::boot(
        "tcp_echo",
        "listen:PORT",
        &["--smp", "2", "--opts", "serve ip=10.9.0.1/24"],
    );
    server.says("serving on port 7");
    let mut client = Guest::boot(
        "tcp_echo",
        &format!("connect:{}", server.port()),
        &["--smp", "2", "--opts", "ip=10.9.0.2/24 dial=10.9.0.1:7"],
    );
    client.says("hello from the guest");
}

/// The same over IPv6, to the host.
#[test]
fn the_guest_dials_out_over_ipv6() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let Ok(l) = TcpListener::bind("[::1]:0") else {
        return println!("this host has no IPv6");
    };
    let port = l.local_addr().expect("bound").port();
    let serving = std::thread::spawn(move || {
        let (mut s, _) = l.accept().expect("the guest dials");
        let mut line = String::new();
        BufReader::new(s.try_clone().expect("a socket"))
            .read_line(&mut line)
            .expect("a line");
        s.write_all(line.to_uppercase().as_bytes()).expect("open");
    });
    let opts = format!("ip6=fec0::15/64 gw6=fec0::2 dial=[fec0::2]:{port}");
    let mut guest = Guest::boot("tcp_echo", "PORT:7", &["--opts", &opts]);
    guest.says("HELLO FROM THE GUEST");
    serving.join().expect("served");
}
