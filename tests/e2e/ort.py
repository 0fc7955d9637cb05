# SPDX-License-Identifier: MIT
"""ONNX Runtime, where build/judge has it: a judge for the tests in Python."""
import shutil
import subprocess

import numpy as np


class OnnxRuntime:
    """missing: why there is none, or ""."""

    def __init__(self):
        try:
            self.process = subprocess.Popen(["tests/fuzz/judge-onnxruntime"], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            said = self.process.stdout.readline().strip()
        except OSError as error:
            said = str(error)
        self.missing = "" if said == "ready" else said

    def run(self, folder, feeds):
        """{output: array} of folder/model.onnx."""
        shutil.copy(f"{folder}/model.onnx", f"{folder}/ort.onnx")
        with open(f"{folder}/model.txt", "w", encoding="utf-8") as f:
            for name, a in feeds.items():
                f.write(f"input {name} {a.dtype} {','.join(map(str, a.shape)) or '-'}\n")
                a.tofile(f"{folder}/in_{name}.bin")
        self.process.stdin.write(folder + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().strip()
        if said != "ok":
            raise RuntimeError("ONNX Runtime: " + said)
        results = {}
        with open(f"{folder}/ort.txt", encoding="utf-8") as f:
            for line in f:
                name, dtype, dims = line.split()
                shape = [int(d) for d in dims.split(",")] if dims != "-" else []
                results[name] = np.fromfile(f"{folder}/ort_{name}.bin", dtype).reshape(shape)
        return results
