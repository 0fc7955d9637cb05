# SPDX-License-Identifier: MIT
"""GPT-2, in plain PyTorch: for the examples beside it."""
import torch
from torch import nn


class Block(nn.Module):
    """Attention to what came before, then two linear layers, each added to what goes by."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [batch, tokens, width]"""
        batch, length, width = x.shape
        q, k, v = (a.view(batch, length, self.heads, -1).transpose(1, 2)
                   for a in self.qkv(self.norm1(x)).split(width, 2))
        scores = q @ k.transpose(2, 3) / (width // self.heads) ** 0.5
        later = torch.ones(length, length).triu(1).bool()
        y = scores.masked_fill(later, float("-inf")).softmax(3) @ v
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class GPT2(nn.Module):
    """Scores of the token that comes next, for each place of a text. The table of tokens is the last layer's weight,
    too."""

    def __init__(self, tokens: int = 256, length: int = 64, width: int = 64, heads: int = 4, layers: int = 2):
        super().__init__()
        self.table, self.places = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)
        self.head.weight = self.table.weight
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: int64 [batch, length]; the result: [batch, length, tokens]"""
        x = self.table(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))
