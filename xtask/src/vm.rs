// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask vm`: a pair of machines with netraid, to be tried by hand.
//!
//! Commands go to the current machine; a few words belong to the pair itself, and so the link can be cut and a machine
//! killed while something runs in the other one.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use anyhow::{bail, Context as _, Result};
use tests_qemu::{console, Artifacts, Cluster, ClusterSpec, DiskSpec, Node, MIB};

/// Longest a command may run; what should run on is put into the background with `&`.
const COMMAND_LIMIT: Duration = Duration::from_secs(600);

/// How much of a console is shown.
const CONSOLE_LINES: usize = 40;

const HELP: &str = "  NAME              go on with the machine NAME
  NAME COMMAND      run COMMAND in the machine NAME
  COMMAND           run COMMAND in the current machine (a shell command; netraid-ctl is there)
  :cut  :restore    cut the link, make it whole again
  :kill NAME        kill the machine at once, as a power cut would; its disks stay
  :boot NAME        switch it on again
  :console NAME     show the end of its console
  :help  :quit";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Nothing,
    Help,
    Quit,
    Cut,
    Restore,
    Kill(&'a str),
    Boot(&'a str),
    Console(&'a str),
    Go(&'a str),
    Run(Option<&'a str>, &'a str),
    Unknown(&'a str),
}

/// Boots the pair and carries out what is typed, until the end of the input or `:quit`.
///
/// # Errors
///
/// When the machines do not come up or the input cannot be read; a command that fails only shows that.
pub fn run(artifacts: &Artifacts) -> Result<()> {
    println!("Booting two machines …");
    let cluster = Cluster::start(artifacts, &ClusterSpec::new(2).disks(&[DiskSpec::new(256 * MIB)]))?;
    cluster.on_all(Node::insmod)?;
    for node in cluster.nodes() {
        println!("  {:<6} {:<12} disk /dev/vdb", node.name(), node.ip());
    }
    println!("{HELP}");
    let names: Vec<&str> = cluster.nodes().iter().map(Node::name).collect();
    let mut current = 0;
    let input = std::io::stdin().lock();
    prompt(names[current])?;
    for line in input.lines() {
        let line = line.context("the terminal cannot be read")?;
        match parse(&line, &names) {
            Line::Quit => break,
            Line::Go(name) => current = index(&names, name)?,
            other => {
                if let Err(error) = carry_out(&cluster, &names, current, &other) {
                    eprintln!("error: {error:#}");
                }
            }
        }
        prompt(names[current])?;
    }
    println!();
    Ok(())
}

fn carry_out(cluster: &Cluster, names: &[&str], current: usize, line: &Line<'_>) -> Result<()> {
    let node = |name: &str| -> Result<&Node> { Ok(cluster.node(index(names, name)?)) };
    match line {
        Line::Cut => {
            let (one, other) = cluster.pair();
            cluster.cut(one, other);
        }
        Line::Restore => cluster.restore_links(),
        Line::Kill(name) => node(name)?.kill9()?,
        Line::Boot(name) => {
            node(name)?.boot()?;
            node(name)?.insmod()?;
        }
        Line::Console(name) => {
            println!("{}", console::tail(&node(name)?.console_log(), CONSOLE_LINES));
        }
        Line::Run(name, command) => {
            let node = cluster.node(name.map_or(Ok(current), |name| index(names, name))?);
            let output = node.sh(command).timeout(COMMAND_LIMIT).run()?;
            print!("{}", output.text());
            if output.code != 0 {
                println!("(exit code {})", output.code);
            }
        }
        Line::Help => println!("{HELP}"),
        Line::Unknown(word) => bail!("`{word}` is not known; :help shows what is"),
        Line::Nothing | Line::Quit | Line::Go(_) => {}
    }
    Ok(())
}

fn parse<'a>(line: &'a str, names: &[&str]) -> Line<'a> {
    let line = line.trim();
    let (word, rest) = line
        .split_once(char::is_whitespace)
        .map_or((line, ""), |(word, rest)| (word, rest.trim()));
    match (word, rest) {
        ("", _) => Line::Nothing,
        (":help", _) => Line::Help,
        (":quit", _) => Line::Quit,
        (":cut", _) => Line::Cut,
        (":restore", _) => Line::Restore,
        (":kill", name) => Line::Kill(name),
        (":boot", name) => Line::Boot(name),
        (":console", name) => Line::Console(name),
        (word, _) if word.starts_with(':') => Line::Unknown(word),
        (name, "") if names.contains(&name) => Line::Go(name),
        (name, command) if names.contains(&name) => Line::Run(Some(name), command),
        _ => Line::Run(None, line),
    }
}

fn index(names: &[&str], name: &str) -> Result<usize> {
    names
        .iter()
        .position(|known| *known == name)
        .with_context(|| format!("there is no machine `{name}`; there are {}", names.join(" and ")))
}

fn prompt(name: &str) -> Result<()> {
    print!("{name}# ");
    std::io::stdout().flush().context("the terminal cannot be written")
}

#[cfg(test)]
mod tests {
    use super::{parse, Line};

    #[test]
    fn lines_are_understood() {
        let names = ["eve", "adam"];
        assert_eq!(parse("  ", &names), Line::Nothing);
        assert_eq!(parse("adam", &names), Line::Go("adam"));
        assert_eq!(parse("adam ls -l", &names), Line::Run(Some("adam"), "ls -l"));
        assert_eq!(
            parse("netraid-ctl status", &names),
            Line::Run(None, "netraid-ctl status")
        );
        assert_eq!(parse(":kill eve", &names), Line::Kill("eve"));
        assert_eq!(parse(":cut", &names), Line::Cut);
        assert_eq!(parse(":explode", &names), Line::Unknown(":explode"));
    }
}
