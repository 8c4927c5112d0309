"""The commands as a user runs them: answers, exit codes, one line for bad input, nothing left behind."""

import contextlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from svd_compress.cli import main


def run(*arguments, cwd):
    """The command in this process: a process of its own would load torch for every line below."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["svd-compress", *map(str, arguments)]),
        mock.patch.dict(os.environ, COLUMNS="200"),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue(), returncode=ended.value.code)


def bad(done, *words):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_spectrum_prints_json(tiny, tmp_path):
    done = run("spectrum", tiny, "--layer", "*down_proj", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (answer["tool"], answer["command"], answer["schema_version"]) == ("svd-compress", "spectrum", 1)
    keys = {"name", "shape", "rank_90", "rank_95", "rank_99", "break_even_rank", "top10_energy"}
    assert all(keys <= set(layer) for layer in answer["layers"])
    assert [layer["shape"] for layer in answer["layers"]] == [[48, 80]] * 2


def test_spectrum_draws(tiny, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    done = run("spectrum", tiny, "--output", "decay.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pixels = np.asarray(pillow.open(tmp_path / "decay.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_compress_then_refuse(tiny, texts, tmp_path):
    common = ["--calibration", texts["calibration"], "--evaluate", texts["evaluate"], "--context", 64]
    common += ["--calibration-tokens", 1536, "--evaluation-tokens", 1024, "--json"]
    done = run("compress", tiny, "--keep", 0.7, "--output", "small", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    keys = {"feasible", "kept", "perplexity_before", "perplexity_after", "rise", "layers"}
    assert keys <= set(answer)
    assert answer["feasible"]
    assert {"name", "rank", "kept", "verdict"} <= set(answer["layers"][0])
    assert (tmp_path / "small" / "factored.safetensors").stat().st_size == answer["bytes_after"]
    harsh = ["--max-ppl-rise", 1e-9, "--layout", "two", "--min-saving", 0.2]
    done = run("compress", tiny, *harsh, "--output", "none", *common, cwd=tmp_path)
    assert done.returncode == 1
    assert not json.loads(done.stdout)["feasible"]
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_compress_refuses_bad_input(tiny, texts, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    both = ["--calibration", texts["calibration"], "--evaluate", texts["evaluate"]]
    same = ["--calibration", texts["calibration"], "--evaluate", texts["calibration"]]
    none = ["--calibration", "empty.txt", "--evaluate", texts["evaluate"]]
    keep = ["--keep", 0.5, "--output", "out"]
    bad(run("compress", "missing", *keep, *both, cwd=tmp_path), "missing")
    bad(run("compress", tiny, *keep, *same, cwd=tmp_path), "calibration and evaluation text")
    bad(run("compress", tiny, *keep, *none, cwd=tmp_path), "empty")
    bad(run("compress", tiny, "--keep", "nan", "--output", "out", *both, cwd=tmp_path), "--keep")
    bad(run("compress", tiny, "--keep", "lots", "--output", "out", *both, cwd=tmp_path), "--keep")
    bad(run("compress", tiny, "--keep", 0.5, *both, cwd=tmp_path), "--output")
    small = ["--context", 64, "--calibration-tokens", 1536, "--evaluation-tokens", 512]
    bad(run("compress", tiny, "--keep", 0.01, "--output", "out", *both, *small, cwd=tmp_path), "0.01", "keep")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_without_a_terminal_only_the_log_says_how_far_it_is(tiny, texts, tmp_path, monkeypatch):
    monkeypatch.setattr("svd_compress.words.EVERY_S", 0.0)
    options = ["--calibration", texts["calibration"], "--evaluate", texts["evaluate"], "--context", 64]
    options += ["--calibration-tokens", 1536, "--evaluation-tokens", 512, "--faster-at", 0, "--keep", 0.8]
    assert run("scan", tiny, *options, cwd=tmp_path).stderr == ""
    with mock.patch("logging.root.handlers", []):
        said = run("scan", tiny, *options, "--verbose", cwd=tmp_path).stderr
    assert "factors" in said


def test_animate_makes_a_film(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    done = run("animate", "--frames", 24, "--output", "svd.gif", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Eigenvalues of a symmetric matrix with trace 5 and determinant 5.
    expected = [(5 + 5**0.5) / 2, (5 - 5**0.5) / 2]
    np.testing.assert_allclose(json.loads(done.stdout)["singular_values"], expected, rtol=1e-14)
    film = pillow.open(tmp_path / "svd.gif")
    assert film.n_frames >= 24
    assert (tmp_path / "svd.gif").stat().st_size < 2**20
    first = np.asarray(film.convert("RGB"), int)
    film.seek(film.n_frames - 1)
    last = np.asarray(film.convert("RGB"), int)

    # The blue curve: how far from the middle it reaches, in units of the circle of the first frame.
    def reach(pixels):
        blue = (pixels[..., 2] - pixels[..., 0] > 50) & (np.arange(len(pixels)) < 0.9 * len(pixels))[:, None]
        columns = np.nonzero(blue)[1]
        return (columns.max() - columns.min()) / 2

    # Half the width of the ellipse is the norm of the first row of the matrix.
    assert reach(last) / reach(first) == pytest.approx(10**0.5, rel=0.03)


def test_animate_writes_a_sequence_that_shows_a_reflection(tmp_path):
    pytest.importorskip("matplotlib")
    from xml.etree import ElementTree

    done = run(
        "animate", "--matrix", "[[1,0],[0,-2]]", "--frames", 24, "--output", "frames", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["reflected"]
    assert answer["singular_values"] == [2.0, 1.0]
    files = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert files == [f"frame-{number:03}.svg" for number in range(24)]
    for name in files:
        ElementTree.parse(tmp_path / "frames" / name)
    bad(run("animate", "--output", "frames", cwd=tmp_path), "not empty")
    bad(run("animate", "--output", "svd.mp4", cwd=tmp_path), ".gif")


def test_spectrum_takes_heads_apart(tiny, tmp_path):
    done = run("spectrum", tiny, "--attention", "--text", "none", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    heads = json.loads(done.stdout)["heads"]
    assert len(heads) == 2 * 4 * 2
    assert {"effective_rank", "rank_90", "low_rank", "product"} <= set(heads[0])


def test_scan_writes_a_page_and_the_front_beside_it(tiny, texts, tmp_path):
    pytest.importorskip("matplotlib")
    options = ["--calibration", texts["calibration"], "--evaluate", texts["evaluate"], "--context", 64]
    options += [
        "--calibration-tokens",
        1536,
        "--evaluation-tokens",
        512,
        "--faster-at",
        0,
        "--keep",
        "0.8,0.6",
    ]
    options += ["--measure-layers", 3, "--work", "work"]
    done = run("scan", tiny, *options, "--output", "page.html", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    page, front = (tmp_path / "page.html").read_text(), (tmp_path / "page.csv").read_text().splitlines()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert len(front) == 1 + len(answer["pareto"])
    for layer in answer["layers"]:
        assert layer["line"] in page
        assert layer["line"].endswith("leave dense") == (layer["rank"] is None)
    # No point of the front is beaten by any measured point.
    for own in answer["pareto"]:
        for other in answer["points"]:
            better = other["in_domain"]["after"] < own["in_domain"]["after"]
            assert not (better and other["model_bytes"] <= own["model_bytes"])
    # What was measured is kept: dense and two plans on two texts, three layers on one.
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.*")}
    assert len(list((tmp_path / "work" / "losses").iterdir())) == 3 * 2 + 3
    again = run("scan", tiny, *options, "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["points"] == answer["points"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.*")} == kept
    bad(run("scan", tiny, "--output", "page.pdf", cwd=tmp_path), ".html")
    bad(run("scan", tiny, "--keep", "1.5", *options[:-6], cwd=tmp_path), "--keep")
    resumed = [part if part != "0.8,0.6" else "0.8,0.01" for part in options]
    partly = json.loads(run("scan", tiny, *resumed, "--json", cwd=tmp_path).stdout)
    assert (partly["left_out_keep"], len(partly["points"])) == ([0.01], 2)
    none = [part if part != "0.8,0.6" else "0.01" for part in options]
    bad(run("scan", tiny, *none, cwd=tmp_path), "0.01", "keep")


def test_latency_prints_a_row_for_each_rank(tmp_path):
    done = run("latency", "48x32,32x48", "--ranks", "8,16", "--rounds", 6, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["shape"], row["rank"]) for row in rows] == [
        ([48, 32], 8), ([48, 32], 16), ([32, 48], 8), ([32, 48], 16),
    ]  # fmt: skip
    for wrong, word in [("48by32", "shape"), ("0x5", "shape"), ("", "shape")]:
        bad(run("latency", wrong, cwd=tmp_path), word)
    bad(run("latency", "8x8", "--ranks", "x", cwd=tmp_path), "--ranks")


@pytest.mark.parametrize(
    "matrix",
    [
        "",
        "[[1,2],[3]]",
        "[1,2]",
        "[[NaN,1],[1,1]]",
        "[[1e308,0],[0,1]]",
        '[["a",1],[1,1]]',
        "[[1,2,3],[4,5,6]]",
    ],
)
def test_animate_refuses_what_is_no_plane(matrix, tmp_path):
    bad(run("animate", "--matrix", matrix, "--output", "svd.gif", cwd=tmp_path))
    assert not list(tmp_path.iterdir())


def test_help_loads_no_heavy_library():
    code = "import sys\nimport svd_compress.cli, svd_compress\nprint([m for m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("torch", "transformers", "matplotlib", "scipy", "safetensors"):
        assert f"'{name}'" not in loaded


def test_public_names():
    import svd_compress

    public = {name for name in vars(svd_compress) if not name.startswith("_")}
    modules = {name for name in public if type(getattr(svd_compress, name)).__name__ == "module"}
    assert set(svd_compress.__all__) == public - modules
