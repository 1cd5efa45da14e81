//! The npm package: wasm by cargo, its bindings by wasm-bindgen, the rest by wasm/npm/build.mjs.

use std::path::PathBuf;

use crate::command::{Command, cargo};
use crate::files::root;
use crate::workspace::{npm_ci, target};
use crate::{Result, setup};

/// Builds wasm/npm/dist.
pub fn build() -> Result {
    setup::for_npm()?;
    let packages = ["--package", "webtun-wasm", "--package", "webtun-http", "--package", "webtun-tls"];
    build_wasm(&packages)?;
    bindings("webtun_wasm", "webtun")?;
    bindings("webtun_http", "webtun_http")?;
    bindings("webtun_tls", "webtun_tls")?;
    // The same crate with other features: a page loads what it uses. The slim one has the same calls, and so the same bindings.
    build_wasm(&["--package", "webtun-wasm", "--no-default-features", "--features", "stack"])?;
    bindings("webtun_wasm", "webtun_slim")?;
    let ethernet = ["--package", "webtun-wasm", "--no-default-features", "--features", "ethernet"];
    build_wasm(&ethernet)?;
    bindings("webtun_wasm", "webtun_ethernet")?;
    let folder = root().join("wasm/npm");
    npm_ci(&folder)?;
    Command::line("node build.mjs").in_folder(&folder).run()
}

fn build_wasm(packages: &[&str]) -> Result {
    let flags = format!("target.wasm32-unknown-unknown.rustflags={:?}", without_registry());
    let build = cargo().args(["build", "--config", &flags]).args(packages);
    build.args(["--profile", "wasm", "--target", "wasm32-unknown-unknown"]).run()
}

/// Messages of panics name files of the dependencies: where they lie on this machine is nobody's business, and long.
fn without_registry() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    let folders = registries.into_iter().flatten().filter_map(|folder| Some(folder.ok()?.path()));
    folders.map(|folder| format!("--remap-path-prefix={}/=", folder.display())).collect()
}

/// By the library and not the command, so that its version is the one in Cargo.lock, which must match that of the crate.
fn bindings(library: &str, name: &str) -> Result {
    let wasm = target()?.join(format!("wasm32-unknown-unknown/wasm/{library}.wasm"));
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(wasm)
        .web(true)
        .and_then(|bindgen| {
            bindgen
                .out_name(name)
                .typescript(true)
                .remove_name_section(true)
                .remove_producers_section(true)
                .omit_default_module_path(true)
                .generate(root().join("wasm/npm/generated"))
        })
        .map_err(|error| format!("wasm-bindgen: {error:#}").into())
}
