// SPDX-License-Identifier: GPL-2.0
//! Rules of this project no other tool checks: `unsafe` and the kernel's raw bindings stay in `kmod/src/sys`, every
//! source names its licence, no file grows beyond what can be read at a stretch, nothing is left for later, tests wait
//! for events and not for time, and where packages come from is each machine's own affair.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context as _, Result};

use crate::cmd::Cmd;
use crate::paths::Paths;
use crate::progress::Step;

/// The one place in the module where `unsafe` and raw bindings may be.
const SYS: &str = "kmod/src/sys/";

/// The longest a hand-written source may be, lines.
const LINES_MAX: usize = 450;

/// Kinds of files that must name their licence.
const SOURCES: &[&str] = &["c", "h", "rs", "sh", "toml", "yaml", "py"];

/// Signs of work left for later. Each is written in two parts, for else this file would break the rule.
const UNDONE: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// Hosts of package registries and archives: a machine's own configuration says which ones it uses.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("rust-lang", ".org"),
    concat!("debian", ".org"),
    concat!("pypi", ".org"),
    concat!("npmjs", ".org"),
];

/// Tests that must not wait for time to pass.
const PATIENT: &str = "tests-qemu/tests/";

/// `git`, to be asked about the checkout even when that belongs to somebody else.
#[must_use]
pub fn git(paths: &Paths) -> Cmd {
    Cmd::new("git").args(["-c", "safe.directory=*"]).dir(&paths.checkout)
}

/// Checks every file git knows.
///
/// # Errors
///
/// When a rule is broken; all places are named.
pub fn check(paths: &Paths) -> Result<()> {
    let listed = git(paths).args(["ls-files", "-z", "--cached"]).run(&Step::silent())?;
    let mut broken = Vec::new();
    for name in listed
        .trim_end_matches('\n')
        .split('\0')
        .filter(|name| !name.is_empty())
    {
        let file = paths.checkout.join(name);
        // Cargo writes lock files by itself.
        if !file.is_file() || name.ends_with("Cargo.lock") {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("cannot read {name}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
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
    let mut found = words(name, text);
    if !is_source(name) {
        return found;
    }
    let mut first = text.lines().take(2);
    if !first.any(|line| line.contains("SPDX-License-Identifier:")) {
        found.push("the first lines name no licence (SPDX-License-Identifier)".to_owned());
    }
    let lines = text.lines().count();
    if is_code(name) && !is_generated(name, text) && lines > LINES_MAX {
        found.push(format!(
            "{lines} lines; more than {LINES_MAX} are too many for one file"
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

/// Words that must not be in any file, or not in this one.
fn words(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut add = |what: String| found.push(format!("line {}: {what}", number + 1));
        for word in UNDONE.iter().filter(|word| is_source(name) && line.contains(*word)) {
            add(format!("`{word}`; finish it, or leave it out"));
        }
        for host in REGISTRIES.iter().filter(|host| line.contains(*host)) {
            add(format!("`{host}`; name no registry, machines are set up for theirs"));
        }
        if name.starts_with(PATIENT) && name.ends_with(".rs") && has_word(line, "sleep") && line.contains("thread::") {
            add("a sleep; wait for the event instead".to_owned());
        }
    }
    found
}

fn is_code(name: &str) -> bool {
    [".rs", ".c", ".h"].iter().any(|kind| name.ends_with(kind))
}

fn is_generated(name: &str, text: &str) -> bool {
    let marked = |line: &str| line.contains("auto-generated") || line.contains("@generated");
    name.contains("/gen/") || text.lines().take(6).any(marked)
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
    use super::{violations, REGISTRIES, UNDONE};

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
        assert_eq!(violations("a.rs", &format!("{HEAD}{}", "x\n".repeat(451))).len(), 1);
        assert!(violations("x/gen/a.rs", &format!("{HEAD}{}", "x\n".repeat(451))).is_empty());
        assert!(violations("a.rs", &format!("{HEAD}// @generated by x\n{}", "x\n".repeat(451))).is_empty());
    }

    #[test]
    fn nothing_is_left_for_later() {
        for word in UNDONE {
            let text = format!("{HEAD}// {word}\n");
            assert_eq!(violations("a.rs", &text).len(), 1, "{word}");
            assert!(violations("COPYING", &text).is_empty());
        }
    }

    #[test]
    fn registries_are_not_named_anywhere() {
        let text = format!("see https://deb.{}/\n", REGISTRIES[2]);
        assert_eq!(violations("README.md", &text).len(), 1);
    }

    #[test]
    fn tests_do_not_sleep() {
        let text = format!("{HEAD}fn f() {{ std::thread::sleep(x) }}\n");
        assert_eq!(violations("tests-qemu/tests/a.rs", &text).len(), 1);
        assert!(violations("tests-qemu/src/a.rs", &text).is_empty());
    }
}
