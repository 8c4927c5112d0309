"""The reference model that ships with this package, and its texts."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from mfi_command import BadInput

if TYPE_CHECKING:
    from checkpoint_lens.causal_lm import CausalLM

TEXTS = {
    "calibration": "calibration.txt",
    "in-domain": "in_domain.txt",
    "out-of-domain": "out_of_domain.txt",
}


def reference_path() -> Path:
    """The folder of the bundled model, in the Hugging Face layout.

    MODEL_CARD.md there says how it was trained.

    Raises
    ------
    BadInput
        If the package was installed without it.
    """
    folder = Path(str(files("checkpoint_lens") / "reference"))
    if not (folder / "config.json").is_file():
        raise BadInput("this installation has no reference model; install checkpoint-lens from its wheel")
    return folder


def reference_model() -> CausalLM:
    """The bundled model, loaded in float32."""
    from checkpoint_lens.loading import load_model

    return load_model(reference_path())


def reference_text(kind: str) -> str:
    """A text that ships beside the bundled model.

    Parameters
    ----------
    kind
        "calibration" (from the training domains), "in-domain" (the same domains, held out of training and
        calibration) or "out-of-domain" (a domain that training never saw).

    Raises
    ------
    BadInput
        If `kind` is none of these.
    """
    if kind not in TEXTS:
        raise BadInput(f"no reference text {kind!r}; there are {', '.join(TEXTS)}")
    return (reference_path() / TEXTS[kind]).read_text(encoding="utf-8")


def read_text(source: str | Path) -> str:
    """The text of a UTF-8 file, or of "reference:KIND" (see `reference_text`).

    Raises
    ------
    BadInput
        If there is no such file, it is not UTF-8, or it is empty.
    """
    name, _, kind = str(source).partition(":")
    if name == "reference" and kind:
        return reference_text(kind)
    path = Path(source)
    if not path.is_file():
        raise BadInput(f"no such text file: {source}; give a UTF-8 file or reference:in-domain")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is not UTF-8 text (byte {error.start}); convert it first") from error
    if not text.strip():
        raise BadInput(f"{source} is empty; expected text")
    return text
