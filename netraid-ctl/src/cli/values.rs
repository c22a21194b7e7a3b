// SPDX-License-Identifier: GPL-2.0
//! Values as they are written on the command line.

use std::path::PathBuf;
use std::time::Duration;

use netraid_core::meta::MAX_ASYNC_LIMIT;
use netraid_core::priority::Priority;

/// Where the metadata of a mirror is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bitmap {
    /// In a file or on a block device.
    Path(PathBuf),
    /// At the end of the disk.
    Internal,
    /// No maps; superblocks alone, in a file, at the usual path unless one is given.
    None(Option<PathBuf>),
}

pub(crate) fn parse_bitmap(text: &str) -> Result<Bitmap, String> {
    match (text, text.strip_prefix("none:")) {
        ("", _) | (_, Some("")) => Err("a path is missing".to_owned()),
        ("internal", _) => Ok(Bitmap::Internal),
        ("none", _) => Ok(Bitmap::None(None)),
        (_, Some(path)) => Ok(Bitmap::None(Some(path.into()))),
        (path, None) => Ok(Bitmap::Path(path.into())),
    }
}

pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("a mirror needs a name".to_owned());
    }
    if text.len() > 64 {
        return Err(format!("it has {} bytes, a name has at most 64", text.len()));
    }
    if text.starts_with(['.', '-']) {
        return Err("a name does not start with . or -".to_owned());
    }
    match text.chars().find(|&c| !c.is_ascii_alphanumeric() && !"._-".contains(c)) {
        Some(c) => Err(format!(
            "a name consists of A-Z a-z 0-9 . _ - and `{}` is none of them",
            c.escape_default()
        )),
        None => Ok(text.to_owned()),
    }
}

/// A number of bytes, with K, M, G or T (powers of 1024) after it.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is a number, with K, M or G after it if you like".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let suffix = text.strip_prefix(digits).unwrap_or_default().to_ascii_lowercase();
    let shift = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "it is too large".to_owned())
}

/// How many operations an asynchronous target may have outstanding.
pub(crate) fn parse_async_limit(text: &str) -> Result<u32, String> {
    let limit: u32 = text.parse().map_err(|_| "it is a number of operations".to_owned())?;
    if limit > MAX_ASYNC_LIMIT {
        return Err(format!("{MAX_ASYNC_LIMIT} is the most"));
    }
    Ok(limit)
}

/// The priority of a machine.
pub(super) fn parse_priority(text: &str) -> Result<u32, String> {
    let number: u32 = text.parse().map_err(|_| {
        format!(
            "a priority is a number from {} to {}",
            Priority::HIGHEST,
            Priority::LOWEST
        )
    })?;
    let priority = Priority::new(number).map_err(|error| error.to_string())?;
    Ok(u32::from(priority.number()))
}

pub(super) fn parse_chunk_size(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?)
        .ok()
        .filter(|bytes| bytes.is_power_of_two() && (4096..=1 << 30).contains(bytes))
        .ok_or_else(|| "a chunk is a power of two from 4K to 1G".to_owned())
}

pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| duration.as_secs() <= 31_536_000)
        .ok_or_else(|| "a wait lasts from 0 to 31536000 seconds, a year".to_owned())
}
