# SPDX-License-Identifier: Apache-2.0
"""QEMU and Linux kernels from Debian's packages, unpacked into one folder. Nothing is installed, nothing outside of it changes.

apt-get is given sources, lists, a cache and an (empty) list of installed packages of its own; mirror and key are the machine's.
QEMU is that of bookworm-backports, because bookworm's has no igb, with all libraries that it needs. A folder is complete when
it holds the file `done`; one that is not is filled anew.
"""

import fcntl
import lzma
import re
import shutil
import subprocess
from pathlib import Path

from . import initrd

# Series of the kernel: suite, and the name of its image's package.
KERNELS = {
    "6.1": ("bookworm", r"linux-image-(6\.1\.0-[0-9]+-amd64)"),
    "6.12": ("bookworm-backports", r"linux-image-(6\.12\.[0-9.]+\+deb12(?:\.[0-9]+)?-amd64)"),
    # The newest that Debian has. Since Debian 14 an image is two packages, and all of it is below usr/lib/modules.
    "sid": ("sid", r"linux-binary-([0-9.]+\+deb[0-9]+-amd64)"),
}
# Those of the machine do, and another libc does not fit its loader.
NOT_UNPACKED = re.compile(r"(libc6|libc-bin|libgcc-s1|gcc-[0-9]+-base|debconf|perl.*|init-system-helpers|dpkg|tar)_")


class FetchError(Exception):
    """What could not be had, and why."""


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode:
        raise FetchError(f"{' '.join(map(str, command[:1] + command[-2:]))}: {done.stderr.strip()[-400:] or done.returncode}")
    return done.stdout


class Apt:
    """apt-get with one suite or several, apart from the machine's own."""

    def __init__(self, folder, name, suites):
        self.folder = folder / "apt" / name
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        uri, key = mirror()
        text = f"Types: deb\nURIs: {uri}\nSuites: {' '.join(suites)}\nComponents: main\n" + (f"Signed-By: {key}\n" if key else "")
        (self.folder / "x.sources").write_text(text)
        self.options = []
        for option, value in {
            "Dir::Etc::sourcelist": self.folder / "x.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "Dir::State::status": self.folder / "status",
            "APT::Sandbox::User": "root",
            # Backports are taken only if they are asked for, unless they are the last suite.
            "APT::Default-Release": suites[-1],
        }.items():
            self.options += ["-o", f"{option}={value}"]
        if not any((self.folder / "lists").glob("*Packages*")):
            run("apt-get", "-qq", *self.options, "update")

    def names(self, pattern):
        """Packages of that name, the newest last."""
        found = [name for name in run("apt-cache", *self.options, "pkgnames").split() if re.fullmatch(pattern, name)]
        return sorted(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])

    def download(self, *packages):
        """The files of these packages alone."""
        folder = self.folder / "debs"
        folder.mkdir(exist_ok=True)
        run("apt-get", "-qq", *self.options, "download", *packages, cwd=folder)
        return [next(folder.glob(f"{package.split('=')[0].split('/')[0]}_*.deb")) for package in packages]

    def closure(self, *packages):
        """The files of these packages and of all that they depend on."""
        run("apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", *self.options, "install", *packages)
        return sorted((self.folder / "cache/archives").glob("*.deb"))


def mirror():
    """Where this machine gets its packages, and the key that they are signed with."""
    for source in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        text = source.read_text()
        if found := re.search(r"^URIs:\s*(\S+)", text, re.M):
            key = re.search(r"^Signed-By:\s*(/\S+)", text, re.M)
            return found[1], key and key[1]
    for source in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]:
        if source.exists() and (found := re.search(r"^deb\s+(?:\[[^]]*\]\s*)?(\S+)", source.read_text(), re.M)):
            return found[1], None
    raise FetchError("no mirror in /etc/apt: expected a file of sources")


def qemu(folder):
    apt = Apt(folder, "qemu", ["bookworm", "bookworm-backports"])
    tree = folder / "qemu"
    for deb in apt.closure("qemu-system-x86", "ipxe-qemu", "busybox-static"):
        if not NOT_UNPACKED.match(deb.name):
            run("dpkg", "-x", deb, tree)


def kernel(folder, series):
    suite, pattern = KERNELS[series]
    apt = Apt(folder, suite, [suite])
    names = apt.names(pattern)
    if not names:
        raise FetchError(f"{suite} has no package {pattern}")
    package = names[-1]
    version = re.fullmatch(pattern, package)[1]
    root = folder / "kernels" / series
    root.mkdir(parents=True)
    packages = [package] if package.startswith("linux-image") else [package, f"linux-modules-{version}"]
    for deb in apt.download(*packages):
        run("dpkg", "-x", deb, root)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    modules = root / "lib/modules" / version
    run("depmod", "-b", root, version)
    image = root / f"boot/vmlinuz-{version}"
    (root / "vmlinuz").symlink_to(image if image.exists() else modules / "vmlinuz")
    busybox = next(path for path in (folder / "qemu/usr/bin/busybox", folder / "qemu/bin/busybox") if path.exists())
    (root / "initrd").write_bytes(initrd.make(modules, busybox, module))
    (root / "modules").write_text(str(modules))


def module(path):
    """A module's bytes, unpacked."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def fetch(folder, say=print):
    """Fills a folder, unless it is full; other processes that want the same wait. Raises FetchError if it cannot."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "done").exists():
            return
        for part in ("qemu", "kernels"):
            shutil.rmtree(folder / part, ignore_errors=True)
        try:
            say("fetching QEMU and its libraries")
            qemu(folder)
            for series in KERNELS:
                say(f"fetching a kernel: {series}")
                kernel(folder, series)
        except (OSError, StopIteration, lzma.LZMAError, subprocess.SubprocessError) as error:
            raise FetchError(f"{type(error).__name__}: {error}") from error
        shutil.rmtree(folder / "apt")
        (folder / "done").touch()
