// SPDX-License-Identifier: GPL-2.0
//! Compares symbols: what a kernel exports, what a module needs, and whether both mean the same Rust crates.
//!
//! A Rust symbol names its crates with a disambiguator, a hash over the compiler and the options it was built with
//! (`Csb5MLIFMWygY_6kernel`). Two crates with the same disambiguator have the same layout of all types.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, Result};

/// Crates of the kernel that modules are linked against.
const CRATES: &[&str] = &["4core", "6kernel"];

/// How many names an error shows.
const SHOWN: usize = 8;

/// The exported symbols in the text of a `Module.symvers`.
#[must_use]
pub fn exported(symvers: &str) -> BTreeSet<&str> {
    symvers.lines().filter_map(|line| line.split('\t').nth(1)).collect()
}

/// The symbols in the text of one of the kernel's `rust/exports_*_generated.h`.
#[must_use]
pub fn export_list(header: &str) -> Vec<String> {
    header
        .lines()
        .filter_map(|line| line.strip_prefix("EXPORT_SYMBOL_RUST_GPL(")?.strip_suffix(");"))
        .map(str::to_owned)
        .collect()
}

/// The undefined symbols in the output of `nm`, and all symbols in it.
#[must_use]
pub fn nm(output: &str) -> (Vec<&str>, Vec<&str>) {
    let mut undefined = Vec::new();
    let mut all = Vec::new();
    for line in output.lines() {
        let mut words = line.split_whitespace().rev();
        let (Some(name), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if kind == "U" {
            undefined.push(name);
        }
        all.push(name);
    }
    (undefined, all)
}

/// Checks that `rebuilt` Rust symbols are all among those the kernel exports.
///
/// # Errors
///
/// When one is not, or there are none.
pub fn same_rust(rebuilt: &[String], exported: &BTreeSet<&str>) -> Result<()> {
    if rebuilt.is_empty() {
        bail!("the rebuilt metadata exports no Rust symbol");
    }
    let missing: Vec<&str> = rebuilt
        .iter()
        .map(String::as_str)
        .filter(|name| !exported.contains(name))
        .collect();
    if !missing.is_empty() {
        bail!(
            "{} of {} Rust symbols are not exported by it: {}",
            missing.len(),
            rebuilt.len(),
            shown(&missing)
        );
    }
    Ok(())
}

/// Checks that the kernel exports every `undefined` symbol of a module.
///
/// # Errors
///
/// When it does not.
pub fn all_exported(undefined: &[&str], exported: &BTreeSet<&str>) -> Result<()> {
    let missing: Vec<&str> = undefined
        .iter()
        .copied()
        .filter(|name| !exported.contains(name))
        .collect();
    if !missing.is_empty() {
        bail!(
            "the module needs {} symbols the kernel does not export: {}",
            missing.len(),
            shown(&missing)
        );
    }
    Ok(())
}

/// Checks that the symbols of a module mean the same `core` and `kernel` crates as those the kernel exports.
///
/// # Errors
///
/// When they do not, or the module refers to no Rust crate at all.
pub fn same_crates<'a>(module: &[&'a str], exported: &BTreeSet<&'a str>) -> Result<()> {
    let ours = disambiguators(module.iter().copied());
    let theirs = disambiguators(exported.iter().copied());
    if ours.is_empty() {
        bail!("the module refers to neither of the Rust crates `core` and `kernel`");
    }
    for (name, mine) in &ours {
        let kernel = theirs.get(name).cloned().unwrap_or_default();
        if !mine.is_subset(&kernel) {
            bail!("the module was built with another crate {name} ({mine:?}) than the kernel ({kernel:?})");
        }
    }
    Ok(())
}

/// The disambiguators of the crates that matter, by crate, in mangled names (`…Cs<hash>_4core…`).
fn disambiguators<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'static str, BTreeSet<&'a str>> {
    let mut found: BTreeMap<&'static str, BTreeSet<&'a str>> = BTreeMap::new();
    for name in names {
        for (start, _) in name.match_indices("Cs") {
            let rest = &name[start + 2..];
            let Some((hash, after)) = rest.split_once('_') else {
                continue;
            };
            let hash_like = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if let (true, Some(crate_name)) = (hash_like, CRATES.iter().find(|wanted| after.starts_with(**wanted))) {
                found.entry(crate_name).or_default().insert(hash);
            }
        }
    }
    found
}

fn shown(names: &[&str]) -> String {
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::{all_exported, export_list, exported, nm, same_crates, same_rust};

    const SYMVERS: &str = "0x00000000\tbio_put\tvmlinux\tEXPORT_SYMBOL\t\n\
        0x00000000\t_RNvNtNtCs2lKf6AS60Zg_4core5slice5index\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
        0x00000000\t_RNvNtCsb5MLIFMWygY_6kernel5print4x\tvmlinux\tEXPORT_SYMBOL_GPL\t\n";

    #[test]
    fn exports_are_read() {
        let names = exported(SYMVERS);
        assert_eq!(names.len(), 3);
        assert!(names.contains("bio_put"));
        assert_eq!(export_list("EXPORT_SYMBOL_RUST_GPL(_Rabc);\n// x\n"), ["_Rabc"]);
    }

    #[test]
    fn a_symbol_that_is_not_exported_is_named() {
        let (undefined, all) =
            nm("                 U bio_put\n0000000000000000 T init_module\n                 U secret\n");
        assert_eq!((undefined.as_slice(), all.len()), (["bio_put", "secret"].as_slice(), 3));
        let error = all_exported(&undefined, &exported(SYMVERS)).unwrap_err().to_string();
        assert!(error.contains("secret") && !error.contains("bio_put"), "{error}");
        all_exported(&["bio_put"], &exported(SYMVERS)).unwrap();
    }

    #[test]
    fn another_crate_is_noticed() {
        let exports = exported(SYMVERS);
        same_crates(
            &[
                "_RNvXCs1x_7netraidNtCs2lKf6AS60Zg_4core3fmt",
                "_RNvCsb5MLIFMWygY_6kernel",
            ],
            &exports,
        )
        .unwrap();
        assert!(same_crates(&["_RNvNtCsOTHER_4core3fmt"], &exports).is_err());
        assert!(same_crates(&["plain_c"], &exports).is_err());
    }

    #[test]
    fn rebuilt_symbols_must_all_be_exported() {
        let exports = exported(SYMVERS);
        same_rust(&["_RNvNtCsb5MLIFMWygY_6kernel5print4x".into()], &exports).unwrap();
        assert!(same_rust(&["_RNvNtCsb5MLIFMWygZ_6kernel5print4x".into()], &exports).is_err());
        assert!(same_rust(&[], &exports).is_err());
    }
}
