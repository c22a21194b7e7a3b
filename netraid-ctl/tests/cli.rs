// SPDX-License-Identifier: GPL-2.0
//! The built program: help, versions, wrong usage, exit statuses.

#[test]
fn help_and_wrong_usage_are_as_documented() {
    trycmd::TestCases::new()
        .register_bin("netraid-ctl", trycmd::cargo::cargo_bin!("netraid-ctl"))
        .env("COLUMNS", "100")
        .case("tests/cli/*.trycmd");
}
