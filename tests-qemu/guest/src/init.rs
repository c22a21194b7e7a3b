// SPDX-License-Identifier: GPL-2.0
//! PID 1: from the boot archive to a running agent.
//!
//! Loads the few modules that the root file system needs, mounts it, makes it the root, names
//! the machine, starts the agent and then does nothing but collect ended processes. Whatever
//! goes wrong is said on the console, and the machine goes off, so that the host never waits
//! for a machine that cannot come up.

use std::{
    ffi::CString,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{bail, ensure, Context as _, Result};
use netraid_guest::proto::{Config, ARTIFACTS_DIR, ARTIFACTS_IN_ARCHIVE, CONFIG_PATH, MODULES_SERIAL, ROOT_SERIAL};
use nix::{
    errno::Errno,
    kmod::{finit_module, ModuleInitFlags},
    mount::{mount, MsFlags},
    sys::{
        reboot::{reboot, RebootMode},
        wait::{wait, WaitStatus},
    },
    unistd::{chdir, chroot, sethostname, Pid},
};

use crate::wake;

/// Where programs are looked for in the machine.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const NEW_ROOT: &str = "/newroot";
const OWN_NAME: &str = "/usr/local/bin/netraid-guest";

/// Runs the machine; comes back only when it could not be switched off.
pub(crate) fn run() -> ExitCode {
    if let Err(error) = boot().and_then(serve) {
        eprintln!("netraid-guest: this machine cannot run: {error:#}");
    }
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(never) => match never {},
        Err(error) => eprintln!("netraid-guest: the machine does not go off: {error}"),
    }
    ExitCode::FAILURE
}

fn boot() -> Result<Pid> {
    mount_on("proc", "/proc", "proc", MsFlags::empty(), None)?;
    mount_on("sysfs", "/sys", "sysfs", MsFlags::empty(), None)?;
    mount_on("devtmpfs", "/dev", "devtmpfs", MsFlags::empty(), None)?;
    let text = fs::read(CONFIG_PATH).context("read the configuration in the boot archive")?;
    let mut config: Config = serde_json::from_slice(&text).context("parse the configuration")?;
    for module in &config.modules {
        load(module)?;
    }
    check_disk_names(&config.disks)?;
    let renewal = if config.waits {
        let (own, renewal) = wake::wait().context("wait to go on")?;
        config = own;
        Some(renewal)
    } else {
        None
    };
    enter_root(&config)?;
    if let Some(renewal) = renewal {
        renewal.carry_out(&config.disks)?;
    }
    configure(&config)?;
    mount_on("debugfs", "/sys/kernel/debug", "debugfs", MsFlags::empty(), None)?;
    crate::state::mount_disk().context("mount the disk that outlives the machine")?;
    let agent = Command::new(OWN_NAME)
        .arg("agent")
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .spawn()
        .context("start the agent")?;
    Ok(Pid::from_raw(i32::try_from(agent.id())?))
}

fn serve(agent: Pid) -> Result<()> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == agent => {
                bail!("the agent ended with code {code}");
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == agent => {
                bail!("the agent was ended by {signal}");
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for processes"),
        }
    }
}

fn mount_on(what: &str, at: &str, kind: &str, flags: MsFlags, data: Option<&str>) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("make {at}"))?;
    mount(Some(what), at, Some(kind), flags, data).with_context(|| format!("mount {what} ({kind}) on {at}"))
}

fn load(module: &str) -> Result<()> {
    let file = File::open(module).with_context(|| format!("open {module}"))?;
    let no_options = CString::default();
    match finit_module(&file, &no_options, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("load {module}")),
    }
}

/// The block device whose disk has serial number `serial`.
fn disk_by_serial(serial: &str) -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/block").context("list the disks")? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        if found.trim_end() == serial {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    bail!("no disk has serial number {serial}")
}

