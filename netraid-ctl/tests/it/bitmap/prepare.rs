// SPDX-License-Identifier: GPL-2.0
//! Room for new metadata.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use netraid_ctl::meta::prepare;
use tempfile::TempDir;

use super::{LEN, SIZE};

#[test]
fn a_prepared_file_is_written_to_its_end_and_goes_unless_it_is_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bitmap_data");
    drop(prepare(&path, SIZE, Some(65536), false).unwrap());
    assert!(!path.exists());
    for (chunk_size, no_bitmap, len) in [
        (Some(65536), false, LEN as u64),
        (None, false, LEN as u64),
        (Some(4096), false, 8192 + 3 * 16 * 4096),
        (None, true, 8192),
    ] {
        prepare(&path, SIZE, chunk_size, no_bitmap).unwrap().keep();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.mode() & 0o777), (len, 0o600));
        assert!(found.blocks() * 512 >= len, "no holes");
        assert!(fs::read(&path).unwrap().iter().all(|&byte| byte == 0));
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn only_a_blank_file_is_taken_for_metadata() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bitmap_data");
    fs::write(&path, [0; 100]).unwrap();
    let prepared = prepare(&path, SIZE, None, false).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), LEN as u64);
    drop(prepared);
    assert_eq!(fs::read(&path).unwrap(), [0; 100]);
    fs::write(&path, b"\0\0\0precious").unwrap();
    let error = prepare(&path, SIZE, None, false).unwrap_err().to_string();
    assert!(error.contains("exists and is not blank"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"\0\0\0precious");
    let error = prepare(&folder.path().join("no/such"), SIZE, None, false).unwrap_err();
    assert!(error.to_string().contains("the directory of the bitmap"), "{error}");
    let error = prepare(folder.path(), SIZE, None, false).unwrap_err();
    assert!(
        error.to_string().contains("neither a file nor a block device"),
        "{error}"
    );
}
