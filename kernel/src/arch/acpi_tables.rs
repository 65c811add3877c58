//! The few ACPI tables we read, parsed from bytes: RSDP → RSDT/XSDT → MADT and FADT.
//!
//! No pointers, no mapping: whoever has the bytes passes them in, so tests feed synthetic tables. Tables come
//! from firmware, hence every length is checked and a bad record ends the walk instead of the boot.
//!
//! Refused: the crate `acpi`, of which an interpreter and an allocator come along, before there is a heap,
//! for what is one loop over one table.

/// The most cores, IOAPICs and overrides kept.
pub const MAX_CPUS: usize = 64;
const MAX_IOAPICS: usize = 4;
const ISA_LINES: usize = 16;

/// An interrupt line: its global number and electrical habits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Global system interrupt.
    pub gsi: u32,
    /// Asserted low (PCI) instead of high (ISA).
    pub active_low: bool,
    /// Level- instead of edge-triggered.
    pub level: bool,
}

/// An IOAPIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApicDesc {
    /// Physical address of its registers.
    pub address: u32,
    /// Its first global system interrupt.
    pub first_gsi: u32,
}

/// What the tables say about the machine.
#[derive(Clone, Debug)]
pub struct Platform {
    cpus: [u32; MAX_CPUS],
    cpu_count: usize,
    ioapics: [IoApicDesc; MAX_IOAPICS],
    ioapic_count: usize,
    isa: [Line; ISA_LINES],
    /// I/O port of the power-management timer, 0 if none.
    pub pm_timer_port: u16,
    /// Cores the tables name beyond [`MAX_CPUS`].
    pub cpus_ignored: usize,
}

impl Platform {
    /// No cores, no IOAPICs, ISA lines one to one.
    pub const fn new() -> Self {
        let mut isa = [Line {
            gsi: 0,
            active_low: false,
            level: false,
        }; ISA_LINES];
        let mut i = 0;
        while i < ISA_LINES {
            isa[i].gsi = i as u32;
            i += 1;
        }
        Platform {
            cpus: [0; MAX_CPUS],
            cpu_count: 0,
            ioapics: [IoApicDesc {
                address: 0,
                first_gsi: 0,
            }; MAX_IOAPICS],
            ioapic_count: 0,
            isa,
            pm_timer_port: 0,
            cpus_ignored: 0,
        }
    }

    /// APIC ids of the cores that can be started, in table order.
    pub fn cpus(&self) -> &[u32] {
        &self.cpus[..self.cpu_count]
    }

    /// The IOAPICs.
    pub fn ioapics(&self) -> &[IoApicDesc] {
        &self.ioapics[..self.ioapic_count]
    }

    /// The line of an ISA interrupt.
    pub fn isa_line(&self, irq: u8) -> Line {
        self.isa[irq as usize % ISA_LINES]
    }

    /// Adds a core; duplicates are dropped.
    pub fn add_cpu(&mut self, apic_id: u32) {
        if self.cpus().contains(&apic_id) {
            return;
        }
        if self.cpu_count == MAX_CPUS {
            self.cpus_ignored += 1;
            return;
        }
        self.cpus[self.cpu_count] = apic_id;
        self.cpu_count += 1;
    }

    /// Adds an IOAPIC.
    pub fn add_ioapic(&mut self, desc: IoApicDesc) {
        if self.ioapic_count < MAX_IOAPICS {
            self.ioapics[self.ioapic_count] = desc;
            self.ioapic_count += 1;
        }
    }

    /// Takes in a MADT (the whole table, header included).
    pub fn read_madt(&mut self, table: &[u8]) {
        const ENABLED: u32 = 1;
        let mut at = 44;
        while let Some([kind, len]) = bytes::<2>(table, at) {
            let Some(r) = table.get(at..at + len as usize).filter(|_| len >= 2) else {
                return;
            };
            match kind {
                0 if flags(r, 4) & ENABLED != 0 && len >= 8 => self.add_cpu(u32::from(r[3])),
                1 if len >= 12 => {
                    self.add_ioapic(IoApicDesc {
                        address: u32_at(r, 4),
                        first_gsi: u32_at(r, 8),
                    });
                }
                2 if len >= 10 && (r[3] as usize) < ISA_LINES => {
                    let f = u16_at(r, 8);
                    self.isa[r[3] as usize] = Line {
                        gsi: u32_at(r, 4),
                        active_low: f & 3 == 3,
                        level: f >> 2 & 3 == 3,
                    };
                }
                9 if len >= 16 && flags(r, 8) & ENABLED != 0 => self.add_cpu(u32_at(r, 4)),
                _ => {}
            }
            at += len as usize;
        }
    }

    /// Takes in a FADT: the power-management timer.
    pub fn read_fadt(&mut self, table: &[u8]) {
        const HW_REDUCED: u32 = 1 << 20;
        if flags(table, 112) & HW_REDUCED == 0 {
            self.pm_timer_port = u32_at(table, 76) as u16;
        }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::new()
    }
}

fn bytes<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..at + N)?.try_into().ok()
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    bytes(b, at).map_or(0, u16::from_le_bytes)
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    bytes(b, at).map_or(0, u32::from_le_bytes)
}

fn flags(b: &[u8], at: usize) -> u32 {
    u32_at(b, at)
}

/// Does a table (or the RSDP) sum up to zero?
pub fn checksum_ok(b: &[u8]) -> bool {
    b.iter().fold(0u8, |a, &x| a.wrapping_add(x)) == 0
}

