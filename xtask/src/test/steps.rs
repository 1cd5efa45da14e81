//! The steps. To add one, add a row to `STEPS`: the order is the order of running, cheap and telling ones first.

use std::path::Path;

use crate::Result;
use crate::command::{Command, cargo};
use crate::files::{has, root};
use crate::workspace::is_root;

/// When a step runs.
#[derive(Clone, Copy, PartialEq)]
pub enum Tier {
    /// Always, also with --fast.
    Fast,
    /// Unless --fast.
    Normal,
    /// With --full, or when named by -k.
    Full,
}

/// What a step does on this machine.
pub enum Plan {
    /// Commands, one after the other, until one fails.
    Run(Vec<Command>),
    /// Nothing, and why.
    Skip(String),
}

/// A named step.
pub struct Step {
    /// What `-k` and the log are named by.
    pub name: &'static str,
    /// What it holds, for people.
    pub about: &'static str,
    /// When it runs.
    pub tier: Tier,
    /// Limit of each command, four times as long with --full.
    pub minutes: u64,
    /// Its commands; the argument is --full.
    pub plan: fn(full: bool) -> Result<Plan>,
}

use Tier::{Fast, Full, Normal};

const fn step(
    name: &'static str,
    tier: Tier,
    minutes: u64,
    plan: fn(bool) -> Result<Plan>,
    about: &'static str,
) -> Step {
    Step { name, about, tier, minutes, plan }
}

/// The step that installs what the others need.
pub const SETUP: &str = "setup";

/// All steps.
pub static STEPS: &[Step] = &[
    step(SETUP, Normal, 15, setup, "what the tests need is installed"),
    step("fmt", Fast, 2, fmt, "rustfmt has nothing to change"),
    step("clippy", Fast, 15, clippy, "no lint fires"),
    step("unit", Fast, 20, unit, "unit and property tests, golden vectors, doc examples"),
    step("system", Normal, 20, system, "the whole system in virtual time and on loopback"),
    step("docs", Normal, 15, docs, "the documentation builds without a warning"),
    step("purity", Normal, 10, purity, "the pure parts build for wasm32, where there is no clock and no socket"),
    step("deny", Normal, 5, deny, "licences and advisories of the dependencies"),
    step("npm", Normal, 15, npm, "the npm package builds, and its own tests pass"),
    step("netns", Normal, 20, netns, "the gateway's real TUN device and nftables rules, in network namespaces"),
    step("packaging", Normal, 15, packaging, "the npm package and every bundler, through a real gateway"),
    step("bench", Normal, 30, bench, "every benchmark runs; none is judged by its speed"),
    step("fuzz", Normal, 10, fuzz, "the fuzz corpora are replayed"),
    step("demo", Normal, 15, demo, "every panel of the demo page, in Chromium, and the ends of the demo"),
    step(
        "container",
        Normal,
        30,
        container,
        "the container's files, and the container without an engine: what must hold through it, on both egresses",
    ),
    step("e2e", Normal, 20, e2e, "what must hold, in Chromium through a real TUN device, and through sockets"),
    step("vm", Normal, 15, vm, "real Linux guests under v86 and QEMU, at the doors and on a page's Ethernet"),
    step("emscripten-latest", Full, 40, emscripten_latest, "programs of Debian's newest emcc, with JSPI and without"),
    step("macos", Full, 20, macos, "the gateway and the native client compile for macOS, where nobody runs them"),
    step("firefox", Full, 20, firefox, "every panel of the demo page, in Firefox"),
];

fn one(command: Command) -> Result<Plan> {
    Ok(Plan::Run(vec![command]))
}

/// Ourselves, with other arguments. By way of cargo: an earlier step may have built this program anew.
fn xtask(arguments: &str) -> Command {
    cargo_line(&format!("xtask {arguments}"))
}

fn cargo_line(line: &str) -> Command {
    cargo().args(line.split_ascii_whitespace())
}

fn setup(_: bool) -> Result<Plan> {
    one(xtask("setup"))
}

fn fmt(_: bool) -> Result<Plan> {
    let check = |manifest: &str| cargo_line(&format!("fmt --manifest-path {manifest} --check"));
    // Workspaces of their own: the fuzz targets, and a program whose one dependency compiles for WASI alone.
    let others = ["fuzz/Cargo.toml", "tests/wasi/wasmedge/Cargo.toml"].map(check);
    Ok(Plan::Run(std::iter::once(cargo_line("fmt --all --check")).chain(others).collect()))
}

fn clippy(_: bool) -> Result<Plan> {
    one(cargo_line("clippy --workspace --all-features --all-targets -- --deny warnings"))
}

/// Tests of the workspace. Always all packages with all features, whichever tests are chosen: cargo builds the dependencies
/// anew for each other set of features. A program that fails does not keep the ones after it from being run.
fn test(chosen: &str) -> Command {
    cargo_line(&format!("test --workspace --all-features --no-fail-fast {chosen}"))
}

