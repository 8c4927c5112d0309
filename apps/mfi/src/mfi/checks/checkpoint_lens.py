"""Rows that checkpoint-lens computes."""

from __future__ import annotations

from mfi.checks import Outcome, check


@check(
    "w06-attention",
    title="Spectrum of the scores Q K^T of each head of the bundled model",
    bound="reported per head, equal to LAPACK's SVD of the whole score matrix; low_rank true where >= 90 %",
    unit="share of energy in the top 10",
)
def attention() -> Outcome:
    """The reduced computation against an SVD of each (n, n) score matrix, in float64."""
    import numpy as np

    from checkpoint_lens import attention_inputs, attention_spectra, reference_model, reference_text

    model, text = reference_model(), reference_text("in-domain")
    heads = attention_spectra(model, text, context=256)
    inputs = attention_inputs(model, text, context=256)
    shares = [head.top10_energy for head in heads]
    worst, flags = 0.0, True
    for head in heads:
        queries, keys = inputs[head.block]
        scores = queries[head.head] @ keys[head.head * len(keys) // len(queries)].T
        energy = np.linalg.svd(scores, compute_uv=False) ** 2
        share = float(energy[:10].sum() / energy.sum())
        worst = max(worst, abs(share - head.top10_energy))
        flags = flags and head.low_rank == (share >= 0.9)
    expected = model.config["num_hidden_layers"] * model.config["num_attention_heads"]
    low = sum(head.low_rank for head in heads)
    return Outcome(
        measured={
            f"block {block}": " ".join(f"{x.top10_energy:.3f}" for x in heads if x.block == block)
            for block in sorted({x.block for x in heads})
        },
        passed=worst < 1e-9 and flags and len(heads) == expected,
        detail=f"{low} of {len(heads)} heads low rank; shares {min(shares):.3f} to "
        f"{max(shares):.3f}; off LAPACK's by at most {worst:.1e}",
    )
