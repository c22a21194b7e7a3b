// SPDX-License-Identifier: GPL-2.0
//! Where things are: the checkout, what is built in it, and the cache outside it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The directories xtask works with.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The checkout.
    pub checkout: PathBuf,
    /// What is built from this checkout: `target/netraid`.
    pub target: PathBuf,
    /// What is kept for all checkouts: roots, kernels, metadata.
    pub cache: PathBuf,
}

impl Paths {
    /// Finds them from the environment.
    ///
    /// # Errors
    ///
    /// When no place for the cache is known or the checkout cannot be found.
    pub fn find() -> Result<Self> {
        let checkout = checkout()?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), |dir| checkout.join(dir));
        let cache = cache_dir(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
            .context("there is no place for the cache: set NETRAID_CACHE or HOME")?;
        Ok(Self {
            target: target.join("netraid"),
            cache: std::path::absolute(cache)?,
            checkout,
        })
    }

    /// The log of a step.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.cache.join("logs").join(format!("{name}.log"))
    }

    /// The spec of the control interface.
    #[must_use]
    pub fn spec(&self) -> PathBuf {
        self.checkout.join("kmod/spec/netraid.yaml")
    }

    /// What is built for one kernel.
    #[must_use]
    pub fn built(&self, kver: &str) -> PathBuf {
        self.target.join(kver)
    }
}

fn checkout() -> Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let checkout = manifest.parent().context("the directory of xtask has no parent")?;
    checkout
        .canonicalize()
        .with_context(|| format!("the checkout {} cannot be found", checkout.display()))
}

/// `$NETRAID_CACHE`, else `$XDG_CACHE_HOME/netraid`, else `~/.cache/netraid`.
fn cache_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("NETRAID_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("netraid")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/netraid")))
}

/// `path` as text, for command lines and messages.
///
/// # Errors
///
/// When it is not UTF-8.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("the path {} is not UTF-8; use another directory", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{cache_dir, PathBuf};

    fn with(set: &[(&'static str, &'static str)]) -> Option<PathBuf> {
        cache_dir(|name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let all = [("NETRAID_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(with(&all), Some("/a".into()));
        assert_eq!(with(&all[1..]), Some("/b/netraid".into()));
        assert_eq!(with(&all[2..]), Some("/c/.cache/netraid".into()));
        assert_eq!(with(&[]), None);
    }
}
