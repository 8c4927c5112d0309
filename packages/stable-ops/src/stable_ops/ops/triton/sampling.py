"""`stable_ops.sample` of a CUDA tensor."""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from mfi_command import BadInput
from stable_ops.arrays import is_tensor, without_gradients
from stable_ops.ops.sampling.draw import settle
from stable_ops.ops.sampling.settings import ALL, Settings, read_settings, refuse_row
from stable_ops.ops.triton.launch import Launch
from stable_ops.ops.triton.rows import on_device_of
from stable_ops.ops.triton.sampling_rows import STATE, bracket, collect, conclude, plan, survey
from stable_ops.ops.triton.sampling_search import POINTS
from stable_ops.ops.triton.sampling_whole import DONE, REFUSED, whole_row

# Draws from long rows that share scratch memory at a time, 560 KiB each.
_DRAWS = 512
# Elements among which a token is found by comparing each with each.
FEW = 256
_COLUMNS = ("temperature", "top_p", "min_p", "top_k", "seed", "offset")


@dataclass(frozen=True)
class Sizes:
    """Elements: `short` rows get one program, longer ones one for each piece, a `sample` and two lists.

    A list of 16,384 was too short for one row in thirty of normal logits with standard deviation 2.
    """

    short: int = 8192
    piece: int = 4096
    sample: int = 2048
    list: int = 32768
    wide: int = 8192
    tile: int = 2048


# What suits a GPU; the tests of the logic take smaller ones.
LARGE = Sizes()


def sample(logits: Any, options: dict[str, Any], *, size: int | None, check: bool) -> Any:
    """As `stable_ops.sample`; float16, bfloat16 or float32."""
    x = without_gradients(logits, "logits")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise BadInput(f"a row of at least one token is needed, got shape {tuple(x.shape)}")
    shape = tuple(x.shape[:-1])
    rows = x.reshape(-1, x.shape[-1])
    rows = rows if rows.stride(-1) == 1 else rows.contiguous()
    settings, packed = _pack(shape, options, x.device, check)
    filtered = options["top_k"] is not None or options["min_p"] is not None
    own_stream = np.ndim(options["seed"]) > 0
    tokens, status = launch(rows, packed, own_stream=own_stream, filtered=filtered, size=size or 1)
    if check:
        _settle(rows, tokens, status, settings or read_settings(shape, **options), size or 1)
    return tokens.reshape(shape if size is None else (*shape, size))


def launch(rows: Any, packed: Any, *, own_stream: bool, filtered: bool, size: int = 1) -> tuple[Any, Any]:
    """Tokens and what became of them, both of shape (rows * size,), without waiting for the device.

    `packed` holds the options in the columns temperature, top_p, min_p (the bits of float64), top_k, seed,
    offset (int64), in one row for all or one for each; `filtered` says that top_k or min_p may act.
    """
    sizes = LARGE
    draws = rows.shape[0] * size
    tokens = torch.empty(draws, dtype=torch.int64, device=rows.device)
    status = torch.empty(draws, dtype=torch.int32, device=rows.device)
    step = _DRAWS if rows.shape[1] > sizes.short else draws
    with on_device_of(rows):
        for begin in range(0, draws, max(step, 1)):
            part = slice(begin, begin + step)
            task = _Task(rows, size, begin, packed, tokens[part], status[part], own_stream, filtered)
            if rows.shape[1] > sizes.short:
                _share_rows(task, sizes)
            _whole_rows(task, left=rows.shape[1] > sizes.short)
    return tokens, status


@dataclass(frozen=True)
class _Task:
    """Draws from `begin` on, into views of tokens and status."""

    rows: Any
    size: int
    begin: int
    packed: Any
    tokens: Any
    status: Any
    own_stream: bool
    filtered: bool

    @property
    def per_row(self) -> bool:
        return bool(self.packed.shape[0] > 1)


