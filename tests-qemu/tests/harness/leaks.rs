// SPDX-License-Identifier: GPL-2.0
//! Memory that nothing refers to any more, as the debug kernel finds it.

use anyhow::{ensure, Result};
use tests_qemu::Node;

/// Only what two scans find unchanged is reported, so that what is being moved is not. What was shown is forgotten: the
/// next test is not to answer for it.
const SCAN: &str = "cd /sys/kernel/debug && echo scan > kmemleak && echo scan > kmemleak && cat kmemleak && \
                    echo clear > kmemleak";

/// The kernel takes memory for lost only when it is older than five seconds.
pub(crate) const AGE: &str = "sleep 5.5";

/// Checks that no memory of the machine is lost.
///
/// # Errors
///
/// When some is, with the functions that asked for it.
pub(crate) fn check(node: &Node) -> Result<()> {
    let lost = node.sh(SCAN).ok()?;
    ensure!(lost.is_empty(), "memory is lost on {}:\n{lost}", node.name());
    Ok(())
}
