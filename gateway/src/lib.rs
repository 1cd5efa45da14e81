#![doc = include_str!("../README.md")]

#[cfg(feature = "io")]
pub mod config;
pub mod dataplane;
#[cfg(feature = "io")]
pub mod io;
