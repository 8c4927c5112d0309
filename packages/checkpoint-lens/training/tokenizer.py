# ruff: noqa: T201 - a recipe: it prints what it did
"""Trains the tokenizer on the training split alone; writes token ids of the training and validation splits.

Run: python tokenizer.py       (after corpus.py)
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fetch import DATA
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

REFERENCE = Path(__file__).parent.parent / "src" / "checkpoint_lens" / "reference"
VOCABULARY = 8064  # 63 * 128: the largest multiple of 128 with which the model stays under 16 MiB (shape.py)
END = "<|endoftext|>"


def texts(split: str) -> Iterator[str]:
    """Documents of a split."""
    with (DATA / f"{split}.jsonl").open(encoding="utf-8") as lines:
        yield from (json.loads(line)["text"] for line in lines)


def train() -> Tokenizer:
    """Byte-level BPE: any text has an encoding; digits are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts("train"), trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, split: str) -> np.ndarray:
    """Token ids (uint16) of all documents of a split, each followed by END."""
    end = tokenizer.token_to_id(END)
    encoded = (tokenizer.encode(text).ids for text in texts(split))
    return np.concatenate([np.array([*ids, end], dtype=np.uint16) for ids in encoded])


def main() -> None:
    tokenizer = train()
    tokenizer.save(str(REFERENCE / "tokenizer.json"), pretty=False)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": END,
        "pad_token": END,
    }
    settings |= {"clean_up_tokenization_spaces": False, "model_max_length": 512}
    (REFERENCE / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (DATA / "tokens").mkdir(exist_ok=True)
    for split in ("train", "validation"):
        ids = encode(tokenizer, split)
        np.save(DATA / "tokens" / f"{split}.npy", ids)
        size = sum(len(text.encode()) for text in texts(split))
        print(f"{split}: {len(ids)} tokens, {size / len(ids):.3f} bytes per token")


if __name__ == "__main__":
    main()
