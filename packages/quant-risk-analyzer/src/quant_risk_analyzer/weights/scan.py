"""`scan`: the weights of a whole checkpoint, tensor by tensor, in processes or on Ray, resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from checkpoint_lens import WeightMatrix, open_checkpoint, read_tensor, weight_matrices
from mfi_command import BadInput
from mfi_command.executors import JsonFolder, digest, map_tasks
from quant_risk_analyzer.formats import Granularity, block_length, formats_named
from quant_risk_analyzer.weights.facts import FormatFacts, MatrixFacts, matrix_facts

CONFIDENCE = (
    "low confidence on the order: the size of a weight's error says little about what it costs; "
    "`rate` runs the model and does better"
)


@dataclass(frozen=True)
class WeightReport:
    """Facts of every matrix, and what was left out.

    Attributes
    ----------
    matrices
        In the order of the file.
    left_out
        Numbers of parameters by reason.
    parameters
        All that the checkpoint stores: rated, invalid and left out add up to it.
    formats, granularity
        What was asked for.
    """

    matrices: tuple[MatrixFacts, ...]
    left_out: dict[str, int]
    parameters: int
    formats: tuple[str, ...]
    granularity: Granularity

    @property
    def invalid(self) -> list[MatrixFacts]:
        """Matrices with NaN or infinite weights."""
        return [each for each in self.matrices if each.invalid]

    @property
    def rated(self) -> int:
        """Parameters in matrices with facts."""
        return sum(each.parameters for each in self.matrices if not each.invalid)

    @property
    def account(self) -> str:
        """Where every parameter went."""
        parts = [f"{count} {reason}" for reason, count in sorted(self.left_out.items())]
        broken = sum(each.parameters for each in self.invalid)
        parts += [f"{broken} in matrices with NaN or infinite weights"] if broken else []
        rest = f"; left out: {', '.join(parts)}" if parts else ""
        return f"{self.rated} of {self.parameters} parameters rated{rest}"

    def to_dict(self) -> dict[str, Any]:
        """As a plain dictionary."""
        return {
            "tier": "weights only",
            "confidence": "low",
            "formats": list(self.formats),
            "granularity": self.granularity,
            "parameters": self.parameters,
            "rated": self.rated,
            "left_out": self.left_out,
            "account": self.account,
            "layers": [each.to_dict() for each in self.matrices],
        }


def scan(
    model: str | Path,
    *,
    formats: Sequence[str] | str = ("int8", "int4"),
    granularity: Granularity = "channel",
    layers: str = "*",
    executor: str = "serial",
    workers: int | None = None,
    resume: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> WeightReport:
    """Rounding errors, outliers and norms of every matrix of a checkpoint, without building the model.

    Parameters
    ----------
    model
        Path or "reference".
    formats, granularity
        As for `quantize`.
    layers
        Glob of matrix names; the others are left out.
    executor, workers
        As for `mfi_command.executors.map_tasks`: "serial", "processes" or "ray".
    resume
        Folder that keeps the facts of each tensor: a second call with the same file and options goes on.
    on_progress
        Called with (tensors done, tensors in all).

    Raises
    ------
    BadInput
        Unknown format, a glob that matches nothing, fp8 without a scale, a path that is no model.

    Notes
    -----
    Memory: one tensor as it is stored (fp8 as float32) and parts of a megabyte, for each worker.
    """
    kinds = formats_named(formats)
    if granularity != "tensor":
        block_length(granularity, 1)
    checkpoint = open_checkpoint(model)
    inventory = weight_matrices(checkpoint)
    tensors = {
        name: [each for each in matrices if fnmatchcase(each.name, layers)]
        for name, matrices in inventory.by_tensor().items()
    }
    tasks = [
        (str(model), matrices, [kind.name for kind in kinds], granularity)
        for matrices in tensors.values()
        if matrices
    ]
    if not tasks:
        raise BadInput(f"no matrix of {model} matches {layers!r}: see `checkpoint-lens ls`")
    stamp = checkpoint.file.stat()
    identity = (str(checkpoint.file.resolve()), stamp.st_size, stamp.st_mtime_ns)
    found = map_tasks(
        _tensor_facts,
        tasks,
        executor=executor,
        workers=workers,
        keys=[digest({"file": identity, "task": repr(task[1:])}) for task in tasks],
        store=None if resume is None else JsonFolder(resume),
        on_progress=on_progress,
    )
    left = Counter[str]()
    for each in inventory.left_out:
        left[each.reason] += each.parameters
    unmatched = sum(each.parameters for each in inventory.matrices if not fnmatchcase(each.name, layers))
    if unmatched:
        left["not matched by the glob"] = unmatched
    return WeightReport(
        matrices=tuple(_read(each) for facts in found for each in facts),
        left_out=dict(left),
        parameters=inventory.parameters,
        formats=tuple(kind.name for kind in kinds),
        granularity=granularity,
    )


def _tensor_facts(task: tuple[str, list[WeightMatrix], list[str], Granularity]) -> list[dict[str, Any]]:
    """Facts of the matrices of one tensor, as plain data: it crosses processes and is kept as JSON."""
    model, matrices, names, granularity = task
    values = read_tensor(open_checkpoint(model), matrices[0])
    kinds = formats_named(names)
    return [
        matrix_facts(each.name, each.of(values), each.dtype, kinds, granularity).to_dict()
        for each in matrices
    ]


def _read(plain: dict[str, Any]) -> MatrixFacts:
    formats = {name: FormatFacts(**facts) for name, facts in plain["formats"].items()}
    return MatrixFacts(**{**plain, "shape": tuple(plain["shape"]), "formats": formats})
