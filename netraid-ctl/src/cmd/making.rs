// SPDX-License-Identifier: GPL-2.0
//! What `create` and `join` share: a new mirror with its metadata and its configuration, all of it or nothing.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{anyhow, Context as _, Result};

use super::load::block_at;
use super::support::{by_name, new_step, usable_disk, with_listen, with_node};
use crate::cli::Place;
use crate::config::{MadeAs, Metadata, MirrorConfig, Store};
use crate::defaults::Defaults;
use crate::disk::{identity, Table};
use crate::env::Env;
use crate::error::refused;
use crate::gen::{self, cmd, Role};
use crate::meta::{prepare, Prepared};
use crate::model::Endpoint;
use crate::nl::Client;
use crate::place;
use crate::shared;

/// A mirror that is to be made.
#[derive(Debug)]
pub(super) struct Plan {
    /// What completes "cannot ...".
    pub(super) action: String,
    /// What will be kept of it.
    pub(super) config: MirrorConfig,
    /// Source and target were made equal by other means.
    pub(super) no_full_sync: bool,
    /// What the disk holds is not wanted.
    pub(super) fresh: bool,
    /// What the source calls the mirror, where that is another name than here.
    pub(super) source_name: Option<String>,
    /// Source and target may be this machine.
    pub(super) same_machine: bool,
    /// Where this machine listens.
    pub(super) listen: Endpoint,
    /// Its targets may be asynchronous.
    asynchronous: bool,
    async_limit: Option<u32>,
    /// What becomes of its disk when that fails.
    pub(super) on_io_error: Option<gen::OnIoError>,
    /// The priority of this machine; a target gets it from its source.
    pub(super) priority: Option<u32>,
    /// Bytes of the disk.
    size: u64,
}

impl Plan {
    /// Looks at everything that is needed; nothing is changed.
    ///
    /// # Errors
    ///
    /// Says why the mirror cannot be made.
    pub(super) fn new(
        name: &str,
        role: MadeAs,
        disk: &Path,
        args: &Place,
        client: &mut Client,
        env: &Env<'_>,
    ) -> Result<Self> {
        let word = match role {
            MadeAs::Source => "create",
            MadeAs::Target => "join",
        };
        let action = format!("{word} mirror {name}");
        let cannot = |error: anyhow::Error| error.context(format!("cannot {action}"));
        let defaults = Defaults::read(env).map_err(cannot)?;
        let loaded = client.mirrors().map_err(|error| refused(&action, error, |_| None))?;
        is_new(name, &loaded, env).map_err(cannot)?;
        let disk = usable_disk(disk, client, env, &action)?;
        place::check_disk(&disk, name, env).map_err(cannot)?;
        let metadata = place::choose(name, args.bitmap.as_ref(), env).map_err(cannot)?;
        let mut config = MirrorConfig::new(name, role, &disk, metadata.clone());
        if let Some(path) = metadata.path() {
            let theirs: Vec<(String, String)> = loaded
                .into_iter()
                .filter_map(|mirror| Some((mirror.name?, mirror.meta_path?)))
                .collect();
            place::check(path, name, &disk, &theirs, env).map_err(cannot)?;
            let missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
            config.made_file = env.host.stat(Path::new(path)).is_err_and(missing);
        }
        config.shared = args.shared_disk;
        shared::check(&config, env).map_err(cannot)?;
        config.id = args.id;
        config.heartbeat = args.liveness.heartbeat;
        config.timeout = args.liveness.timeout;
        let table = Table::read(env.host, &HashMap::new());
        let block = block_at(&table, &disk, env);
        let block = block.ok_or_else(|| anyhow!("cannot {action}: the size of {disk} is not known"))?;
        let size = block.size;
        config.disk_id = identity(env.host, &table, block);
        Ok(Self {
            config,
            no_full_sync: args.no_full_sync || defaults.no_full_sync,
            fresh: false,
            source_name: None,
            same_machine: false,
            listen: Endpoint::everywhere(crate::addr::DEFAULT_PORT),
            asynchronous: false,
            async_limit: defaults.async_limit,
            on_io_error: None,
            priority: None,
            size,
            action,
        })
    }

    /// Has its targets be asynchronous if somebody wants that, with a limit where one is given.
    pub(super) fn permit_asynchronous(&mut self, limit: Option<u32>) {
        self.asynchronous = limit.is_some();
        self.async_limit = limit.filter(|&limit| limit > 2).or(self.async_limit);
    }

