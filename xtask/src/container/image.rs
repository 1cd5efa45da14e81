//! An image as a folder, and how it is made: by the steps of the Dockerfile, one after the other, in folders of their own; or,
//! to try the container without waiting for that, around a gateway that is there already.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::command::Command;
use crate::container::dockerfile::{Copy, Stage, Step, parse};
use crate::files::{copy_folder, find_program, root};
use crate::workspace::scratch;

/// The only base image but `scratch`, and the suite of Debian's that stands in for it.
const BASE: (&str, &str) = ("debian:trixie-slim", "trixie");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a step of a stage's shell as a builder does: with that folder as its root, and the machine's network.
const RUN: &str = r#"
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
exec chroot "$0" env -i "$@"
"#;

/// What a container is made of.
pub struct Image {
    /// Its files.
    pub root: PathBuf,
    /// Its variables.
    pub env: Vec<(String, String)>,
    /// Whom it runs as: user and group.
    pub user: (u32, u32),
    /// The folder for a volume.
    pub volume: String,
    /// What tells whether it is well.
    pub health: Vec<String>,
    /// Its program.
    pub entrypoint: Vec<String>,
}

/// By all steps of the Dockerfile.
pub fn build() -> Result<Image> {
    let stages = stages()?;
    let folder = scratch("container")?;
    for (index, stage) in stages.iter().enumerate() {
        println!("FROM {} {}", stage.base, stage.name.as_deref().unwrap_or_default());
        let place = stage_folder(&folder, index);
        begin(&stage.base, &folder, &place)?;
        run_steps(&stages, index, &folder, &place)?;
    }
    image(&stages, stage_folder(&folder, stages.len() - 1))
}

/// The image that an earlier [`build`] has left.
pub fn built() -> Result<Image> {
    let stages = stages()?;
    let root = stage_folder(&scratch("container")?, stages.len() - 1);
    if !root.join("usr/bin/webtun-gateway").exists() {
        return Err("there is no image yet: run `cargo xtask container` first".into());
    }
    image(&stages, root)
}

/// Around the gateway of `programs`, with libraries and programs of this machine: all but the contents is as in the image.
pub fn around(programs: &Path) -> Result<Image> {
    let place = scratch("container")?.join("dev");
    fresh(&place)?;
    let gateway = place.join("usr/bin/webtun-gateway");
    std::fs::create_dir_all(place.join("usr/bin"))?;
    std::fs::copy(programs.join("webtun-gateway"), &gateway)?;
    Command::line("setcap cap_net_admin=p").args([&gateway]).output()?;
    for name in ["ip", "nft"] {
        let program = find_program(name).ok_or_else(|| format!("{name} is not installed"))?;
        std::fs::copy(&program, place.join("usr/bin").join(name))?;
        copy_libraries(&program, &place)?;
    }
    copy_libraries(&programs.join("webtun-gateway"), &place)?;
    copy_folder(&root().join("gateway/deploy/page"), &place.join("srv/webtun"), &|_| false)?;
    copy_folder(&root().join("wasm/npm/dist"), &place.join("srv/webtun/webtun"), &|name| !is_of_page(name))?;
    let image = image(&stages()?, place)?;
    let owner = format!("{}:{}", image.user.0, image.user.1);
    for folder in [&image.volume, "/run/webtun"] {
        let folder = inside(&image.root, folder);
        std::fs::create_dir_all(&folder)?;
        Command::new("chown").args([&owner]).args([&folder]).output()?;
    }
    Ok(image)
}

fn is_of_page(name: &str) -> bool {
    (name.ends_with(".js") && !name.ends_with("node.js")) || name.ends_with(".wasm")
}

fn copy_libraries(program: &Path, place: &Path) -> Result {
    let listed = Command::new("ldd").args([program]).output()?;
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = inside(place, library);
        std::fs::create_dir_all(target.parent().ok_or("a library without folder")?)?;
        std::fs::copy(library, target)?;
    }
    Ok(())
}

fn stages() -> Result<Vec<Stage>> {
    parse(&std::fs::read_to_string(root().join("gateway/deploy/Dockerfile"))?)
}

fn stage_folder(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("stage-{index}"))
}

fn inside(place: &Path, path: &str) -> PathBuf {
    place.join(path.trim_start_matches('/'))
}

fn fresh(place: &Path) -> Result {
    if place.exists() {
        std::fs::remove_dir_all(place)?;
    }
    Ok(std::fs::create_dir_all(place)?)
}

