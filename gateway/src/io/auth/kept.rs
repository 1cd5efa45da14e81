use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The token that is kept in `state_dir`; made at the first call. Only the owner can read the file.
///
/// # Errors
/// Where the folder or the file cannot be made or read.
pub fn kept_token(state_dir: &Path) -> io::Result<String> {
    fs::create_dir_all(state_dir)?;
    let path = state_dir.join("token");
    match fs::read_to_string(&path) {
        Ok(text) if crate::config::is_token(text.trim()) => {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            return Ok(text.trim().to_owned());
        }
        Ok(_) => fs::remove_file(&path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = fresh_token()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{token}")?;
    Ok(token)
}

/// A token that nobody can guess: 192 bits of the system's randomness, in hexadecimal.
///
/// # Errors
/// Where the system has no randomness.
pub fn fresh_token() -> io::Result<String> {
    fresh::<24>()
}

/// So many octets of the system's randomness, in hexadecimal.
///
/// # Errors
/// Where the system has no randomness.
pub(super) fn fresh<const OCTETS: usize>() -> io::Result<String> {
    let mut secret = [0; OCTETS];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(secret.iter().map(|octet| format!("{octet:02x}")).collect())
}
