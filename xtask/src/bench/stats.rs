// SPDX-License-Identifier: GPL-2.0
//! What is made of several measurements of the same thing.

/// The one in the middle; of an even number the mean of the two in the middle. `None` of nothing, or where one is no
/// number.
#[must_use]
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    if sorted.iter().any(|value| value.is_nan()) {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get((sorted.len() / 2).checked_sub(1)?)?;
    Some(lower + (upper - lower) / 2.0)
}

/// How many times `other` a value is; `None` where that says nothing.
#[must_use]
pub(super) fn ratio(value: f64, other: f64) -> Option<f64> {
    let ratio = value / other;
    (other > 0.0 && value >= 0.0 && ratio.is_finite()).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::{median, ratio};

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 100.0, 2.0]), Some(3.0));
        assert_eq!(median([1.0, f64::NAN, 2.0]), None);
        // One round that went wrong does not count for more than one.
        assert_eq!(median([10.0, 11.0, 0.0]), Some(10.0));
    }

    #[test]
    fn ratios_are_of_something() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(0.0, 2.0), Some(0.0));
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 1.0), None);
        assert_eq!(ratio(-1.0, 1.0), None);
    }
}
