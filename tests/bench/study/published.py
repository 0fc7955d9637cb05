# SPDX-License-Identifier: MIT
"""Figures of other machines: where each is from, what of ours stands beside it, and how far that compares."""
from typing import Callable, NamedTuple, Optional


class Published(NamedTuple):
    machine: str
    what: str
    figure: str
    compares: str
    source: str
    verdict: str
    here: Callable[..., Optional[str]]  # of the study


def faster(**what):
    """Ours: the dense step by the sparse one."""
    def here(study):
        ratio = study.share(**what)
        return f"{ratio:.2f} x" if ratio else None
    return here


def served(study):
    """The same of a run forward, two of four."""
    dense, r = (study.one(table="wide", kind=kind) for kind in ("dense", "2:4"))
    return f"{dense['served']['cycles'] / r['served']['cycles']:.2f} x" if dense and r else None


def peak(study):
    r = study.one(table="wide", kind="dense")
    return f"{100 * r['peak_share']:.1f} %" if r else None


def break_even(study):
    """The greatest density at which blocks are faster than the dense step."""
    dense, blocks = study.one(table="wide", kind="dense"), study.of(table="wide", kind="block")
    if not dense or not blocks:
        return None
    won = [r["kept"] for r in blocks if r["cycles"] < dense["cycles"]]
    return f"at {max(won):.2g}" if won else "never"


def free_by_transformer(study):
    free, dense = study.dense("matmulfree"), study.dense("transformer++")
    return f"{dense['cycles'] / free['cycles']:.2f} x" if free and dense else None


def later_loss(study):
    """What the held-out loss has risen by."""
    dense = study.dense("gpt")
    r = study.one(table="sparse", family="gpt", kind="unstructured", density=0.125, schedule="dense to sparse")
    return f"{r['held_out'] - dense['held_out']:+.3f} nats a byte" if r and dense else None


WIDE = {"table": "wide"}
PUBLISHED = (
    Published("RDU", "GPT 13B, sparse, trained, by dense on A100", "4.5 x", "no",
              "arXiv 2304.05511, abstract; 87.5 % of it sparse: arXiv 2405.07518, table III",
              "The published ratio has another chip below the line, ours the same card's dense step, with blocks "
              "of 32 at 87.5 %, and one layer 1024 wide.",
              faster(kind="block", density=0.125, **WIDE)),
    Published("GPU", "pixelfly, GPT-2 medium, training, by dense", "up to 2.5 x", "as a ratio",
              "arXiv 2112.00029, abstract",
              "Dense by sparse on one machine; ours is of 75 % and one layer for 512 tokens, whereas the "
              "published model is whole, trained to the end, and of another density.",
              faster(kind="pixelfly", density=0.25, **WIDE)),
    Published("A100", "2:4, peak of products, by dense", "2 x", "no",
              "NVIDIA A100 Tensor Core GPU Architecture (white paper, 2020): 624 and 312 TFLOPS",
              "The published ratio is of peaks, of one product alone; ours is of a run forward of a whole layer, with "
              "constant weights.", served),
    Published("A100", "share of peak, GPT of 1 T parameters, trained", "52 %", "as a share",
              "arXiv 2104.04473, abstract; 3072 chips",
              "Models of very different sizes: a step that loads a layer's weights for 512 tokens is bound by "
              "memory on any chip. Here: the dense layer, one tile, products of arrays by their peak in bf16.", peak),
    Published("TPU v4", "share of peak, PaLM 540B, trained", "46.2 %", "as a share",
              "arXiv 2204.02311, table 3; 6144 chips",
              "As the line above.", peak),
    Published("CS-2", "GPT-3 XL, 75 % unstructured, operations", "2.5 x fewer", "no",
              "arXiv 2303.10464, abstract; "
              "cerebras.net/blog/accelerating-large-gpt-training-with-sparse-pre-training-and-dense-fine-tuning "
              "says 60 % fewer",
              "The published figure counts operations of the training, ours is time: where it is below 1, the "
              "mask costs time and saves none.",
              faster(kind="unstructured", density=0.25, **WIDE)),
    Published("CS-2", "GPT-3 1.3B, pruned in steps to 83.8 %, loss", "no change", "no",
              "cerebras.net/blog/creating-sparse-gpt-3-models-with-iterative-pruning",
              "Theirs is trained to the end and pruned in steps; ours is pruned once to 87.5 %, halfway "
              "through a short training.", later_loss),
    Published("IPU", "static blocks, product, faster than dense", "at about 0.1", "as a ratio",
              "arXiv 2303.16999, abstract; FP16",
              "The density from which sparse is faster than dense on one chip; theirs is of one large product "
              "and of the library of 2023, ours of a whole training step, blocks of 32.", break_even),
    Published("A100", "MatMul-free by Transformer++, a layer, batch 1", "3.7 x", "no",
              "arXiv 2406.02528: 3.79 and 13.87 ms, inference of 2048 tokens",
              "Theirs is inference with weights of two bits, where they save; ours is a training step, which keeps "
              "weights in fp32.", free_by_transformer),
)
