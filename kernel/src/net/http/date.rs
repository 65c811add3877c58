//! The `Date` header's format.
#![forbid(unsafe_code)]

/// Bytes of a date on the wire.
pub(super) const LEN: usize = 29;

const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed"; // 1970-01-01 was a Thursday
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// Year, month (1 to 12) and day of a number of days since 1970: years that begin in March put the leap day last, and
/// 400 of them are always equally long.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468; // days since 0000-03-01
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * m + 2) / 5 + 1)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` for seconds since 1970; years beyond 9999 are cut to four digits.
pub(super) fn format(unix: u64) -> [u8; LEN] {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    out[..3].copy_from_slice(&DAYS[(days % 7) as usize * 3..][..3]);
    out[8..11].copy_from_slice(&MONTHS[(month as usize - 1) * 3..][..3]);
    let fields = [
        (5, day),
        (12, year / 100),
        (14, year),
        (17, seconds / 3600),
        (20, seconds / 60 % 60),
        (23, seconds % 60),
    ];
    for (at, n) in fields {
        out[at] += (n / 10 % 10) as u8;
        out[at + 1] += (n % 10) as u8;
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_dates() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_210_096, "Thu, 29 Feb 2024 12:34:56 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
        ] {
            assert_eq!(core::str::from_utf8(&super::format(unix)), Ok(text));
        }
    }
}
