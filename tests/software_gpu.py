"""A GPU that every machine has: Mesa's software Vulkan, from Debian's backports, in a folder of its own.

Debian 12's own Mesa (22.3) is too old for LiteRT's WebGPU accelerator. Nothing is installed: packages that this machine
lacks are fetched by apt, which checks their signatures, and unpacked.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm-backports"


def available() -> bool:
    """Whether this machine is one that the packages are built for."""
    release = Path("/etc/os-release")
    debian = release.is_file() and "VERSION_CODENAME=bookworm" in release.read_text()
    return debian and platform.machine() == "x86_64" and shutil.which("apt-get") is not None


def unpack(folder: Path) -> dict[str, str]:
    """Fetch the driver into a folder.

    Returns:
        Environment variables with which the Vulkan loader finds it.
    """
    lists, archives, root = folder / "lists", folder / "archives", folder / "root"
    for one in (lists, archives, root):
        (one / "partial").mkdir(parents=True)
    sources = folder / "sources.list"
    sources.write_text("".join(f"deb [signed-by={KEYS}] {MIRROR} {suite} main\n" for suite in ("bookworm", SUITE)))
    options = {
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
        "Dir::Cache": str(folder),
        "Dir::Etc::SourceList": str(sources),
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": str(lists),
    }
    apt = [
        "apt-get",
        "-qq",
        "-t",
        SUITE,
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
    ]
    run([*apt, "update"], archives)
    wanted = ["mesa-vulkan-drivers", "libvulkan1", "libdrm2"]
    missing = run([*apt, "--no-install-recommends", "--print-uris", "install", *wanted], archives)
    names = {line.split()[1].split("_")[0] for line in missing.splitlines() if line.startswith("'")}
    run([*apt, "download", *sorted(names)], archives)
    for package in sorted(archives.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)], archives)
    libraries, base = root / "usr" / "lib" / "x86_64-linux-gnu", root / "lib" / "x86_64-linux-gnu"
    driver = folder / "software.json"
    manifest = {"library_path": str(libraries / "libvulkan_lvp.so"), "api_version": "1.4.305"}
    driver.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": manifest}))
    return {"VK_DRIVER_FILES": str(driver), "VK_ICD_FILENAMES": str(driver), "LD_LIBRARY_PATH": f"{libraries}:{base}"}


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder; its output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
