# SPDX-License-Identifier: MIT
"""The study's models, as rdu-mkmodel writes them, and masks over their weights."""
import re
import subprocess
from typing import Callable, Dict, NamedTuple

import numpy as np
import onnx
from networks import bit_linear, gpt, llama, matmulfree, rwkv4
from onnx import helper, numpy_helper

BIN = "build/host/bin/"
BLOCK = 16  # rows and columns of a block, in the models that are trained
WIDE_BLOCK = 32  # in the one that is only timed


class Family(NamedTuple):
    """A model: its options, the same in PyTorch, and its learning rate."""
    model: str
    options: Dict[str, int]
    net: Callable
    rate: float
    masked: str = ""  # names of the weights that masks are for
    transposed: bool = False  # they are [out, in]


LAYERS, HEADS = 2, 4
GPT_WEIGHTS = r"h\.\d+\.(attn|mlp)\.c_\w+\.weight"


def families(trial=False):
    """All of them by name; trial: narrow ones and short texts."""
    shared = {"layers": LAYERS, "t": 16 if trial else 64, "vocab": 256}
    narrow = {**shared, "d": 64 if trial else 128}
    heads = {"heads": HEADS, "kv-heads": HEADS}
    gpts = {**shared, "layers": 1, "d": 64 if trial else 256, "heads": HEADS}
    wide = {**gpts, "d": 64 if trial else 1024, "heads": 16}  # its weights are most of what it moves
    return {
        "gpt": Family("gpt", gpts, gpt(1, HEADS), 1e-3, GPT_WEIGHTS),
        "pixelfly": Family("pixelfly", {**gpts, "block": BLOCK}, gpt(1, HEADS), 1e-3, GPT_WEIGHTS),
        "transformer++": Family("llama", {**narrow, **heads, "ff": 384}, llama(LAYERS, HEADS, HEADS), 2e-3),
        "bitnet": Family("bitnet", {**narrow, **heads, "ff": 384}, llama(LAYERS, HEADS, HEADS, bit_linear), 4e-3),
        "matmulfree": Family("matmulfree", {**narrow, "ff": 384}, matmulfree(LAYERS), 4e-3,
                             r"layers\.\d+\.(attn|mlp)\.\w+_proj\.weight", True),
        "rwkv4": Family("rwkv4", {**narrow, "ff": 512}, rwkv4(LAYERS), 2e-3),
        "wide": Family("gpt", wide, gpt(1, 16), 0, GPT_WEIGHTS),
        "wide pixelfly": Family("pixelfly", {**wide, "block": WIDE_BLOCK}, gpt(1, 16), 0, GPT_WEIGHTS),
    }


#: Of pixelated butterflies by density: blocks of the grid each way, factors, and the rank beside them.
PIXELFLY = {0.5: (8, 2, 24), 0.25: (16, 2, 12), 0.125: (16, 0, 12), 0.1: (16, 0, 7)}
WIDE_PIXELFLY = {0.5: (8, 2, 96), 0.25: (16, 2, 48), 0.125: (32, 1, 48), 0.1: (32, 1, 28)}
#: The same without a rank, for a model whose products take no second part.
BUTTERFLY = {0.5: (8, 3), 0.25: (8, 1), 0.125: (8, 0)}


def make(f, batch, **options):
    """The ONNX model of a family that rdu-mkmodel writes."""
    words = [w for n, x in {**f.options, "batch": batch, **options}.items() for w in (f"--{n}", str(x))]
    said = subprocess.run([BIN + "rdu-mkmodel", f.model, *words, "-o", "-"], capture_output=True, check=False)
    if said.returncode:
        raise RuntimeError(said.stderr.decode().strip())
    return onnx.load_from_string(said.stdout)


def weights_of(model):
    """What is trained, by name."""
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer
            if i.data_type == onnx.TensorProto.FLOAT and not re.search(r"^rotary\.|\.mask$", i.name)}


def set_weights(model, values):
    for i in model.graph.initializer:
        if i.name in values:
            i.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[i.name], np.float32), i.name))


# ---- masks: [in, out] of zeros and ones -----------------------------------------------------


def largest(scores, kept):
    """Of each column so many of its largest: kept is a number, or one for each column."""
    ranks = np.argsort(np.argsort(-scores, 0, kind="stable"), 0)
    return ranks < kept


