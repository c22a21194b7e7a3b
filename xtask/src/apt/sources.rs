// SPDX-License-Identifier: GPL-2.0
//! Reads which mirrors a machine's apt uses, in both formats apt knows, and writes the sources for Debian 13.

use std::fmt::Write as _;

/// The Debian release everything is built with.
pub const SUITE: &str = "trixie";

/// Names by which apt configurations call Debian releases.
const SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// One place packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where: the URI as the configuration has it.
    pub uri: String,
    /// The suites taken from there.
    pub suites: Vec<String>,
}

/// The mirrors of Debian a machine uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// URI of the archive.
    pub archive: String,
    /// URI of the archive of security updates, when there is one.
    pub security: Option<String>,
}

/// Parses the one-line format: `deb [options] URI suite components…`.
#[must_use]
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(list_line).collect()
}

fn list_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    Some(Source {
        uri: words.next()?.to_owned(),
        suites: vec![words.next()?.to_owned()],
    })
}

/// Parses the deb822 format: stanzas of `Types:`, `URIs:`, `Suites:`.
#[must_use]
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut stanzas: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            stanzas.push(Vec::new());
            continue;
        }
        let Some(fields) = stanzas.last_mut() else { continue };
        if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), fields.last_mut()) {
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    stanzas.iter().flat_map(|fields| stanza(fields)).collect()
}

fn stanza(fields: &[(String, String)]) -> Vec<Source> {
    let field = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name == wanted)
            .map_or("", |(_, value)| value.as_str())
    };
    let binary = field("types").split_whitespace().any(|kind| kind == "deb");
    if !binary || field("enabled").eq_ignore_ascii_case("no") {
        return Vec::new();
    }
    let suites: Vec<String> = field("suites").split_whitespace().map(str::to_owned).collect();
    field("uris")
        .split_whitespace()
        .map(|uri| Source {
            uri: uri.to_owned(),
            suites: suites.clone(),
        })
        .collect()
}

/// Picks Debian's mirrors among all sources; none when Debian is not among them.
#[must_use]
pub fn mirrors(sources: &[Source]) -> Option<Mirrors> {
    let from = |wanted: fn(&str) -> bool| {
        sources
            .iter()
            .find(|source| source.suites.iter().any(|suite| wanted(suite)))
            .map(|source| source.uri.clone())
    };
    let archive = from(|suite| SUITES.contains(&suite))?;
    let security = from(|suite| {
        suite
            .strip_suffix("-security")
            .is_some_and(|name| SUITES.contains(&name))
    });
    Some(Mirrors { archive, security })
}

/// The sources for Debian 13 with backports from `mirrors`, in the one-line format, trusting `keyring`.
#[must_use]
pub fn list(mirrors: &Mirrors, keyring: &str) -> String {
    let mut text = String::new();
    let mut add = |uri: &str, suite: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "deb [signed-by={keyring}] {uri} {SUITE}{suite} main");
    };
    add(&mirrors.archive, "");
    add(&mirrors.archive, "-updates");
    if let Some(security) = &mirrors.security {
        add(security, "-security");
    }
    add(&mirrors.archive, "-backports");
    text
}

#[cfg(test)]
mod tests {
    use super::{list, mirrors, parse_deb822, parse_list, Mirrors, Source};

    #[test]
    fn one_line_format_with_options_and_comments() {
        let sources = parse_list(
            "# comment\n\
             deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # why\n\
             deb-src http://mirror.example/debian bookworm main\n\
             deb\thttp://security.example/debian-security bookworm-security main\n\
             nonsense\n",
        );
        let uris: Vec<_> = sources.iter().map(|source| source.uri.as_str()).collect();
        assert_eq!(
            uris,
            [
                "http://mirror.example/debian",
                "http://security.example/debian-security"
            ]
        );
        assert_eq!(sources[1].suites, ["bookworm-security"]);
    }

    #[test]
    fn deb822_format_with_continuation_and_disabled_stanza() {
        let sources = parse_deb822(
            "Types: deb deb-src\n# note\nURIs: http://mirror.example/debian\n http://second.example/debian\n\
             Suites: trixie trixie-updates\nComponents: main\n\n\
             Types: deb\nURIs: http://off.example/debian\nSuites: trixie\nEnabled: no\n\n\
             Types: deb-src\nURIs: http://src.example/debian\nSuites: trixie\n",
        );
        let uris: Vec<_> = sources.iter().map(|source| source.uri.as_str()).collect();
        assert_eq!(uris, ["http://mirror.example/debian", "http://second.example/debian"]);
        assert_eq!(sources[0].suites, ["trixie", "trixie-updates"]);
    }

    fn source(uri: &str, suites: &[&str]) -> Source {
        Source {
            uri: uri.into(),
            suites: suites.iter().map(|&suite| suite.into()).collect(),
        }
    }

    #[test]
    fn debian_is_told_from_other_archives() {
        let sources = [
            source("http://other.example", &["cloud-sdk-bookworm"]),
            source("http://d.example/debian", &["bookworm", "bookworm-updates"]),
            source("http://s.example/debian-security", &["bookworm-security"]),
        ];
        let found = mirrors(&sources).unwrap();
        assert_eq!(found.archive, "http://d.example/debian");
        assert_eq!(found.security.as_deref(), Some("http://s.example/debian-security"));
        assert_eq!(mirrors(&sources[..1]), None);
        assert_eq!(
            mirrors(&[source("http://u.example/ubuntu", &["noble", "noble-security"])]),
            None
        );
    }

    #[test]
    fn sources_for_debian_13() {
        let text = list(
            &Mirrors {
                archive: "http://d".into(),
                security: None,
            },
            "/k",
        );
        assert_eq!(
            text,
            "deb [signed-by=/k] http://d trixie main\n\
             deb [signed-by=/k] http://d trixie-updates main\n\
             deb [signed-by=/k] http://d trixie-backports main\n"
        );
    }
}
