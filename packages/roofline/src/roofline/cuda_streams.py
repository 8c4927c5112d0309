"""Bandwidth of a CUDA device by working set: Triton kernels that pass over the set many times in one launch.

One launch for all passes, since a launch takes as long as some hundred passes over a small set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roofline.measurement import Rate

# Four bytes an element: 4 KiB a block, which 128 threads move in 16-byte pieces.
_BLOCK = 1024
_BLOCKS_PER_PROGRAM = 4  # of the set that stays in L1
_PROGRAMS_PER_SM = 16
_PASS_BYTES = 4 << 30  # moved between two readings of the clock: about a millisecond
_LARGEST_SET = 4 << 30
_KERNELS: dict[str, tuple[int, int]] = {"read": (1, 1), "write": (1, 1), "copy": (2, 2), "add": (2, 3)}


def kernels() -> dict[str, Any]:
    """The Triton kernels by name; compiled when first run."""
    import triton  # type: ignore[import-untyped]
    import triton.language as tl  # type: ignore[import-untyped]

    @triton.jit  # type: ignore[untyped-decorator]
    def read(x, y, blocks, passes, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
        lane = tl.arange(0, SIZE)
        program = tl.program_id(0).to(tl.int64)
        total = tl.zeros([SIZE], tl.float32)
        for turn in range(passes):
            # Another program's blocks at each pass; .cg passes the L1 by: the next level is what is timed.
            for block in range((program + turn * 37) % tl.num_programs(0), blocks, tl.num_programs(0)):
                total += tl.load(x + block * SIZE + lane, cache_modifier=".cg")
        tl.store(y + program * SIZE + lane, total)

    @triton.jit  # type: ignore[untyped-decorator]
    def write(x, y, blocks, passes, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
        lane = tl.arange(0, SIZE)
        program = tl.program_id(0).to(tl.int64)
        value = tl.load(x + program * SIZE + lane)
        for turn in range(passes):
            value += 1.0  # another value at each pass, or the passes could be merged
            for block in range((program + turn * 37) % tl.num_programs(0), blocks, tl.num_programs(0)):
                tl.store(y + block * SIZE + lane, value)

    @triton.jit  # type: ignore[untyped-decorator]
    def copy(x, y, blocks, passes, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
        lane = tl.arange(0, SIZE)
        program = tl.program_id(0).to(tl.int64)
        for turn in range(passes):
            for block in range((program + turn * 37) % tl.num_programs(0), blocks, tl.num_programs(0)):
                tl.store(y + block * SIZE + lane, tl.load(x + block * SIZE + lane, cache_modifier=".cg"))

    @triton.jit  # type: ignore[untyped-decorator]
    def add(x, y, blocks, passes, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
        lane = tl.arange(0, SIZE)
        program = tl.program_id(0).to(tl.int64)
        for turn in range(passes):
            for block in range((program + turn * 37) % tl.num_programs(0), blocks, tl.num_programs(0)):
                other = tl.load(x + block * SIZE + lane, cache_modifier=".cg")
                tl.store(
                    y + block * SIZE + lane,
                    tl.load(y + block * SIZE + lane, cache_modifier=".cg") + other,
                )

    @triton.jit  # type: ignore[untyped-decorator]
    def read_l1(x, y, blocks, passes, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
        lane = tl.arange(0, SIZE)
        program = tl.program_id(0).to(tl.int64)
        total = tl.zeros([SIZE], tl.float32)
        for _turn in range(passes):
            for block in range(program * blocks, program * blocks + blocks):
                total += tl.load(x + block * SIZE + lane, cache_modifier=".ca")
        tl.store(y + program * SIZE + lane, total)

    return {"read": read, "write": write, "copy": copy, "add": add, "read_l1": read_l1}


def working_sets(l2_bytes: int) -> list[int]:
    """Bytes of the sweep: from a sixteenth of the L2 to 4 GiB, two sets an octave around the L2's size."""
    sizes, size = [], max(1 << 20, l2_bytes // 16)
    while size < 4 * l2_bytes:
        sizes.append(size)
        size = int(size * 2**0.5)
    while size < _LARGEST_SET:
        sizes.append(size)
        size *= 4
    return [*[s // (8 * _BLOCK) * (8 * _BLOCK) for s in sizes], _LARGEST_SET]


def sweep(
    torch: Any, timed: Callable[..., list[float]], *, seconds: float
) -> tuple[list[dict[str, float]], dict[str, Rate], Rate]:
    """Rates of each kernel over each working set, those of the largest set, and reads within the L1.

    The largest set is also streamed by torch's own copy (`torch_copy`): whichever kernel is fastest counts.
    """
    properties = torch.cuda.get_device_properties(0)
    programs = _PROGRAMS_PER_SM * properties.multi_processor_count
    made, sizes = kernels(), working_sets(properties.L2_cache_size)
    x = torch.randn(_LARGEST_SET // 4, device="cuda")
    y = torch.randn(_LARGEST_SET // 4, device="cuda")
    rows: list[dict[str, float]] = []
    rates: dict[str, Rate] = {}
    for size in sizes:
        share = seconds / len(sizes) / len(_KERNELS)
        rates = {}
        for name, (arrays, parts) in _KERNELS.items():
            blocks = size // (4 * _BLOCK) // arrays
            moved = parts * blocks * 4 * _BLOCK
            passes = max(1, _PASS_BYTES // moved)
            task = _launch(made[name], programs, x, y, blocks, passes)
            rates[name] = Rate.of(moved * passes, timed(torch, task, share))
        rows.append({"working_set_bytes": float(size)} | _row(rates))
    half = x.numel() // 2
    task = _copier(y[:half], x[:half])
    rates["torch_copy"] = Rate.of(2 * 4 * half, timed(torch, task, seconds / len(sizes)))
    passes = 2000
    task = _launch(made["read_l1"], programs // 2, x, y, _BLOCKS_PER_PROGRAM, passes)
    moved = programs // 2 * _BLOCKS_PER_PROGRAM * 4 * _BLOCK * passes
    return rows, rates, Rate.of(moved, timed(torch, task, seconds / len(sizes)))


def _row(rates: dict[str, Rate]) -> dict[str, float]:
    return {f"{name}_bytes_per_s": rate.median for name, rate in rates.items()}


def _copier(target: Any, data: Any) -> Callable[[], object]:
    return lambda: target.copy_(data)


def _launch(kernel: Any, programs: int, x: Any, y: Any, blocks: int, passes: int) -> Callable[[], object]:
    return lambda: kernel[(programs,)](x, y, blocks, passes, SIZE=_BLOCK, num_warps=4)
