// SPDX-License-Identifier: GPL-2.0
//! Rules of this project no other tool checks: `unsafe` and the kernel's raw bindings stay in `kmod/src/sys`, every
//! source names its licence, no file grows beyond what can be read at a stretch.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context as _, Result};

use crate::cmd::Cmd;
use crate::paths::Paths;
use crate::progress::Step;

/// The one place in the module where `unsafe` and raw bindings may be.
const SYS: &str = "kmod/src/sys/";

/// The longest a hand-written source may be, lines.
const LINES_MAX: usize = 600;

/// Kinds of files that must name their licence.
const SOURCES: &[&str] = &["c", "h", "rs", "sh", "toml", "yaml", "py"];

/// Checks every file git knows.
///
/// # Errors
///
/// When a rule is broken; all places are named.
pub fn check(paths: &Paths) -> Result<()> {
    let listed = Cmd::new("git")
        .args(["ls-files", "-z", "--cached"])
        .dir(&paths.checkout)
        .run(&Step::silent())?;
    let mut broken = Vec::new();
    for name in listed
        .trim_end_matches('\n')
        .split('\0')
        .filter(|name| !name.is_empty())
    {
        let file = paths.checkout.join(name);
        if !file.is_file() || !is_source(name) {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        broken.extend(
            violations(name, &text)
                .into_iter()
                .map(|what| format!("{name}: {what}")),
        );
    }
    if !broken.is_empty() {
        bail!("{} rules are broken:\n{}", broken.len(), broken.join("\n"));
    }
    Ok(())
}

fn is_source(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|kind| SOURCES.iter().any(|source| kind == *source))
}

fn violations(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text
        .lines()
        .take(2)
        .any(|line| line.contains("SPDX-License-Identifier:"))
    {
        found.push("the first lines name no licence (SPDX-License-Identifier)".to_owned());
    }
    let generated = text
        .lines()
        .take(6)
        .any(|line| line.contains("auto-generated") || line.contains("@generated"));
    let code = [".rs", ".c", ".h"].iter().any(|kind| name.ends_with(kind));
    if code && !generated && text.lines().count() > LINES_MAX {
        found.push(format!(
            "{} lines; more than {LINES_MAX} are too many for one file",
            text.lines().count()
        ));
    }
    let module = name.starts_with("kmod/src/") || name.starts_with("kmod/core/src/");
    if module && name.ends_with(".rs") && !name.starts_with(SYS) {
        let code = code_only(text);
        for word in ["unsafe", "bindings"] {
            if has_word(&code, word) {
                found.push(format!("`{word}` outside {SYS}; wrap it there"));
            }
        }
    }
    found
}

/// Rust without comments and the inside of strings.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_length(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Bytes of the string literal `text` begins with.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    text.len()
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::violations;

    const HEAD: &str = "// SPDX-License-Identifier: GPL-2.0\n";

    #[test]
    fn raw_code_is_found_outside_its_place() {
        let text = format!("{HEAD}fn f() {{ unsafe {{ bindings::x() }} }}\n");
        assert_eq!(violations("kmod/src/volume/mod.rs", &text).len(), 2);
        assert!(violations("kmod/src/sys/bio.rs", &text).is_empty());
        assert!(violations("netraid-ctl/src/x.rs", &text).is_empty());
    }

    #[test]
    fn words_in_comments_strings_and_names_do_not_count() {
        let text = format!(
            "{HEAD}#![forbid(unsafe_code)]\n// unsafe\n/* bindings */ const A: &str = \"unsafe \\\" unsafe\";\n"
        );
        assert!(violations("kmod/core/src/lib.rs", &text).is_empty());
    }

    #[test]
    fn licence_and_length() {
        assert_eq!(violations("a.toml", "[x]\n").len(), 1);
        assert_eq!(violations("a.rs", &format!("{HEAD}{}", "x\n".repeat(601))).len(), 1);
        assert!(violations("a.rs", &format!("{HEAD}// @generated by x\n{}", "x\n".repeat(601))).is_empty());
    }
}
