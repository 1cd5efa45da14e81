//! What the tests of the whole system share: the simulated world, and help with real processes and namespaces.

pub mod action;
pub mod bins;
pub mod clock;
pub mod direct;
pub mod dns;
pub mod flow;
pub mod guest;
pub mod host;
pub mod lab;
pub mod link;
pub mod model;
pub mod net;
pub mod netns;
pub mod node;
pub mod packet;
pub mod path;
pub mod pattern;
pub mod pcap;
pub mod process;
pub mod quota;
pub mod reference;
pub mod rng;
pub mod room;
pub mod trace;
pub mod tunnel;
pub mod world;
