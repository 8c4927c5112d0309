"""What to know about a checkpoint before its spectra are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoint_lens import Checkpoint


def source_warnings(checkpoint: Checkpoint) -> tuple[str, ...]:
    """That a source is quantized already: its noise has a flat spectrum, which no rank removes."""
    blocks = sorted(
        {
            info.dtype
            for info in checkpoint.tensors.values()
            if len(info.shape) == 2 and not info.dtype.startswith(("float", "bfloat"))
        }
    )
    if not blocks:
        return ()
    return (
        f"the source is quantized ({', '.join(blocks)}): its rounding noise is flat over the singular "
        "values, so spectra fall less than those of the model it was made from; compress that one "
        "where you have it",
    )
