//! Memory of handles: as a `Box`, but what cannot be allocated is an error.
#![expect(unsafe_code, reason = "a handle is a raw pointer while C holds it")]

use crate::status::{Failure, Result, Status};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// An empty list that has room for `len`.
pub fn list<T>(len: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    let error = |_| Failure::new(Status::Memory, format_args!("no memory for {len} elements of a handle"));
    list.try_reserve_exact(len).map_err(error)?;
    Ok(list)
}

/// Moves a value to memory of its own.
pub fn make<T>(value: T) -> Result<*mut T> {
    let mut one = list(1)?;
    one.push(value);
    Ok(Box::into_raw(one.into_boxed_slice()).cast())
}

/// Drops what [`make`] made.
///
/// # Safety
/// `handle` comes from [`make`] and is not used any more.
pub unsafe fn free<T>(handle: *mut T) {
    // SAFETY: `make` leaked a boxed slice of one element at this address, and by the contract of this function nobody else frees it.
    drop(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(handle, 1)) });
}
