//! `cargo xtask`: the one way in to build, try and test webtun.

mod bench;
mod browser;
mod command;
mod container;
mod daemon;
mod demo;
mod files;
mod npm;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What can go wrong here is told to a person, never handled.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need, or print the line that does
    Setup,
    /// Build the npm package in wasm/npm/dist
    Npm,
    /// Serve the demo page, with a gateway and a playground of real servers behind it
    Demo(demo::Options),
    /// Build and check the container, without a container engine
    Container(container::Options),
    /// Check everything, as CI does
    Test(test::Options),
    /// Measure how fast it is, beside what it is compared with
    Bench(bench::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup => setup::all().map(|()| ExitCode::SUCCESS),
        Task::Npm => npm::build().map(|()| ExitCode::SUCCESS),
        Task::Demo(options) => demo::run(&options).await,
        Task::Container(options) => container::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::run(&options).await,
        Task::Bench(options) => bench::run(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
