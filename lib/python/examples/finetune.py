# SPDX-License-Identifier: MIT
"""Fine-tuning: a small GPT-2 reads a text, letter by letter, on the card. The lines `# %%` begin the cells of a
notebook."""
# %% A text, as bytes: any file; this one every Debian has.
import rdu
import torch

from gpt2 import GPT2

with open("/usr/share/common-licenses/GPL-3", "rb") as f:
    text = torch.tensor(list(f.read()))
LENGTH = 32

# %% Batches of pieces of it, each with the same piece one letter later
torch.manual_seed(0)
starts = torch.randint(0, len(text) - LENGTH - 1, (12, 8))
pieces = [torch.stack([text[s:s + LENGTH + 1] for s in row]) for row in starts]
batches = [(p[:, :-1], p[:, 1:]) for p in pieces]

# %% The first layers stay as they are, the rest learns; the table of letters is the last layer's weight, too.
model = GPT2(tokens=256, length=LENGTH, width=64, heads=4, layers=2)
model.blocks[0].requires_grad_(False)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
losses = rdu.train(model, "softmax_cross_entropy", optimizer, batches, device="model:sn10", precision="fp32",
                   clip_norm=1.0, optimize=3)

# %% What comes next, says the model in PyTorch, with the weights from the card.
print(f"from {losses[0]:.3f} to {losses[-1]:.3f}")
seen = text[:LENGTH].tolist()
for _ in range(16):
    with torch.no_grad():
        seen.append(int(model(torch.tensor([seen[-LENGTH:]]))[0, -1].argmax()))
print(bytes(seen))
