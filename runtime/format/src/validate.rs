//! The checks that make a [`ModelView`] of bytes.
use crate::error::FormatError;
use crate::view::ModelView;

pub(crate) fn parse(_bytes: &[u8]) -> Result<ModelView<'_>, FormatError> {
    todo!()
}
