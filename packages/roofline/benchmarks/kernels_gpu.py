"""The kernels that the counts are judged by, on a CUDA device: under ncu, under torch's profiler, and timed.

    ncu --clock-control none --profile-from-start off --csv --page raw --log-file ncu.csv \
        --metrics "$(python kernels_gpu.py metrics)" python kernels_gpu.py run
    python kernels_gpu.py time times.json trace trace.json

`run` launches every case once between two marker kernels (`bitwise_not`), so that the kernels of a case can
be told apart in the export whatever they are called. Operands are random and far larger than the L2.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
from torch.nn import functional

METRICS = (
    "gpu__time_duration.sum",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "lts__t_bytes.sum",
    "l1tex__t_bytes.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
    "sm__cycles_elapsed.max",
    "sm__ops_path_tensor_src_bf16_dst_fp32.sum",
    "sm__sass_thread_inst_executed_op_ffma_pred_on.sum",
    "sm__sass_thread_inst_executed_op_fadd_pred_on.sum",
    "sm__sass_thread_inst_executed_op_fmul_pred_on.sum",
)
Case = tuple[Callable[[], Any], dict[str, Any]]


@triton.jit
def _swiglu(gate, up, out, size, BLOCK: tl.constexpr):
    spot = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(gate + spot, mask=spot < size).to(tl.float32)
    u = tl.load(up + spot, mask=spot < size).to(tl.float32)
    tl.store(out + spot, (g * tl.sigmoid(g) * u).to(tl.bfloat16), mask=spot < size)


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up in one pass: two reads and a write."""
    out = torch.empty_like(gate)
    _swiglu[(triton.cdiv(gate.numel(), 2048),)](gate, up, out, gate.numel(), BLOCK=2048, num_warps=8)
    return out


@triton.jit
def _softmax(x, out, WIDTH: tl.constexpr):
    spot = tl.program_id(0).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    row = tl.load(x + spot).to(tl.float32)
    weight = tl.exp(row - tl.max(row, 0))
    tl.store(out + spot, (weight / tl.sum(weight, 0)).to(tl.bfloat16))


@triton.jit
def _layer_norm(x, weight, bias, out, WIDTH: tl.constexpr):
    lane = tl.arange(0, WIDTH)
    spot = tl.program_id(0).to(tl.int64) * WIDTH + lane
    row = tl.load(x + spot).to(tl.float32)
    centred = row - tl.sum(row, 0) / WIDTH
    scale = tl.rsqrt(tl.sum(centred * centred, 0) / WIDTH + 1e-5)
    scaled = centred * scale * tl.load(weight + lane).to(tl.float32) + tl.load(bias + lane).to(tl.float32)
    tl.store(out + spot, scaled.to(tl.bfloat16))


def softmax(x: torch.Tensor) -> torch.Tensor:
    """One row a program, in registers: a read and a write."""
    out = torch.empty_like(x)
    _softmax[(x.shape[0],)](x, out, WIDTH=x.shape[1], num_warps=8)
    return out


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """One row a program, in registers: a read and a write."""
    out = torch.empty_like(x)
    _layer_norm[(x.shape[0],)](x, weight, bias, out, WIDTH=x.shape[1], num_warps=8)
    return out


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def _gemm(m: int, n: int, k: int) -> Case:
    a, b = randn(m, k), randn(k, n)
    return lambda: a @ b, {"kind": "matmul", "m": m, "n": n, "k": k, "dtype": "bf16"}


def _attention(batch: int, queries: int, keys: int, heads: int, kv_heads: int) -> Case:
    width = 128
    q = randn(batch, heads, queries, width)
    k, v = randn(batch, kv_heads, keys, width), randn(batch, kv_heads, keys, width)

    def run() -> Any:
        return functional.scaled_dot_product_attention(
            q, k, v, is_causal=queries > 1, enable_gqa=heads != kv_heads
        )

    sizes = {"batch": batch, "queries": queries, "keys": keys, "heads": heads, "kv_heads": kv_heads}
    return run, {"kind": "attention", **sizes, "head_dim": width, "dtype": "bf16"}


def _rows(kind: str) -> Case:
    rows, width = 65536, 8192
    x = randn(rows, width)
    weight, bias = randn(width), randn(width)
    run = {
        "softmax": lambda: softmax(x),
        "layer_norm": lambda: layer_norm(x, weight, bias),
        "softmax_torch": lambda: torch.softmax(x, -1),
        "layer_norm_torch": lambda: functional.layer_norm(x, (width,), weight, bias),
        "gelu": lambda: functional.gelu(x),
    }[kind]
    return run, {"kind": kind.removesuffix("_torch"), "rows": rows, "width": width, "dtype": "bf16"}


def _gate(fused: bool) -> Case:
    rows, width = 32768, 14336
    gate, up = randn(rows, width), randn(rows, width)
    kind = "swiglu" if fused else "swiglu_unfused"
    run = (lambda: swiglu(gate, up)) if fused else (lambda: functional.silu(gate) * up)
    return run, {"kind": kind, "rows": rows, "width": width, "dtype": "bf16"}


