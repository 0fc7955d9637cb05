# SPDX-License-Identifier: MIT
"""The study's page and its pictures, of the rows' results."""
import math
import os
import textwrap

import plot
from published import PUBLISHED

CLOCK = 1e9  # cycles a second of the chip
FORMS = ("dense", "block", "pixelfly", "butterfly", "2:4", "unstructured")
SCHEDULES = ("sparse from start", "dense to sparse")
NAMES = {"gpt": "GPT", "matmulfree": "MatMul-free", "transformer++": "Transformer++", "bitnet": "BitNet b1.58",
         "rwkv4": "RWKV-4"}

INTRO = """# Language models and sparse weights, trained on the card

Written by `make study`. Small models of [rdu-mkmodel](mkmodel.md) read a text byte by byte, the King James Bible
of Debian's package `bible-kjv` (4.1 MB, its last twentieth held out), in batches of 8 sequences of 64 bytes,
{steps} steps each: AdamW, a rate that rises over a tenth of the steps and falls to 0 with the cosine, 0.002 at most,
0.001 for GPT, 0.004 for ternary weights; gradients are scaled down to a norm of 1 where theirs is larger. All of it
happens on the in-process model of one tile of an `sn10`: `rduc -O3 --sparse-weights always`, products in bf16,
weights and the optimizer in fp32. The same sequences come in the same order in every row.

- *loss*: cross entropy, in nats a byte, of 128 sequences that are held out, after the last step; *perplexity*: e to it.
- *step*: the card's own, modelled time of a training step that follows another, loads of programs included;
  *total*: of all steps. They are the same on every host. How long this computer took is not told here.
- *memory*: what a step moves to and from the card's memory; *peak*: the share of what the arrays of a tile could
  multiply in that time; *energy*: [modelled](energy.md), of a step.

These are short trainings of small models: they tell what a form of sparsity costs on this card, and little of what a
large model would lose by it. `STUDY_STEPS=1000 make study` trains for longer. What was done when it was stopped stays:
`tests/bench/study/study --keep` goes on.
"""

MASKS = """\
The weights of all products but the embedding's have masks, `W * mask`, that are constant while they are trained.
*block*: blocks of 16 x 16; *pixelfly*: a [pixelated butterfly](mkmodel.md) of such blocks and a product of low rank
beside it; *butterfly*: without one; *2:4*: two of each four numbers of a column; *unstructured*: single numbers.
*density*: what is left, the low rank included; *products*: multiplications of arrays in a step, as a share of the
dense step's. Where that is 1, the card multiplies zeros: in training only whole blocks [have a
form](compiler.md#weights-that-stay-sparse), and other masks cost time.

- *Sparse from start*: masks drawn at random, the weights' deviation raised so that sums keep theirs.
- *Dense to sparse*: the dense model's first half, then the largest weights (or blocks, by their norms) stay, and the
  optimizer's state of these; of a pixelated butterfly the low rank begins with what the mask took away. *step* is that
  of the second half, *total* has both.
"""


def fill(text, first=""):
    return textwrap.fill(text, 118, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
                         break_on_hyphens=False) + "\n"


def table(heads, rows):
    return ("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|\n" +
            "".join("| " + " | ".join(r) + " |\n" for r in rows))


def time_of(cycles):
    s = cycles / CLOCK
    return f"{s:.3g} s" if s >= 1 else f"{s * 1e3:.3g} ms" if s >= 1e-3 else f"{s * 1e6:.3g} us"


def megabytes(n):
    return f"{n / 1e6:.1f} MB"


def percent(x):
    return f"{100 * x:.3g} %"


def form_of(r):
    asked = f" {100 * (1 - r['density']):g} %" if r["density"] < 1 else ""
    return r["kind"] + asked


