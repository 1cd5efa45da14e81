//! The page as it is served: our static files, the npm package and the chart library side by side.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::workspace::{copy_folder, npm_ci, root};

/// Files of the chart library, from its npm package.
const CHART: [&str; 2] = ["uPlot.esm.js", "uPlot.min.css"];

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
    let chart = page.join("uplot");
    std::fs::create_dir_all(&chart)?;
    for file in CHART {
        std::fs::copy(source.join("node_modules/uplot/dist").join(file), chart.join(file))?;
    }
    Ok(page)
}
