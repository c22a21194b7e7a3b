// SPDX-License-Identifier: GPL-2.0
//! The directory of the configurations.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{ConfigError, MirrorConfig};
use crate::env::Paths;

/// The directory of the configurations.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// That of this machine.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            dir: paths.config.join("mirrors"),
        }
    }

    /// The file of a mirror.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.toml"))
    }

    /// Makes sure that a configuration can be written, before anything depends on it.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or written.
    pub fn prepare(&self) -> Result<(), ConfigError> {
        let failed = |cause| ConfigError::Io {
            path: self.dir.clone(),
            what: "written",
            cause,
        };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let trial = self.dir.join(format!(".trial.{}", std::process::id()));
        File::create(&trial)
            .and_then(|_| fs::remove_file(&trial))
            .map_err(failed)
    }

    /// The configuration of a mirror, `None` when there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or says what it should not.
    pub fn load(&self, name: &str) -> Result<Option<MirrorConfig>, ConfigError> {
        let path = self.path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => {
                return Err(ConfigError::Io {
                    path,
                    what: "read",
                    cause,
                })
            }
        };
        let parsed = MirrorConfig::parse(&text, name);
        parsed.map(Some).map_err(|why| ConfigError::Content { path, why })
    }

    /// The names of the mirrors that have a configuration, in order.
    ///
    /// # Errors
    ///
    /// When the directory is there and cannot be read.
    pub fn names(&self) -> Result<Vec<String>, ConfigError> {
        let failed = |cause| ConfigError::Io {
            path: self.dir.clone(),
            what: "read",
            cause,
        };
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".toml"));
            names.extend(name.filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Writes a configuration; after a crash there is the old one or the new one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn save(&self, config: &MirrorConfig) -> Result<(), ConfigError> {
        let path = self.path(&config.name);
        self.write(config, &path).map_err(|cause| ConfigError::Io {
            path,
            what: "written",
            cause,
        })
    }

    fn write(&self, config: &MirrorConfig, path: &Path) -> io::Result<()> {
        let content = toml::to_string(config).map_err(io::Error::other)?;
        let text = format!(
            "# Written by netraid-ctl; `netraid-ctl delete {}` removes it.\n{content}",
            config.name
        );
        fs::create_dir_all(&self.dir)?;
        let fresh = self.dir.join(format!(".{}.{}", config.name, std::process::id()));
        let mut file = File::create(&fresh)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&fresh, path));
        if let Err(error) = written {
            // The first error is the one to tell.
            let _removed = fs::remove_file(&fresh);
            return Err(error);
        }
        File::open(&self.dir)?.sync_all()
    }

    /// Removes the configuration of a mirror, if there is one.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), ConfigError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ConfigError::Io {
                path,
                what: "removed",
                cause: error,
            }),
            _ => Ok(()),
        }
    }
}
