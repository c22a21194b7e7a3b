// SPDX-License-Identifier: GPL-2.0

//! Names, and short texts that live in a fixed place.
//!
//! The kernel side cannot allocate where it has to say why something was refused, and a text from
//! the network must have a limit anyway: [`FixedStr`] holds up to `N` bytes of valid text inline.

use core::fmt;
use core::hash::{Hash, Hasher};

/// Longest name of a mirror or a machine, in bytes.
pub const NAME_MAX: usize = 64;

/// Longest sentence that explains something, in bytes.
pub const TEXT_MAX: usize = 255;

/// The name of a mirror or of a machine.
pub type Name = FixedStr<NAME_MAX>;

/// A sentence.
pub type Text = FixedStr<TEXT_MAX>;

/// Why bytes are not a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// It has more bytes than fit.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It contains a control character, with which a text could disturb a terminal or a log.
    Control,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the text is too long",
            Self::NotUtf8 => "the text is not UTF-8",
            Self::Control => "the text contains a control character",
        })
    }
}

/// A text of up to `N` bytes (at most 255), stored inline.
///
/// # Invariants
///
/// The first `len` bytes are UTF-8 without control characters; the others are zero, so that two
/// equal texts are equal in every byte.
#[derive(Clone, Copy)]
pub struct FixedStr<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> FixedStr<N> {
    /// Bytes that fit: `N`, or 255 where `N` is larger.
    pub const CAPACITY: usize = if N < 255 { N } else { 255 };

    /// The empty text.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; N] };

    /// Takes a text as it is.
    ///
    /// # Errors
    ///
    /// A [`TextError`] where it is too long or contains a control character.
    pub fn new(text: &str) -> Result<Self, TextError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Takes bytes that should be a text.
    ///
    /// # Errors
    ///
    /// A [`TextError`] where they are not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TextError> {
        if bytes.len() > Self::CAPACITY {
            return Err(TextError::TooLong);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| TextError::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(TextError::Control);
        }
        let mut fixed = Self::EMPTY;
        fixed.push(text);
        Ok(fixed)
    }

    /// Takes as much of a text as fits, whole characters only; control characters become spaces.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let mut fixed = Self::EMPTY;
        fixed.push_lossy(text);
        fixed
    }

    /// Formats a text; what does not fit is left out, as in [`FixedStr::truncated`].
    #[must_use]
    pub fn format(arguments: fmt::Arguments<'_>) -> Self {
        let mut fixed = Self::EMPTY;
        // Writing to a fixed text never fails; an error of a `Display` inside ends the text there.
        let _ = fmt::write(&mut fixed, arguments);
        fixed
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or(&[])
    }

    /// All bytes, those after the text zero.
    #[must_use]
    pub const fn padded(&self) -> &[u8; N] {
        &self.bytes
    }

    /// Bytes of the text.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the text has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a text where it fits as a whole; false, and nothing changes, where it does not.
    fn push(&mut self, text: &str) -> bool {
        let start = self.len();
        let end = start.saturating_add(text.len());
        let room = if end > Self::CAPACITY {
            None
        } else {
            self.bytes.get_mut(start..end)
        };
        match (room, u8::try_from(end)) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(text.as_bytes());
                self.len = len;
                true
            }
            _ => false,
        }
    }

    fn push_lossy(&mut self, text: &str) {
        for character in text.chars() {
            let shown = if character.is_control() { ' ' } else { character };
            if !self.push(shown.encode_utf8(&mut [0; 4])) {
                return;
            }
        }
    }
}

impl<const N: usize> Default for FixedStr<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Write for FixedStr<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_lossy(text);
        Ok(())
    }
}

impl<const N: usize> fmt::Display for FixedStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for FixedStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> PartialEq for FixedStr<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for FixedStr<N> {}

impl<const N: usize> Hash for FixedStr<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<const N: usize> AsRef<str> for FixedStr<N> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Why a mirror cannot have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It has so many bytes, more than [`NAME_MAX`].
    TooLong(usize),
    /// It contains a character that is not allowed.
    Character(char),
    /// It starts with a character that is allowed only further on.
    Start(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "the name of a mirror is empty; give it 1 to {NAME_MAX} characters"),
            Self::TooLong(len) => write!(
                f,
                "the name of a mirror has {len} bytes; at most {NAME_MAX} are allowed"
            ),
            Self::Character(character) => write!(
                f,
                "the name of a mirror contains {character:?}; letters A-Z a-z, digits and . _ - \
                 are allowed"
            ),
            Self::Start(character) => write!(
                f,
                "the name of a mirror starts with {character:?}; let it start with a letter, a \
                 digit or _"
            ),
        }
    }
}

/// Checks the name of a mirror: 1 to [`NAME_MAX`] of the characters `A-Z a-z 0-9 . _ -`, the first
/// neither `.` nor `-`.
///
/// So restricted, a name is safe as a file name, as a word on a command line and in a log.
///
/// # Errors
///
/// A [`NameError`] that names the first thing that is wrong.
pub fn check_mirror_name(name: &str) -> Result<(), NameError> {
    let Some(first) = name.chars().next() else {
        return Err(NameError::Empty);
    };
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong(name.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(character) = name.chars().find(|&c| !allowed(c)) {
        return Err(NameError::Character(character));
    }
    if matches!(first, '.' | '-') {
        return Err(NameError::Start(first));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;

    #[test]
    fn names_of_mirrors_are_checked() {
        let longest = core::str::from_utf8(&[b'a'; 64]).unwrap();
        let too_long = core::str::from_utf8(&[b'a'; 65]).unwrap();
        for name in ["a", "0", "_x", "data-1.old", longest] {
            assert_eq!(check_mirror_name(name), Ok(()));
        }
        assert_eq!(check_mirror_name(""), Err(NameError::Empty));
        assert_eq!(check_mirror_name(too_long), Err(NameError::TooLong(65)));
        assert_eq!(check_mirror_name("a/b"), Err(NameError::Character('/')));
        assert_eq!(check_mirror_name("a b"), Err(NameError::Character(' ')));
        assert_eq!(check_mirror_name("gr\u{fc}n"), Err(NameError::Character('\u{fc}')));
        assert_eq!(check_mirror_name(".a"), Err(NameError::Start('.')));
        assert_eq!(check_mirror_name("-a"), Err(NameError::Start('-')));
    }

    #[test]
    fn texts_are_checked_and_compare_by_content() {
        assert_eq!(FixedStr::<4>::new("abcd").unwrap().as_str(), "abcd");
        assert_eq!(FixedStr::<4>::new("abcde"), Err(TextError::TooLong));
        assert_eq!(FixedStr::<4>::new("a\n"), Err(TextError::Control));
        assert_eq!(FixedStr::<4>::from_bytes(&[0xff]), Err(TextError::NotUtf8));
        assert_eq!(FixedStr::<4>::new("ab").unwrap().padded(), b"ab\0\0");
        assert!(FixedStr::<4>::default().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_cut_between_characters() {
        assert_eq!(FixedStr::<4>::truncated("abc\u{fc}").as_str(), "abc");
        assert_eq!(FixedStr::<4>::truncated("a\tb\nc").as_str(), "a b ");
        let mut text = FixedStr::<8>::EMPTY;
        write!(text, "{}-{}", 12, 345_678).unwrap();
        assert_eq!(text.as_str(), "12-34567");
        assert_eq!(FixedStr::<255>::format(format_args!("{:>4}", text)).len(), 8);
    }
}
