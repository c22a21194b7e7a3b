// SPDX-License-Identifier: GPL-2.0
//! Priorities in texts.

use crate::model::Mirror;

/// In which order the machines are meant to take over; nothing where only one could, or where nobody was given any.
pub(super) fn order(mirror: &Mirror) -> String {
    let all = mirror.priorities();
    if mirror.legs.len() < 2 || all.is_empty() {
        return String::new();
    }
    let words: Vec<_> = all
        .iter()
        .map(|(priority, node)| format!("{} {node}", word(*priority)))
        .collect();
    format!("Priorities: {}\n", words.join(", "))
}

/// A priority in words.
pub(crate) fn word(priority: Option<u32>) -> String {
    priority.map_or_else(|| "none".to_owned(), |priority| priority.to_string())
}
