#![doc = include_str!("../README.md")]

pub mod connection;
pub mod device;
pub mod exit;
pub mod relay;
pub mod tls;
