"""What the guest's `pkg install` takes: packages with all that they need, their hashes, and an index."""
import os
import shutil

from packages import sha256

# In the guest from the beginning.
BASE = "libc6"


def write_repository(folder, packages, names):
    """OUT/packages: a line `NAME FILE FILE ...` for each package in `index`, what has to be unpacked first coming first."""
    fresh = folder + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh)
    base = set(packages.closure([BASE]))
    hashes, index = {}, []
    for name in names:
        files = []
        closure = sorted(set(packages.closure([name])) - base, key=lambda it: (it == name, it))
        packages.fetch(closure, files=True)
        for archive in map(packages.archive, closure):
            file = os.path.basename(archive)
            shutil.copyfile(archive, os.path.join(fresh, file))
            hashes[file] = sha256(archive)
            files.append(file)
        index.append(" ".join([name, *files]))
    put(fresh, "index", index)
    put(fresh, "SHA256SUMS", ["%s  %s" % (octets, file) for file, octets in sorted(hashes.items())])
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(fresh, folder)


def put(folder, name, lines):
    with open(os.path.join(folder, name), "w") as file:
        file.writelines(line + "\n" for line in lines)