    /// Makes it, with its metadata and its configuration; when one of them fails, none is left.
    ///
    /// # Errors
    ///
    /// Says which one failed and why.
    pub(super) fn carry_out(mut self, args: &Place, client: &mut Client, env: &mut Env<'_>) -> Result<gen::Mirror> {
        let action = self.action.clone();
        let store = Store::new(env.paths);
        store.prepare().with_context(|| format!("cannot {action}"))?;
        self.config.listen = Some(self.listen.to_string());
        let request = with_node(self.request(), env)?;
        let request = with_listen(request, &self.listen, &args.liveness);
        let prepared = self.prepare_metadata(env).with_context(|| format!("cannot {action}"))?;
        let answer = client
            .request(cmd::MIRROR_NEW, &request)
            .map_err(|error| refused(&action, error, |errno| new_step(errno).map(str::to_owned)))?;
        let answer = answer.unwrap_or_default();
        self.config.id = answer.id.or(self.config.id);
        if let Err(error) = store.save(&self.config) {
            let undo = gen::Mirror {
                force: true,
                ..by_name(&self.config.name)
            };
            let undone = match client.request(cmd::MIRROR_DEL, &undo) {
                Ok(_) => "the mirror is deleted again".to_owned(),
                Err(failed) => format!(
                    "the mirror stays until `netraid-ctl delete {}`: {failed}",
                    self.config.name
                ),
            };
            return Err(anyhow!("cannot {action}: {error}; {undone}"));
        }
        if let Some(prepared) = prepared {
            prepared.keep();
        }
        Ok(answer)
    }

    fn request(&self) -> gen::Mirror {
        let config = &self.config;
        let metadata = config.metadata();
        gen::Mirror {
            id: config.id,
            role: Some(Role::from(config.role)),
            disk: Some(config.disk.clone()),
            chunk_size: config.chunk_size,
            meta_path: metadata.path().map(str::to_owned),
            meta_internal: metadata == Metadata::Internal,
            no_bitmap: matches!(metadata, Metadata::NoBitmap(_)),
            fresh: self.fresh,
            no_full_sync: self.no_full_sync,
            async_permitted: self.asynchronous,
            async_limit: self.async_limit,
            source_name: self.source_name.clone(),
            same_machine: self.same_machine,
            on_io_error: self.on_io_error,
            priority: self.priority,
            ..by_name(&config.name)
        }
    }

    fn prepare_metadata(&self, env: &Env<'_>) -> Result<Option<Prepared>> {
        let metadata = self.config.metadata();
        let Some(path) = metadata.path().map(Path::new) else {
            return Ok(None);
        };
        if path.parent().is_some_and(|folder| folder == env.paths.state) {
            fs::create_dir_all(&env.paths.state)
                .with_context(|| format!("the directory {} cannot be made", env.paths.state.display()))?;
        }
        let no_bitmap = matches!(metadata, Metadata::NoBitmap(_));
        prepare(path, self.size, self.config.chunk_size, no_bitmap).map(Some)
    }
}

/// What is kept where, for the user.
pub(super) fn tell_metadata(config: &MirrorConfig, env: &mut Env<'_>) -> io::Result<()> {
    match config.metadata() {
        Metadata::Path(path) => writeln!(env.out, "Its bitmap is {path}."),
        Metadata::Internal => writeln!(env.out, "Its bitmap is at the end of {}.", config.disk),
        Metadata::NoBitmap(path) => writeln!(
            env.out,
            "It has no bitmap, so that every resync copies everything; its role is kept in {path}."
        ),
    }
}

/// Whether the name is free, in the kernel and in the configuration.
fn is_new(name: &str, loaded: &[gen::Mirror], env: &Env<'_>) -> Result<()> {
    let there = format!("there is a mirror '{name}' on this machine already");
    if loaded.iter().any(|mirror| mirror.name.as_deref() == Some(name)) {
        return Err(anyhow!(
            "{there}; choose another name, or `netraid-ctl delete {name}` forgets it"
        ));
    }
    let path = Store::new(env.paths).path(name);
    if fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    Err(anyhow!(
        "{there}, out of service and configured in {}; `netraid-ctl up {name}` brings it up, \
         `netraid-ctl delete {name}` forgets it",
        path.display()
    ))
}
