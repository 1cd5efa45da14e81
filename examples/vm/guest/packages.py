"""Debian packages for i386, from the mirror of this system."""
import hashlib
import os
import re
import subprocess
import sys

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# A hook of the system may clean up what the system's own apt is about to install.
SETTINGS = "#clear APT::Update::Post-Invoke;\n#clear DPkg::Post-Invoke;\n"


class Packages:
    """apt with i386 as its only architecture, and with state of its own in `root`."""

    def __init__(self, root):
        self._root = root = os.path.abspath(root)
        for folder in ("state/lists/partial", "cache/archives/partial", "debs", "parts", "unpacked"):
            os.makedirs(os.path.join(root, folder), exist_ok=True)
        release = debian_release()
        for name, text in (
                ("status", ""), ("settings", SETTINGS),
                ("parts/debian.list", "deb [arch=i386 signed-by=%s] %s %s main\n" % (KEYS, mirror(release), release))):
            with open(os.path.join(root, name), "w") as file:
                file.write(text)
        settings = (
            "Dir::State=%s/state" % root, "Dir::State::status=%s/status" % root, "Dir::Cache=%s/cache" % root,
            "Dir::Etc::sourcelist=/dev/null", "Dir::Etc::sourceparts=%s/parts" % root, "APT::Architecture=i386",
            "APT::Architectures=i386", "APT::Sandbox::User=", "Debug::NoLocking=1", "Acquire::Languages=none")
        self._options = ["-q", "-c", root + "/settings"] + [part for it in settings for part in ("-o", it)]
        self.used, self._about = {}, {}
        self._run("apt-get", "update")

    def _run(self, tool, *arguments):
        return subprocess.run([tool, *self._options, *arguments], check=True, text=True, stdout=subprocess.PIPE,
                              cwd=self._root + "/debs").stdout

    def show(self, package):
        """What is known of a package."""
        if package not in self._about:
            self.fetch([package])
        return self._about[package]

    def closure(self, names):
        """The packages with all that they depend on."""
        text = self._run("apt-get", "install", "--no-install-recommends", "--print-uris", "-y", "-qq", *names)
        return sorted(set(re.findall(r"/([^/_' ]+)_[^/' ]*\.deb'", text)))

    def fetch(self, names, files=False):
        """Learns about many packages, and downloads them where `files`, by one run of apt: each takes a second."""
        unknown = [name for name in names if name not in self._about]
        if unknown:
            for text in self._run("apt-cache", "show", "--no-all-versions", *unknown).split("\n\n"):
                about = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text, re.M))
                self._about.setdefault(about.get("Package"), about)
        missing = [name for name in names if files and not self._is_there(name)]
        if missing:
            self._run("apt-get", "download", *("%s=%s" % (name, self._about[name]["Version"]) for name in missing))

    def _path(self, name):
        about = self.show(name)
        version = about["Version"].replace(":", "%3a")
        return os.path.join(self._root, "debs", "%s_%s_%s.deb" % (name, version, about["Architecture"]))

    def _is_there(self, name):
        path = self._path(name)
        return os.path.exists(path) and sha256(path) == self._about[name]["SHA256"]

    def archive(self, name):
        """The file of a package, with the hash that apt knows."""
        self.fetch([name], files=True)
        return self._path(name) if self._is_there(name) else sys.exit("wrong hash: " + self._path(name))

    def get(self, name, *patterns):
        """The folder where a package, or those of its files that fit, is unpacked."""
        about = self.show(name)
        self.used[name] = {"version": about["Version"], "sha256": about["SHA256"]}
        folder = os.path.join(self._root, "unpacked", "%s_%s" % (name, about["Version"].replace(":", "%3a")))
        if not os.path.isdir(folder):
            unpack(self.archive(name), folder + ".new", patterns)
            os.rename(folder + ".new", folder)
        return folder


def mirror(release):
    """From where this system's own apt takes Debian's main archive."""
    text = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
                          text=True, stdout=subprocess.PIPE, check=True).stdout
    for line in text.splitlines():
        name, _, address = line.partition(" ")
        if name == release and address:
            return address
    sys.exit("this system's apt has no source for Debian %s" % release)


def debian_release():
    """The code name of this system's release."""
    with open("/etc/os-release") as file:
        found = re.search(r'^VERSION_CODENAME="?([a-z]+)', file.read(), re.M)
    return found.group(1) if found else sys.exit("this is no Debian")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def unpack(archive, folder, patterns):
    os.makedirs(folder, exist_ok=True)
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
    some = ["--wildcards", *patterns] if patterns else []
    done = subprocess.run(["tar", "-x", "-C", folder, "--no-same-owner", *some], stdin=reader.stdout)
    reader.stdout.close()
    if reader.wait() != 0 and not patterns or done.returncode != 0:
        sys.exit("cannot unpack " + archive)
