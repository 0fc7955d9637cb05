# SPDX-License-Identifier: MIT
"""Looking inside: where a network lies on the card, and what its parts cost. The lines `# %%` begin the cells of a
notebook, which shows the floor plan in its place."""
# %% Compile with reports
import json
import subprocess

import rdu

subprocess.run(["rdu-mkmodel", "cnn", "--batch", "4", "-o", "cnn.onnx"], check=True)
net = rdu.compile("cnn.onnx", device="model:sn10", optimize=3, want=["floor_plan", "report", "report_json", "summary"])
print(net.reports["summary"])

# %% The floor plan: units, and the routes of the streams between them
with open("floor-plan.svg", "w", encoding="utf-8") as f:
    f.write(net.reports["floor_plan"])
try:
    from IPython.display import SVG, display
    display(SVG(net.reports["floor_plan"]))
except ImportError:
    print("see floor-plan.svg")

# %% What each section costs, and what bounds it
print(net.reports["report"])
report = json.loads(net.reports["report_json"])
print("the same for programs:", ", ".join(report))

# %% Weights are read where they are: on the card.
weights = {name: net.program.read(name) for name, t in net.program.tensors.items() if name.endswith("weight")}
for name, w in weights.items():
    print(f"{name} {list(w.shape)}: mean {w.mean():+.4f}, spread {w.std():.4f}")
