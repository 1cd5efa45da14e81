"""The archive that Linux unpacks at its start."""
import io
import os


class Cpio:
    """A "newc" archive with fixed times and owners: the same input gives the same octets. A name counts once."""

    def __init__(self):
        self._out, self._count, self._seen = io.BytesIO(), 0, set()

    def dir(self, name):
        """A folder, and those that it is in."""
        parts = [part for part in name.split("/") if part]
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            if path not in self._seen:
                self._seen.add(path)
                self._entry(path, 0o040755)

    def file(self, name, octets, mode=0o644):
        """A file."""
        self._put(name, 0o100000 | mode, octets)

    def link(self, name, target):
        """A symbolic link."""
        self._put(name, 0o120777, target.encode())

    def node(self, name, major, minor):
        """A character device."""
        self._put(name, 0o020600, b"", (major, minor))

    def octets(self):
        """All of it, with its end."""
        self._entry("TRAILER!!!", 0)
        self._out.write(b"\0" * (-self._out.tell() % 512))
        return self._out.getvalue()

    def _put(self, name, mode, octets, device=(0, 0)):
        if name in self._seen:
            return
        self.dir(os.path.dirname(name))
        self._seen.add(name)
        self._entry(name, mode, octets, device)

    def _entry(self, name, mode, octets=b"", device=(0, 0)):
        self._count += 1
        raw = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(octets), 0, 0, *device, len(raw), 0)
        self._out.write(("070701" + "".join("%08X" % field for field in fields)).encode() + raw)
        self._pad()
        self._out.write(octets)
        self._pad()

    def _pad(self):
        self._out.write(b"\0" * (-self._out.tell() % 4))
