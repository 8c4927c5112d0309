"""The gate file and the configurations it names, as they were at another git revision."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mfi_command import BadInput


@contextmanager
def at_revision(gate: Path, revision: str) -> Iterator[Path | None]:
    """Give the path of `gate` in a copy of its repository at `revision`; None if it was not there.

    Only configurations are copied (JSON and TOML): a prediction reads no weights.

    Raises
    ------
    BadInput
        If git is not there, `gate` is in no repository, or `revision` is none of its revisions.
    """
    folder = gate.resolve().parent
    top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    # A dash in front would be read as an option.
    commit = _git(
        top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    ).strip()
    names = _git(top, "ls-tree", "-r", "-z", "--name-only", commit).split("\0")
    wanted = [name for name in names if name.endswith((".json", ".toml"))]
    place = gate.resolve().relative_to(top)
    if place.as_posix() not in wanted:
        yield None
        return
    with TemporaryDirectory(prefix="latency-gate-") as copy:
        for name in wanted:
            target = Path(copy, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_git(top, "show", f"{commit}:{name}"), encoding="utf-8")
        yield Path(copy, place)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError as error:
        raise BadInput("--base needs git, and there is none on the path") from error
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0] or f"git {arguments[0]} found nothing"
        raise BadInput(f"--base: {reason}; name a revision of the repository that holds the gate file")
    return done.stdout
