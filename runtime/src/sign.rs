//! Files that somebody has signed.
//!
//! The signature is Ed25519 (RFC 8032) over all bytes of the file, and lies beside it, 64 bytes in `MODEL.sepal.sig`: the file is
//! the same whether it is signed or not, may be signed by several, and any other program can check it. `sepal keygen` and
//! `sepal sign` make keys and signatures; a public key has 32 bytes, so that `*include_bytes!("vendor.pub")` is one.
//!
//! A signature says who vouches for a file. That the file is sound is checked in any case, after it.

use crate::{LoadError, Model};

/// Bytes of a public key.
pub const KEY: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE: usize = 64;

/// Whether a signature of `bytes` was made with the secret key to a public one.
pub fn is_signed(bytes: &[u8], signature: &[u8; SIGNATURE], key: &[u8; KEY]) -> bool {
    let signature = ed25519_compact::Signature::new(*signature);
    ed25519_compact::PublicKey::new(*key).verify(bytes, &signature).is_ok()
}

impl<'a> Model<'a> {
    /// As [`from_bytes`](Model::from_bytes), for bytes that the owner of a key has signed. Reads all of them.
    ///
    /// # Errors
    /// [`LoadError::Signature`] before anything else of the file is looked at, or what `from_bytes` gives.
    pub fn from_signed(bytes: &'a [u8], signature: &[u8; SIGNATURE], key: &[u8; KEY]) -> Result<Self, LoadError> {
        if !is_signed(bytes, signature, key) {
            return Err(LoadError::Signature);
        }
        Model::from_bytes(bytes)
    }
}

/// The signature in a file, of which no more is read.
#[cfg(feature = "std")]
fn signature(path: &std::path::Path) -> Result<[u8; SIGNATURE], LoadError> {
    use std::io::Read;
    let mut file = crate::file::open_regular(path).map_err(LoadError::Io)?;
    if file.metadata().map_err(LoadError::Io)?.len() != SIGNATURE as u64 {
        return Err(LoadError::Signature);
    }
    let mut bytes = [0; SIGNATURE];
    file.read_exact(&mut bytes).map_err(LoadError::Io)?;
    Ok(bytes)
}

#[cfg(feature = "std")]
impl Model<'static> {
    /// Loads a file that the owner of a key has signed, with the signature in `PATH.sig`. The file is read into memory, not mapped:
    /// what was verified is what runs, whatever becomes of the file.
    ///
    /// ```no_run
    /// const VENDOR: [u8; 32] = [0; 32]; // *include_bytes!("vendor.pub")
    /// let model = sepal::Model::load_verified("digits.sepal", &VENDOR)?;
    /// # Ok::<(), sepal::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Signature`] before anything else of the file is looked at; [`LoadError::Io`] if one of the two cannot be read; see
    /// [`LoadError`].
    pub fn load_verified(path: impl AsRef<std::path::Path>, key: &[u8; KEY]) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let mut beside = std::ffi::OsString::from(path);
        beside.push(".sig");
        let signature = signature(beside.as_ref())?;
        let bytes = crate::AlignedBytes::read(path).map_err(LoadError::Io)?;
        if !is_signed(&bytes, &signature, key) {
            return Err(LoadError::Signature);
        }
        Model::from_owned(bytes)
    }
}
