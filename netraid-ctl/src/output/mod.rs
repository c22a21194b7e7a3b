// SPDX-License-Identifier: GPL-2.0
//! What the user sees: text for people, JSON for programs, a bar for those who wait.

pub mod json;
pub(crate) mod priority;
pub mod progress;
pub mod text;
