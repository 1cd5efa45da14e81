//! Starts an image as a container's runtime does: with its user, the runtime's bounding set of capabilities, a root that cannot be
//! written, and only the devices of a container.

use std::path::Path;

use crate::Result;
use crate::container::image::Image;

/// What Docker lets a container have.
const DOCKER: &str = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,\
                      audit_write,setfcap";

/// Arguments: the image, a folder of which nothing is kept, the volume's folder and its place, a file for the configuration or
/// nothing, user, group, whether /dev/net/tun is passed, bounding set; then `NAME=VALUE`..., `--`, program, arguments.
/// The program has the place of the shell, so that signals reach it.
const SCRIPT: &str = r#"
image=$1 work=$2 state=$3 volume=$4 file=$5 user=$6 group=$7 tun=$8 bounding=$9
shift 9
mkdir -p "$image/proc" "$image/dev" "$image/sys" "$image/etc/webtun" "$image$volume" "$work"
touch "$image/etc/resolv.conf" "$image/etc/webtun/gateway.toml"
mount --bind "$image" "$work"
mount -o remount,bind,ro "$work"
mount -t proc -o nosuid,nodev,noexec proc "$work/proc"
# An engine's host forwards, and its containers have that from it.
if [ "$tun" = yes ]; then echo 1 > /proc/sys/net/ipv4/ip_forward; fi
mount --bind "$work/proc/sys" "$work/proc/sys"
mount -o remount,bind,ro "$work/proc/sys"
mount -t tmpfs -o mode=755,size=64k,nosuid tmpfs "$work/dev"
devices="null zero full random urandom tty"
for device in $devices; do : > "$work/dev/$device"; mount --bind "/dev/$device" "$work/dev/$device"; done
# With the mode that udev gives it.
if [ "$tun" = yes ]; then mkdir "$work/dev/net"; mknod -m 666 "$work/dev/net/tun" c 10 200; fi
mount -o remount,bind,ro "$work/dev"
mount -t tmpfs -o "mode=700,uid=$user,gid=$group,nosuid,nodev" tmpfs "$work/run/webtun"
chown "$user:$group" "$state"
mount --bind "$state" "$work$volume"
mount --bind -o ro /etc/resolv.conf "$work/etc/resolv.conf"
if [ -n "$file" ]; then mount --bind -o ro "$file" "$work/etc/webtun/gateway.toml"; fi
pairs=
while [ "$1" != -- ]; do pairs="$pairs $1"; shift; done
shift
program=$1
shift
ip link set lo up || true
cd /
exec env -i $pairs "$(command -v setpriv)" --bounding-set="$bounding" \
    "$(command -v capsh)" --chroot="$work" --gid="$group" --groups="$group" --uid="$user" --shell="$program" -- "$@"
"#;

/// How the container is started, beside what the image says.
#[derive(Default)]
pub struct Start<'a> {
    /// With `--device /dev/net/tun --cap-add NET_ADMIN`.
    pub tun: bool,
    /// With a network of its own, in which there is nothing but loopback.
    pub own_network: bool,
    /// A file that is mounted at /etc/webtun/gateway.toml, and named in WEBTUN_CONFIG.
    pub file: Option<&'a Path>,
    /// Arguments of the program.
    pub arguments: &'a [String],
}

/// The command that starts `image`, with all of its files below `folder`.
pub fn command(image: &Image, folder: &Path, start: &Start<'_>) -> Result<Vec<String>> {
    let (work, state) = (folder.join("root"), folder.join("state"));
    std::fs::create_dir_all(&state)?;
    let text = |path: &Path| path.display().to_string();
    let own_network: &[&str] = if start.own_network { &["--net"] } else { &[] };
    let capabilities = DOCKER.split(',').chain(start.tun.then_some("net_admin")).map(|name| format!(",+{name}"));
    let bounding = format!("-all{}", capabilities.collect::<String>());
    let mut words: Vec<String> =
        ["unshare", "--mount", "--ipc", "--uts", "--propagation", "private"].map(Into::into).into();
    words.extend(own_network.iter().chain(&["sh", "-ec", SCRIPT, "container"]).map(ToString::to_string));
    words.extend([text(&image.root), text(&work), text(&state), image.volume.clone()]);
    words.push(start.file.map(text).unwrap_or_default());
    words.extend([image.user.0.to_string(), image.user.1.to_string()]);
    words.extend([if start.tun { "yes" } else { "no" }.to_owned(), bounding]);
    words.extend(image.env.iter().map(|(name, value)| format!("{name}={value}")));
    words.extend(start.file.map(|_| "WEBTUN_CONFIG=/etc/webtun/gateway.toml".to_owned()));
    words.push("--".to_owned());
    words.extend(image.entrypoint.iter().chain(start.arguments).cloned());
    Ok(words)
}

/// The command that runs `program` of the image beside the process `pid` of the container.
pub fn beside(image: &Image, pid: u32, program: &[String]) -> Vec<String> {
    let mut words: Vec<String> = ["--mount", "--net", "--root", "--wd=/"].map(Into::into).into();
    words.extend([
        format!("--target={pid}"),
        format!("--setuid={}", image.user.0),
        format!("--setgid={}", image.user.1),
    ]);
    words.push("--".into());
    [vec!["nsenter".to_owned()], words, program.to_vec()].concat()
}
