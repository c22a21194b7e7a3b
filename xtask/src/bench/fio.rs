// SPDX-License-Identifier: GPL-2.0
//! fio: how it is called, and what it says.

use anyhow::{ensure, Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::case::Case;

/// Bytes at the beginning of a device that loads go to: all of it but what the smallest mirror lacks.
const SPAN: &str = "200m";

/// What a load gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Operations a second.
    pub(super) iops: f64,
    /// Bytes a second.
    pub(super) bytes_per_second: f64,
    /// Bytes written in all.
    pub(super) bytes_written: f64,
    /// Time that half of the operations took at most from their submission on, in microseconds; of the writes, where there
    /// are any.
    pub(super) p50_us: f64,
    /// The same of 99 of 100.
    pub(super) p99_us: f64,
    /// The same of 999 of 1000.
    pub(super) p999_us: f64,
}

/// The command that puts a load on `device` for `milliseconds`.
#[must_use]
pub(super) fn command(case: &Case, device: &str, milliseconds: u32) -> String {
    format!(
        "fio --name={} --filename={device} --direct=1 --ioengine=libaio --size={SPAN} --norandommap \
         --time_based --runtime={milliseconds}ms --group_reporting --lat_percentiles=1 \
         --clat_percentiles=0 --percentile_list=50:99:99.9 --output-format=json {}",
        case.name,
        case.fio.join(" ")
    )
}

/// Takes fio's JSON apart.
///
/// # Errors
///
/// Where it is not what fio 3 writes, or operations failed.
pub(super) fn parse(text: &str) -> Result<Sample> {
    // Remarks may come before it.
    let start = text.find('{').context("fio printed no JSON")?;
    let report: Value = serde_json::from_str(&text[start..]).context("fio's JSON cannot be read")?;
    let job = &report["jobs"][0];
    ensure!(job["error"] == 0, "fio met error {}", job["error"]);
    let number = |of: &str, key: &str| -> Result<f64> {
        let value = job[of][key].as_f64();
        value.with_context(|| format!("fio's JSON lacks {of}.{key}"))
    };
    let both = |key: &str| -> Result<f64> { Ok(number("read", key)? + number("write", key)?) };
    let of = if number("write", "total_ios")? > 0.0 {
        "write"
    } else {
        "read"
    };
    let iops = both("iops")?;
    ensure!(iops > 0.0, "fio completed no operation");
    let percentile = |key: &str| -> Result<f64> {
        let nanoseconds = job[of]["lat_ns"]["percentile"][key].as_f64();
        Ok(nanoseconds.with_context(|| format!("fio's JSON lacks percentile {key} of {of}"))? / 1e3)
    };
    Ok(Sample {
        iops,
        bytes_per_second: both("bw_bytes")?,
        bytes_written: number("write", "io_bytes")?,
        p50_us: percentile("50.000000")?,
        p99_us: percentile("99.000000")?,
        p999_us: percentile("99.900000")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::case::CASES;
    use super::{command, parse};

    fn side(ios: u32, iops: f64, percentile: u32) -> serde_json::Value {
        json!({
            "total_ios": ios, "iops": iops, "bw_bytes": iops * 4096.0, "io_bytes": u64::from(ios) * 4096,
            "lat_ns": { "percentile": {
                "50.000000": percentile, "99.000000": percentile * 2, "99.900000": percentile * 3
            }}
        })
    }

    fn report(read: serde_json::Value, write: serde_json::Value, error: u32) -> String {
        let job = json!({ "error": error, "read": read, "write": write });
        format!("fio: a remark\n{}", json!({ "jobs": [job] }))
    }

    #[test]
    fn figures_of_both_directions_add_up_and_the_times_are_those_of_writes() {
        let sample = parse(&report(side(70, 700.0, 1000), side(30, 300.0, 5000), 0)).unwrap();
        assert_eq!(sample.iops, 1000.0);
        assert_eq!(sample.bytes_per_second, 4_096_000.0);
        assert_eq!(sample.bytes_written, 30.0 * 4096.0);
        assert_eq!((sample.p50_us, sample.p99_us, sample.p999_us), (5.0, 10.0, 15.0));
        let reads = parse(&report(side(70, 700.0, 1000), side(0, 0.0, 0), 0)).unwrap();
        assert_eq!((reads.iops, reads.p50_us), (700.0, 1.0));
    }

    #[test]
    fn what_failed_is_no_figure() {
        let failed = parse(&report(side(1, 1.0, 1), side(1, 1.0, 1), 5)).unwrap_err();
        assert!(failed.to_string().contains("error 5"), "{failed}");
        assert!(parse(&report(side(0, 0.0, 1), side(0, 0.0, 1), 0)).is_err());
        assert!(parse("fio: no such device").is_err());
        assert!(parse("{\"jobs\":[]}").is_err());
    }

    #[test]
    fn a_command_names_the_device_and_the_load() {
        let line = command(&CASES[0], "/dev/ram2", 500);
        assert!(
            line.contains("--filename=/dev/ram2") && line.contains("--runtime=500ms"),
            "{line}"
        );
        assert!(line.ends_with("--rw=randwrite --bs=4k --iodepth=1"), "{line}");
    }
}
