"""The kept set against rational and 60-digit arithmetic, the draws against definition and distribution."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mfi_command import BadInput
from stable_ops import min_p_sample, nucleus, sample, softmax, top_k_sample, top_p_sample, truncation_report
from stable_ops.cli import app
from stable_ops.ops.sampling.philox import draws, philox
from stable_ops.ops.sampling.prefix import Descending

mpmath = pytest.importorskip("mpmath")
chi2 = pytest.importorskip("scipy.stats").chi2


def exact_nucleus(probabilities: np.ndarray, p: float) -> list[bool]:
    """The definition, one Fraction at a time."""
    exact = [Fraction(float(v)) for v in probabilities]
    needed, total, kept = Fraction(p) * sum(exact), Fraction(0), [False] * len(exact)
    for i in sorted(range(len(exact)), key=lambda i: (-exact[i], i)):
        if total >= needed:
            break
        kept[i], total = True, total + exact[i]
    kept[int(np.argmax(probabilities))] = True  # p = 0
    return kept


def definition(row, *, temperature=1.0, top_k=None, top_p=1.0, min_p=0.0, u=None, digits=60):
    """The kept tokens in order and, for a rational u, the token drawn: one filter after the other."""
    with mpmath.workdps(digits):
        order = sorted((i for i, v in enumerate(row) if v > -np.inf), key=lambda i: (-float(row[i]), i))
        peak = mpmath.mpf(float(row[order[0]]))
        weight = {i: mpmath.exp((mpmath.mpf(float(row[i])) - peak) / mpmath.mpf(temperature)) for i in order}
        tokens = order[:top_k]
        needed, total, first = mpmath.mpf(top_p) * mpmath.fsum(weight[i] for i in tokens), mpmath.mpf(0), []
        for i in tokens if top_p < 1 else []:
            first.append(i)
            total += weight[i]
            if total >= needed:
                break
        kept = [i for i in (first or tokens) if weight[i] >= mpmath.mpf(min_p)]
        if u is None:
            return kept
        target = mpmath.mpf(u.numerator) / u.denominator * mpmath.fsum(weight[i] for i in kept)
        total = mpmath.mpf(0)
        for i in kept:
            total += weight[i]
            if total > target:
                return i
        raise AssertionError("u is below 1")


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 10, 300]),
    st.sampled_from(["random", "ties", "border", "unnormalised"]),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_nucleus_is_the_exact_set(seed, n, kind, p, dtype):
    rng = np.random.default_rng(seed)
    x = softmax(3 * rng.standard_normal(n)) if kind == "random" else rng.integers(1, 4, n) / (3.0 * n)
    if kind == "border":
        x = np.full(n, 1 / n)
    elif kind == "unnormalised":
        x = rng.random(n) * 10
    x = x.astype(dtype)
    assert nucleus(x, p).tolist() == exact_nucleus(x, p)


@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_the_border_on_a_tie_with_p(count):
    """Ten tenths: in float64 nine of them are less than 0.9 of their sum or not, by their last bits."""
    x = np.full(10, 0.1)
    p = count / 10
    assert nucleus(x, p).tolist() == exact_nucleus(x, p)


def test_nucleus_of_many_rows_with_a_share_each():
    x = softmax(np.random.default_rng(3).standard_normal((2, 10_000)).astype(np.float32))
    kept = nucleus(x, [0.9, 0.3])
    for row, p, mask in zip(x, (0.9, 0.3), kept, strict=True):
        assert mask.tolist() == exact_nucleus(row, p)


def row_of(kind, n, seed):
    rng = np.random.default_rng(seed)
    x = {
        "random": lambda: 3 * rng.standard_normal(n),
        "ties": lambda: rng.integers(-3, 3, n).astype(float),
        "equal": lambda: np.full(n, 7.0),
        "masked": lambda: np.where(rng.random(n) < 0.5, -np.inf, rng.standard_normal(n)),
        "peak": lambda: np.r_[40.0, rng.standard_normal(n - 1)],
        "huge": lambda: rng.choice([3e38, 3.0000001e38, -3e38], n),
        "faint": lambda: np.r_[0.0, 0.0, np.full(n, -90.0)][:n],
    }[kind]()
    x[rng.integers(n)] = x.max() if np.isfinite(x).any() else 0.0
    return x.astype(np.float32)


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 9, 120]),
    st.sampled_from(["random", "ties", "equal", "masked", "peak", "huge", "faint"]),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.sampled_from([None, 1, 5, 1000]),
    st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
def test_kept_tokens_and_draws_follow_the_definition(seed, n, kind, temperature, top_k, top_p, min_p):
    if kind in ("huge", "faint") and 0 < top_p < 1:
        top_p += 0.013  # half of two masses that differ by less than 60 digits has a test of its own
    x = row_of(kind, n, seed)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    (report,) = truncation_report(x, **options)
    assert report.tokens.tolist() == definition(x, **options)
    assert report.support == len(report.tokens)
    (number,) = draws(seed, 3, 0, 1).tolist()
    drawn = sample(x, **options, seed=seed, offset=3)
    assert drawn == definition(x, **options, u=Fraction(number, 2**53))


@pytest.mark.parametrize("seed", range(5))
def test_a_share_next_to_the_mass_of_a_prefix(seed):
    """p is the float64 on either side of a mass ratio, which float64 weights cannot tell apart."""
    x = np.random.default_rng(seed).standard_normal(40).astype(np.float32)
    ordered = Descending(x.astype(np.float64), 1.0)
    with mpmath.workdps(60):
        weights = [mpmath.exp(mpmath.mpf(float(v))) for v in ordered.values]
        ratio = mpmath.fsum(weights[:17]) / mpmath.fsum(weights)
        near = float(ratio)
        below, above = (near, np.nextafter(near, 1)) if near < ratio else (np.nextafter(near, 0), near)
    assert truncation_report(x, top_p=below)[0].support == 17
    assert truncation_report(x, top_p=above)[0].support == 18


def test_two_equal_logits_and_one_that_float64_loses():
    """Half of the mass is one token and half of what the third weighs: 10^-87, or 10^-(4 10^37)."""
    for third in (-200.0, -1e38):
        assert truncation_report([0.0, 0.0, third], top_p=0.5)[0].support == 2
    assert truncation_report([0.0, 0.0], top_p=0.5)[0].support == 1


def test_exact_masses_that_need_many_digits():
    """1 - (1/2 - d)(2 + 2 exp(-100)) is 2 d - exp(-100), and exp(-100) is 3.7e-44."""
    ordered = Descending(np.array([0.0, 0.0, -100.0, -100.0]), 1.0)
    assert ordered.sign(1, Fraction(1, 2), 4) == -1
    assert ordered.sign(1, Fraction(1, 2) - Fraction(1, 10**44), 4) == -1
    assert ordered.sign(1, Fraction(1, 2) - Fraction(2, 10**44), 4) == 1
    assert ordered.sign(3, Fraction(3, 4), 4) == 1


def test_min_p_next_to_a_weight():
    x = np.array([0.0, -1.0], dtype=np.float32)
    near = float(np.exp(-1.0))
    with mpmath.workdps(60):
        kept = [v for v in (np.nextafter(near, 0), near, np.nextafter(near, 1)) if mpmath.exp(-1) >= v]
    for share in (np.nextafter(near, 0), near, np.nextafter(near, 1)):
        assert truncation_report(x, min_p=share)[0].support == (2 if share in kept else 1)


def test_philox_gives_the_numbers_of_its_authors():
    """The known answers of Random123 for philox4x32 with ten rounds."""
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    for counter, key, expected in [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (pi, (0xA4093822, 0x299F31D0), [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]:
        words = philox(key, tuple(np.full(2, c, np.uint32) for c in counter))
        assert [int(word[1]) for word in words] == expected


def g_test(drawn: np.ndarray, expected: np.ndarray) -> float:
    counts = np.bincount(drawn, minlength=expected.size)
    assert counts[expected == 0].sum() == 0
    seen = counts > 0
    statistic = 2 * np.sum(counts[seen] * np.log(counts[seen] / (drawn.size * expected[seen])))
    return float(chi2.sf(statistic, (expected > 0).sum() - 1))


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
@pytest.mark.parametrize(
    "options", [{"top_k": 10}, {"top_p": 0.8}, {"min_p": 0.2}, {"top_k": 30, "top_p": 0.7}]
)
def test_a_million_draws_follow_the_kept_distribution(temperature, options):
    logits = np.random.default_rng(4).standard_normal(50)
    held = np.zeros(50)
    kept = definition(logits, temperature=temperature, **options)
    held[kept] = np.exp(logits[kept] / temperature)
    drawn = sample(logits, temperature=temperature, **options, seed=11, size=1_000_000)
    assert g_test(drawn, held / held.sum()) > 1e-6


def test_streams_of_neighbours_follow_the_distribution():
    """Streams of neighbouring seeds, and of neighbouring offsets, are as good as one stream."""
    ordered = Descending(np.random.default_rng(5).standard_normal(20), 1.0)
    for numbers in (
        np.concatenate([draws(seed, 0, 0, 1) for seed in range(3_000)]),
        np.concatenate([draws(1, offset, 0, 1) for offset in range(3_000)]),
        np.concatenate([draws(1, 0, stream, 1) for stream in range(3_000)]),
    ):
        drawn = ordered.passing(numbers, 2**53, 20)
        assert g_test(drawn, ordered.weights / ordered.weights.sum()) > 1e-6


def test_the_g_test_finds_a_wrong_temperature():
    logits = np.random.default_rng(4).standard_normal(50)
    drawn = top_k_sample(logits, 50, temperature=1.02, seed=1, size=200_000)
    assert g_test(drawn, softmax(logits)) < 1e-6


def test_equal_logits_go_to_the_lower_index():
    assert set(top_k_sample(np.zeros(9), 3, size=1000).tolist()) == {0, 1, 2}
    assert set(top_p_sample(np.zeros(8), 0.5, size=1000).tolist()) == {0, 1, 2, 3}
    assert set(min_p_sample([1.0, 2.0, 2.0, -9.0], 0.9, size=1000).tolist()) == {1, 2}
    assert sample([1.0, 2.0, 2.0], temperature=0) == 1
    assert sample([-0.0, 0.0], top_k=1) == 0


def test_masked_tokens_are_never_drawn():
    x = np.array([-np.inf, 0.0, -np.inf, 0.0])
    for options in ({"top_k": 4}, {"top_p": 1.0}, {"min_p": 0.0}, {}):
        assert set(sample(x, **options, size=1000).tolist()) == {1, 3}


def test_edges_of_the_options():
    x = np.array([0.5, 3.0, 1.0, -np.inf])
    assert top_p_sample(x, 0.0, size=5).tolist() == [1] * 5
    assert sample(x, temperature=0, top_p=0.1, size=3).tolist() == [1] * 3
    assert truncation_report(x, top_p=1.0, top_k=99, min_p=0.0)[0].support == 3
    assert truncation_report(x, min_p=1.0)[0].tokens.tolist() == [1]
    assert sample([4.0]) == 0
    assert sample([3e38, -3e38], temperature=1e300) in (0, 1)
    assert sample([1.0, 2.0], temperature=5e-324) == 1
    assert sample([1e300, -1e300], seed=2**63 - 1, offset=2**63 - 1) == 0


def test_a_row_answers_by_its_own_seed_wherever_it_stands():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((30, 200))
    options = {
        "temperature": rng.choice([0.0, 0.5, 1.0, 2.0], 30),
        "top_k": rng.integers(1, 220, 30),
        "top_p": rng.uniform(0, 1, 30),
        "min_p": rng.uniform(0, 0.3, 30),
        "seed": rng.integers(0, 2**62, 30),
        "offset": rng.integers(0, 2**40, 30),
    }
    tokens = sample(x, **options)
    order = rng.permutation(30)
    moved = sample(x[order], **{name: values[order] for name, values in options.items()})
    np.testing.assert_array_equal(moved, tokens[order])
    for i in range(30):
        assert sample(x[i], **{name: values[i : i + 1][0] for name, values in options.items()}) == tokens[i]


def test_shapes_and_streams():
    x = np.zeros((2, 3, 40))
    assert top_k_sample(x, 40).shape == (2, 3)
    drawn = top_p_sample(x, size=50)
    assert drawn.shape == (2, 3, 50)
    assert len({tuple(row) for row in drawn.reshape(6, 50)}) == 6
    np.testing.assert_array_equal(drawn, top_p_sample(x, size=50))
    # With one seed for all, a row's stream depends on its number alone, not on the rows after it.
    np.testing.assert_array_equal(drawn[0], top_p_sample(x[0], size=50))
    assert not np.array_equal(drawn, top_p_sample(x, size=50, offset=1))
    np.testing.assert_array_equal(drawn[..., :1], top_p_sample(x, size=1))
    assert sample(x, top_p=np.full((2, 1), 0.5)).shape == (2, 3)
    assert sample(np.zeros((0, 4))).shape == (0,)


def test_tensors():
    torch = pytest.importorskip("torch")
    tokens = top_k_sample(torch.tensor([[0.0, 9.0], [9.0, 0.0]], dtype=torch.bfloat16), 1)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [1, 0]
    assert nucleus(torch.tensor([0.5, 0.5])).tolist() == [True, True]
    assert sample(torch.zeros(2, 3), top_p=torch.tensor([0.5, 0.1]), seed=torch.tensor([1, 2])).shape == (2,)


def test_the_report_of_a_known_distribution():
    x = np.log([0.5, 0.25, 0.125, 0.125])
    (report,) = truncation_report(x, top_p=0.7)
    assert report.tokens.tolist() == [0, 1]
    assert report.limited_by == "top_p"
    np.testing.assert_allclose(report.mass_kept, 0.75, rtol=1e-14)
    np.testing.assert_allclose(report.probabilities, [2 / 3, 1 / 3], rtol=1e-14)
    np.testing.assert_allclose(report.full_entropy_nats, 1.75 * np.log(2), rtol=1e-14)
    np.testing.assert_allclose(report.effective_support, 3 / 2 ** (2 / 3), rtol=1e-14)
    assert truncation_report(x)[0].limited_by is None
    assert len(truncation_report(np.zeros((2, 3, 5)))) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nucleus([0.5, np.nan]), "finite"),
        (lambda: nucleus([0.5, -0.1]), "negative"),
        (lambda: nucleus([0.0, 0.0]), "zero"),
        (lambda: nucleus([1.0], 1.1), "p must"),
        (lambda: top_k_sample([1.0], 0), "top_k must be at least 1, got 0"),
        (lambda: top_k_sample([1.0], 1.5), "top_k must be an integer"),
        (lambda: top_k_sample([1.0], 1, temperature=-0.5), "temperature"),
        (lambda: top_k_sample([1.0], 1, temperature=np.inf), "temperature"),
        (lambda: top_k_sample([1.0], 1, size=0), "size"),
        (lambda: top_p_sample([1.0], np.nan), "top_p must lie in"),
        (lambda: min_p_sample([1.0], 2.0), "min_p must lie in"),
        (lambda: sample([1.0], seed=-1), "seed must be at least 0"),
        (lambda: sample([1.0], offset="3"), "offset must be an integer"),
        (lambda: sample([[1.0], [2.0]], top_p=[0.1, 0.2, 0.3]), "one for each row"),
        (lambda: sample([[0.0, 1.0], [np.nan, 1.0]]), "row 1 of the logits holds NaN"),
        (lambda: sample([[0.0, 1.0], [np.inf, 1.0]]), r"row 1 of the logits holds \+inf"),
        (lambda: top_p_sample([-np.inf, -np.inf]), "row 0 of the logits holds -inf alone"),
        (lambda: top_p_sample(np.zeros((2, 0))), "at least one token"),
        (lambda: truncation_report([1.0], temperature=0), "temperature of 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def invoke(*words):
    return CliRunner().invoke(app, ["sampling", *map(str, words)])


def test_the_command_reports_each_row(tmp_path):
    x = np.log([[0.5, 0.25, 0.125, 0.125], [0.97, 0.01, 0.01, 0.01]]).astype(np.float32)
    np.save(tmp_path / "logits.npy", x)
    done = invoke(tmp_path / "logits.npy", "--top-p", 0.7, "--first", 1, "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert [row["support"] for row in rows] == [2, 1]
    assert [row["tokens"] for row in rows] == [[0], [0]]
    assert "top_p" in invoke(tmp_path / "logits.npy", "--top-p", 0.7).stdout


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (None, (), "no file"),
        (b"", (), "no numpy array"),
        (b"not numbers", (), "no numpy array"),
        (np.array([{}], dtype=object), (), "no numpy array"),
        (np.array([[0.0, 1.0], [np.nan, 1.0]]), (), "row 1 of the logits holds NaN"),
        (np.zeros(3), ("--top-p", 1.5), "top_p must lie in"),
        (np.zeros(3), ("--temperature", 0), "temperature of 0"),
        (np.zeros(0), (), "at least one token"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, content, words, message):
    path = tmp_path / "logits.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    done = invoke(path, *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
