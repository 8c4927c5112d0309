"""The records that the recipe left agree with the files that ship and with each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from checkpoint_lens import reference_path

Recipe = Callable[[str], ModuleType]
SHIPPED = ("calibration", "in_domain", "out_of_domain")


@pytest.fixture
def corpus(recipe: Recipe) -> dict[str, Any]:
    here = Path(str(recipe("shape").__file__)).parent
    return dict(json.loads((here / "corpus.json").read_text(encoding="utf-8")))


@pytest.fixture
def training(recipe: Recipe) -> dict[str, Any]:
    here = Path(str(recipe("shape").__file__)).parent
    return dict(json.loads((here / "training.json").read_text(encoding="utf-8")))


def test_shipped_texts_are_those_that_were_recorded(corpus: dict[str, Any]) -> None:
    for split in SHIPPED:
        digest = hashlib.sha256((reference_path() / f"{split}.txt").read_bytes()).hexdigest()
        assert digest == corpus["splits"][split]["sha256"], split


def test_splits_share_no_document(corpus: dict[str, Any]) -> None:
    names = [name for split in SHIPPED for name in corpus["held_out_documents"][split]]
    assert len(names) == len(set(names))
    # Only sources in the public domain ship their text.
    free = {"sotu", "moby-dick", "austen", "sqlite", "bible"}
    assert {name.split("/")[0] for name in names} == free
    out = corpus["held_out_documents"]["out_of_domain"]
    assert {name.split("/")[0] for name in out} == {"bible"}


def test_shipped_texts_share_no_long_run_of_words(recipe: Recipe, corpus: dict[str, Any]) -> None:
    splits = recipe("splits")
    texts = {name: (reference_path() / f"{name}.txt").read_text(encoding="utf-8") for name in SHIPPED}
    for one in SHIPPED:
        parts = texts[one].split("\n\n")
        for other in set(SHIPPED) - {one}:
            known = splits.union(texts[other].split("\n\n"), corpus["overlap_run_words"])
            assert not any(splits.shingles(part, corpus["overlap_run_words"]) & known for part in parts)


def test_measured_overlap_with_training_is_small(corpus: dict[str, Any]) -> None:
    overlap = corpus["overlap_with_training_50_characters"]
    assert overlap["out_of_domain"] == 0.0
    assert max(overlap.values()) < 0.005


def test_the_shipped_run_is_the_best_and_learned(training: dict[str, Any]) -> None:
    shipped = training["shipped"]
    assert shipped["validation_loss"] == min(row["validation"] for row in shipped["curve"])
    assert all(shipped["validation_loss"] < run["validation_loss"] for run in training["others"])
    assert shipped["tokens"] == shipped["steps"] * shipped["batch"] * 512


def test_the_card_is_what_the_records_say(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    card = recipe("card")
    for name in ("evaluation.json", "model.safetensors"):
        (tmp_path / name).write_bytes((reference_path() / name).read_bytes())
    monkeypatch.setattr(card, "REFERENCE", tmp_path)
    card.main()
    for name in ("MODEL_CARD.md", "loss.svg"):
        assert (tmp_path / name).read_bytes() == (reference_path() / name).read_bytes(), (
            "run training/card.py"
        )
