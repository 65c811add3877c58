//! Questions to name servers, and what can be learned from their answers.
#![forbid(unsafe_code)]

use alloc::{string::String, vec, vec::Vec};
use core::net::IpAddr;

use smoltcp::wire::{
    DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData, DnsRepr,
};

/// Aliases followed in one answer.
const ALIASES: usize = 16;

/// A question of ours.
pub(super) struct Question<'a> {
    pub(super) id: u16,
    pub(super) name: &'a str,
    pub(super) kind: DnsQueryType,
}

/// What an answer says.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Addresses; if there are none, perhaps another name to ask for.
    Found(Found),
    /// There is no such name.
    NoSuchName,
    /// The server cannot or will not.
    Failed,
    /// It did not fit: ask by TCP.
    Truncated,
}

/// See [`Answer`].
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) addrs: Vec<IpAddr>,
    pub(super) alias: Option<String>,
    /// Seconds for which this holds.
    pub(super) ttl: u32,
}

impl Question<'_> {
    /// The message that asks.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.name.len() + 2);
        for label in self.name.split('.') {
            name.push(label.len() as u8); // `canonical` saw to it: 63 at most
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        let repr = DnsRepr {
            transaction_id: self.id,
            opcode: DnsOpcode::Query,
            flags: DnsFlags::RECURSION_DESIRED,
            question: DnsQuestion {
                name: &name,
                type_: self.kind,
            },
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DnsPacket::new_unchecked(&mut bytes[..]));
        bytes
    }

    /// Reads an answer. `None`: it is not one to this question, or not to be understood.
    pub(super) fn read(&self, message: &[u8]) -> Option<Answer> {
        let p = DnsPacket::new_checked(message).ok()?;
        if p.transaction_id() != self.id
            || !p.flags().contains(DnsFlags::RESPONSE)
            || p.opcode() != DnsOpcode::Query
            || p.question_count() != 1
        {
            return None;
        }
        let (mut rest, question) = DnsQuestion::parse(p.payload()).ok()?;
        if question.type_ != self.kind || name_of(&p, question.name)? != self.name {
            return None;
        }
        match p.rcode() {
            DnsRcode::NoError => {}
            DnsRcode::NXDomain => return Some(Answer::NoSuchName),
            _ => return Some(Answer::Failed),
        }
        if p.flags().contains(DnsFlags::TRUNCATED) {
            return Some(Answer::Truncated);
        }
        let mut records = Vec::new();
        for _ in 0..p.answer_record_count() {
            let (more, record) = DnsRecord::parse(rest).ok()?;
            rest = more;
            records.push((name_of(&p, record.name)?, record));
        }
        self.follow(&p, &records)
    }

    /// From the name asked for along the aliases to the addresses.
    fn follow<'a>(&self, p: &'a DnsPacket<&'a [u8]>, records: &[(String, DnsRecord<'a>)]) -> Option<Answer> {
        let mut name = String::from(self.name);
        let mut found = Found {
            ttl: u32::MAX,
            ..Found::default()
        };
        for _ in 0..ALIASES {
            let here = records.iter().filter(|(owner, _)| *owner == name);
            let mut alias = None;
            for (_, r) in here {
                let addr = match &r.data {
                    DnsRecordData::A(a) if self.kind == DnsQueryType::A => IpAddr::V4(*a),
                    DnsRecordData::Aaaa(a) if self.kind == DnsQueryType::Aaaa => IpAddr::V6(*a),
                    DnsRecordData::Cname(to) => {
                        alias = Some(name_of(p, to)?);
                        found.ttl = found.ttl.min(r.ttl);
                        continue;
                    }
                    _ => continue,
                };
                found.ttl = found.ttl.min(r.ttl);
                found.addrs.push(addr);
            }
            match alias {
                Some(to) if found.addrs.is_empty() => name = to,
                _ => break,
            }
        }
        if found.addrs.is_empty() && name != self.name {
            found.alias = Some(name);
        }
        Some(Answer::Found(found))
    }
}

/// A name in small letters; `None` if it is malformed, or too long to be one.
fn name_of<'a>(p: &'a DnsPacket<&'a [u8]>, bytes: &'a [u8]) -> Option<String> {
    let mut name = String::new();
    for label in p.parse_name(bytes) {
        let label = core::str::from_utf8(label.ok()?).ok()?;
        if !name.is_empty() {
            name.push('.');
        }
        if name.len() + label.len() > 253 || label.contains('.') {
            return None;
        }
        name.push_str(&label.to_ascii_lowercase());
    }
    Some(name)
}