/// Tests of the parts; those of the whole are in `tests/tests`.
const UNIT_FOLDERS: [&str; 6] =
    ["wire/tests", "client-stack/tests", "gateway/tests", "wasm/http/tests", "wasm/tls/tests", "xtask/tests"];
/// Folders with tests that make namespaces and devices, and how those tests' names begin.
const ROOT_FOLDERS: [&str; 2] = ["gateway/tests", "tests/tests"];
const ROOT_NAMES: [&str; 5] = ["io", "foreign", "hostile", "native_tools", "netns"];

fn needs_root(folder: &str, name: &str) -> bool {
    ROOT_FOLDERS.contains(&folder) && ROOT_NAMES.iter().any(|begin| name.starts_with(begin))
}

fn unit_files() -> Result<Vec<String>> {
    test_files(&UNIT_FOLDERS, |folder, name| !needs_root(folder, name))
}

fn system_files() -> Result<Vec<String>> {
    test_files(&["tests/tests"], |folder, name| !needs_root(folder, name) && !name.starts_with("fuzz"))
}

fn netns_files() -> Result<Vec<String>> {
    test_files(&ROOT_FOLDERS, needs_root)
}

fn unit(full: bool) -> Result<Plan> {
    let commands = vec![test("--lib --bins").args(unit_files()?), test("--doc")];
    Ok(Plan::Run(commands.into_iter().map(|command| thoroughly(command, full)).collect()))
}

fn system(full: bool) -> Result<Plan> {
    one(thoroughly(test("").args(system_files()?), full))
}

fn docs(_: bool) -> Result<Plan> {
    one(cargo_line("doc --workspace --all-features --no-deps").env("RUSTDOCFLAGS", "--deny warnings"))
}

fn purity(_: bool) -> Result<Plan> {
    const TARGET: &str = "--target wasm32-unknown-unknown";
    Ok(Plan::Run(vec![
        cargo_line(&format!("check --package webtun-wire --package webtun-stack {TARGET}")),
        cargo_line(&format!("check --package webtun-gateway --lib --no-default-features {TARGET}")),
    ]))
}

fn deny(_: bool) -> Result<Plan> {
    if !has("cargo-deny") {
        return Ok(Plan::Skip("cargo-deny is not installed (cargo install cargo-deny)".into()));
    }
    one(cargo_line("deny check"))
}

fn npm(_: bool) -> Result<Plan> {
    // By way of npm, whose shell expands the names: Node itself does so only from version 21 on.
    Ok(Plan::Run(vec![xtask("npm"), Command::line("npm test --silent").in_folder(root().join("wasm/npm"))]))
}

/// The tests of the lab that run over either egress, the second time by sockets in place of a TUN device.
const USER: &str = "--test native_tools --test netns_doors --test netns_doors_rooms";

fn netns(full: bool) -> Result<Plan> {
    // Tests that wait for minutes are marked as ignored.
    let long = if full { "-- --include-ignored" } else { "" };
    with_root(|| {
        let all = test("").args(netns_files()?).args(long.split_ascii_whitespace());
        Ok(Plan::Run(vec![all, test(USER).env("LAB_EGRESS", "user")]))
    })
}

/// `--test NAME` for each program in packages' folders of tests that `choose` picks, by folder and name. With none cargo
/// would run all.
fn test_files(folders: &[&str], choose: impl Fn(&str, &str) -> bool) -> Result<Vec<String>> {
    let mut chosen = Vec::new();
    for folder in folders {
        let files = std::fs::read_dir(root().join(folder)).map_err(|error| format!("cannot read {folder}: {error}"))?;
        let names = files.filter_map(|file| test_name(&file.ok()?.path()));
        chosen.extend(names.filter(|name| choose(folder, name)));
    }
    chosen.sort();
    Ok(chosen.into_iter().flat_map(|name| ["--test".to_owned(), name]).collect())
}

/// A program of tests is a file, or a folder with a `main.rs`, as cargo finds them.
fn test_name(path: &Path) -> Option<String> {
    let is_program = path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
    is_program.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
}

/// With --full: more cases of each property, and more seeds of the model.
fn thoroughly(command: Command, full: bool) -> Command {
    if !full {
        return command;
    }
    command.env("PROPTEST_CASES", "2000").env("WEBTUN_MODEL_SEEDS", "2000")
}

fn packaging(_: bool) -> Result<Plan> {
    let both = "npm test --silent && npm run --silent packaging";
    with_root(|| one(xtask("demo --dev --run sh -c").args([both]).in_folder(root().join("wasm/npm"))))
}

fn bench(_: bool) -> Result<Plan> {
    one(xtask("bench --smoke"))
}

