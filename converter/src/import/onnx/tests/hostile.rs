//! Bytes that nobody should trust.
