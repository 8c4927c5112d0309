"""Which sources carry the noise of a quantizer into every spectrum."""

from types import SimpleNamespace

from svd_compress.sources import source_warnings


def checkpoint(**dtypes):
    tensors = {n: SimpleNamespace(shape=(4, 4) if n != "norm" else (4,), dtype=d) for n, d in dtypes.items()}
    return SimpleNamespace(tensors=tensors)


def test_only_matrices_of_a_block_format_are_warned_of():
    assert source_warnings(checkpoint(a="float16", b="bfloat16", norm="q4_1")) == ()
    (warning,) = source_warnings(checkpoint(a="q4_1", b="float32", c="q6_k"))
    assert "(q4_1, q6_k)" in warning
    assert "noise is flat" in warning
