"""The command checkpoint-lens."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Model, Report, Table, command, create_app, entry_point, progress

app = create_app(
    "checkpoint-lens",
    distribution="checkpoint-lens",
    summary="Opens model weights one tensor at a time and runs causal language models on text.",
)

Text = Annotated[
    str,
    typer.Option(
        "--text",
        metavar="FILE",
        help="UTF-8 text, or reference:KIND with KIND calibration, in-domain or out-of-domain.",
    ),
]
Context = Annotated[int, typer.Option(help="Tokens of a window; windows do not overlap.")]
Dtype = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
MaxTokens = Annotated[int | None, typer.Option(help="Read only so many tokens of the text.")]


@command(app, examples=["checkpoint-lens ls reference", "checkpoint-lens ls model.gguf --json"])
def ls(model: Model) -> Report:
    """Names, shapes, dtypes and bytes of the tensors, without loading them."""
    from checkpoint_lens.opening import open_checkpoint

    checkpoint = open_checkpoint(model)
    infos = list(checkpoint.tensors.values())
    total = sum(info.nbytes for info in infos)
    rows = [[info.name, "x".join(map(str, info.shape)), info.dtype, info.nbytes] for info in infos]
    return Report(
        fields={
            "format": checkpoint.format,
            "tensors": [
                {"name": info.name, "shape": info.shape, "dtype": info.dtype, "bytes": info.nbytes}
                for info in infos
            ],
            "total_bytes": total,
        },
        tables=[Table(f"Tensors of {model}", ["name", "shape", "dtype", "bytes"], rows)],
        notes=[f"{len(infos)} tensors, {total / 2**20:.1f} MiB, {checkpoint.format}"],
    )


@command(app, examples=["checkpoint-lens layers reference", "checkpoint-lens layers model.gguf --json"])
def layers(model: Model) -> Report:
    """The linear layers: shape, block and role (q k v o gate up down lm_head other)."""
    from checkpoint_lens.opening import open_checkpoint

    found = open_checkpoint(model).linear_layers()
    rows = [[x.name, f"{x.shape[0]}x{x.shape[1]}", x.role, x.block] for x in found]
    return Report(
        fields={"layers": [layer.to_dict() for layer in found]},
        tables=[Table(f"Linear layers of {model}", ["name", "out x in", "role", "block"], rows)],
        notes=[f"{len(found)} linear layers, {sum(x.shape[0] * x.shape[1] for x in found):,} weights"],
    )


@command(
    app,
    examples=[
        "checkpoint-lens perplexity reference --text reference:in-domain",
        "checkpoint-lens perplexity model.gguf --text book.txt --context 1024 --max-tokens 20000",
    ],
)
def perplexity(
    model: Model,
    text: Text,
    context: Context = 512,
    max_tokens: MaxTokens = None,
    dtype: Dtype = "float32",
) -> Report:
    """How well a model predicts a text: loss in nats per token, perplexity, bits per byte."""
    from checkpoint_lens.bundled import read_text
    from checkpoint_lens.loading import load_model
    from checkpoint_lens.scoring import perplexity as judge

    content = read_text(text)
    loaded = load_model(model, dtype)
    with progress("perplexity") as tick:
        found = judge(loaded, content, context=context, max_tokens=max_tokens, on_progress=tick)
    columns = ["perplexity", "loss (nats/token)", "+-", "tokens", "bits/byte"]
    row = [found.perplexity, found.loss, found.loss_stderr, found.tokens, found.bits_per_byte]
    return Report(
        fields=found.to_dict(),
        tables=[Table(f"{model} on {text}", columns, [row])],
        notes=["+- is one standard error of the loss, over windows"],
    )


@command(app, examples=["checkpoint-lens attention reference --text reference:in-domain"])
def attention(
    model: Model, text: Text, context: Annotated[int, typer.Option(help="Tokens read.")] = 256
) -> Report:
    """Spectrum of the scores Q K^T of each head: the share of energy in the top ten."""
    from checkpoint_lens.attention import attention_spectra
    from checkpoint_lens.bundled import read_text
    from checkpoint_lens.loading import load_model

    content = read_text(text)
    found = attention_spectra(load_model(model), content, context=context)
    low = sum(head.low_rank for head in found)
    rows = [[head.block, head.head, head.top10_energy, head.rank_90, head.low_rank] for head in found]
    return Report(
        fields={"heads": [head.to_dict() for head in found], "low_rank": low},
        tables=[Table(f"Q K^T of {model}", ["block", "head", "top 10", "rank 90 %", "low rank"], rows)],
        notes=[f"{low} of {len(found)} heads hold 90 % of their energy in ten directions"],
    )


main = entry_point(app)
