//! Everything that touches the world: HTTP, WebSockets, the TUN device, the kernel's settings, DNS resolvers.

pub mod admin;
pub mod audit;
pub mod auth;
mod dial;
pub mod dns;
pub mod doors;
pub mod driver;
pub mod egress;
pub mod health;
pub mod http;
pub mod inner;
mod kernel;
pub mod metrics;
pub mod pace;
pub mod run;
pub mod session;
pub mod stream;
pub(crate) mod streams;
pub mod tls;
