// SPDX-License-Identifier: GPL-2.0
//! The floor: two kernel threads that exchange data for acknowledgements over loopback, and do nothing else. No mirror
//! over this way can be faster.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use serde::{Deserialize, Serialize};
use tests_qemu::Node;

use crate::cache::Lock;
use crate::env::Env;
use crate::progress::Progress;
use crate::rustmeta;

/// Where the module is in the machine.
const MODULE: &str = "/run/bench_echo.ko";

/// One exchange.
struct Kind {
    name: &'static str,
    /// The load it is the limit of.
    case: &'static str,
    length: u32,
    window: u32,
    splice: bool,
    coalesce: bool,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "pages lent",
        case: "w4k-1",
        length: 4096,
        window: 1,
        splice: true,
        coalesce: false,
    },
    Kind {
        name: "pages copied",
        case: "w4k-1",
        length: 4096,
        window: 1,
        splice: false,
        coalesce: false,
    },
    Kind {
        name: "pages lent, acknowledged together",
        case: "w4k-32",
        length: 4096,
        window: 32,
        splice: true,
        coalesce: true,
    },
    Kind {
        name: "pages copied, acknowledged together",
        case: "w4k-32",
        length: 4096,
        window: 32,
        splice: false,
        coalesce: true,
    },
    Kind {
        name: "pages lent",
        case: "w128k-8",
        length: 131_072,
        window: 8,
        splice: true,
        coalesce: false,
    },
    Kind {
        name: "pages copied",
        case: "w128k-8",
        length: 131_072,
        window: 8,
        splice: false,
        coalesce: false,
    },
];

/// What one exchange gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Echo {
    /// How.
    pub name: String,
    /// The load it is the limit of.
    pub case: String,
    /// Bytes of data in a request.
    pub length: u32,
    /// Requests in flight.
    pub window: u32,
    /// Requests a second.
    pub operations_per_second: f64,
}

impl Echo {
    /// Millions of bytes of data a second.
    #[must_use]
    pub fn megabytes(&self) -> f64 {
        self.operations_per_second * f64::from(self.length) / 1e6
    }
}

/// Builds the module; its file.
///
/// # Errors
///
/// When Kbuild fails.
pub fn build(env: &Env, progress: &Progress) -> Result<PathBuf> {
    let built = env.paths.built(&env.kernel.kver);
    let out = built.join("bench-echo");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let _lock = Lock::take(&built.join("bench-echo.lock"), progress)?;
    let root = env
        .build
        .clone()
        .bind(&env.kdir, "/linux")
        .bind(&env.paths.checkout, "/netraid")
        .bind(&out, "/out");
    progress.step("Build the module that measures the floor", |step| {
        let outcome = rustmeta::make(&root, &env.kernel, env.tools)
            .args(["M=/netraid/tests-qemu/bench-echo", "MO=/out", "modules"])
            .limit(Duration::from_secs(5 * 60))
            .outcome(step)?;
        ensure!(
            outcome.status.success(),
            "the module that measures the floor does not build for {}:\n{}",
            env.kernel.kver,
            outcome.tail
        );
        root.cmd("strip")
            .args(["--strip-debug", "/out/bench_echo.ko"])
            .run(step)?;
        Ok(out.join("bench_echo.ko"))
    })
}

/// Brings the module into a machine.
///
/// # Errors
///
/// When the file cannot be read or written.
pub fn install(node: &Node, module: &PathBuf) -> Result<()> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    node.write_file(MODULE, &bytes, 0o600)
}

/// Measures all exchanges, each for `milliseconds`; `say` is told which.
///
/// # Errors
///
/// When the module is not taken, or a connection failed.
pub fn measure(node: &Node, milliseconds: u32, say: impl Fn(&str)) -> Result<Vec<Echo>> {
    KINDS
        .iter()
        .map(|kind| {
            say(&format!(
                "{} of {} bytes, {} at a time",
                kind.name, kind.length, kind.window
            ));
            let script = format!(
                "insmod {MODULE} splice={} coalesce={} window={} length={} milliseconds={milliseconds} && \
                 cd /sys/module/bench_echo/parameters && cat operations nanoseconds && rmmod bench_echo",
                u8::from(kind.splice),
                u8::from(kind.coalesce),
                kind.window,
                kind.length
            );
            let limit = Duration::from_millis(u64::from(milliseconds) * 4 + 30_000);
            let told = node.sh(&script).timeout(limit).ok()?;
            Ok(Echo {
                name: kind.name.to_owned(),
                case: kind.case.to_owned(),
                length: kind.length,
                window: kind.window,
                operations_per_second: rate(&told)?,
            })
        })
        .collect()
}

/// Operations a second, of the lines with operations and nanoseconds.
fn rate(told: &str) -> Result<f64> {
    let numbers: Vec<f64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[operations, nanoseconds] = numbers.as_slice() else {
        anyhow::bail!("the module that measures the floor said `{}`", told.trim());
    };
    ensure!(operations > 0.0 && nanoseconds > 0.0, "the exchange stood still");
    Ok(operations / nanoseconds * 1e9)
}

#[cfg(test)]
mod tests {
    use super::{rate, KINDS};
    use crate::bench::case::CASES;

    #[test]
    fn a_rate_is_operations_in_a_time() {
        assert_eq!(rate("3000\n2000000000\n").unwrap(), 1500.0);
        assert!(rate("3000\n").is_err());
        assert!(rate("0\n5\n").is_err());
    }

    #[test]
    fn each_exchange_is_the_limit_of_a_load() {
        for kind in &KINDS {
            assert!(CASES.iter().any(|case| case.name == kind.case), "{}", kind.case);
            assert_eq!(kind.length % 4096, 0);
        }
    }
}