class Study:
    def __init__(self, rows, steps):
        self.rows, self.steps = rows, steps
        self.good = [r for r in rows.values() if "failed" not in r]
        self.energy = all(r.get("energy_joules") is not None for r in self.good)

    def of(self, **what):
        return [r for r in self.good if all(r[k] == v for k, v in what.items())]

    def one(self, **what):
        found = self.of(**what)
        return found[0] if found else None

    def dense(self, family):
        return self.one(family=family, kind="dense", batch=8, table="families" if family != "gpt" else "sparse")

    def total(self, r):
        """Cycles of all steps; of the dense half, too."""
        if r["schedule"] != SCHEDULES[1]:
            return r["total_cycles"]
        dense = self.dense(r["family"])
        return r["total_cycles"] + dense["cycles"] * (self.steps // 2)

    # ---- tables ---------------------------------------------------------------------

    def costs(self, r, total=True):
        """What every table ends with."""
        cells = [time_of(r["cycles"])] + ([time_of(self.total(r))] if total else [])
        cells += [megabytes(r["dram_bytes"]), percent(r["peak_share"])]
        return cells + ([f"{r['energy_joules'] * 1e3:.3g} mJ"] if self.energy else [])

    def heads(self, *first, total=True):
        return [*first, "step"] + ["total"] * total + ["memory", "peak"] + ["energy"] * self.energy

    def learned(self, r):
        return [f"{r['held_out']:.3f}", f"{math.exp(r['held_out']):.2f}"]

    def sparse_table(self, family, schedule):
        dense = self.dense(family)
        rows = self.of(table="sparse", family=family, schedule=schedule)
        if not dense or not rows:
            return ""
        lines = []
        for r in [dense] + rows:
            shares = [f"{r['cycles'] / dense['cycles']:.2f}", f"{r['macs'] / dense['macs']:.2f}"]
            lines.append([form_of(r), f"{r.get('kept', 1):.3f}", *self.learned(r), *shares, *self.costs(r)])
        return (f"\n### {NAMES[family]}, {schedule}\n\n" +
                table(self.heads("weights", "density", "loss", "perplexity", "of dense", "products"), lines))

    def sparse(self):
        text = "\n## Sparse weights\n\n" + MASKS
        for family in ("gpt", "matmulfree"):
            for schedule in SCHEDULES:
                text += self.sparse_table(family, schedule)
        gpt, free = self.dense("gpt"), self.dense("matmulfree")
        if gpt and free:
            text += "\n" + fill(
                f"The GPT has one layer 256 wide and {gpt['parameters'] / 1e6:.2f} M parameters, the MatMul-free "
                f"model two 128 wide and {free['parameters'] / 1e6:.2f} M. The latter rounds its weights to -1, "
                "0 and 1 after the mask; 90 % of a butterfly has no whole number of its blocks.")
        for family in ("gpt", "matmulfree"):
            for what in ("loss", "perplexity"):
                name = f"study-{what}-{family}.svg"
                if name in self.pictures:
                    text += f"\n![{self.pictures[name]}](pictures/{name})\n"
        return text

    def wide(self):
        dense = self.one(table="wide", kind="dense")
        if not dense:
            return ""
        lines = [[form_of(r), f"{r.get('kept', 1):.3f}", f"{r['cycles'] / dense['cycles']:.2f}",
                  *self.costs(r, total=False), f"{r['served']['cycles'] / dense['served']['cycles']:.2f}",
                  time_of(r["served"]["cycles"]), megabytes(r["served"]["dram_bytes"])] for r in self.of(table="wide")]
        text = "\n## Time by density\n\n" + fill(
            "In models as small as those above activations are most of what is moved. This is one layer of a "
            "GPT 1024 wide, for the same 8 sequences of 64 bytes, blocks of 32: it is compiled and timed, not "
            "trained. *served* is a run forward with constant weights, what is masked 0, by the dense one, with "
            "its time and memory: there 2:4 and single numbers [have forms](compiler.md#single-numbers) that "
            "training has not, single numbers for fewer rows than these 512.")
        text += "\n" + table(self.heads("weights", "density", "of dense", total=False) +
                             ["served", "run", "memory"], lines)
        if "study-density.svg" in self.pictures:
            text += f"\n![{self.pictures['study-density.svg']}](pictures/study-density.svg)\n"
        return text

    def families(self):
        rows = self.of(table="families")
        if not rows:
            return ""
        lines = [[NAMES[r["family"]], f"{r['parameters']:,}".replace(",", " "), *self.learned(r), *self.costs(r)]
                 for r in rows]
        text = "\n## Four families at equal parameters\n\n" + fill(
            "2 layers of width 128, as many parameters but for norms and decays: *Transformer++* is `llama` "
            "(RMSNorm, RoPE, SwiGLU), *BitNet* the same with ternary weights and rows of 8 bits, *MatMul-free* "
            "has those products and a gated recurrence in the place of attention, *RWKV-4* its own recurrence. "
            "Training keeps ternary weights in fp32, rounds them in each step and multiplies in bf16, so it is "
            "in serving that they save ([ternary weights](compiler.md#ternary-weights)), not here.")
        text += "\n" + table(self.heads("model", "parameters", "loss", "perplexity"), lines)
        if "study-loss-families.svg" in self.pictures:
            text += f"\n![{self.pictures['study-loss-families.svg']}](pictures/study-loss-families.svg)\n"
        return text

    def batches(self):
        rows = sorted(self.of(table="batch"), key=lambda r: r["batch"])
        if not rows:
            return ""
        lines = [[str(r["batch"]), str(r["steps"]), *self.learned(r), time_of(r["cycles"] / r["batch"]),
                  *self.costs(r)] for r in rows]
        return "\n## Any batch\n\n" + fill(
            "The dense GPT sees the same sequences, about as many, in batches of 1 to 64; the rate goes with "
            "the root of the batch. A small batch makes more steps of them, and learns more of each example; "
            "*example* is the modelled time of one.") + "\n" + table(
                self.heads("batch", "steps", "loss", "perplexity", "example"), lines)

    def torch(self):
        rows = [r for r in self.good if "torch" in r]
        if not rows:
            return ""
        lines, worst = [], 0.0
        for r in rows:
            card, peer = math.exp(r["held_out"]), math.exp(r["torch"])
            worst = max(worst, abs(card / peer - 1))
            lines.append([f"{NAMES[r['family']]}, {form_of(r)}", f"{card:.3f}", f"{peer:.3f}",
                          f"{100 * (card / peer - 1):+.2f} %"])
        return ("\n## Beside PyTorch\n\n" + fill(
            "The same training in PyTorch on the processor, in fp32: the same initial weights, masks, "
            "sequences, rates. The card multiplies in bf16. Perplexities that are held out differ by "
            f"{100 * worst:.2g} % at most. Where weights are rounded to -1, 0 and 1, two trainings part at the "
            "first number that is rounded the other way.") + "\n" +
                table(["model", "perplexity", "PyTorch's", "differs"], lines))

    def share(self, **what):
        """A row's step by that of its dense one."""
        r = self.one(**what)
        dense = r and (self.one(table="wide", kind="dense") if r["table"] == "wide" else self.dense(r["family"]))
        return dense["cycles"] / r["cycles"] if r and dense else None

    def published(self):
        text = "\n## Beside published figures\n\n" + fill(
            "Figures of other chips, as their sources give them. None is of a model of this size, and no time "
            "of these machines stands beside a modelled one: what can be compared at all is a ratio on one "
            "machine, or a share of its own peak. Below the table is what each line compares, what keeps the "
            "two numbers apart, and the source.")
        lines, notes = [], ""
        for i, p in enumerate(PUBLISHED, 1):
            here = p.here(self)
            lines.append([f"{i}", p.machine, p.what, p.figure, here or "not measured", p.compares])
            notes += fill(f"{p.verdict} ({p.source})", f"{i}. ")
        return text + "\n" + table(["", "machine", "what", "published", "here", "comparable"], lines) + "\n" + notes

    def failed(self):
        """Rows without results, those of one reason together."""
        reasons = {}
        for name, r in self.rows.items():
            if "failed" in r:
                reasons.setdefault(r["failed"], []).append(name)
        return "\n## Not measured\n\n" + "".join(fill(f"{', '.join(names)}: {why}", "- ")
                                                for why, names in reasons.items()) if reasons else ""

    # ---- pictures -------------------------------------------------------------------

    def smooth(self, r):
        """Means of ten steps, the dense half first."""
        losses, begin = r["losses"], r.get("begin", 0)
        width = max(min(10, len(losses) // 4), 1)
        return [(begin + i + 1, sum(losses[i + 1 - width:i + 1]) / width) for i in range(width - 1, len(losses))]

    def draw(self, folder):
        """Writes the pictures that there are rows for: {file: what it shows}."""
        os.makedirs(folder, exist_ok=True)
        self.pictures = {}

        def picture(name, said, *more):
            plot.write(f"{folder}/{name}", said, *more)
            self.pictures[name] = said

        families = self.of(table="families")
        if families:
            picture("study-loss-families.svg", "Training loss of four families", "mean of 10 steps", "step",
                    "loss, nats a byte",
                    [(NAMES[r["family"]], i, self.smooth(r), {"line"}) for i, r in enumerate(families)])
        for family in ("gpt", "matmulfree"):
            dense, rows = self.dense(family), self.of(table="sparse", family=family)
            rows = [r for r in rows if r["kind"] != "dense"]
            if not dense or not rows:
                continue
            chosen = [r for r in rows if r["density"] == 0.25 or r["kind"] == "2:4"]
            picture(f"study-loss-{family}.svg", f"Training loss of the {NAMES[family]} model with masks",
                    "mean of 10 steps; 75 % of the weights masked, 2:4: half", "step", "loss, nats a byte",
                    [("dense", 0, self.smooth(dense), {"line"})] +
                    [(r["kind"] + ", later" * later, FORMS.index(r["kind"]), self.smooth(r),
                      {"dashed" if later else "line"}) for r in chosen for later in [r["schedule"] == SCHEDULES[1]]])
            series = [("dense", 0, [self.place(dense)], {"filled"})]
            for kind in FORMS[1:]:
                for schedule, style in zip(SCHEDULES, ("filled", "hollow")):
                    places = [self.place(r) for r in rows if (r["kind"], r["schedule"]) == (kind, schedule)]
                    if places:
                        later = ", later" * (schedule == SCHEDULES[1])
                        series.append((kind + later, FORMS.index(kind), places, {style, "line"}))
            picture(f"study-perplexity-{family}.svg", f"Perplexity by modelled time, {NAMES[family]}",
                    f"{self.steps} steps, held out; each line from half of the weights to a tenth",
                    "modelled time of all steps, ms", "perplexity", series)
        dense, rows = self.one(table="wide", kind="dense"), self.of(table="wide")
        if dense and len(rows) > 1:
            series = [("dense", 0, [(1, 1)], {"filled"}), ("time as density", 6, [(0.1, 0.1), (1, 1)], {"dashed"})]
            for kind in FORMS[1:]:
                mine = sorted((r for r in rows if r["kind"] == kind), key=lambda r: r["kept"])
                if mine:
                    served = dense["served"]["cycles"]
                    series += [(kind, FORMS.index(kind), [(r["kept"], r["cycles"] / dense["cycles"]) for r in mine],
                                {"filled", "line"}),
                               (f"{kind}, served", FORMS.index(kind),
                                [(r["kept"], r["served"]["cycles"] / served) for r in mine], {"hollow", "line"})]
            picture("study-density.svg", "Time by density of weights: a training step, a run that serves",
                    "one layer of a GPT 1024 wide, 512 tokens, one tile of sn10", "density",
                    "share of the dense model's", series)

    def place(self, r):
        return self.total(r) / CLOCK * 1e3, math.exp(r["held_out"])


def write(path, rows, steps):
    """The page at path, and pictures beside it."""
    study = Study(rows, steps)
    study.draw(os.path.join(os.path.dirname(path), "pictures"))
    text = INTRO.format(steps=steps) + study.sparse() + study.wide() + study.families() + study.batches()
    text += study.torch() + study.published() + study.failed()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
