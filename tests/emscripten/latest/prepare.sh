#!/bin/sh
# Makes target/emscripten-latest, a system of Debian's newest packages with its emcc, unless it is there. Some 180 MB.
set -e
root=$(cd "$(dirname "$0")/../../.." && pwd)/target/emscripten-latest
[ -x "$root/usr/bin/emcc" ] && exit 0
# What an earlier attempt has left is not taken up.
rm -rf "$root"
mirror=$(apt-get download --print-uris base-files | sed "s/^'//; s,/pool/main/.*,,")
debootstrap --variant=minbase sid "$root" "$mirror"
chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends emscripten
