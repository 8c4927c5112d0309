"""Every layer factored once, with the loss that each rank is predicted to cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfi_command import BadInput
from svd_compress.allocation import Layout, Option, options
from svd_compress.carrying import Carried
from svd_compress.gradients import Moments, moments
from svd_compress.matrices import Float64

if TYPE_CHECKING:
    import torch

    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window
    from svd_compress.factoring import Factoring

# Gradients are noisy where inputs are not: directions that a few thousand tokens never moved still count.
FLOOR = 1e-6


@dataclass(frozen=True)
class PreparedLayer(Carried):
    """One layer ready to be cut at any rank.

    Attributes
    ----------
    shape
        (out, in).
    factors
        Their first k columns and rows are the layer at rank k.
    losses
        Predicted rise of the loss at rank 0, 1, ..., min(out, in), nats per token.
    gradients
        Second moment of the gradients at the outputs, (out, out), where it was asked for.
    """

    shape: tuple[int, int]
    factors: Factoring
    losses: Float64
    gradients: torch.Tensor | None = None


@dataclass(frozen=True)
class LayerTask(Carried):
    """All that factoring one layer needs, wherever that is done."""

    name: str
    weight: torch.Tensor
    seen: Moments
    judge: Moments | None
    keep_gradients: bool


def chosen_layers(model: CausalLM, pattern: str) -> dict[str, torch.nn.Linear]:
    """The linear layers of the blocks whose name matches the glob.

    An untied output head is left out: it is as wide as the vocabulary, and so would be the second moment
    of its gradients.

    Raises
    ------
    BadInput
        If no layer matches.
    """
    every = {name: layer for name, layer in model.linear_layers().items() if not name.endswith("lm_head")}
    found = {name: layer for name, layer in every.items() if fnmatchcase(name, pattern)}
    if not found:
        first = f"; the first of {len(every)} is {next(iter(every))}" if every else ""
        raise BadInput(f"no linear layer matches {pattern!r}{first}")
    return found


def prepare(
    model: CausalLM,
    windows: Sequence[Window],
    names: Sequence[str],
    *,
    seed: int = 0,
    held_out: bool = False,
    keep_gradients: bool = False,
    work: Path | None = None,
    memory_bytes: int | None = None,
    executor: str = "serial",
    statistics: Callable[[Sequence[str]], dict[str, Moments]] | None = None,
    on_moments: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Mapping[str, PreparedLayer]:
    """Factor the named layers, whitened on both sides by what they see in the windows.

    With `held_out` the factors come from every other window and their losses are judged on the windows
    between: a layer with more columns than there are tokens has a low rank on exactly those tokens, and
    only there.

    Parameters
    ----------
    model, windows, names
        What to factor, and the text that says what matters.
    seed
        Of the labels drawn for the gradients.
    held_out
        See above.
    keep_gradients
        Keep the gradients' moments, which the sequential refinement needs.
    work
        Folder in which finished layers are kept: a second call with the same model, text and seed takes
        them from there, and none stays in memory.
    memory_bytes
        Bound on the moments that are held at once, by default none. Each group of layers that fits costs a
        forward and a backward pass of its own.
    executor
        "serial", "processes" or "ray", see `mfi_command.executors.map_tasks`. Each layer is factored on
        one thread wherever it is done, so the bits are the same.
    statistics
        Gives the moments of layers where they are known already; by default they are computed.
    on_moments
        Called with (windows done, windows in all) for each group of layers.
    on_progress
        Called with (layers done, layers in all).

    Returns
    -------
    Mapping
        Layer name to its factoring. Cost: a forward and a backward pass over the windows for each group, then
        O(min(out, in)^3) a layer. Memory: the moments of one group (8 in^2 + 4 out^2 bytes a layer, twice
        that with `held_out`), and without `work` the factors of all layers, in float32.

    Raises
    ------
    BadInput
        If there are fewer than two windows and some are to be held out, or one layer's moments alone are
        over `memory_bytes`.
    """
    from mfi_command.executors import map_tasks

    if held_out and len(windows) < 2:
        raise BadInput("one window of text: two are needed, one to factor and one to judge; give more text")
    layers = model.linear_layers()
    store = _store(model, windows, names, work, seed=seed, held_out=held_out, keep=keep_gradients)
    missing = [name for name in names if name not in store]
    done = len(names) - len(missing)
    tick = on_progress or (lambda done, total: None)
    for group in _groups(missing, layers, memory_bytes, held_out=held_out):
        fitted = windows[::2] if held_out else windows
        if statistics is None:
            seen = moments(model, fitted, group, seed=seed, on_progress=on_moments)
        else:
            seen = statistics(group)
        judges = moments(model, windows[1::2], group, seed=seed + len(fitted)) if held_out else {}
        # Popped: the moments of a layer are as large as its weights, and of no use after this.
        tasks = _Tasks(layers, group, seen, judges, keep_gradients)
        map_tasks(
            prepare_layer,
            tasks,
            executor=executor,
            keys=group,
            store=store,
            on_progress=lambda part, _, done=done: tick(done + part, len(names)),  # type: ignore[misc]
        )
        done += len(group)
    return _Prepared(store, names)


class _Prepared(Mapping[str, PreparedLayer]):
    """Layers in the order asked for, read when they are needed."""

    def __init__(self, store: Mapping[str, PreparedLayer], names: Sequence[str]) -> None:
        self._store, self._names = store, list(names)

    def __getitem__(self, name: str) -> PreparedLayer:
        return self._store[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Tasks(Sequence[LayerTask]):
    """Tasks that let go of their moments when they are handed out, each once."""

    def __init__(
        self,
        layers: Mapping[str, torch.nn.Linear],
        names: Sequence[str],
        seen: dict[str, Moments],
        judges: dict[str, Moments],
        keep: bool,
    ) -> None:
        self._layers, self._names, self._seen, self._judges, self._keep = layers, names, seen, judges, keep

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> LayerTask:  # type: ignore[override]
        name = self._names[index]
        return LayerTask(
            name,
            # float32 holds every 16-bit weight, and numpy knows no bfloat16.
            _wide(self._layers[name].weight.detach()),
            self._seen.pop(name),
            self._judges.pop(name, None),
            self._keep,
        )


def _wide(weight: torch.Tensor) -> torch.Tensor:
    return weight if weight.element_size() >= 4 else weight.float()


def prepare_layer(task: LayerTask) -> PreparedLayer:
    """Factor one layer, in float64 on one thread: the bits do not depend on where it runs."""
    import torch

    from svd_compress.factoring import Factoring, factor

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        factors = factor(task.weight, task.seen.inputs, task.seen.gradients, floor=FLOOR)
        judge = task.judge
        losses = factors.tail().numpy() / 2 if judge is None else held_out_losses(factors, judge)
    except (BadInput, ArithmeticError) as error:
        raise type(error)(f"layer {task.name}: {error}") from error
    finally:
        torch.set_num_threads(threads)
    out, in_ = task.weight.shape
    # The decomposition is in float64; what is kept of it needs no more than the weights have, or float32.
    kept = torch.promote_types(task.weight.dtype, torch.float32)
    slim = Factoring(factors.left.to(kept), factors.right.to(kept), factors.energies)
    return PreparedLayer((out, in_), slim, losses, task.seen.gradients if task.keep_gradients else None)


def _groups(
    names: Sequence[str],
    layers: Mapping[str, torch.nn.Linear],
    memory_bytes: int | None,
    *,
    held_out: bool,
) -> Iterator[list[str]]:
    group: list[str] = []
    held = 0
    for name in names:
        out, in_ = layers[name].weight.shape
        size = (8 * in_ * in_ + 4 * out * out) * (2 if held_out else 1)
        if memory_bytes is not None and size > memory_bytes:
            raise BadInput(
                f"the moments of {name} take {size / 2**20:.0f} MiB; allow at least so much memory for them"
            )
        if group and memory_bytes is not None and held + size > memory_bytes:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _store(
    model: CausalLM,
    windows: Sequence[Window],
    names: Sequence[str],
    work: Path | None,
    *,
    seed: int,
    held_out: bool,
    keep: bool,
) -> MutableMapping[str, PreparedLayer]:
    if work is None:
        return {}
    from mfi_command.executors import digest
    from svd_compress.layer_store import LayerStore

    same = fingerprint(model, windows, names)
    key = digest({**same, "seed": seed, "held": held_out, "keep": keep, "floor": FLOOR})
    return LayerStore(work / key)


def fingerprint(model: CausalLM, windows: Sequence[Window], names: Sequence[str]) -> dict[str, object]:
    """What tells one model with one calibration text from another, for names of stored results."""
    layers = model.linear_layers()
    # A few weights of each layer tell one checkpoint from another.
    weights = [[name, *layers[name].weight.detach()[0, :4].double().tolist()] for name in names]
    return {"text": text_digest(windows), "weights": weights}


def text_digest(windows: Sequence[Window]) -> str:
    """SHA-256 of the tokens of all windows."""
    return hashlib.sha256(b"".join(window.ids.tobytes() for window in windows)).hexdigest()


def held_out_losses(factors: Factoring, judge: Moments) -> Float64:
    r"""The second-order loss of every truncation under moments that the factors were not made from.

    What rank k leaves out is :math:`\Delta_k = \sum_{i \ge k} l_i r_i^T`, so

    .. math:: \tfrac12 \operatorname{tr}(F \Delta_k G \Delta_k^T)
        = \tfrac12 \sum_{i,j \ge k} (l_i^T F l_j)(r_i^T G r_j):

    all ranks are the suffix sums of one matrix. Cost O(p (out^2 + in^2)) with p = min(out, in).

    Returns
    -------
    Float64
        At rank 0, 1, ..., p, nats per token. Unlike the tail it need not fall with the rank.
    """
    left, right = factors.left.double(), factors.right.double()
    pairs = (left.T @ judge.gradients.double() @ left) * (right @ judge.inputs.double() @ right.T)
    suffixes = pairs.flip(0, 1).cumsum(0).cumsum(1).diagonal().flip(0)
    # A sum of squares: what rounding makes of it below zero is zero.
    return np.append(suffixes.clamp(min=0.0).cpu().numpy(), 0.0) / 2


def all_options(
    prepared: Mapping[str, PreparedLayer], *, multiple: int, min_saving: float, layout: Layout
) -> dict[str, list[Option]]:
    """The options of every prepared layer, see `allocation.options`."""
    found = {}
    for name in prepared:
        layer = prepared[name]
        found[name] = options(
            layer.shape, layer.losses, multiple=multiple, min_saving=min_saving, layout=layout
        )
    return found


def balanced(factors: Factoring, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of this rank, each pair of column and row scaled to one norm: both fit a 16-bit format."""
    import torch

    left, right = factors.left[:, :rank], factors.right[:rank]
    columns, rows = left.norm(dim=0), right.norm(dim=1)
    # A pair that contributes nothing has a zero row or column; any scale does.
    fine = (columns > 0) & (rows > 0)
    ratio = torch.where(fine, rows / torch.where(fine, columns, 1.0), 1.0).sqrt()
    return left * ratio, right / ratio[:, None]