/// Tests name disks as the kernel does; a kernel that counts differently must not go unnoticed.
fn check_disk_names(disks: &[String]) -> Result<()> {
    for disk in disks {
        let found = disk_by_serial(disk)?;
        ensure!(
            found == Path::new("/dev").join(disk),
            "disk {disk} came up as {}",
            found.display()
        );
    }
    Ok(())
}

fn enter_root(config: &Config) -> Result<()> {
    let root = disk_by_serial(ROOT_SERIAL)?;
    let modules = disk_by_serial(MODULES_SERIAL)?;
    let flags = MsFlags::MS_NOATIME;
    mount_on(&root.to_string_lossy(), NEW_ROOT, "ext4", flags, None)?;
    let at = format!("{NEW_ROOT}/usr/lib/modules/{}", config.kver);
    mount_on(
        &modules.to_string_lossy(),
        &at,
        "ext4",
        flags | MsFlags::MS_RDONLY,
        None,
    )?;
    for dir in ["proc", "sys", "dev"] {
        let at = format!("{NEW_ROOT}/{dir}");
        fs::create_dir_all(&at)?;
        mount(
            Some(format!("/{dir}").as_str()),
            at.as_str(),
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )
        .with_context(|| format!("move /{dir} into the root"))?;
    }
    mount_on(
        "tmpfs",
        &format!("{NEW_ROOT}/run"),
        "tmpfs",
        MsFlags::empty(),
        Some("mode=0755"),
    )?;
    mount_on("tmpfs", &format!("{NEW_ROOT}/tmp"), "tmpfs", MsFlags::empty(), None)?;
    mount_on(
        "devpts",
        &format!("{NEW_ROOT}/dev/pts"),
        "devpts",
        MsFlags::empty(),
        None,
    )?;
    move_tree(
        Path::new(ARTIFACTS_IN_ARCHIVE),
        Path::new(&format!("{NEW_ROOT}{ARTIFACTS_DIR}")),
    )
    .context("copy the artifacts into the root")?;
    fs::copy("/init", format!("{NEW_ROOT}{OWN_NAME}")).context("copy the agent into the root")?;
    chdir(NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("move the root")?;
    chroot(".").context("change the root")?;
    chdir("/")?;
    Ok(())
}

/// Copies and deletes, because the memory of the boot archive is the machine's own.
fn move_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            move_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copy {}", entry.path().display()))?;
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn configure(config: &Config) -> Result<()> {
    sethostname(&config.hostname).context("set the host name")?;
    fs::write("/etc/hostname", format!("{}\n", config.hostname))?;
    fs::write("/etc/machine-id", format!("{}\n", config.machine_id))?;
    fs::write(
        "/etc/hosts",
        format!("127.0.0.1 localhost\n{}\n", config.hosts.join("\n")),
    )?;
    let program = Path::new(ARTIFACTS_DIR).join("netraid-ctl");
    if program.exists() {
        let link = Path::new("/usr/local/sbin/netraid-ctl");
        let _previous = fs::remove_file(link);
        symlink(&program, link).context("link netraid-ctl")?;
    }
    network(config).context("configure the network")?;
    // From here on every message of the kernel goes to the console, whatever its level.
    fs::write("/proc/sys/kernel/printk", "8").context("set the console's log level")
}

fn network(config: &Config) -> Result<()> {
    let mut script = String::from("link set lo up\n");
    for nic in &config.nics {
        script += &format!("link set {} address {}\n", nic.name, nic.mac);
        script += &format!("link set {} mtu {} up\n", nic.name, nic.mtu);
        for address in &nic.addresses {
            // Duplicate address detection would make the address unusable for a second.
            let flag = if address.contains(':') { " nodad" } else { "" };
            script += &format!("addr add {address} dev {}{flag}\n", nic.name);
        }
    }
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .spawn()
        .context("start ip")?;
    if let Some(mut stdin) = ip.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let status = ip.wait()?;
    ensure!(status.success(), "ip ended with {status}");
    Ok(())
}
