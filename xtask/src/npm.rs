//! The npm package: wasm by cargo, its bindings by wasm-bindgen, the rest by wasm/npm/build.mjs.

use crate::command::{Command, cargo};
use crate::files::root;
use crate::workspace::{npm_ci, target};
use crate::{Result, setup};

/// Builds wasm/npm/dist.
pub fn build() -> Result {
    setup::for_npm()?;
    cargo()
        .args(["build", "--package", "webtun-wasm", "--profile", "wasm", "--target", "wasm32-unknown-unknown"])
        .run()?;
    bindings()?;
    let folder = root().join("wasm/npm");
    npm_ci(&folder)?;
    Command::line("node build.mjs").in_folder(&folder).run()
}

/// By the library and not the command, so that its version is the one in Cargo.lock, which must match that of the crate.
fn bindings() -> Result {
    let wasm = target()?.join("wasm32-unknown-unknown/wasm/webtun_wasm.wasm");
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(wasm)
        .web(true)
        .and_then(|bindgen| {
            bindgen
                .out_name("webtun")
                .typescript(true)
                .omit_default_module_path(true)
                .generate(root().join("wasm/npm/generated"))
        })
        .map_err(|error| format!("wasm-bindgen: {error:#}").into())
}
