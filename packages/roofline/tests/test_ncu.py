"""The CSV of Nsight Compute: units, FLOP by counters, and exports that cannot be used."""

from pathlib import Path

import pytest

from mfi_command import BadInput
from roofline import analyze_kernels
from roofline.ncu import between_markers, read_ncu

HEAD = "==PROF== Connected to process 1\n"
COLUMNS = (
    "ID",
    "Kernel Name",
    "gpu__time_duration.sum",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "lts__t_bytes.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
    "sm__ops_path_tensor_src_bf16_dst_fp32.sum",
    "sm__sass_thread_inst_executed_op_ffma_pred_on.sum",
    "sm__sass_thread_inst_executed_op_fadd_pred_on.sum",
)
UNITS = ("", "", "us", "Mbyte", "Kbyte", "byte", "%", "%", "", "inst", "inst")
ROWS = [
    ("0", "gemm", "1,000.5", "2", "500", "9,000,000", "95.5", "20.25", "4,000,000", "10", "5"),
    ("1", "void marker(int)", "1", "0", "0", "0", "0", "0", "0", "0", "0"),
    ("2", "softmax<float, 4>", "20", "1.5", "1,500", "4000000", "30", "90", "0", "1,000", "500"),
    ("3", "void marker(int)", "1", "0", "0", "0", "0", "0", "0", "0", "0"),
]


def exported(rows: list[tuple[str, ...]] = ROWS, columns: tuple[str, ...] = COLUMNS) -> str:
    lines = [columns, UNITS[: len(columns)], *rows]
    return HEAD + "".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines)


def test_units_and_counters_by_hand() -> None:
    gemm, _, softmax, _ = read_ncu(exported(), where="x", dtype="bf16")
    assert gemm.measured_s == pytest.approx(1000.5e-6)
    assert gemm.operator.bytes == 2_500_000
    assert gemm.operator.flop == 4_000_000 + 2 * 10 + 5
    assert dict(gemm.levels_bytes) == {"l2": 9_000_000}
    assert gemm.operator.kind == "matmul"
    assert gemm.measured_bound == "compute"
    assert softmax.operator.kind == "vector"
    assert softmax.operator.flop == 2500
    assert softmax.measured_bound == "memory"
    assert dict(softmax.utilisation)["memory"] == pytest.approx(0.9)


def test_kernels_between_markers() -> None:
    kernels = read_ncu(exported(), where="x", dtype="bf16")
    (group,) = between_markers(kernels, "marker")
    assert [kernel.operator.name for kernel in group] == ["softmax<float, 4>"]


def test_a_file_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    rows = [row for row in ROWS if "marker" not in row[1]]
    path.write_text(exported(rows))
    data = analyze_kernels(path, device="H200").to_dict()
    first = data["operators"][0]
    assert first["measured_flop_per_s"] == pytest.approx(4_000_025 / 1000.5e-6)
    assert first["measured_bound"] == "compute"
    assert first["l2_bytes"] == 9_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (exported([]), "no kernel"),
        (exported(columns=COLUMNS[:3], rows=[row[:3] for row in ROWS]), "dram__bytes_read"),
        (HEAD + '"ID","Kernel Name","Metric Name","Metric Value"\n"0","x","y","1"\n', "--page raw"),
        (exported([("0", "gemm", "soon", *ROWS[0][3:])]), "gpu__time_duration.sum is 'soon'"),
    ],
)
def test_unusable_exports(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        analyze_kernels(path, device="H200")