def _embedding() -> Case:
    table_rows, width, rows = 131072, 8192, 65536
    table = randn(table_rows, width)
    index = torch.randperm(table_rows, device="cuda")[:rows]  # no row twice: each one comes from memory
    return lambda: functional.embedding(index, table), {
        "kind": "embedding",
        "rows": rows,
        "width": width,
        "dtype": "bf16",
    }


CASES: dict[str, Callable[[], Case]] = {
    "gemm": lambda: _gemm(16384, 16384, 1024),
    # One wave of tiles: its blocks walk along k together, so memory should give each operand once.
    "gemm_one_wave": lambda: _gemm(2048, 2048, 32768),
    # One operand fits the L2, the other is longer: whether it is read once depends on the order of the tiles.
    "gemm_tall": lambda: _gemm(65536, 2048, 2048),
    "gemm_resident": lambda: _gemm(8192, 8192, 512),  # both fit
    "gemm_wide": lambda: _gemm(2048, 28672, 8192),
    "gemm_square": lambda: _gemm(8192, 8192, 8192),
    "gemm_skinny": lambda: _gemm(64, 28672, 8192),
    "gemv": lambda: _gemm(1, 57344, 8192),
    "softmax": lambda: _rows("softmax"),
    "softmax_torch": lambda: _rows("softmax_torch"),
    "layer_norm": lambda: _rows("layer_norm"),
    "layer_norm_torch": lambda: _rows("layer_norm_torch"),
    "gelu": lambda: _rows("gelu"),
    "attention_prefill": lambda: _attention(8, 4096, 4096, 32, 32),
    "attention_prefill_gqa": lambda: _attention(8, 4096, 4096, 32, 8),
    "attention_decode": lambda: _attention(64, 1, 4096, 32, 32),
    "attention_decode_gqa": lambda: _attention(64, 1, 8192, 32, 8),
    "swiglu": lambda: _gate(True),
    "swiglu_unfused": lambda: _gate(False),
    "embedding": _embedding,
}


def check() -> None:
    """The kernels written here compute what they are called."""
    x, y = randn(64, 8192), randn(64, 8192)
    weight, bias = randn(8192), randn(8192)
    pairs = {
        "softmax": (softmax(x), torch.softmax(x.double(), -1)),
        "swiglu": (swiglu(x, y), functional.silu(x.double()) * y.double()),
        "layer_norm": (
            layer_norm(x, weight, bias),
            functional.layer_norm(x.double(), (8192,), weight.double(), bias.double()),
        ),
    }
    for name, (ours, exact) in pairs.items():
        error = float((ours.double() - exact).norm() / exact.norm())
        assert error < 4e-3, (name, error)  # bf16 results: half an ulp is 2e-3
        print(f"{name}: relative error {error:.2e}")


def run() -> None:
    """Every case once, between markers, with the profiler switched on around it."""
    marker = torch.ones(64, dtype=torch.int32, device="cuda")
    names = []
    for name, make in CASES.items():
        task, sizes = make()
        task()  # compiles and allocates, unprofiled
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        torch.bitwise_not(marker)
        task()
        torch.bitwise_not(marker)
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()
        names.append({"name": name, **sizes})
        del task
        torch.cuda.empty_cache()
    Path("cases.json").write_text(json.dumps(names, indent=1))


def seconds_of(task: Callable[[], Any], *, readings: int = 15) -> float:
    """Median seconds by events; operands are far larger than the L2, so nothing is left there from before."""
    taken = []
    for _ in range(readings + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        task()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1e3)
    return statistics.median(taken[3:])


def time_all(path: Path) -> None:
    check()
    rows = []
    for name, make in CASES.items():
        task, sizes = make()
        rows.append({"name": name, **sizes, "time_s": seconds_of(task)})
        del task
        torch.cuda.empty_cache()
    path.write_text(json.dumps(rows, indent=1))


def trace(path: Path) -> None:
    """A small forward pass under torch's profiler, shapes recorded."""
    from torch.profiler import ProfilerActivity, profile

    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(
        1024, 16, 4096, batch_first=True, device="cuda", dtype=torch.bfloat16, activation="gelu"
    )
    x = randn(8, 512, 1024)
    for _ in range(3):
        layer(x)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as found:
        for _ in range(2):
            layer(x)
        torch.cuda.synchronize()
    found.export_chrome_trace(str(path))


if __name__ == "__main__":
    torch.manual_seed(16)
    if sys.argv[-1].startswith("--cases="):  # only these, to add to an earlier run
        wanted = sys.argv.pop().partition("=")[2].split(",")
        CASES = {name: CASES[name] for name in wanted}
    commands: dict[str, Callable[[Path], None]] = {"time": time_all, "trace": trace}
    if sys.argv[1] == "metrics":
        print(",".join(METRICS))
    elif sys.argv[1] == "run":
        run()
    else:
        for what, file in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
            commands[what](Path(file))
