// SPDX-License-Identifier: GPL-2.0
//! `/etc/default/netraid`: settings for every mirror that is made on this machine.
//!
//! The file has the form of a shell script that only assigns, `KEY=VALUE`, with comments, quotes and `export`; keys
//! that mean nothing here are passed over. `NO_FULL_SYNC=1` says that the disks of source and target were made equal
//! by other means, `ASYNC_LIMIT=N` how many operations an asynchronous target may have outstanding; it counts only
//! above 2, and is at most 4096. The keys can be written with `LKDR_` before them, as elsewhere, and the first also as LKDR_NOFULL_SYNC.

use std::io;

use anyhow::{anyhow, Context as _, Result};
use netraid_core::meta::MAX_ASYNC_LIMIT;

use crate::env::Env;

/// The spellings of the key for `--no-full-sync`; an earlier one counts more.
const NO_FULL_SYNC: [&str; 3] = ["NO_FULL_SYNC", "LKDR_NO_FULL_SYNC", "LKDR_NOFULL_SYNC"];
/// The spellings of the key for the limit of asynchronous targets.
const ASYNC_LIMIT: [&str; 2] = ["ASYNC_LIMIT", "LKDR_ASYNC_LIMIT"];

/// The settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Source and target were made equal by other means.
    pub no_full_sync: bool,
    /// Most operations that an asynchronous target may have outstanding, where it is not the usual number.
    pub async_limit: Option<u32>,
}

/// One assignment: the line it is on, the key and the value as it is written.
type Assignment = (usize, String, String);

impl Defaults {
    /// Reads the file of this machine; there need not be one.
    ///
    /// # Errors
    ///
    /// A sentence with the file and the line.
    pub fn read(env: &Env<'_>) -> Result<Self> {
        let path = &env.paths.defaults;
        let text = match env.host.read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        Self::parse(&text).map_err(|(line, why)| anyhow!("{}, line {line}: {why}", path.display()))
    }

    /// What the text of a file says.
    ///
    /// # Errors
    ///
    /// The number of a line, from 1 on, and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut all: Vec<Assignment> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            if let Some((key, value)) = assignment(line).map_err(|why| (number, why))? {
                all.push((number, key, value));
            }
        }
        let mut defaults = Self::default();
        if let Some((line, key, value)) = last(&all, &NO_FULL_SYNC)? {
            defaults.no_full_sync = match value.as_str() {
                "1" => true,
                "0" | "" => false,
                other => return Err((line, format!("{key} is 1 or 0, and `{other}` is neither"))),
            };
        }
        if let Some((line, key, value)) = last(&all, &ASYNC_LIMIT)?.filter(|(_, _, value)| !value.is_empty()) {
            let limit: u32 = value
                .parse()
                .map_err(|_| (line, format!("{key} is a number, and `{value}` is none")))?;
            if limit > MAX_ASYNC_LIMIT {
                return Err((line, format!("{key} is at most {MAX_ASYNC_LIMIT}, and {limit} is more")));
            }
            defaults.async_limit = Some(limit).filter(|&limit| limit > 2);
        }
        Ok(defaults)
    }
}

/// The last assignment to the first of these keys that has any, its value without quotes.
fn last(all: &[Assignment], keys: &[&str]) -> Result<Option<Assignment>, (usize, String)> {
    let found = keys
        .iter()
        .find_map(|wanted| all.iter().rev().find(|(_, key, _)| key == wanted));
    found
        .map(|(line, key, value)| match unquote(value) {
            Ok(plain) => Ok((*line, key.clone(), plain)),
            Err(why) => Err((*line, why)),
        })
        .transpose()
}

/// The assignment on a line, `None` when it is empty or a comment.
fn assignment(line: &str) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map_or(line, str::trim_start);
    let (key, value) = line
        .split_once('=')
        .ok_or_else(|| format!("`{line}` assigns nothing; write KEY=VALUE, or # before a comment"))?;
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() || !key.chars().all(named) || key.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "`{key}` is no key; it consists of letters, digits and _, and no blank is before the ="
        ));
    }
    Ok(Some((key.to_owned(), value.to_owned())))
}

/// A value as the shell would read it, without substitutions.
fn unquote(text: &str) -> Result<String, String> {
    let mut value = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"') | None, '\\') => value.push(chars.next().ok_or("nothing follows the backslash")?),
            (Some('"') | None, '$' | '`') => return Err(format!("`{c}` is not replaced here; write the value itself")),
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ' | '\t') => {
                let rest = chars.as_str().trim_start();
                if rest.is_empty() || rest.starts_with('#') {
                    break;
                }
                return Err(format!("`{rest}` follows the value; put a value with blanks in quotes"));
            }
            (None, ';') => return Err("one line is one assignment, without `;`".to_owned()),
            _ => value.push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote {open} is not closed")),
        None => Ok(value),
    }
}