def of_blocks(scores, block, density):
    """The best blocks: of each column of blocks as many, give or take one, and at least one."""
    rows, columns = scores.shape[0] // block, scores.shape[1] // block
    norms = (scores ** 2).reshape(rows, block, columns, block).sum((1, 3))
    wanted = max(round(density * rows * columns), columns)
    kept = np.full(columns, wanted // columns)
    kept[np.argsort(-norms.max(0), kind="stable")[:wanted % columns]] += 1
    return np.kron(largest(norms, kept), np.ones((block, block)))


def two_of_four(scores):
    groups = np.abs(scores).reshape(-1, 4, scores.shape[1]).transpose(1, 0, 2)
    return largest(groups, 2).transpose(1, 0, 2).reshape(scores.shape)


def unstructured(scores, density):
    kept = round(density * scores.size)
    mask = np.zeros(scores.size)
    mask[np.argsort(-np.abs(scores), axis=None, kind="stable")[:kept]] = 1
    return mask.reshape(scores.shape)


def butterfly(shape, grid, factors):
    """Block i of the grid meets i, and those that differ from it in one of the lowest bits."""
    i = np.arange(grid)
    met = i[:, None] == i
    for bit in range(factors):
        met = met | ((i[:, None] ^ (1 << bit)) == i)
    return np.kron(met, np.ones((shape[0] // grid, shape[1] // grid)))


def mask_for(kind, density, scores, block, wide):
    """scores [in, out]: the weight, or random numbers where it has learned nothing yet."""
    if kind == "block":
        return of_blocks(scores, block, density)
    if kind == "2:4":
        return two_of_four(scores)
    if kind == "unstructured":
        return unstructured(scores, density)
    if kind == "butterfly":
        return butterfly(scores.shape, *BUTTERFLY[density])
    return butterfly(scores.shape, *(WIDE_PIXELFLY if wide else PIXELFLY)[density][:2])


def pixelfly_options(density, wide):
    """rdu-mkmodel's: the mask that it makes is replaced, so that its own limits of one do not matter."""
    return {"butterfly": 8, "rank": (WIDE_PIXELFLY if wide else PIXELFLY)[density][2]}


def mask_model(model, masks):
    """Each weight that has a mask is multiplied by it before anything reads it."""
    there = {i.name: i for i in model.graph.initializer}
    for name, mask in masks.items():
        own = name[:-len("weight")] + "mask"
        tensor = numpy_helper.from_array(mask.astype(np.float32), own)
        if own in there:
            there[own].CopyFrom(tensor)
            continue
        for node in model.graph.node:
            for at, read in enumerate(node.input):
                if read == name:
                    node.input[at] = name + ".masked"
        model.graph.initializer.append(tensor)
        model.graph.node.insert(0, helper.make_node("Mul", [name, own], [name + ".masked"], own + "/Mul"))


def without_masks(model):
    """For serving: what its masks mask is 0 in its weights already."""
    served = onnx.ModelProto()
    served.CopyFrom(model)
    masks = [i for i in served.graph.initializer if i.name.endswith(".mask")]
    names = {i.name for i in masks}
    for product in [n for n in served.graph.node if n.op_type == "Mul" and names & set(n.input)]:
        weight = next(i for i in product.input if i not in names)
        for node in served.graph.node:
            for at, read in enumerate(node.input):
                if read == product.output[0]:
                    node.input[at] = weight
        served.graph.node.remove(product)
    for mask in masks:
        served.graph.initializer.remove(mask)
    return served


def sparse(of, family, kind, density, learned, batch, seed=1):
    """Of all families one's model with masks, its masks and the density of what they are over, low ranks included.

    learned: {name: values} of the dense model, whose largest parts stay; None: drawn by the seed.
    """
    f, wide = of[family], family == "wide"
    low_rank = kind == "pixelfly"
    model = make(of["wide pixelfly" if wide else "pixelfly"], batch, **pixelfly_options(density, wide)) \
        if low_rank else make(f, batch)
    random = np.random.default_rng(seed)
    values = {**weights_of(model), **(learned or weights_of(make(f, batch)))}
    masks, there, whole = {}, 0, 0
    for name in [n for n in values if re.fullmatch(f.masked, n)]:
        w = values[name].T if f.transposed else values[name]
        scores = random.standard_normal(w.shape) if learned is None else w
        mask = mask_for(kind, density, scores, WIDE_BLOCK if wide else BLOCK, wide)
        there, whole = there + mask.sum(), whole + mask.size
        # As many terms are gone as the sums lose in size; a ternary weight finds its scale itself.
        w = w * mask * (1 if learned or f.transposed else (mask.size / mask.sum()) ** 0.5)
        if low_rank:
            u, v = name[:-len("weight")] + "lr.u", name[:-len("weight")] + "lr.v"
            rank = pixelfly_options(density, wide)["rank"]
            there += rank * sum(w.shape)
            if learned is not None:  # the nearest product of that rank to what the mask takes away
                left, size, right = np.linalg.svd(values[name] * (1 - mask), full_matrices=False)
                root = size[:rank] ** 0.5
                values[u], values[v] = left[:, :rank] * root, root[:, None] * right[:rank]
        values[name] = w.T if f.transposed else w
        masks[name] = mask.T if f.transposed else mask
    set_weights(model, values)
    mask_model(model, masks)
    return model, masks, there / whole
