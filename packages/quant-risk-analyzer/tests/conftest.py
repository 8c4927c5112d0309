"""A language model small enough to be judged by brute force."""

import pytest
import torch
from torch import nn


class Letters:
    """One token a character."""

    def encode(self, text):
        return [ord(letter) % 61 for letter in text]


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))
        self.up_proj, self.down_proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(3 * width, width, bias=False)

    def forward(self, x):
        h = nn.functional.rms_norm(x, x.shape[-1:])
        # Written out: the fused kernel has no forward-mode derivative, which a test needs.
        scores = self.q_proj(h) @ self.k_proj(h).transpose(1, 2) / x.shape[-1] ** 0.5
        later = torch.ones_like(scores, dtype=torch.bool).triu(1)
        x = x + self.o_proj(torch.softmax(scores.masked_fill(later, -torch.inf), -1) @ self.v_proj(h))
        return x + self.down_proj(nn.functional.silu(self.up_proj(nn.functional.rms_norm(x, x.shape[-1:]))))


class Tiny(nn.Module):
    def __init__(self, width=16, blocks=2, vocab_size=61):
        super().__init__()
        self.vocab_size, self.tokenizer = vocab_size, Letters()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(blocks))

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.layers:
            x = block(x)
        return nn.functional.rms_norm(x, x.shape[-1:]) @ self.embedding.weight.T

    def linear_layers(self):
        return {name: layer for name, layer in self.named_modules() if isinstance(layer, nn.Linear)}


@pytest.fixture
def tiny():
    """Two blocks in float64, random weights large enough for the layers to matter."""
    torch.manual_seed(0)
    model = Tiny().double().eval()
    with torch.no_grad():
        for layer in model.linear_layers().values():
            layer.weight.mul_(2)
    return model


@pytest.fixture
def text():
    generator = torch.Generator().manual_seed(5)
    return "".join(chr(65 + int(n)) for n in torch.randint(0, 61, (2000,), generator=generator))