def _whole_rows(task: _Task, *, left: bool) -> None:
    """A program for each draw; with `left` it works on pending ones alone."""
    n, draws = task.rows.shape[1], task.tokens.numel()
    threads = min(512, max(128, 1 << (-(-n // 4) - 1).bit_length()))
    height = 1 if n <= 4 * threads else 4
    few = torch.empty(draws, 2 * FEW + 1, dtype=torch.int64, device=task.rows.device)
    stride = task.rows.stride(0)
    kinds = (task.rows.dtype, task.rows.device, task.rows.data_ptr() % 16, stride == 1, stride % 16)
    start = _whole(kinds, task.per_row, task.own_stream, left, height, threads)
    start(draws, task.rows, stride, n, task.size, task.begin, task.packed, few, task.tokens, task.status)


@lru_cache(maxsize=256)
def _whole(
    kinds: tuple[Any, ...], per_row: bool, own_stream: bool, left: bool, height: int, threads: int
) -> Launch:
    """`kinds`, on which what Triton compiles depends, only tells kernels apart."""
    constants = {"PER_ROW": per_row, "OWN_STREAM": own_stream, "LEFT": left}
    shape = {"FEW": FEW, "HEIGHT": height, "THREADS": threads}
    return Launch(whole_row, warps=threads // 32, **constants, **shape)


def _share_rows(task: _Task, sizes: Sizes) -> None:
    """Long rows, a piece to a program."""
    n, draws, device = task.rows.shape[1], task.tokens.numel(), task.rows.device
    pieces = -(-n // sizes.piece)
    width = max(2, 1 << (pieces - 1).bit_length())
    points = torch.empty(draws, POINTS.value, dtype=torch.float32, device=device)
    counters = torch.empty(draws, 32, dtype=torch.int32, device=device)
    peaks = torch.empty(draws, pieces, dtype=torch.float32, device=device)
    masses = torch.empty(draws, pieces, 2 * POINTS.value, dtype=torch.float32, device=device)
    exact = torch.empty(draws, pieces, 4, dtype=torch.float64, device=device)
    state = torch.empty(draws, STATE.value, dtype=torch.float64, device=device)
    lists = torch.empty(draws, 4, sizes.list, dtype=torch.int32, device=device)
    few = torch.empty(draws, 2 * FEW + 1, dtype=torch.int64, device=device)
    row = (task.rows, task.rows.stride(0), n, task.size, task.begin)
    forms = {"FILTERED": task.filtered}
    ends = forms | {"LIST": sizes.list}
    more = ends | {"PER_ROW": task.per_row, "OWN_STREAM": task.own_stream}
    plan[(draws,)](*row, task.packed, points, counters, state, **more, **_shape(sizes.sample, 8))
    survey[(draws * pieces,)](*row, pieces, state, points, peaks, masses, **forms, **_shape(sizes.piece, 8))
    bracket[(draws,)](pieces, points, peaks, masses, state, **ends, PIECES=width, num_warps=4)
    # Longer pieces for the float64 sums, and more programs at a time than the compiler would allow for.
    parts = -(-n // sizes.wide)
    collect[(draws * parts,)](
        *row, parts, state, exact, counters, lists, **ends, **_shape(sizes.wide, 16), maxnreg=64
    )
    conclude[(draws,)](
        n, task.size, task.begin, parts, task.packed, state, exact, counters, lists, few, task.tokens,
        task.status, **more, PIECES=max(2, 1 << (parts - 1).bit_length()), FEW=FEW,
        **_shape(min(sizes.list, sizes.tile), 8),
    )  # fmt: skip


def _shape(elements: int, warps: int) -> dict[str, int]:
    """So many elements to a program: a thread holds four neighbours in each of HEIGHT rows."""
    warps = max(1, min(warps, elements // 128))
    return {"HEIGHT": elements // (128 * warps), "THREADS": 32 * warps, "num_warps": warps}


def _pack(
    shape: tuple[int, ...], options: dict[str, Any], device: Any, check: bool
) -> tuple[Settings | None, Any]:
    """The checked options if they were read on the host, and all of them as the kernels take them."""
    if not check and any(is_tensor(value) and value.is_cuda for value in options.values()):
        return None, _packed_on_device(shape, options, device)
    if all(value is None or type(value) in (int, float) for value in options.values()):
        return None, _packed_alike(device, *(options[name] for name in _COLUMNS))
    alike = all(value is None or np.ndim(value) == 0 for value in options.values())
    settings = read_settings(() if alike else shape, **options)
    return (None if alike else settings), _table(settings).to(device, non_blocking=True)


@lru_cache(maxsize=256, typed=True)
def _packed_alike(device: Any, *values: Any) -> Any:
    """One row of options for all; the kernels only read it, so calls may share it."""
    *filters, seed, offset = values
    if not (type(seed) is type(offset) is int and 0 <= min(seed, offset) <= max(seed, offset) < 2**63):
        read_settings((), **dict(zip(_COLUMNS, values, strict=True)))  # says what is wrong with them
    row = _filters(*filters).copy()
    row[0, -2:] = seed, offset
    return torch.from_numpy(row).to(device)


@lru_cache(maxsize=256, typed=True)
def _filters(*values: Any) -> Any:
    """A row of options with these filters: seeds and offsets change with every call, these seldom do."""
    return _table(read_settings((), **dict(zip(_COLUMNS, values, strict=False)))).numpy()


def _table(settings: Settings) -> Any:
    columns = [np.asarray(getattr(settings, name)) for name in _COLUMNS]
    table = np.stack([c.view(np.int64) if c.dtype == np.float64 else c for c in columns], axis=-1)
    return torch.from_numpy(table)


def _packed_on_device(shape: tuple[int, ...], options: dict[str, Any], device: Any) -> Any:
    """Options that lie on the device stay there: nobody has looked at them."""
    off = {"top_p": 1.0, "min_p": 0.0, "top_k": ALL}
    columns = []
    for name in _COLUMNS:
        value = off[name] if options[name] is None else options[name]
        dtype = torch.float64 if name in ("temperature", "top_p", "min_p") else torch.int64
        column = torch.as_tensor(value, device=device).to(dtype).expand(shape).reshape(-1)
        columns.append(column.contiguous().view(torch.int64))
    return torch.stack(columns, dim=-1)


def _settle(rows: Any, tokens: Any, status: Any, settings: Settings, size: int) -> None:
    """Refuse the first bad row; draw on the CPU what was left undecided."""
    found = status.cpu().numpy()
    if (refused := np.flatnonzero(found == REFUSED.value)).size:
        row = int(refused[0]) // size
        refuse_row(row, float(rows[row].float().max()))
    for i in np.flatnonzero(found != DONE.value):
        row, number = divmod(int(i), size)
        tokens[int(i)] = settle(rows[row].double().cpu().numpy(), settings, row, number)
