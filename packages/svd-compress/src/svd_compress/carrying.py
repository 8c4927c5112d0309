"""Tensors on their way to another process, as plain arrays.

torch would pass them through shared memory, which containers have little of: a worker then dies without a
word.
"""

from __future__ import annotations

from typing import Any


class Carried:
    """A frozen dataclass that is pickled with its tensors as numpy arrays, and gets tensors back."""

    def __getstate__(self) -> dict[str, Any]:
        import torch

        state = {}
        for name, value in self.__dict__.items():
            is_tensor = isinstance(value, torch.Tensor)
            state[name] = (is_tensor, value.detach().cpu().numpy() if is_tensor else value)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        for name, (is_tensor, value) in state.items():
            object.__setattr__(self, name, torch.from_numpy(value) if is_tensor else value)
