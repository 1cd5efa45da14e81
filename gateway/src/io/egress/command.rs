use super::SetupError;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs `program` with `arguments` and `input` on its standard input, and gives back its standard output.
///
/// # Errors
/// [`SetupError::Missing`] where there is no such program, else [`SetupError::Command`] with the program's words.
pub(super) fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<String, SetupError> {
    let failed = |message: String| SetupError::Command { program, message };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SetupError::Missing { program, package: package(program) },
            _ => failed(error.to_string()),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes its input; what it printed explains it better than the broken pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if words.contains("Operation not permitted") {
        return Err(SetupError::Privilege { what: format!("run `{program}`") });
    }
    Err(failed(if words.is_empty() { output.status.to_string() } else { words }))
}

fn package(program: &str) -> &'static str {
    if program == "nft" { "nftables" } else { "iproute2" }
}
