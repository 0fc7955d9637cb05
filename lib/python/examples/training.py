# SPDX-License-Identifier: MIT
"""Training: the last layer of a ResNet-18 learns Fashion-MNIST on the card. The lines `# %%` begin the cells of a
notebook. The data are those of Debian's package dataset-fashion-mnist."""
# %% Pictures and labels
import gzip

import numpy
import rdu
import torch

from resnet18 import ResNet18  # torchvision.models.resnet18 is the same

FOLDER = "/usr/share/datasets/fashion-mnist/"


def load(name: str, header: int, count: int) -> torch.Tensor:
    """The first bytes of an IDX file."""
    with gzip.open(FOLDER + name) as f:
        f.read(header)
        return torch.from_numpy(numpy.frombuffer(f.read(count), numpy.uint8).copy())


N = 320
images = load("train-images-idx3-ubyte.gz", 16, N * 784).view(N, 1, 28, 28).float() / 255 - 0.5
labels = load("train-labels-idx1-ubyte.gz", 8, N).long()

images = images.expand(-1, 3, -1, -1)  # grey is red, green and blue

# %% A network that has seen such pictures: its statistics are of them. (One that has learned from others does it, too.)
torch.manual_seed(0)
model = ResNet18(num_classes=10)
for m in model.modules():
    if isinstance(m, torch.nn.BatchNorm2d):
        m.momentum = 1.0
with torch.no_grad():
    model(images[:128])

# %% Its last layer is trained.
model.eval()
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=64)
optimizer = torch.optim.AdamW(model.fc.parameters(), lr=3e-3)
losses = rdu.train(model, torch.nn.CrossEntropyLoss(), optimizer, loader, device="model:sn10", epochs=2,
                   precision="fp32", report=lambda step, loss: print(f"step {step}: loss {loss:.4f}"))

# %% The model has the weights that were learned; torch.save(model.state_dict(), "trained.pt") keeps them.
print(f"from {losses[0]:.3f} to {losses[-1]:.3f}")
