//! The guest's network devices: what `NET=` says, as flags of QEMU.
//!
//! | word | what the device is connected to |
//! | --- | --- |
//! | `1` | QEMU's user network, 127.0.0.1:8080 leads to guest port 80 |
//! | `7007:7,udp:7007:7` | the same with these ports |
//! | `none` | nothing at all: nobody answers |
//! | `listen:9000`, `connect:9000` | another guest, through that port of 127.0.0.1 |
//!
//! Several devices have `+` between them. The second user network is 10.0.3.0/24, and so on.

use anyhow::{Context, Result, bail};

use crate::config::Config;

/// What a device is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    User(Vec<Forward>),
    Nothing,
    Listen(u16),
    Connect(u16),
}

/// A port of 127.0.0.1 on the host and the guest's port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) udp: bool,
    pub(crate) host: u16,
    pub(crate) guest: u16,
}

impl Net {
    pub(crate) fn parse(text: &str) -> Result<Vec<Net>> {
        let one = |word: &str| match word {
            "none" => Some(Net::Nothing),
            "1" => forwards("8080:80"),
            _ => match word.split_once(':') {
                Some(("listen", port)) => Some(Net::Listen(port.parse().ok()?)),
                Some(("connect", port)) => Some(Net::Connect(port.parse().ok()?)),
                _ => forwards(word),
            },
        };
        text.split('+')
            .map(|word| {
                one(word).with_context(|| {
                    format!("NET={text}: 1, none, HOST:GUEST and udp:HOST:GUEST with commas, listen:PORT or connect:PORT")
                })
            })
            .collect()
    }

    /// The ports that lead to the guest.
    pub(crate) fn forwards(&self) -> &[Forward] {
        match self {
            Net::User(forwards) => forwards,
            _ => &[],
        }
    }

    fn backend(&self, i: usize) -> String {
        match self {
            Net::User(forwards) => {
                let mut user = format!("user,id=net{i}");
                if i > 0 {
                    user += &format!(",net=10.0.{}.0/24", 2 + i);
                }
                for f in forwards {
                    let kind = if f.udp { "udp" } else { "tcp" };
                    user += &format!(",hostfwd={kind}:127.0.0.1:{}-:{}", f.host, f.guest);
                }
                user
            }
            Net::Nothing => format!("hubport,id=net{i},hubid={i}"),
            Net::Listen(port) => format!("socket,id=net{i},listen=127.0.0.1:{port}"),
            Net::Connect(port) => format!("socket,id=net{i},connect=127.0.0.1:{port}"),
        }
    }
}

fn forwards(list: &str) -> Option<Net> {
    let one = |word: &str| {
        let (udp, ports) = match word.strip_prefix("udp:") {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let (host, guest) = ports.split_once(':')?;
        Some(Forward {
            udp,
            host: host.parse().ok()?,
            guest: guest.parse().ok()?,
        })
    };
    list.split(',').map(one).collect::<Option<_>>().map(Net::User)
}

/// All flags about the network.
pub(crate) fn arguments(cfg: &Config) -> Result<Vec<String>> {
    let mut args = Vec::new();
    if cfg.pcap.is_some() && cfg.net.is_empty() {
        bail!("PCAP= without NET=: there are no frames to write");
    }
    for (i, net) in cfg.net.iter().enumerate() {
        let mut device = match cfg.machine.as_str() {
            "microvm" => format!("virtio-net-device,netdev=net{i}"),
            _ => format!("virtio-net-pci,netdev=net{i}"),
        };
        // Two guests on one wire must not have one address.
        let last = if matches!(net, Net::Connect(_)) {
            0x80
        } else {
            0x56
        } + i;
        device += &format!(",mac=52:54:00:12:34:{last:02x}");
        if cfg.intx && cfg.machine != "microvm" {
            device += ",vectors=0";
        }
        args.extend(["-netdev".into(), net.backend(i), "-device".into(), device]);
        if let Some(file) = &cfg.pcap {
            let file = file.replace(',', ",,"); // as QEMU wants it
            let file = if i == 0 { file } else { format!("{file}.{i}") };
            args.push("-object".into());
            args.push(format!("filter-dump,id=dump{i},netdev=net{i},file={file}"));
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let forward = |udp, host, guest| Forward { udp, host, guest };
        assert_eq!(
            Net::parse("1").unwrap(),
            [Net::User(vec![forward(false, 8080, 80)])]
        );
        assert_eq!(
            Net::parse("7007:7,udp:1:2+none+listen:9000+connect:9").unwrap(),
            [
                Net::User(vec![forward(false, 7007, 7), forward(true, 1, 2)]),
                Net::Nothing,
                Net::Listen(9000),
                Net::Connect(9)
            ]
        );
        for bad in ["", "x", "1:2:3", "listen:x", "1+", "99999:1"] {
            assert!(
                Net::parse(bad).unwrap_err().to_string().starts_with("NET="),
                "{bad}"
            );
        }
    }
}
