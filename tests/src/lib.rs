//! What the tests of the whole system share.

pub mod bins;
pub mod netns;
pub mod process;