/// Lays the base image of a stage.
fn begin(base: &str, folder: &Path, place: &Path) -> Result {
    fresh(place)?;
    if base == "scratch" {
        return Ok(());
    }
    if base != BASE.0 {
        return Err(format!("the test has nothing that stands in for the image {base}").into());
    }
    let debian = folder.join(BASE.1);
    if !debian.join("etc/debian_version").exists() {
        fresh(&debian)?;
        // As apt is configured here, so that no other mirror is asked.
        let script = r#"mirror=$(apt-get download --print-uris base-files | sed "s/^'//; s,/pool/main/.*,,")
            exec debootstrap --variant=minbase "$1" "$0" "$mirror""#;
        Command::new("sh").args(["-ec", script]).args([&debian]).args([BASE.1]).run()?;
    }
    Command::line("cp --archive --reflink=auto --no-target-directory").args([&debian, place]).run()?;
    // What belongs to the machine and not to the image: names, and whom it trusts.
    let machine = r#"cp /etc/resolv.conf "$0/etc/resolv.conf"
        cp -r /usr/local/share/ca-certificates "$0/usr/local/share/""#;
    Command::new("sh").args(["-c", machine]).args([place]).output().map(drop)
}

fn run_steps(stages: &[Stage], index: usize, folder: &Path, place: &Path) -> Result {
    let mut env = vec![("PATH".to_owned(), PATH.to_owned()), ("HOME".to_owned(), "/root".to_owned())];
    let mut workdir = "/".to_owned();
    for step in &stages[index].steps {
        match step {
            Step::Run(line) => run(place, &env, &workdir, line)?,
            Step::Copy(copy) => {
                let from = match &copy.from {
                    Some(name) => {
                        let at = stages[..index].iter().position(|stage| stage.name.as_ref() == Some(name));
                        stage_folder(folder, at.ok_or_else(|| format!("there is no stage {name}"))?)
                    }
                    None => context(folder)?,
                };
                copy_files(copy, &from, place, &workdir)?;
            }
            Step::Env(name, value) => env.push((name.clone(), value.clone())),
            Step::Workdir(path) => {
                workdir.clone_from(path);
                std::fs::create_dir_all(inside(place, path))?;
            }
            Step::User(_) | Step::Volume(_) | Step::Health(_) | Step::Entrypoint(_) => {}
        }
    }
    Ok(())
}

fn run(place: &Path, env: &[(String, String)], workdir: &str, line: &str) -> Result {
    println!("RUN {line}");
    Command::line("unshare --mount --pid --fork --kill-child --propagation private sh -ec")
        .args([RUN])
        .args([place])
        .args(env.iter().map(|(name, value)| format!("{name}={value}")))
        .args(["sh", "-c", &format!("cd {workdir} && {{ {line}\n}}")])
        .run()
}

/// What the repository has, without what it ignores: more than that a builder is not sent either.
fn context(folder: &Path) -> Result<PathBuf> {
    let context = folder.join("context");
    fresh(&context)?;
    let script = r#"git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for file; do [ ! -e "$file" ] || echo "$file"; done' sh \
        | tar --create --files-from=- | tar --extract --directory="$0""#;
    Command::new("sh").args(["-ec", script]).args([&context]).run()?;
    Ok(context)
}

/// `cp --archive` keeps files' capabilities, as BuildKit does.
fn copy_files(copy: &Copy, from: &Path, place: &Path, workdir: &str) -> Result {
    println!("COPY {} {}", copy.sources.join(" "), copy.target);
    let target = if copy.target.starts_with('/') {
        inside(place, &copy.target)
    } else {
        inside(place, workdir).join(&copy.target)
    };
    std::fs::create_dir_all(&target)?;
    for source in &copy.sources {
        let source = inside(from, source);
        // Of a folder its contents.
        let source = if source.is_dir() { source.join(".") } else { source };
        Command::line("cp --archive").args([&source, &target]).output()?;
    }
    let Some(owner) = &copy.chown else { return Ok(()) };
    Command::line("chown --recursive").args([owner]).args([&target]).output().map(drop)
}

/// What the last stage says about the container.
fn image(stages: &[Stage], root: PathBuf) -> Result<Image> {
    let last = stages.last().ok_or("the Dockerfile is empty")?;
    let mut image = Image {
        root,
        env: Vec::new(),
        user: (0, 0),
        volume: String::new(),
        health: Vec::new(),
        entrypoint: Vec::new(),
    };
    for step in &last.steps {
        match step {
            Step::Env(name, value) => image.env.push((name.clone(), value.clone())),
            Step::User(text) => {
                let (user, group) = text.split_once(':').ok_or("USER has no group")?;
                image.user = (user.parse()?, group.parse()?);
            }
            Step::Volume(path) => image.volume.clone_from(path),
            Step::Health(words) => image.health.clone_from(words),
            Step::Entrypoint(words) => image.entrypoint.clone_from(words),
            Step::Run(_) | Step::Copy(_) | Step::Workdir(_) => {}
        }
    }
    Ok(image)
}
