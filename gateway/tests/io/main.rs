//! The program, with its sockets, devices and files: each test in namespaces of its own.

#[macro_use]
mod support;

mod admin;
mod auth;
mod carried;
mod config;
mod curl;
mod door;
mod http;
mod inner;
mod machine;
mod masquerade;
mod path;
mod pool;
mod proxy;
mod session;
mod shards;
mod tls;
mod wisp;
