// SPDX-License-Identifier: GPL-2.0
//! QEMU's own control connection, as far as pictures of machines need it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure, Context as _, Result};
use nix::poll::poll;
use serde_json::{json, Value};

use crate::patience::scaled;

/// Name of the socket in a machine's folder.
pub(crate) const SOCKET: &str = "qmp";

/// Any command is answered, and any picture is written or read, within this.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection in which commands are taken.
#[derive(Debug)]
pub(crate) struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// QEMU's options for one to a socket in `dir`.
    pub(crate) fn options(dir: &Path) -> [String; 4] {
        let path = dir.join(SOCKET);
        let socket = format!("socket,id=qmp,path={}", path.display());
        let monitor = "chardev=qmp,mode=control";
        ["-chardev".into(), socket, "-mon".into(), monitor.into()]
    }

    /// Reads the greeting and makes it take commands. The memory of a machine is a file, and not part of what is saved of
    /// it; and nobody is told where it is from now on, since every machine sets its own addresses.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(scaled(LIMIT)))?;
        let mut qmp = Self {
            lines: BufReader::new(stream),
        };
        qmp.line().context("greet QEMU")?;
        qmp.execute("qmp_capabilities", json!({}))?;
        let ignored = json!([{ "capability": "x-ignore-shared", "state": true }]);
        qmp.execute("migrate-set-capabilities", json!({ "capabilities": ignored }))?;
        qmp.execute("migrate-set-parameters", json!({ "announce-rounds": 0 }))?;
        Ok(qmp)
    }

    /// Stops the processors.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.execute("stop", json!({}))?;
        Ok(())
    }

    /// Writes the state of all devices to `file`.
    pub(crate) fn save(&mut self, file: &Path) -> Result<()> {
        self.execute("migrate", json!({ "uri": format!("exec:cat > '{}'", file.display()) }))?;
        self.until("query-migrate", "completed")
    }

    /// Reads what [`Qmp::save`] wrote of a machine that was stopped, and starts the processors.
    pub(crate) fn load(&mut self, file: &Path) -> Result<()> {
        self.execute(
            "migrate-incoming",
            json!({ "uri": format!("exec:cat '{}'", file.display()) }),
        )?;
        self.until("query-status", "paused")?;
        self.execute("cont", json!({}))?;
        Ok(())
    }

    fn until(&mut self, query: &str, wanted: &str) -> Result<()> {
        let until = Instant::now() + scaled(LIMIT);
        loop {
            let said = self.execute(query, json!({}))?;
            match said["status"].as_str() {
                Some(status) if status == wanted => return Ok(()),
                Some("failed" | "cancelled" | "internal-error") => bail!("QEMU says {said}"),
                _ => {}
            }
            ensure!(Instant::now() < until, "QEMU still says {said}");
            // It tells of no change unless asked to, in another way in each version.
            poll(&mut [], 5_u8)?;
        }
    }

    fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = serde_json::to_vec(&json!({ "execute": command, "arguments": arguments }))?;
        line.push(b'\n');
        self.lines
            .get_mut()
            .write_all(&line)
            .with_context(|| format!("send {command}"))?;
        loop {
            let said = self
                .line()
                .with_context(|| format!("wait for the answer to {command}"))?;
            if let Some(error) = said.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            // Anything else is an event.
            if let Some(result) = said.get("return") {
                return Ok(result.clone());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line)?;
        ensure!(length > 0, "QEMU has ended");
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixStream,
        path::Path,
        thread,
    };

    use serde_json::Value;

    use super::Qmp;

    /// What a connection does while the other side answers each line with the next of `answers`; what was sent to it.
    fn with(answers: &[&str], job: impl FnOnce(Qmp) -> anyhow::Result<()>) -> (anyhow::Result<()>, Vec<String>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let qemu = scope.spawn(move || {
                let lines = BufReader::new(theirs.try_clone().unwrap()).lines();
                theirs.write_all(b"{\"QMP\": {}}\n").unwrap();
                let mut sent = Vec::new();
                let ready = [r#"{"return": {}}"#; 3];
                for (line, answer) in lines.zip(ready.iter().chain(answers)) {
                    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
                    sent.push(line["execute"].as_str().unwrap().to_owned());
                    theirs.write_all(format!("{answer}\n").as_bytes()).unwrap();
                }
                sent.split_off(ready.len())
            });
            let outcome = Qmp::new(ours).and_then(job);
            (outcome, qemu.join().unwrap())
        })
    }

    #[test]
    fn a_picture_is_written_once_the_machine_says_so() {
        let answers = [
            r#"{"return": {}}"#,
            "{\"event\": \"STOP\"}\n{\"return\": {\"status\": \"active\"}}",
            r#"{"return": {"status": "completed"}}"#,
        ];
        let (outcome, sent) = with(&answers, |mut qmp| qmp.save(Path::new("/picture")));
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(sent, ["migrate", "query-migrate", "query-migrate"]);
    }

    #[test]
    fn what_qemu_refuses_or_fails_at_is_told() {
        let refused = [r#"{"error": {"desc": "no such file"}}"#];
        let (outcome, _) = with(&refused, |mut qmp| qmp.load(Path::new("/picture")));
        assert!(format!("{outcome:?}").contains("no such file"), "{outcome:?}");
        let failed = [r#"{"return": {}}"#, r#"{"return": {"status": "failed"}}"#];
        let (outcome, _) = with(&failed, |mut qmp| qmp.save(Path::new("/picture")));
        assert!(format!("{outcome:?}").contains("failed"), "{outcome:?}");
        let (outcome, _) = with(&[], |mut qmp| qmp.stop());
        assert!(format!("{outcome:?}").contains("QEMU has ended"), "{outcome:?}");
    }
}
