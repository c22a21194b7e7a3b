// SPDX-License-Identifier: GPL-2.0
//! Debian version numbers, and which kernel of a series is the newest.

use std::cmp::Ordering;

/// A kernel of the distribution for which sources and headers are offered in the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The series, `7.3`.
    pub series: String,
    /// What `uname -r` says on it, `7.3.4+deb13-amd64`.
    pub kver: String,
    /// Version of its packages, `7.3.4-1~bpo13+1`.
    pub version: String,
}

/// Picks the newest kernel of `series` from what apt offers: (package, version) of headers and of sources.
///
/// Only plain amd64 kernels count (no cloud or real-time ones), and only such whose sources are offered in the same
/// version, because the Rust metadata is made from them.
#[must_use]
pub fn newest(series: &str, offers: &[(String, String)]) -> Option<Kernel> {
    let source = format!("linux-source-{series}");
    let sources: Vec<&str> = offers
        .iter()
        .filter(|(name, _)| *name == source)
        .map(|(_, version)| version.as_str())
        .collect();
    offers
        .iter()
        .filter_map(|(name, version)| Some((name.strip_prefix("linux-headers-")?, version)))
        .filter(|(kver, version)| plain(kver, series) && sources.contains(&version.as_str()))
        .max_by(|(_, left), (_, right)| compare(left, right))
        .map(|(kver, version)| Kernel {
            series: series.into(),
            kver: kver.into(),
            version: version.clone(),
        })
}

/// Whether `kver` is `SERIES.PATCH…-amd64` without a flavour.
fn plain(kver: &str, series: &str) -> bool {
    let Some(rest) = kver.strip_prefix(series) else {
        return false;
    };
    let Some(middle) = rest
        .strip_prefix(['.', '+', '-'])
        .and_then(|rest| rest.strip_suffix("-amd64"))
    else {
        return false;
    };
    !middle.contains('-')
}

/// Orders two Debian versions as dpkg does.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    fn split(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let (left, right) = (split(left), split(right));
    left.0
        .cmp(&right.0)
        .then_with(|| compare_part(left.1, right.1))
        .then_with(|| compare_part(left.2, right.2))
}

fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, right_text) = (
            take(&mut left, |byte| !byte.is_ascii_digit()),
            take(&mut right, |byte| !byte.is_ascii_digit()),
        );
        let order = compare_text(left_text.as_bytes(), right_text.as_bytes());
        if order.is_ne() {
            return order;
        }
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let order = number(take(&mut left, |byte| byte.is_ascii_digit()))
            .cmp(&number(take(&mut right, |byte| byte.is_ascii_digit())));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(text: &mut &'a str, wanted: impl Fn(&u8) -> bool) -> &'a str {
    let length = text.bytes().take_while(|byte| wanted(byte)).count();
    let (taken, rest) = text.split_at(length);
    *text = rest;
    taken
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    (0..left.len().max(right.len()))
        .map(|at| weight(left.get(at)).cmp(&weight(right.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::{compare, newest, Ordering};

    #[test]
    fn versions_are_ordered_as_dpkg_does() {
        for (left, right) in [
            ("7.2.9-1~bpo13+1", "7.2.12-1~bpo13+1"),
            ("7.3.4-1~bpo13+1", "7.3.4-1"),
            ("7.3.4-1~bpo13+1", "7.3.4-1~bpo13+2"),
            ("7.3~rc5-1~exp1", "7.3-1"),
            ("9.9", "1:0.1"),
            ("1.0a", "1.0+"),
        ] {
            assert_eq!(compare(left, right), Ordering::Less, "{left} {right}");
            assert_eq!(compare(right, left), Ordering::Greater, "{right} {left}");
        }
        assert_eq!(compare("1.0-1", "1.00-1"), Ordering::Equal);
    }

    fn offers(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|&(name, version)| (name.into(), version.into()))
            .collect()
    }

    #[test]
    fn the_newest_plain_kernel_with_sources_is_picked() {
        let offers = offers(&[
            ("linux-source-7.2", "7.2.12-1~bpo13+1"),
            ("linux-source-7.2", "7.2.9-1~bpo13+1"),
            ("linux-headers-7.2.9+deb13-amd64", "7.2.9-1~bpo13+1"),
            ("linux-headers-7.2.12+deb13-amd64", "7.2.12-1~bpo13+1"),
            ("linux-headers-7.2.12+deb13-cloud-amd64", "7.2.12-1~bpo13+1"),
            ("linux-headers-7.2.12+deb13-rt-amd64", "7.2.12-1~bpo13+1"),
            ("linux-headers-7.2.12+deb13-common", "7.2.12-1~bpo13+1"),
            ("linux-headers-7.2.13+deb13-amd64", "7.2.13-1~bpo13+1"),
            ("linux-headers-7.20.1+deb13-amd64", "7.2.12-1~bpo13+1"),
        ]);
        let kernel = newest("7.2", &offers).unwrap();
        assert_eq!(
            (kernel.kver.as_str(), kernel.version.as_str()),
            ("7.2.12+deb13-amd64", "7.2.12-1~bpo13+1")
        );
        assert_eq!(newest("7.3", &offers), None);
    }
}
