"""Losses that were measured once are not measured again: minutes of work resume where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command.executors import JsonFolder, digest
from svd_compress.evaluation import Losses
from svd_compress.preparation import fingerprint, text_digest

if TYPE_CHECKING:
    from checkpoint_lens.windows import Window
    from svd_compress.bench import Bench
    from svd_compress.folder import Factors


class LossStore:
    """Measures a model on the bench, and remembers what is measured.

    Parameters
    ----------
    bench
        What is judged.
    seed
        Of the factors: part of what tells one measurement from another, as are the model and the texts.
    work
        Folder for what is measured; None remembers for as long as this object lives.
    """

    def __init__(self, bench: Bench, *, seed: int, work: Path | None) -> None:
        self._bench = bench
        self._same = {**fingerprint(bench.model, bench.texts.fit, list(bench.dense)), "seed": seed}
        self._kept: MutableMapping[str, Any] = {} if work is None else JsonFolder(work / "losses")

    def measure(
        self,
        label: Mapping[str, object],
        windows: Sequence[Window],
        factors: Callable[[], Mapping[str, Factors]],
        stage: str,
    ) -> Losses:
        """Losses of what `label` names; its factors are only made where it is not known."""
        key = digest({**self._same, **label, "judged": text_digest(windows)})
        if key not in self._kept:
            found = self._bench.measure(factors(), windows, stage)
            self._kept[key] = {"sums": found.sums.tolist(), "tokens": found.tokens.tolist()}
        held = self._kept[key]
        return Losses(np.array(held["sums"]), np.array(held["tokens"]))
