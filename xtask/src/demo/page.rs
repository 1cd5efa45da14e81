//! The page as it is served: our static files, the npm package and the page's libraries side by side.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::command::Command;
use crate::files::{copy_folder, root};
use crate::workspace::npm_ci;

/// What of the page's libraries is served: folder in the page, folder of the npm package, files.
const LIBRARIES: [(&str, &str, &[&str]); 2] = [
    ("uplot", "uplot/dist", &["uPlot.esm.js", "uPlot.min.css"]),
    ("hashes", "@noble/hashes", &["sha2.js", "_md.js", "_u64.js", "utils.js"]),
];

/// Other pages, as their own builds leave them: folder in the page, folder of the example, what it is.
const EXAMPLES: [(&str, &str, &str); 2] = [
    ("vm", "examples/vm", "the page with a virtual machine"),
    ("programs", "examples/programs", "the page with programs of C"),
];

/// Builds those pages. They need packages of Debian's, and emcc: where that cannot be, the demo goes without them.
pub fn build_examples() {
    for (_, example, about) in EXAMPLES {
        let build = Command::new("node").args([format!("{example}/build.mjs")]).in_folder(root());
        if let Err(error) = build.run() {
            eprintln!("{about} is left out: {error}");
        }
    }
}

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
    for (name, example, _) in EXAMPLES {
        let built = root().join(example).join("dist/www");
        if built.exists() {
            copy_folder(&built, &page.join(name), &|_| false)?;
        }
    }
    Ok(page)
}
