// SPDX-License-Identifier: GPL-2.0
//! Files go to a machine and come from it.

use std::time::Duration;

use anyhow::{bail, Context as _, Result};
use base64::{engine::general_purpose::STANDARD, Engine as _};
use netraid_guest::proto::{Event, Op};

use crate::{node::Node, patience::scaled};

const FILE: Duration = Duration::from_secs(60);

impl Node {
    /// Reads a file in it.
    ///
    /// # Errors
    ///
    /// When that cannot be read.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        let op = Op::ReadFile { path: path.to_owned() };
        match self
            .rpc()?
            .call(op, scaled(FILE))
            .with_context(|| format!("on {}", self.name()))?
        {
            Event::File { data } => STANDARD.decode(data).context("decode the content"),
            other => bail!("unexpected answer {other:?}"),
        }
    }

    /// Writes a file in it, with these permission bits.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn write_file(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let op = Op::WriteFile {
            path: path.to_owned(),
            data: STANDARD.encode(content),
            mode,
        };
        self.rpc()?
            .call(op, scaled(FILE))
            .with_context(|| format!("on {}", self.name()))?;
        Ok(())
    }
}