fn fuzz(_: bool) -> Result<Plan> {
    one(test("--test fuzz_corpora"))
}

fn demo(_: bool) -> Result<Plan> {
    with_root(|| {
        // After the check, which has built what the demo starts.
        let lifecycle = test("--test demo -- --ignored --test-threads 1");
        Ok(Plan::Run(vec![xtask("demo --dev --check"), lifecycle]))
    })
}

fn container(full: bool) -> Result<Plan> {
    let lint = xtask("container --lint");
    if !is_root() {
        return one(lint);
    }
    let through = |gateway: &str, chosen: &str| {
        xtask(&format!("demo --dev --container {gateway} --run node tests/browser/run.mjs {chosen}"))
    };
    if full {
        // The image by the Dockerfile's own steps, and all that a confined gateway could do otherwise.
        let all = [through("image --egress user", "--egress"), through("image --egress tun --no-build", "--egress")];
        return Ok(Plan::Run([lint, xtask("container")].into_iter().chain(all).collect()));
    }
    let user = through("programs --egress user", "--egress");
    let tun = through("programs --egress tun --no-build", "--egress");
    Ok(Plan::Run(vec![lint, xtask("container --dev"), user, tun]))
}

fn e2e(full: bool) -> Result<Plan> {
    let sizes = if full { "--node --full" } else { "" };
    // The programs of emcc run in both: blocking calls lean on what differs between them.
    let programs =
        (!full).then(|| xtask("demo --dev --no-build --run node tests/browser/run.mjs -k program --only-node"));
    with_root(|| {
        let all = xtask(&format!("demo --dev --run node tests/browser/run.mjs {sizes}"));
        // Without a TUN device, and without privilege.
        let chosen = if full { "" } else { "--egress" };
        let user = xtask(&format!("demo --dev --no-build --egress user --run node tests/browser/run.mjs {chosen}"));
        Ok(Plan::Run([Some(all), programs, Some(user)].into_iter().flatten().collect()))
    })
}

fn vm(full: bool) -> Result<Plan> {
    let sizes = if full { " --full" } else { "" };
    with_root(|| {
        let Some(guest) = crate::vm::build() else {
            return Ok(Plan::Skip("the guest is made of Debian packages, and this is no Debian".into()));
        };
        Ok(Plan::Run(vec![guest, xtask(&format!("demo --dev --run node tests/vm/run.mjs{sizes}"))]))
    })
}

fn emscripten_latest(_: bool) -> Result<Plan> {
    with_root(|| {
        if !has("debootstrap") {
            return Ok(Plan::Skip("the newest emcc comes by debootstrap, which is not installed".into()));
        }
        one(xtask("demo --dev --run node tests/browser/run.mjs -k program-jspi"))
    })
}

fn macos(_: bool) -> Result<Plan> {
    const TARGET: &str = "aarch64-apple-darwin";
    const PACKAGES: &str = "--package webtun-gateway --package webtun-stack --package webtun-native-examples";
    if !has("zig") && Command::line("python3 -m ziglang version").output().is_err() {
        return Ok(Plan::Skip("a C compiler for macOS is needed: zig (`pip install ziglang` does)".into()));
    }
    let compiler = root().join("tests/macos/cc");
    let check = format!("clippy {PACKAGES} --all-features --lib --bins --target {TARGET} -- --deny warnings");
    // Nobody asks Xcode where the system's headers are, and nothing is linked.
    let check = cargo_line(&check).env("SDKROOT", "/").env("CC_aarch64_apple_darwin", compiler);
    let target = Command::line(&format!("rustup target add {TARGET}"));
    Ok(Plan::Run(vec![target, check.env("AR_aarch64_apple_darwin", "true")]))
}

fn firefox(_: bool) -> Result<Plan> {
    with_root(|| one(xtask("demo --check --browser firefox")))
}

fn with_root(plan: impl FnOnce() -> Result<Plan>) -> Result<Plan> {
    if is_root() { plan() } else { Ok(Plan::Skip("needs root for namespaces and TUN devices".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_of_tests_that_cargo_knows_is_run() {
        let metadata = cargo_line("metadata --no-deps --format-version 1").in_folder(root()).output().unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let targets = metadata["packages"].as_array().unwrap().iter().flat_map(|it| it["targets"].as_array().unwrap());
        let known = targets.filter(|it| it["kind"][0] == "test").map(|it| it["name"].as_str().unwrap());
        let run = [unit_files(), system_files(), netns_files()].map(Result::unwrap).concat();
        // What the steps fuzz and demo run by name, the latter with what it ignores by itself.
        let run: Vec<_> = run.into_iter().chain(["fuzz_corpora".to_owned()]).collect();
        let missed: Vec<_> = known.filter(|name| !run.iter().any(|it| it == name)).collect();
        assert!(missed.is_empty() && run.len() > 2, "{missed:?} are run by no step");
    }
}
