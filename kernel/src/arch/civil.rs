//! Calendar arithmetic: the CMOS clock's registers to seconds since 1970.

/// Days from 1970-01-01 to a date of the Gregorian calendar (years from 2000).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let before = (1970..year).map(|y| 365 + u64::from(leap(y))).sum::<u64>();
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    before + lengths[..month as usize - 1].iter().sum::<u64>() + day - 1
}

/// Seconds since 1970 from seconds, minutes, hours, day, month, year (of this century), as status register B
/// says they are coded; `None` if they are no date.
pub(super) fn unix_from_cmos(regs: [u8; 6], status_b: u8) -> Option<u64> {
    let binary = status_b & 4 != 0;
    let half_day = status_b & 2 == 0;
    let pm = half_day && regs[2] & 0x80 != 0;
    let decode = |v: u8| u64::from(if binary { v } else { (v >> 4) * 10 + (v & 15) });
    let [s, m, h, day, month, year] = [
        regs[0],
        regs[1],
        if half_day { regs[2] & 0x7f } else { regs[2] },
        regs[3],
        regs[4],
        regs[5],
    ]
    .map(decode);
    let h = if half_day {
        h % 12 + if pm { 12 } else { 0 }
    } else {
        h
    };
    if s > 59 || m > 59 || h > 23 || !(1..=31).contains(&day) || !(1..=12).contains(&month) || year > 99 {
        return None;
    }
    Some(days(2000 + year, month, day) * 86_400 + h * 3600 + m * 60 + s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(unix_from_cmos([0, 0, 0, 1, 1, 0], 2), Some(946_684_800));
        assert_eq!(
            unix_from_cmos([0x56, 0x34, 0x12, 0x29, 0x02, 0x24], 2),
            Some(1_709_210_096)
        );
        assert_eq!(unix_from_cmos([56, 34, 12, 29, 2, 24], 6), Some(1_709_210_096));
        assert_eq!(
            unix_from_cmos([0x56, 0x34, 0x92, 0x29, 0x02, 0x24], 0),
            Some(1_709_210_096)
        );
        assert_eq!(unix_from_cmos([0xff; 6], 2), None);
    }
}
