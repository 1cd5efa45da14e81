//! What a page has to load.

use crate::Result;
use crate::bench::family::{Context, Family, Figure, Sample};
use crate::command::Command;
use crate::files::root;

/// See the module.
pub static FAMILY: Family = Family {
    name: "size",
    about: "what a page loads that uses the slim entry, compressed by gzip",
    reference: "slim",
    figures: &[
        Figure { name: "JavaScript", unit: "octets" },
        Figure { name: "WebAssembly", unit: "octets" },
        Figure { name: "together", unit: "octets" },
    ],
    measure,
};

fn measure(context: &Context) -> Result<Vec<Sample>> {
    context.built.npm()?;
    let folder = root().join("wasm/npm");
    // It is the same in each round.
    let once = Context { rounds: 1, ..context.clone() };
    once.interleave(&["slim"], |_| Command::line("node bench/size.mjs").in_folder(&folder))
}
