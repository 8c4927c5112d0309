# mypy: disable-error-code="no-untyped-call, arg-type"
"""Load a folder that `svd-compress compress` wrote into a stock transformers model.

Needs torch, transformers and safetensors, nothing else: this file may be copied. No code of the checkpoint
runs.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import linear
from transformers import AutoConfig, AutoModelForCausalLM


class LowRank(nn.Module):
    """`right` gives the outputs `pivots`, `left` times those the others; all without pivots."""

    def __init__(self, old: nn.Linear, rank: int, pivoted: bool) -> None:
        super().__init__()
        m, n = old.weight.shape
        self.left = nn.Parameter(torch.empty(m - rank if pivoted else m, rank), requires_grad=False)
        self.right = nn.Parameter(torch.empty(rank, n), requires_grad=False)
        self.bias: nn.Parameter | None = old.bias
        if pivoted:
            self.pivots: torch.Tensor
            self.register_buffer("pivots", torch.empty(rank, dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = linear(x, self.right)
        y = linear(h, self.left)
        if hasattr(self, "pivots"):
            out = y.new_empty(*y.shape[:-1], y.shape[-1] + h.shape[-1])
            chosen = torch.zeros(out.shape[-1], dtype=torch.bool, device=y.device)
            chosen[self.pivots.long()] = True
            out[..., self.pivots.long()], out[..., ~chosen] = h, y
            y = out
        return y if self.bias is None else y + self.bias


def load_factored(folder: str | Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The model, in evaluation mode; raises if a tensor is missing, left over or of another shape."""
    folder = Path(folder)
    manifest = json.loads((folder / "svd_compress.json").read_text())
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model: nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    for name, layer in manifest["factored"].items():
        parent, _, last = name.rpartition(".")
        old = model.get_submodule(name)
        setattr(model.get_submodule(parent), last, LowRank(old, layer["rank"], layer["form"] == "pivoted"))
    state = {key: value for file in manifest["files"] for key, value in load_file(folder / file).items()}
    own = model.state_dict()
    stored = {own[key].data_ptr(): value for key, value in state.items() if key in own}
    for key, value in own.items():  # a tied head is stored once, as the embedding
        if key not in state and value.numel() and value.data_ptr() in stored:
            state[key] = stored[value.data_ptr()]
    model.load_state_dict(state, strict=True)
    return model.to(dtype).eval()