/// Physical address of the root table and bytes per entry, from the 36 bytes (20 in revision 0) of the RSDP.
pub fn root_of(rsdp: &[u8]) -> Option<(u64, usize)> {
    if rsdp.get(..8)? != b"RSD PTR " || !checksum_ok(rsdp.get(..20)?) {
        return None;
    }
    if rsdp[15] >= 2 && rsdp.len() >= 36 && checksum_ok(&rsdp[..36]) {
        let xsdt = u64::from_le_bytes(bytes(rsdp, 24)?);
        if xsdt != 0 {
            return Some((xsdt, 8));
        }
    }
    Some((u64::from(u32_at(rsdp, 16)), 4))
}

/// The table addresses in a root table.
pub fn entries(root: &[u8], width: usize) -> impl Iterator<Item = u64> + '_ {
    root.get(36..).unwrap_or(&[]).chunks_exact(width).map(|c| {
        let mut v = [0; 8];
        v[..c.len()].copy_from_slice(c);
        u64::from_le_bytes(v)
    })
}

/// Signature and length in a table header.
pub fn header(b: &[u8]) -> Option<([u8; 4], usize)> {
    Some((bytes(b, 0)?, u32_at(b, 4) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn madt(records: &[&[u8]]) -> Vec<u8> {
        let mut t = vec![0; 44];
        t[..4].copy_from_slice(b"APIC");
        records.iter().for_each(|r| t.extend_from_slice(r));
        t
    }

    fn x2apic(id: u32, on: u32) -> Vec<u8> {
        let mut r = vec![9, 16, 0, 0];
        for v in [id, on, 0] {
            r.extend_from_slice(&v.to_le_bytes());
        }
        r
    }

    #[test]
    fn cores_by_both_kinds_of_record_and_disabled_ones_left_out() {
        let t = madt(&[
            &[0, 8, 0, 0, 1, 0, 0, 0],
            &[0, 8, 1, 7, 1, 0, 0, 0],
            &[0, 8, 2, 9, 0, 0, 0, 0],
            &x2apic(7, 1),
            &x2apic(0x1_0000, 1),
            &x2apic(3, 0),
        ]);
        let mut p = Platform::new();
        p.read_madt(&t);
        assert_eq!(p.cpus(), [0, 7, 0x1_0000]);
    }

    #[test]
    fn more_cores_than_we_hold() {
        let records: Vec<_> = (0..100).map(|i| x2apic(i * 2, 1)).collect();
        let mut p = Platform::new();
        p.read_madt(&madt(&records.iter().map(|r| &r[..]).collect::<Vec<_>>()));
        assert_eq!((p.cpus().len(), p.cpus_ignored), (64, 36));
    }

    #[test]
    fn ioapics_and_overrides() {
        let t = madt(&[
            &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
            &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
            &[2, 10, 0, 9, 20, 0, 0, 0, 0x0f, 0],
        ]);
        let mut p = Platform::new();
        p.read_madt(&t);
        assert_eq!(
            p.ioapics(),
            [IoApicDesc {
                address: 0xfec0_0000,
                first_gsi: 0
            }]
        );
        assert_eq!(p.isa_line(0).gsi, 2);
        assert_eq!(
            p.isa_line(9),
            Line {
                gsi: 20,
                active_low: true,
                level: true
            }
        );
        assert_eq!(
            p.isa_line(4),
            Line {
                gsi: 4,
                active_low: false,
                level: false
            }
        );
    }

    #[test]
    fn broken_records_end_the_walk() {
        for tail in [&[0u8, 0][..], &[0, 1, 2], &[0, 200, 1, 1], &[9], &[0, 8, 0, 5]] {
            let mut p = Platform::new();
            p.read_madt(&madt(&[&[0, 8, 1, 1, 1, 0, 0, 0], tail]));
            assert_eq!(p.cpus(), [1], "{tail:?}");
        }
        Platform::new().read_madt(&[]);
    }

    #[test]
    fn root_pointer_of_both_revisions() {
        let mut r = vec![0u8; 36];
        r[..8].copy_from_slice(b"RSD PTR ");
        r[16..20].copy_from_slice(&0x1234u32.to_le_bytes());
        let fix = |r: &mut Vec<u8>| {
            r[8] = 0;
            r[8] = 0u8.wrapping_sub(r[..20].iter().fold(0, |a: u8, &x| a.wrapping_add(x)));
            r[32] = 0;
            r[32] = 0u8.wrapping_sub(r.iter().fold(0, |a: u8, &x| a.wrapping_add(x)));
        };
        fix(&mut r);
        assert_eq!(root_of(&r), Some((0x1234, 4)));
        r[15] = 2;
        r[24..32].copy_from_slice(&0x5_0000_0000u64.to_le_bytes());
        fix(&mut r);
        assert_eq!(root_of(&r), Some((0x5_0000_0000, 8)));
        r[3] ^= 1;
        assert_eq!(root_of(&r), None);
        assert_eq!(root_of(&[]), None);
    }

    #[test]
    fn root_entries_of_both_widths() {
        let mut t = vec![0u8; 36];
        t.extend_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0, 9]);
        assert_eq!(entries(&t, 4).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(entries(&t, 8).collect::<Vec<_>>(), [1 | 2 << 32]);
        assert_eq!(entries(&[], 8).count(), 0);
    }
}
