# SPDX-License-Identifier: MIT
"""Inference: an ONNX model answers on the card. The lines `# %%` begin the cells of a notebook."""
# %% A model: any ONNX file. rdu-mkmodel writes this one, a small network for pictures of 28 x 28.
import subprocess

import numpy
import rdu

subprocess.run(["rdu-mkmodel", "cnn", "--batch", "4", "-o", "cnn.onnx"], check=True)

# %% Compile it, and load it on the card: here, on the card's model in this process. "auto" is the card.
net = rdu.compile("cnn.onnx", device="model:sn10", optimize=3)
print(net.program.tensors)  # names, types, shapes

# %% It is a function now.
name = net.input_names[0]
pictures = numpy.random.default_rng(1).random(net.program.tensor(name).shape, dtype=numpy.float32)
scores = net(pictures)
print("classes:", scores.argmax(1))

# %% What that took on the card, by its clock (modelled), and here (wall).
print(f"{net.stats.cycles} cycles of the card, {net.stats.wall_ns / 1e6:.1f} ms of this computer")
