// SPDX-License-Identifier: GPL-2.0

//! Sizes and the arithmetic on them that cannot overflow.
//!
//! Offsets and lengths in this crate are bytes in a `u64` unless a name says otherwise; times are
//! milliseconds.

/// Bytes of a sector, the unit in which the block layer counts. Every offset and length that
/// reaches a disk is a multiple of it.
pub const SECTOR_SIZE: u64 = 512;

/// Binary logarithm of [`SECTOR_SIZE`].
pub const SECTOR_SHIFT: u32 = 9;

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;

/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;

/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;

/// Bytes of a number of sectors; the largest `u64` where that is too many to count.
#[must_use]
pub const fn sectors_to_bytes(sectors: u64) -> u64 {
    sectors.saturating_mul(SECTOR_SIZE)
}

/// Whole sectors in a number of bytes; a remainder is dropped.
#[must_use]
pub const fn bytes_to_sectors(bytes: u64) -> u64 {
    bytes >> SECTOR_SHIFT
}

/// Whether a number of bytes is a whole number of sectors.
#[must_use]
pub const fn is_sector_aligned(bytes: u64) -> bool {
    bytes & (SECTOR_SIZE.wrapping_sub(1)) == 0
}

/// `value * numerator / denominator`, rounded down, at most the largest `u64`.
///
/// The kernel has no 128-bit division. Where the product does not fit, low bits of the larger
/// factor and of the denominator are dropped until it does: a result below 2^50 is then off by
/// less than a thousandth, either way. A denominator of zero counts as one.
#[must_use]
pub const fn mul_div(value: u64, numerator: u64, denominator: u64) -> u64 {
    let (mut large, small) = if value > numerator {
        (value, numerator)
    } else {
        (numerator, value)
    };
    let mut denominator = if denominator == 0 { 1 } else { denominator };
    loop {
        if let Some(product) = large.checked_mul(small) {
            return match product.checked_div(denominator) {
                Some(quotient) => quotient,
                // So many bits had to go that the true result is 2^63 or more.
                None => u64::MAX,
            };
        }
        // Each round halves a factor, so that after 64 at the latest the product fits.
        large >>= 1;
        denominator >>= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_and_bytes_convert_both_ways() {
        assert_eq!(sectors_to_bytes(3), 1536);
        assert_eq!(bytes_to_sectors(1536), 3);
        assert_eq!(bytes_to_sectors(1537), 3);
        assert_eq!(sectors_to_bytes(u64::MAX), u64::MAX);
        assert!(is_sector_aligned(0) && is_sector_aligned(1024));
        assert!(!is_sector_aligned(513));
    }

    #[test]
    fn mul_div_is_exact_where_it_fits_and_close_where_not() {
        assert_eq!(mul_div(7, 1000, 3), 2333);
        assert_eq!(mul_div(7, 1000, 0), 7000);
        assert_eq!(mul_div(1 << 60, 1000, 1 << 61), 500);
        assert!(mul_div(1000, u64::MAX / 2, u64::MAX).abs_diff(500) <= 1);
        assert_eq!(mul_div(u64::MAX, 1000, 1), u64::MAX);
    }
}
