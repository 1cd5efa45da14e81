//! The page as it is served: our static files, the npm package and the page's libraries side by side.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::files::{copy_folder, root};
use crate::workspace::npm_ci;

/// What of the page's libraries is served: folder in the page, folder of the npm package, files.
const LIBRARIES: [(&str, &str, &[&str]); 2] = [
    ("uplot", "uplot/dist", &["uPlot.esm.js", "uPlot.min.css"]),
    ("hashes", "@noble/hashes", &["sha2.js", "_md.js", "_u64.js", "utils.js"]),
];

/// Puts it together in a folder below `folder`, which is returned.
pub fn assemble(folder: &Path) -> Result<PathBuf> {
    let source = root().join("examples/demo");
    npm_ci(&source)?;
    let page = folder.join("page");
    if page.exists() {
        std::fs::remove_dir_all(&page)?;
    }
    copy_folder(&source, &page, &|name| {
        matches!(name, "node_modules" | "package.json" | "package-lock.json" | "README.md")
    })?;
    copy_folder(&root().join("wasm/npm/dist"), &page.join("webtun"), &|_| false)?;
    for (folder, package, files) in LIBRARIES {
        std::fs::create_dir_all(page.join(folder))?;
        for file in files {
            std::fs::copy(source.join("node_modules").join(package).join(file), page.join(folder).join(file))?;
        }
    }
    Ok(page)
}
