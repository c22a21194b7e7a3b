// SPDX-License-Identifier: GPL-2.0
//! The kernel inside a `vmlinuz`: an emulated processor takes as long to unpack it as to boot it.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context as _, Result};

use crate::cmd::Cmd;
use crate::progress::Step;

/// Where the header says what follows it, see Documentation/arch/x86/boot.rst of the kernel: the number of sectors of the
/// set-up code, `HdrS`, and place and length of what is packed.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The kernel's Makefile appends the length of the kernel to what is packed.
const TRAILER: usize = 4;

/// How the kernel can be packed, by the first bytes: the program that unpacks it, and the ending it wants.
const PACKERS: [(&[u8], &str, &str); 2] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zst"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz"),
];

/// Writes the kernel inside `vmlinuz` to `vmlinux`, in a folder that nobody else uses.
///
/// # Errors
///
/// When it is none, or packed in a way not known here.
pub fn unpack(vmlinuz: &Path, vmlinux: &Path, step: &Step) -> Result<()> {
    let image = fs::read(vmlinuz).with_context(|| format!("cannot read {}", vmlinuz.display()))?;
    let packed = payload(&image).with_context(|| format!("{} is no kernel", vmlinuz.display()))?;
    let Some((_, program, ending)) = PACKERS.iter().find(|(magic, ..)| packed.starts_with(magic)) else {
        bail!("{} is packed in a way that is not known here", vmlinuz.display());
    };
    let file = vmlinux.with_extension(ending);
    fs::write(&file, packed).with_context(|| format!("cannot write {}", file.display()))?;
    Cmd::new(program).args(["-d", "-q", "-f"]).arg(&file).run(step)?;
    // One of the two programs keeps what it has unpacked.
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// What is packed in the image.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" {
        return None;
    }
    // None given means four, by the boot protocol.
    let sectors = match *image.get(SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let begin = (sectors + 1) * 512 + number(PAYLOAD_OFFSET)?;
    let end = (begin + number(PAYLOAD_LENGTH)?).checked_sub(TRAILER)?;
    image.get(begin..end)
}

#[cfg(test)]
mod tests {
    use super::{payload, MAGIC, PAYLOAD_LENGTH, PAYLOAD_OFFSET, SETUP_SECTORS};

    fn image(sectors: u8, offset: u32, length: u32) -> Vec<u8> {
        let mut image: Vec<u8> = (0..8192_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        image[SETUP_SECTORS] = sectors;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&offset.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image
    }

    #[test]
    fn what_is_packed_is_found_behind_the_set_up_code() {
        let with_three = image(3, 100, 1000);
        assert_eq!(payload(&with_three), Some(&with_three[2148..3144]));
        let with_none = image(0, 100, 1000);
        assert_eq!(payload(&with_none), Some(&with_none[2660..3656]));
    }

    #[test]
    fn what_is_no_kernel_or_cut_short_is_refused() {
        assert_eq!(payload(b"\x7fELF"), None);
        assert_eq!(payload(&image(3, 100, 7000)), None);
        assert_eq!(payload(&image(3, 100, 2)), None);
        let mut other = image(3, 100, 1000);
        other[MAGIC] = b'h';
        assert_eq!(payload(&other), None);
    }
}
