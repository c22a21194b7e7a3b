// SPDX-License-Identifier: GPL-2.0
//! Configurations of kernels: what a fragment asks for and whether it came out.
//!
//! The kernel's own tools silently drop what they do not know or what depends on something else, so that a kernel can
//! lack the very checks it was built for.

use std::collections::BTreeMap;

use anyhow::{ensure, Result};

/// The settings in the text of a configuration or a fragment; what is `not set` has the value `n`. Of several for one
/// symbol the last one counts.
fn settings(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = unset(line) {
            found.insert(name, "n");
        } else if let Some((name, value)) = line.split_once('=').filter(|(name, _)| name.starts_with("CONFIG_")) {
            found.insert(name, value);
        }
    }
    found
}

fn unset(line: &str) -> Option<&str> {
    let name = line.strip_prefix("# ")?.strip_suffix(" is not set")?;
    name.starts_with("CONFIG_").then_some(name)
}

/// Checks that everything `fragment` asks for is in `config`; what a configuration does not mention is off.
///
/// # Errors
///
/// When something is not, with the names of all that are not; or when the fragment asks for nothing.
pub fn fulfilled(fragment: &str, config: &str) -> Result<()> {
    let (wanted, found) = (settings(fragment), settings(config));
    ensure!(!wanted.is_empty(), "the fragment asks for nothing");
    let unmet: Vec<String> = wanted
        .iter()
        .filter_map(|(name, value)| {
            let got = found.get(name).copied().unwrap_or("n");
            (got != *value).then(|| format!("{name}={value} came out as {got}"))
        })
        .collect();
    ensure!(
        unmet.is_empty(),
        "the kernel does not take {} of the settings it was given, because they depend on something else or have \
         another name in this version: {}",
        unmet.len(),
        unmet.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fulfilled;

    const CONFIG: &str = "CONFIG_SMP=y\n# CONFIG_VT is not set\nCONFIG_NR_CPUS=8\nCONFIG_NAME=\"a b\"\n";

    #[test]
    fn what_is_there_is_fulfilled() {
        fulfilled("# words\nCONFIG_SMP=y\nCONFIG_NR_CPUS=8\nCONFIG_NAME=\"a b\"\n", CONFIG).unwrap();
    }

    #[test]
    fn what_is_not_mentioned_is_off() {
        fulfilled(
            "# CONFIG_VT is not set\n# CONFIG_WLAN is not set\nCONFIG_USB=n\n",
            CONFIG,
        )
        .unwrap();
    }

    #[test]
    fn everything_that_did_not_come_out_is_named() {
        let fragment = "CONFIG_SMP=y\nCONFIG_KASAN=y\nCONFIG_NR_CPUS=4\nCONFIG_VT=y\n";
        let error = fulfilled(fragment, CONFIG).unwrap_err().to_string();
        for told in [
            "3 of the settings",
            "CONFIG_KASAN=y came out as n",
            "CONFIG_NR_CPUS=4 came out as 8",
            "CONFIG_VT=y",
        ] {
            assert!(error.contains(told), "{error}");
        }
        assert!(!error.contains("SMP"), "{error}");
        assert!(fulfilled("# CONFIG_SMP is not set\n", CONFIG).is_err());
    }

    #[test]
    fn the_last_setting_counts_and_an_empty_fragment_is_a_mistake() {
        fulfilled("CONFIG_SMP=n\nCONFIG_SMP=y\n", CONFIG).unwrap();
        assert!(fulfilled("# only words\n", CONFIG).is_err());
    }
}
