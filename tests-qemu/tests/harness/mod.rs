// SPDX-License-Identifier: GPL-2.0
//! Runs the cases on machines that are kept from one to the next.

mod cleanup;
pub(crate) mod leaks;
mod times;

use std::{
    any::Any,
    cmp::Reverse,
    env, mem,
    num::NonZero,
    panic::{catch_unwind, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Mutex, PoisonError,
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tests_qemu::{Artifacts, Cluster, ClusterSpec, DiskSpec, Pictures, MIB};

use self::times::{Time, Times};

/// Environment variable: set to `smoke` it runs only the cases that are also run on the older kernel, set to `debug`
/// only those that are also run on the debug kernel.
const TAG: &str = "NETRAID_TAG";
/// Environment variable: words with spaces between; runs only the cases whose name contains one of them.
const NAMES: &str = "NETRAID_NAMES";
/// Environment variable: folder that gets the logs of failed tests.
const LOGS: &str = "NETRAID_LOGS";
/// Environment variable: how many tests run at the same time, each on machines of its own.
const WORKERS: &str = "NETRAID_WORKERS";
/// As many where nothing else is said, if there are two processors: machines wait for each other some of the time. More would
/// have tests that measure time wait for each other.
const USUAL_WORKERS: usize = 3;

/// Time within which anything that the driver does at once must have happened, generous
/// because the machines are emulated on a host that may be busy. Whatever waits makes it longer
/// for a slow kernel.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Cluster) -> Result<()>,
    smoke: bool,
    debug: bool,
    debug_only: bool,
    machines: usize,
    memory: Option<u64>,
    shared: bool,
}

impl Case {
    /// A test on two machines.
    pub(crate) const fn new(name: &'static str, run: fn(&Cluster) -> Result<()>) -> Self {
        Self {
            name,
            run,
            smoke: false,
            debug: false,
            debug_only: false,
            machines: 2,
            memory: None,
            shared: false,
        }
    }

    /// The same, also run on the older kernel.
    pub(crate) const fn smoke(self) -> Self {
        Self { smoke: true, ..self }
    }

    /// The same, also run on the debug kernel when everything is tested.
    pub(crate) const fn debug(self) -> Self {
        Self { debug: true, ..self }
    }

    /// Run on the debug kernel alone, because others can't do what it needs.
    pub(crate) const fn debug_only(self) -> Self {
        Self {
            debug_only: true,
            ..self
        }
    }

    /// The same on machines with so much memory, in MiB.
    pub(crate) const fn memory(self, memory: u64) -> Self {
        Self {
            memory: Some(memory),
            ..self
        }
    }

    /// The same on machines that share two more disks, `vdg` and `vdh`, both of 64 MiB.
    pub(crate) const fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// The same on eight machines: a source with as many targets as there can be.
    pub(crate) const fn eight(self) -> Self {
        Self { machines: 8, ..self }
    }

    /// The same on four machines.
    pub(crate) const fn four(self) -> Self {
        Self { machines: 4, ..self }
    }

    /// The same on three machines.
    pub(crate) const fn three(self) -> Self {
        Self { machines: 3, ..self }
    }
}

/// Names a test after its function.
macro_rules! case {
    ($name:ident) => {
        $crate::harness::Case::new(stringify!($name), $name)
    };
}
pub(crate) use case;

/// Which machines a test needs: how many, with how much memory where that is not the usual, and whether they share disks.
type Kind = (usize, Option<u64>, bool);

/// The machines every test can count on: `vdb` and `vdc` of 64 MiB, `vdd` a sector smaller, `vde`
/// large enough for xfs, `vdf` for metadata; two networks.
fn standard((machines, memory, shared): Kind, pictures: &Arc<Pictures>) -> ClusterSpec {
    let spec = ClusterSpec::new(machines).networks(2).pictures(pictures);
    let spec = memory.map_or(spec.clone(), |memory| spec.memory(memory));
    let mut disks = vec![
        DiskSpec::new(64 * MIB),
        DiskSpec::new(64 * MIB),
        DiskSpec::new(64 * MIB - 512),
        DiskSpec::new(320 * MIB),
        DiskSpec::new(4 * MIB),
    ];
    if shared {
        disks.extend([DiskSpec::new(64 * MIB).shared(), DiskSpec::new(64 * MIB).shared()]);
    }
    spec.disks(&disks)
}

/// After so many tests the debug kernel looks for lost memory, which takes it longer than most tests do.
const TESTS_PER_SCAN: usize = 8;

/// The machines that run now, for one test at a time.
#[derive(Default)]
struct Pool {
    cluster: Option<(Kind, Cluster)>,
    /// Tests since somebody last looked for lost memory.
    unscanned: Vec<&'static str>,
}

impl Pool {
    fn take(&mut self, kind: Kind, pictures: &Arc<Pictures>) -> Result<Cluster> {
        match self.cluster.take() {
            Some((there, cluster)) if there == kind => {
                for node in cluster.nodes() {
                    node.forget()?;
                }
                cluster.on_all(|node| if node.is_on() { Ok(()) } else { node.boot() })?;
                cleanup::make_ready(&cluster)?;
                Ok(cluster)
            }
            other => {
                drop(other);
                self.unscanned.clear();
                let cluster = Cluster::start(&Artifacts::from_env()?, &standard(kind, pictures))?;
                cleanup::make_ready(&cluster)?;
                Ok(cluster)
            }
        }
    }
}

/// How many tests run at the same time.
fn workers() -> usize {
    let chosen = env::var(WORKERS).ok().and_then(|text| text.parse().ok());
    let processors = available_parallelism().map_or(1, NonZero::get);
    let usual = if processors > 1 { USUAL_WORKERS } else { 1 };
    chosen.unwrap_or(usual).max(1)
}

/// Runs all cases, as the command line wants.
pub(crate) fn main<const N: usize>(groups: [&[Case]; N]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let mut cases: Vec<Case> = groups.into_iter().flatten().copied().collect();
    if let Some(name) = twice(&cases) {
        eprintln!("two tests are named {name}; give one of them another name");
        return ExitCode::FAILURE;
    }
    cases.retain(chosen());
    // One kind after the other, so that machines are kept; those with most machines first, since they take longest, and at
    // the end nobody should wait for one of them.
    cases.sort_by_key(|case| Reverse((case.machines, case.memory, case.shared)));
    let workers = workers().min(cases.len()).max(1);
    arguments.test_threads = Some(workers);
    // A worker takes machines for a test and puts them back.
    let pools = Arc::new(Mutex::new(Vec::<Pool>::new()));
    let pictures = match Pictures::new() {
        Ok(pictures) => Arc::new(pictures),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let times = Arc::new(Times::new(workers == 1));
    let left = Arc::new(AtomicUsize::new(cases.len()));
    let trial = |case: Case| {
        let (pools, times, left) = (Arc::clone(&pools), Arc::clone(&times), Arc::clone(&left));
        let pictures = Arc::clone(&pictures);
        Trial::test(case.name, move || {
            let idle = || pools.lock().unwrap_or_else(PoisonError::into_inner);
            let mut pool = idle().pop().unwrap_or_default();
            let mut time = Time::new(case.name);
            left.fetch_sub(1, Ordering::Relaxed);
            let outcome = run(&mut pool, &pictures, case, &mut time, &left);
            idle().push(pool);
            times.add(time);
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    let conclusion = libtest_mimic::run(&arguments, cases.into_iter().map(trial).collect());
    let file = env::var_os(LOGS).map(|logs| Path::new(&logs).join("times.tsv"));
    times.show_slowest(file.as_deref());
    conclusion.exit_code()
}

/// A name that two cases have: their logs would overwrite each other.
fn twice(cases: &[Case]) -> Option<&'static str> {
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let same = names.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(same[0])
}

/// Which cases the environment asks for.
fn chosen() -> impl Fn(&Case) -> bool {
    let tag = env::var(TAG).unwrap_or_default();
    let names = env::var(NAMES).unwrap_or_default();
    let on_debug = Artifacts::from_env().is_ok_and(|artifacts| artifacts.debug && !artifacts.races);
    move |case| {
        let mut names = names.split_whitespace().peekable();
        let named = if names.peek().is_none() {
            on_debug || !case.debug_only
        } else {
            names.any(|name| case.name.contains(name))
        };
        let tagged = match tag.as_str() {
            "smoke" => case.smoke,
            "debug" => case.debug,
            _ => true,
        };
        named && tagged
    }
}

/// Runs a case; `left`: how many have not begun.
fn run(pool: &mut Pool, pictures: &Arc<Pictures>, case: Case, time: &mut Time, left: &AtomicUsize) -> Result<()> {
    let began = Instant::now();
    let kind = (case.machines, case.memory, case.shared);
    let cluster = pool.take(kind, pictures)?;
    time.machines = began.elapsed();
    for node in cluster.nodes() {
        node.begin(case.name);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&cluster)))
        .unwrap_or_else(|panic| Err(anyhow!("the test panicked: {}", words(panic.as_ref()))));
    cluster.restore_links();
    let mut faults: Vec<String> = outcome.err().map(|error| format!("{error:#}")).into_iter().collect();
    let ended = Instant::now();
    pool.unscanned.push(case.name);
    let last = left.load(Ordering::Relaxed) == 0;
    let scans = last || pool.unscanned.len() >= TESTS_PER_SCAN;
    let since = if scans {
        mem::take(&mut pool.unscanned)
    } else {
        Vec::new()
    };
    if let Err(error) = cleanup::take_down(&cluster, &since) {
        faults.push(format!("after the test: {error:#}"));
    }
    for complaint in cluster.complaints() {
        faults.push(format!("the kernel complained on {complaint}"));
    }
    time.tidying = ended.elapsed();
    if faults.is_empty() {
        pool.cluster = Some((kind, cluster));
        return Ok(());
    }
    let tails = cluster.tails();
    let kept = match env::var_os(LOGS) {
        Some(logs) => {
            let dir = Path::new(&logs).join(case.name);
            cluster.save_logs(&dir).map(|()| dir)
        }
        None => Ok(cluster.keep()),
    };
    let kept = kept.map_or_else(
        |error| format!("no logs: {error:#}"),
        |dir| format!("logs are in {}", dir.display()),
    );
    bail!("{}\n{tails}{kept}", faults.join("\n"))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}
