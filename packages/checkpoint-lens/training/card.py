"""Writes MODEL_CARD.md and loss.svg from what was recorded: corpus.json, training.json and evaluation.json.

Run: python card.py       (after evaluate.py)
"""

import json
from pathlib import Path
from typing import Any

from figure import loss_figure
from shape import CONFIG, LIMIT_BYTES, parameters

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "src" / "checkpoint_lens" / "reference"


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def bits_table(evaluation: dict[str, Any]) -> str:
    """Bits per byte of the model, of the untrained copy and of the compressors on the same texts."""
    texts = evaluation["texts"]
    rows = [
        ["this model", *(f"{row['trained']['bits_per_byte']:.3f}" for row in texts.values())],
        [
            "this model, each byte that it could not predict charged 8 bits",
            *(f"{row['trained']['whole_text_bits_per_byte']:.3f}" for row in texts.values()),
        ],
        [
            "the same weights before training",
            *(f"{row['untrained']['bits_per_byte']:.3f}" for row in texts.values()),
        ],
    ]
    for tool in next(iter(texts.values()))["compressors"]:
        rows.append([f"`{tool}`", *(f"{row['compressors'][tool]:.3f}" for row in texts.values())])
    return table(["bits per byte", *(f"{name}.txt" for name in texts)], rows)


def source_table(corpus: dict[str, Any]) -> str:
    """Packages that were read."""
    read = [row for row in corpus["sources"] if "text_bytes" in row]
    rows = [
        [row["package"], row["version"], row["client"], row["licence"], f"{row['text_bytes'] / 1e6:.2f}"]
        for row in read
    ]
    return table(["package", "version", "client", "licence of the text", "MB of clean text"], rows)


def run_table(training: dict[str, Any]) -> str:
    """All runs, best first; the first is the one that ships."""
    runs = sorted([training["shipped"], *training["others"]], key=lambda run: run["validation_loss"])
    rows = [
        [
            run["rate"],
            run["decay"],
            run["dropout"],
            run["steps"],
            f"{run['wall_s']:.0f}",
            f"{run['validation_loss']:.3f}",
        ]
        for run in runs
    ]
    return table(["peak rate", "weight decay", "dropout", "steps", "seconds", "best validation loss"], rows)


def spectrum_table(evaluation: dict[str, Any]) -> str:
    """How the singular values of three query projections fall, trained and untrained."""
    rows = []
    for name, trained in evaluation["spectra"]["trained"].items():
        start = evaluation["spectra"]["untrained"][name]
        shares = [
            f"{trained[f'energy_rank_{k}']:.2f} ({start[f'energy_rank_{k}']:.2f})" for k in (8, 32, 128)
        ]
        rows.append(
            [f"`{name}`", *shares, f"{trained['effective_rank']:.0f} ({start['effective_rank']:.0f})"]
        )
    return table(["layer", "energy in 8 of 256", "in 32", "in 128", "effective rank"], rows)


def main() -> None:
    corpus = json.loads((HERE / "corpus.json").read_text(encoding="utf-8"))
    training = json.loads((HERE / "training.json").read_text(encoding="utf-8"))
    evaluation = json.loads((REFERENCE / "evaluation.json").read_text(encoding="utf-8"))
    shipped, runs = training["shipped"], [training["shipped"], *training["others"]]
    overlaps = corpus["overlap_with_training_50_characters"]
    (REFERENCE / "loss.svg").write_text(loss_figure(shipped["curve"]), encoding="utf-8")
    card = (
        (HERE / "card_template.md")
        .read_text(encoding="utf-8")
        .format(
            parameters=parameters(CONFIG),
            file_bytes=(REFERENCE / "model.safetensors").stat().st_size,
            limit=LIMIT_BYTES,
            layers=CONFIG["num_hidden_layers"],
            width=CONFIG["hidden_size"],
            heads=CONFIG["num_attention_heads"],
            kv=CONFIG["num_key_value_heads"],
            head_dim=CONFIG["head_dim"],
            inner=CONFIG["intermediate_size"],
            theta=CONFIG["rope_theta"],
            context=CONFIG["max_position_embeddings"],
            vocabulary=CONFIG["vocab_size"],
            bits=bits_table(evaluation),
            train_mb=corpus["splits"]["train"]["text_bytes"] / 1e6,
            hardware=training["hardware"],
            torch=training["torch"],
            batch=shipped["batch"],
            seed=training["seed"],
            steps=shipped["steps"],
            tokens=shipped["tokens"] / 1e6,
            train_tokens=training["train_tokens"] / 1e6,
            epochs=shipped["tokens"] / training["train_tokens"],
            seconds=shipped["wall_s"],
            count=len(runs),
            all_seconds=sum(run["wall_s"] for run in runs),
            runs=run_table(training),
            lowest=min(run["rate"] for run in runs),
            spectra=spectrum_table(evaluation),
            sources=source_table(corpus),
            run_words=corpus["overlap_run_words"],
            removed_documents=corpus["removed_from_held_out"]["documents"],
            removed_characters=corpus["removed_from_held_out"]["characters"],
            overlaps=", ".join(f"{name} {share:.2%}" for name, share in overlaps.items()),
            rate=shipped["rate"],
            decay=shipped["decay"],
            dropout=shipped["dropout"],
        )
    )
    (REFERENCE / "MODEL_CARD.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
