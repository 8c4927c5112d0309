"""What is judged stays apart from what is learned: planted overlaps are found and removed."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType

Recipe = Callable[[str], ModuleType]


def words(seed: int, count: int) -> str:
    """Random words; no two seeds share a run of 13."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdefghij", k=5)) for _ in range(count))


def test_containment_counts_shared_runs(recipe: Recipe) -> None:
    splits = recipe("splits")
    shared, own = words(1, 30), words(2, 30)
    known = splits.shingles(words(3, 50) + " " + shared.upper() + "!", 13)
    assert splits.containment(shared, known, 13) == 1.0
    assert splits.containment(own, known, 13) == 0.0
    # 60 words have 48 runs of 13; those within the first 30 are known.
    assert splits.containment(f"{shared} {own}", known, 13) == 18 / 48
    assert splits.containment("too short", known, 13) == 0.0


def test_excerpt(recipe: Recipe) -> None:
    excerpt = recipe("splits").excerpt
    assert excerpt("One two.\n\nThree.\n\nFour.", 17) == "One two.\n\nThree."
    assert excerpt("One two. Three four. Five", 22) == "One two. Three four."


def test_assign_gives_each_document_to_one_split(recipe: Recipe) -> None:
    corpus, sources = recipe("corpus"), recipe("sources")
    source = next(source for source in sources.SOURCES if source.name == "sqlite")
    texts = {f"doc-{i}": words(i, 800) for i in range(300)}
    splits = corpus.assign(source, texts)
    names = [name for split in splits.values() for name in split]
    assert sorted(names) == sorted(f"sqlite/doc-{i}" for i in range(300))
    for split in ("calibration", "in_domain"):
        size = sum(map(len, splits[split].values()))
        assert source.shipped_bytes <= size < source.shipped_bytes + 5000
    # A further document moves no other between training and the rest.
    more = corpus.assign(source, {**texts, "zzz": words(999, 3)})
    assert len(set(splits["train"]) ^ set(more["train"])) <= 3


def test_take_apart_removes_planted_overlaps(recipe: Recipe) -> None:
    take_apart = recipe("corpus").take_apart
    copied, quoted = words(1, 200), words(2, 20)
    splits = {
        "train": {"a": words(3, 500) + " " + quoted, "b": copied},
        "calibration": {"clean": words(4, 300), "copy": copied + " " + words(5, 20)},
        "in_domain": {"quotes": "\n\n".join([words(6, 400), quoted, words(7, 400)])},
        "out_of_domain": {"again": words(4, 300)},
        "validation": {},
    }
    removed = take_apart(splits)
    assert set(splits["calibration"]) == {"clean"}
    assert splits["in_domain"]["quotes"] == "\n\n".join([words(6, 400), words(7, 400)])
    assert splits["out_of_domain"] == {}  # the same text as a calibration document
    assert removed["documents"] == 2
    assert removed["characters"] == len(quoted) + 2


def test_overlap_measures_what_is_shared(recipe: Recipe) -> None:
    overlap = recipe("corpus").overlap
    text = words(1, 100)
    splits = {"train": {"a": text[:300]}, "calibration": {"b": text[200:]}, "in_domain": {"c": words(2, 50)}}
    splits |= {"out_of_domain": {"d": words(3, 50)}, "validation": {"e": text[:100]}}
    shares = overlap(splits, 50)
    length = len(text) - 200
    assert shares["calibration"] == (100 - 49) / (length - 49)
    assert shares["in_domain"] == shares["out_of_domain"] == 0.0
    assert shares["validation"] == 1.0
