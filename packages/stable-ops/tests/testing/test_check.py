"""The trial on kernels that are right, wrong in one way, or not kernels at all."""

import numpy as np
import pytest

from mfi_command import BadInput
from stable_ops import layer_norm, softmax
from stable_ops.testing import check


def sorts(report) -> set[str]:
    return {failure.sort for failure in report.failures}


def test_what_is_right_has_no_failures():
    report = check(softmax, against="softmax", dtypes=["float32"], max_ulp=0.5)
    assert report.failures == ()
    assert report.batch_invariant
    assert 0.4 < report.max_ulp <= 0.5


def test_an_exception_is_a_failure_and_not_ours():
    def broken(x):
        raise ZeroDivisionError("no")

    report = check(broken, against="gelu", dtypes=["float16"])
    assert sorts(report) == {"raises"}
    assert report.outputs == 0


def test_another_dtype_or_shape():
    assert sorts(check(lambda x: softmax(x).astype(np.float64), against="softmax")) == {"kind"}
    assert sorts(check(lambda x: softmax(x)[:, :1], against="softmax", dtypes=["float16"])) >= {"kind"}


def test_a_batch_that_changes_the_bits():
    def dependent(x, weight, bias):
        y = layer_norm(x, weight, bias)
        return y if x.shape[0] > 1 else np.nextafter(y, np.float32(np.inf))

    report = check(dependent, against="layer_norm", dtypes=["float32"], max_ulp=2.0)
    assert not report.batch_invariant
    assert "batch" in sorts(report)


def test_the_axis_is_passed_to_who_has_one():
    def scipys(x, axis=None):
        return softmax(x, axis=axis)

    assert check(scipys, against="softmax", dtypes=["float16"], max_ulp=0.5).failures == ()


def test_torch_functions():
    torch = pytest.importorskip("torch")
    report = check(torch.softmax, against="softmax", dtypes=["float16"], library="torch")
    assert report.failures == ()
    report = check(torch.nn.functional.gelu, against="gelu", dtypes=["float32"], library="torch")
    assert any("e-07" in f.detail or "-0.0 " in f.detail for f in report.failures), "its tail is zero"


def test_progress_and_report():
    seen = []
    report = check(
        softmax, against="softmax", dtypes=["float16"], on_progress=lambda *done: seen.append(done)
    )
    assert seen[-1][0] == seen[-1][1] == len(seen)
    assert set(report.to_dict()) >= {"max_ulp", "misrounded", "batch_invariant", "failures"}


def test_bad_input():
    with pytest.raises(BadInput, match="attention"):
        check(softmax, against="attention")
    with pytest.raises(BadInput, match="float8"):
        check(softmax, against="softmax", dtypes=["float8"])


def test_what_a_kernel_raises_is_told_in_one_line():
    def kernel(x):
        raise RuntimeError("out of\n  memory")

    failures = check(kernel, against="silu").failures
    assert {failure.detail for failure in failures} == {"RuntimeError: out of memory"}
