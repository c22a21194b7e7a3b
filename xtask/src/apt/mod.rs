// SPDX-License-Identifier: GPL-2.0
//! What Debian 13 offers, asked from apt: with the mirrors and settings of this machine's apt, but lists and downloads
//! of its own, so that the machine's packages are never touched.

pub mod sources;
pub mod version;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, bail, Context as _, Result};

use self::sources::{Mirrors, Source};
use self::version::Kernel;
use crate::cmd::Cmd;
use crate::paths::text;
use crate::progress::{Progress, Step};

/// Keys that can sign Debian's archives, as Debian and its derivatives install them.
pub const KEYRINGS: &[&str] = &[
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Apt's view of Debian 13.
pub struct Apt {
    dir: PathBuf,
    list: String,
}

impl Apt {
    /// Reads this machine's mirrors and prepares an apt of our own in `dir`.
    ///
    /// # Errors
    ///
    /// When no Debian mirror or no keyring is known, or `dir` cannot be written.
    pub fn new(dir: &Path) -> Result<Self> {
        let keyring = KEYRINGS
            .iter()
            .find(|file| Path::new(file).exists())
            .context("Debian's archive keys are missing; install the package debian-archive-keyring")?;
        let list = sources::list(&host_mirrors()?, keyring);
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot make {}/{part}", dir.display()))?;
        }
        let place = text(dir)?;
        let settings = format!(
            "Dir::State \"{place}\";\nDir::State::lists \"{place}/lists\";\nDir::State::status \"{place}/status\";\n\
             Dir::Cache \"{place}\";\nDir::Cache::archives \"{place}/archives\";\n\
             Dir::Etc::sourcelist \"{place}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAPT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
        );
        for (name, content) in [("apt.conf", settings.as_str()), ("status", ""), ("sources.list", &list)] {
            let file = dir.join(name);
            if fs::read_to_string(&file).ok().as_deref() != Some(content) {
                fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            list,
        })
    }

    /// The sources for Debian 13 in apt's one-line format.
    #[must_use]
    pub fn sources(&self) -> &str {
        &self.list
    }

    /// Fetches the lists of packages when they are older than `age`. Old lists serve when there is no network, since what
    /// is cached already works without it.
    ///
    /// # Errors
    ///
    /// When the lists cannot be fetched and there are none.
    pub fn update(&self, oldest: Duration, progress: &Progress) -> Result<()> {
        let stamp = self.dir.join("updated");
        let age = fs::metadata(&stamp)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age < oldest) {
            return Ok(());
        }
        let fetched = progress.step("Ask Debian's mirror which packages there are", |step| {
            let update = self
                .apt("apt-get")
                .args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]);
            run_short(&update, step)
        });
        match fetched {
            Ok(()) => fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display())),
            Err(error) if age.is_some() => {
                progress.line(&format!(
                    "Debian's mirror cannot be reached, going on with older lists ({error})."
                ));
                Ok(())
            }
            Err(error) => bail!(
                "Debian's mirror cannot be reached; check the network, the proxy and the mirror in /etc/apt, then try \
                 again ({error})"
            ),
        }
    }

    /// The newest kernel of `series` with sources, none when there is none.
    ///
    /// # Errors
    ///
    /// When apt's lists cannot be read.
    pub fn kernel(&self, series: &str) -> Result<Option<Kernel>> {
        let headers = self.names(&format!("linux-headers-{series}"))?;
        let offers = self.versions(headers.into_iter().chain([format!("linux-source-{series}")]))?;
        Ok(version::newest(series, &offers))
    }

    /// Names of all packages that start with `prefix`.
    ///
    /// # Errors
    ///
    /// When apt's lists cannot be read.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = self.apt("apt-cache").args(["pkgnames", prefix]).run(&Step::silent())?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn versions(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<(String, String)>> {
        let table = self.apt("apt-cache").arg("madison").args(names).run(&Step::silent())?;
        Ok(table.lines().filter_map(madison_line).collect())
    }

    /// Fetches `packages` (each `name=version`) into `dir`; apt checks their signatures. Returns the files in order.
    ///
    /// # Errors
    ///
    /// When a package cannot be fetched.
    pub fn download(&self, packages: &[String], dir: &Path, step: &Step) -> Result<Vec<PathBuf>> {
        let download = self.apt("apt-get").args(["-q", "download"]).args(packages).dir(dir);
        run_short(&download, step).map_err(|error| {
            let what = packages.join(" ");
            anyhow!("cannot fetch {what}; check the network, or run `cargo xtask setup --refresh` ({error})")
        })?;
        packages.iter().map(|package| fetched(dir, package)).collect()
    }

    fn apt(&self, program: &str) -> Cmd {
        // Machines made for containers switch the index of apt's lists off, which makes every question slow.
        let index = |name: &str| format!("Dir::Cache::{name}={name}.bin");
        Cmd::new(program)
            .args([
                "-o".to_owned(),
                index("pkgcache"),
                "-o".to_owned(),
                index("srcpkgcache"),
            ])
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C")
    }
}

