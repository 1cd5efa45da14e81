#!/usr/bin/env python3
"""Assemble a small i386 Linux guest for v86 and QEMU from Debian packages.

Needs python3, apt-get and dpkg-deb, not root: apt runs with a state directory of its own, so that the system's package
lists and architectures stay as they are. Writes OUT/{bzImage,initrd.gz,bios.bin,vgabios.bin,manifest.json}, and in
OUT/packages what the guest's `pkg install` takes; the same packages give the same octets. What is there already is not made
again.
"""
import argparse
import gzip
import hashlib
import json
import lzma
import os
import re
import struct
import subprocess
import sys

from cpio import Cpio
from packages import Packages
from repository import write_repository

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = {
    "init": "init.sh", "bin/terminal": "terminal.sh", "bin/pkg": "pkg.sh", "www/cgi-bin/status": "status.sh",
    "etc/udhcpc/default.script": "udhcpc.script",
}
SOURCES = ("build.py", "cpio.py", "packages.py", "repository.py", "motd", "index.html", *SCRIPTS.values())
PROGRAMS = ["iperf3", "netcat-openbsd"]
OFFERED = ["hello", "jq", "tree"]
# Of libc6, whatever the programs name: packages that are installed later take it for granted.
LIBRARIES = ["ld-linux.so.2", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"]
MODULES = ["virtio_net", "virtio_pci", "ne2k-pci"]


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def module_order(folder, wanted):
    """Modules with what they need, in the order to load them (`depends=` in their ELF section .modinfo)."""
    files = {}
    for place, _, names in os.walk(folder):
        files.update({name[:-3].replace("-", "_"): os.path.join(place, name) for name in names if name.endswith(".ko")})
    done = []

    def add(name):
        path = files.get(name.replace("-", "_")) or sys.exit("no module " + name)
        found = re.search(rb"(?:^|\0)depends=([^\0]*)\0", read(path))
        for needed in found.group(1).decode().split(",") if found else ():
            if needed:
                add(needed)
        if path not in done:
            done.append(path)
    for name in wanted:
        add(name)
    return done


def program_parts(elf):
    """Entry point and (physical address, octets) of what a 32-bit ELF has loaded."""
    if elf[:5] != b"\x7fELF\x01":
        sys.exit("the kernel is not a 32-bit ELF")
    entry, headers = struct.unpack_from("<II", elf, 24)
    count, = struct.unpack_from("<H", elf, 44)
    parts = []
    for index in range(count):
        kind, offset, _, address, size = struct.unpack_from("<5I", elf, headers + 32 * index)
        if kind == 1 and size:
            parts.append((address, elf[offset:offset + size]))
    return entry, parts


def unpacked_bzimage(image):
    """The same kernel with its code not compressed: unpacking it would take 10 s under v86.

    The setup part stays; in place of the unpacker comes a stub that copies the kernel to the address that it is linked
    for (16 MiB, so nothing is relocated) and jumps to it.
    """
    setup = (image[0x1f1] or 4) * 512 + 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    linked_for, = struct.unpack_from("<Q", image, 0x258)
    packed = image[setup + offset:setup + offset + length]
    entry, parts = program_parts(lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(packed))
    if min(address for address, _ in parts) != linked_for:
        sys.exit("the kernel is linked for another address")
    flat = bytearray(-(-max(address + len(octets) - linked_for for address, octets in parts) // 4) * 4)
    for address, octets in parts:
        flat[address - linked_for:address - linked_for + len(octets)] = octets
    base, stub = 0x100000, 64
    if base + stub + len(flat) > linked_for:
        sys.exit("the kernel is too large to be copied forward")
    code = (b"\xfc\x89\xf5"                                    # cld; mov ebp, esi
            + b"\xbe" + struct.pack("<I", base + stub)          # mov esi, source
            + b"\xbf" + struct.pack("<I", linked_for)           # mov edi, destination
            + b"\xb9" + struct.pack("<I", len(flat) // 4)       # mov ecx, count
            + b"\xf3\xa5\x89\xee"                              # rep movsd; mov esi, ebp
            + b"\xb8" + struct.pack("<I", entry) + b"\xff\xe0")  # mov eax, entry; jmp eax
    return image[:setup] + code.ljust(stub, b"\x90") + bytes(flat)


def applets(busybox):
    """Busybox's programs, if it runs on this machine; else /init makes their links itself, more slowly."""
    try:
        return subprocess.run([busybox, "--list"], check=True, text=True, stdout=subprocess.PIPE).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def put_system(archive, busybox, kernel):
    """Busybox, the drivers and what /init needs."""
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3)
    for path, name in SCRIPTS.items():
        archive.file(path, read(HERE, name), 0o755)
    archive.file("etc/motd", read(HERE, "motd"))
    archive.file("www/index.html", read(HERE, "index.html"))
    archive.file("etc/passwd", b"root::0:0:root:/root:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\n")
    archive.file("etc/nsswitch.conf", b"hosts: files dns\n")
    archive.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    archive.file("bin/busybox", read(busybox), 0o755)
    for folder in ("proc", "sys", "tmp", "root", "run", "sbin", "usr/bin", "usr/sbin"):
        archive.dir(folder)
    for applet in sorted({"sh", "ls"} | set(applets(busybox))):
        archive.link("bin/" + applet, "busybox")
    modules = module_order(kernel + "/lib/modules", MODULES)
    for path in modules:
        archive.file("lib/modules/" + os.path.basename(path), read(path))
    order = "".join("/lib/modules/%s\n" % os.path.basename(path) for path in modules)
    archive.file("lib/modules/load", order.encode())


def put_programs(archive, packages, extra):
    """Programs of further packages, with those of their libraries whose names occur in what is put in."""
    libraries, wanted = {}, []
    needed = packages.closure(extra)
    packages.fetch(needed, files=True)
    for package in needed:
        root = packages.get(package)
        for folder, _, names in os.walk(root):
            inside = os.path.relpath(folder, root)
            for name in names:
                if re.fullmatch(r"(lib|ld-).*\.so[.0-9]*", name):
                    libraries.setdefault(name, os.path.join(folder, name))
                if package in extra and re.fullmatch(r"(usr/)?s?bin", inside):
                    wanted.append(os.path.join(folder, name))
                    archive.file(os.path.join(inside, name), read(wanted[-1]), 0o755)
    for name in LIBRARIES:
        wanted.append(libraries.pop(name))
        archive.file("lib/" + name, read(wanted[-1]), 0o755)
    while wanted:
        for name in re.findall(rb"\0((?:lib|ld-)[^\0/]*\.so[.0-9]*)(?=\0)", read(wanted.pop())):
            path = libraries.pop(name.decode(), None)
            if path:
                wanted.append(path)
                archive.file("lib/" + name.decode(), read(path), 0o755)


def build(packages):
    """The files of the guest by their names."""
    newest = re.search(r"linux-image-[0-9][^ ,]*", packages.show("linux-image-686")["Depends"]).group(0)
    kernel = packages.get(newest, "./boot/vmlinuz-*", "./lib/modules/*")
    busybox = packages.get("busybox-static", "./bin/busybox")
    archive = Cpio()
    put_system(archive, busybox + "/bin/busybox", kernel)
    put_programs(archive, packages, PROGRAMS)
    image = next(name for name in os.listdir(kernel + "/boot") if name.startswith("vmlinuz-"))
    return {
        "initrd.gz": gzip.compress(archive.octets(), 6, mtime=0),
        "bzImage": unpacked_bzimage(read(kernel, "boot", image)),
        "bios.bin": read(packages.get("seabios", "./usr/share/seabios/*"), "usr/share/seabios/bios.bin"),
        "vgabios.bin": read(packages.get("vgabios", "./usr/share/vgabios/*"), "usr/share/vgabios/vgabios.bin"),
    }


def write(path, octets):
    """Whole or not at all."""
    with open(path + ".new", "wb") as file:
        file.write(octets)
    os.rename(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    key = hashlib.sha256(b"".join(read(HERE, name) for name in SOURCES)).hexdigest()
    manifest = os.path.join(options.out, "manifest.json")
    if os.path.exists(manifest) and json.loads(read(manifest)).get("key") == key:
        return
    os.makedirs(options.out, exist_ok=True)
    packages = Packages(os.path.join(options.out, "work"))
    files = build(packages)
    write_repository(os.path.join(options.out, "packages"), packages, OFFERED)
    for name, octets in files.items():
        write(os.path.join(options.out, name), octets)
    about = {"key": key, "packages": packages.used, "files": {
        name: {"octets": len(octets), "sha256": hashlib.sha256(octets).hexdigest()} for name, octets in files.items()}}
    write(manifest, json.dumps(about, indent=1, sort_keys=True).encode())


if __name__ == "__main__":
    main()