/// Runs an apt that says much when it fails; the error is only what it complains of first.
fn run_short(apt: &Cmd, step: &Step) -> Result<()> {
    let outcome = apt.outcome(step)?;
    if outcome.status.success() {
        return Ok(());
    }
    let complaint = outcome.tail.lines().find_map(|line| line.strip_prefix("E: "));
    bail!("apt says: {}", complaint.unwrap_or("nothing"))
}

fn fetched(dir: &Path, package: &str) -> Result<PathBuf> {
    let start = format!("{}_", package.split('=').next().unwrap_or(package));
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&start))
        {
            return Ok(path);
        }
    }
    bail!(
        "apt said it fetched {package} but left no file in {}; run `cargo xtask setup --refresh`",
        dir.display()
    )
}

fn madison_line(line: &str) -> Option<(String, String)> {
    let mut fields = line.split('|').map(str::trim);
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

fn host_mirrors() -> Result<Mirrors> {
    if let Some(uri) = std::env::var("NETRAID_MIRROR").ok().filter(|uri| !uri.is_empty()) {
        return Ok(Mirrors {
            archive: uri,
            security: None,
        });
    }
    let mut found = Vec::new();
    for file in source_files() {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let deb822 = file.extension().is_some_and(|kind| kind == "sources");
        found.extend(if deb822 {
            sources::parse_deb822(&text)
        } else {
            sources::parse_list(&text)
        });
    }
    for source in &mut found {
        resolve_mirror_file(source);
    }
    sources::mirrors(&found)
        .context("this machine's apt has no Debian mirror to take packages from; set NETRAID_MIRROR to the URI of one")
}

fn source_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.retain(|file| file.extension().is_some_and(|kind| kind == "list" || kind == "sources"));
    files.sort();
    files
}

/// Cloud images name a file of mirrors instead of a mirror; the first in it is taken.
fn resolve_mirror_file(source: &mut Source) {
    let Some(path) = source.uri.strip_prefix("mirror+file:") else {
        return;
    };
    let path = format!("/{}", path.trim_start_matches('/'));
    let first = fs::read_to_string(path).ok().and_then(|text| {
        text.lines()
            .find(|line| line.contains("://"))
            .and_then(|line| line.split_whitespace().next().map(str::to_owned))
    });
    if let Some(uri) = first {
        source.uri = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::madison_line;

    #[test]
    fn versions_are_read_from_apt() {
        let line = " linux-source-7.3 | 7.3.4-1~bpo13+1 | http://d.example/debian trixie-backports/main amd64 Packages";
        assert_eq!(
            madison_line(line),
            Some(("linux-source-7.3".into(), "7.3.4-1~bpo13+1".into()))
        );
        assert_eq!(madison_line(""), None);
    }
}
