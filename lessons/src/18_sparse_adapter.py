# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 18 · SparseAdapter: cut before training
#
# **The question.** An adapter's numbers are drawn at random. Throw half of them away before the first step. Is anything
# lost? Does it matter *which* half? And if not much is lost: for the same price, is a wide adapter with holes better than
# a narrow one without?
#
# | | |
# |---|---|
# | paper | He, Ding, Dong, Zhang and Tao, 2022, *SparseAdapter: An Easy Approach for Improving the Parameter-Efficiency of Adapters*, [arXiv 2210.04284](https://arxiv.org/abs/2210.04284) |
# | survey | section 11.1 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), hybrid methods |
# | before this | [lesson 03, adapters](03_adapters.ipynb) |
# | you need | the chain rule; what a quantile is |
# | time | 30 minutes to read and run, 45 for the exercises |
#
# At the end you will have written SNIP, the score that says before training which weights would be missed. You will have
# seen what it is blind to, and what "sparse" saves and what it doesn't.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from minipeft import GPT, Adapters, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.hybrid import sparse_adapter
from minipeft.hybrid.sparse_adapter import SparseAdapter
from minipeft.sparse import largest
from minipeft.tasks.task import collate, encode

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("odd_one_out")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# In the places of Houlsby's adapters, one after attention and one after the MLP. From outside nothing is new.

# %%
model = SparseAdapter().attach(copy.deepcopy(base))
draw.block(model)

# %% [markdown]
# ## The equation
#
# An adapter of size $m$ on a stream of width $d$, and two masks of zeros and ones:
#
# $$ A(h) \;=\; h + (M_U \odot U)\, \mathrm{relu}\big((M_D \odot D)\,h + c\big) + b
# \qquad D, M_D \in \mathbb{R}^{m \times d},\quad U, M_U \in \mathbb{R}^{d \times m} $$
#
# ($\odot$ multiplies number by number.) The masks are found once, before training, and then stay. What is cut is zero, and
# gets no gradient. The biases $c$ and $b$ are not cut. If a share $s$, the **sparsity**, is to be cut, each weight gets a
# score $z$, and those with the largest scores stay. All weights of all adapters compete in one list, so one matrix may
# lose much and another little.
#
# | score | of a weight $w$ | what it asks | what it needs |
# |---|---|---|---|
# | random | a random number | nothing | nothing |
# | magnitude | $\lvert w \rvert$ | is it large? | the weights |
# | SNIP | $\lvert w \, \partial L / \partial w \rvert$ | would the loss notice? | gradients on a few hundred examples |
#
# Where SNIP's formula comes from: set $M = 1$ everywhere, and ask how the loss changes with one entry of the mask. The
# weight that acts is $M w$, so by the chain rule $\partial L / \partial M = w \cdot \partial L / \partial w$. To first order,
# this is what the loss changes by if the entry goes from 1 to 0.
#
# ## Does the score tell the truth?
#
# That can be tried. We make dense adapters, score all their weights on 320 examples, and then really cut some weights, one
# at a time, and measure the loss.

# %%
rows = [encode(example, base.tokenizer) for example in task.train[:320]]
batches = [collate(rows[i : i + 16], base.tokenizer.end) for i in range(0, len(rows), 16)]
torch.manual_seed(0)
dense = Adapters(32, activation="relu", norms=False).attach(copy.deepcopy(base))
places = {
    f"block {i}, after {part}, {letter}": f"trunk.{i}.{part}.branch.{linear}.weight"
    for i in range(c.layers)
    for part in ("attn", "mlp")
    for letter, linear in (("D", "down"), ("U", "up"))
}
weights = {name: dense.get_parameter(place) for name, place in places.items()}
scores = {s: SparseAdapter(32, score=s).scores(dense, weights, batches) for s in ("snip", "magnitude", "random")}
print(f"{len(weights)} matrices, {sum(w.numel() for w in weights.values()):,} weights")

# %%
exact = copy.deepcopy(dense).double()  # one weight is a tiny thing: fp32 would round its part away
x, y = batches[0]


def loss(model):
    with torch.no_grad():
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()


in_double = {name: exact.get_parameter(places[name]) for name in weights}
whole, told, seen = loss(exact), [], []
for name, score in SparseAdapter(32).scores(exact, in_double, [(x, y)]).items():
    numbers, order = in_double[name].data.view(-1), score.flatten().argsort(descending=True)
    for i in order[torch.tensor([0, 30, 300, 1500, 2500])].tolist():  # from the largest score to a small one
        kept, numbers[i] = numbers[i].item(), 0
        told.append(score.flatten()[i].item() / len(x))
        seen.append(abs(loss(exact) - whole))
        numbers[i] = kept

fig, ax = plt.subplots(figsize=(4, 3.2))
ax.loglog([1e-7, 4e-3], [1e-7, 4e-3], color="0.75", lw=0.8)
ax.loglog(told, seen, "o", ms=4, color="C3", mfc="none")
ax.set(
    xlabel="SNIP: |w dL/dw| (nats)", ylabel="the loss changes by (nats)", title=f"{len(told)} weights, cut one by one"
)
draw.show(
    fig, "Each weight's score against the change of the loss when it is cut, on logarithmic axes: on the diagonal."
)

# %% [markdown]
# Over more than four orders of magnitude the score is what the loss really changes by. (A few weights lie beside the
# diagonal: the loss is no straight line, and relu has a corner.) But mind what was asked. The score says what the loss
# notices *today*, before any training. It does not say what the weight could become.
#
# ## What the survey says, and what to mind in it
#
# There is no listing, only a paragraph: prune the adapters at initialization, then train what is left. In PyTorch:


# %%
def prune(scores, sparsity):
    """Masks for matrices with these scores: one threshold for all."""
    threshold = torch.cat([s.flatten() for s in scores]).quantile(sparsity)
    return [(s > threshold).float() for s in scores]


masks = prune(list(scores["snip"].values()), 0.5)
print(f"kept: {sum(mask.sum().item() for mask in masks) / sum(mask.numel() for mask in masks):.4f}")

# %% [markdown]
# Three things to mind:
#
# - **Which score?** The survey names none. The paper compares several and recommends SNIP.
# - **Is a gradient needed?** The survey says that pruning may require gradients for all new parameters. True of SNIP; not of
#   magnitude, and not of random.
# - **How much to cut in Large-Sparse?** This is the paper's recipe for a wide adapter with many holes: as many weights as the
#   small one has, on a larger scale. The survey ties it to a sparsity of 40 %. But 40 % is the paper's advice for an adapter
#   of the *usual* size. Large-Sparse cuts by as much as it has grown: half of twice the size, three quarters of four times.
#   Count:

# %%
# NBVAL_CHECK_OUTPUT
for size, sparsity in ((16, 0.0), (32, 0.4), (32, 0.5), (64, 0.75)):
    small = SparseAdapter(size, sparsity, "random").attach(copy.deepcopy(base))
    print(f"size {size}, {sparsity:4.0%} cut: {counts(small).trainable:,} train")

# %% [markdown]
# At 40 % the budget is another one. At 50 % and 75 % it is the small adapter's, but for the inner biases: they are not cut,
# and there are more of them.
#
# A trap for those who read the authors' code as well: its option `--sparsity` is the share that *stays*.
#
# ## A start at exactly zero
#
# Lesson 03 had a start at which the model is exactly its base: $U = 0$.
#
# **Predict first.** With $U = 0$: which weights have a score of zero by SNIP? And which ones does magnitude cut first?

# %%
# NBVAL_CHECK_OUTPUT
zero = Adapters(32, activation="relu", norms=False, start="zero").attach(copy.deepcopy(base))
at_zero = {name: zero.get_parameter(place) for name, place in places.items()}
for score in ("snip", "magnitude"):
    found = SparseAdapter(32, score=score).scores(zero, at_zero, batches)
    for letter in "DU":
        of = torch.cat([s.flatten() for name, s in found.items() if name.endswith(letter)])
        print(f"{score:9}  {letter}: {'all scores are zero' if not of.any() else 'scores from zero to the largest'}")

# %% [markdown]
# SNIP can't say anything: $U$'s weights are zero, and $D$'s gradients come through $U$, so they are zero too. Magnitude would
# cut all of $U$, and the adapters would be dead for ever. Therefore these adapters start *near* zero, with normal
# numbers in both matrices. The model then starts near its base, not exactly there; [lesson 03](03_adapters.ipynb) shows how near.
#
# ## The implementation
#
# The cut Linear, and the method's two main parts.

# %%
print(inspect.getsource(sparse_adapter.SparseLinear))
print(inspect.getsource(SparseAdapter.scores))
print(inspect.getsource(SparseAdapter.insert))

# %% [markdown]
# There is no mask in it. What stays is a short vector, `weight.values`, with its places, `weight.where`; only the vector is
# a parameter. So the optimizer can't move what was cut, whatever its momentum or its weight decay. (Exercise 18.5 shows how
# that goes wrong with a mask.)
#
# ## The picture: what stays, and where
#
# All 49,152 weights of the eight adapters compete. Half of them are cut, by each of the three scores. Which share of each
# matrix stays?
#
# **Predict first.** Which of the three gives every matrix about the same share? And where will SNIP keep most: in
# the first blocks, or in the last ones?

# %%
total = sum(w.numel() for w in weights.values())
kept = {s: {cut: largest(z, round((1 - cut) * total)) for cut in (0.5, 0.9)} for s, z in scores.items()}


def share(where, name):
    return len(where.get(name, ())) / weights[name].numel()


fig, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
columns = [(place, letter) for place in ("attn", "mlp") for letter in "DU"]
for ax, score in zip(axes, scores, strict=True):
    grid = torch.tensor(
        [[100 * share(kept[score][0.5], f"block {i}, after {p}, {k}") for p, k in columns] for i in range(c.layers)]
    )
    ax.imshow(grid, cmap="Greys", vmin=0, vmax=100)
    for i in range(c.layers):
        for j in range(4):
            value = grid[i, j].item()
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", color="white" if value > 60 else "black")
    ax.set(title=score, xticks=range(4), yticks=range(c.layers), xlabel="matrix of the adapter after …")
    ax.set_xticklabels([f"{place}\n{letter}" for place, letter in columns])
axes[0].set_ylabel("block")
draw.show(
    fig,
    "For each score a grid of four blocks by four matrices with the share in per cent that stays. Magnitude and random "
    "keep about 50 everywhere; SNIP keeps about 70 after the attention of block 0 and about 25 after that of block 3.",
)

# %% [markdown]
# Random and magnitude keep about half of every matrix. All weights were drawn from the same distribution, so their sizes know
# nothing of blocks: **at initialization, magnitude is one more kind of random.** SNIP has read the data. It keeps nearly three
# quarters of the adapter after the first attention, and less than a quarter of the one after the last. It moves the budget
# downwards, to where a change still passes through all that lies above.
#
# Compare this with the picture of [lesson 03](03_adapters.ipynb), made on another task: there, adapters were taken out *after* training, and it
# was block 0 that could not be missed. SNIP did not train, and points to the same block.
#
# **What does SNIP keep that magnitude doesn't?** Each dot below is a weight: how large it is, and how large its gradient.
# Magnitude draws a vertical line: what lies to the right of it stays. SNIP asks for the *product*; on logarithmic
# axes, this is a slanted line.

# %%
w = torch.cat([z.detach().abs().flatten() for z in weights.values()])
snip = torch.cat([z.flatten() for z in scores["snip"].values()])
g = snip / w / len(rows)
least = snip.quantile(0.5).item() / len(rows), w.quantile(0.5).item()
chosen = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:3000]
by_snip, by_size = (snip > snip.quantile(0.5))[chosen], (w > w.quantile(0.5))[chosen]
fig, ax = plt.subplots(figsize=(6, 3.8))
for which, label, style in (
    (~by_snip & ~by_size, "cut by both", {"color": "0.85"}),
    (by_snip & by_size, "kept by both", {"color": "0.3"}),
    (~by_snip & by_size, "kept by magnitude alone", {"color": "0.55", "marker": "x", "ms": 3.5}),
    (by_snip & ~by_size, "kept by SNIP alone", {"color": "C3", "marker": "^", "ms": 3}),
):
    ax.loglog(w[chosen][which], g[chosen][which], **({"marker": ".", "ms": 3, "ls": ""} | style), label=label)
ax.axvline(least[1], color="black", lw=0.8, ls="--")
line = torch.tensor([1e-4, 3e-2])
ax.loglog(line, least[0] / line, color="black", lw=0.8)
ax.set(xlabel="size of the weight, |w|", ylabel="size of its gradient, |dL/dw|", xlim=(1e-4, 3e-2), ylim=(1e-6, 1))
ax.legend(loc="lower left", fontsize=8, framealpha=0.9, edgecolor="none")
draw.show(
    fig,
    "Weights by their size and the size of their gradient, on logarithmic axes. A vertical dashed line is magnitude's "
    "threshold, a slanted one SNIP's. Red: small weights with large gradients, which SNIP alone keeps. Grey crosses: "
    "large weights with small gradients, which magnitude alone keeps.",
)
print(f"of what SNIP keeps, magnitude keeps {(by_snip & by_size).sum() / by_snip.sum():.0%} too")

# %% [markdown]
# A third of what SNIP keeps is not what magnitude keeps: the red weights are small, but the loss is steep there. In exchange
# it gives up the crosses, large weights that nobody listens to. The sizes differ little, since most of them lie within one
# power of ten; the gradients differ by more than four. So SNIP's choice is mostly a choice by gradient.
#
# Cut more, 90 %, and look at one matrix: $D$ of the adapter after the attention of block 1. Each of its 32 rows is a hidden
# unit, each of its 96 columns a number of the stream.

# %%
name = "block 1, after attn, D"
fig, axes = plt.subplots(2, 1, figsize=(6, 4.4), sharex=True, layout="constrained")
for ax, score in zip(axes, ("snip", "magnitude"), strict=True):
    mask = torch.zeros(weights[name].numel())
    mask[kept[score][0.9][name]] = 1
    mask = mask.view(weights[name].shape)
    ax.imshow(mask, cmap="Greys", aspect="auto", interpolation="none")
    ax.set(title=f"{score}: {int(mask.sum())} weights stay", ylabel="hidden unit")
    print(f"{score}: {int((mask.sum(1) == 0).sum())} of {len(mask)} units have no weight left in it")
axes[1].set_xlabel("number of the stream")
draw.show(
    fig,
    "The mask of one matrix by SNIP and by magnitude, black is what stays. SNIP's black dots lie in a few rows and "
    "columns, and many rows are empty; magnitude's are spread over all of it like noise.",
)

# %% [markdown]
# Magnitude's choice looks like noise. SNIP's has rows and columns, and half of the units have no weight left in $D$: what they
# would read is cut altogether. The reason stands in exercise 18.1. $D$'s gradient is a sum of products, how much unit $i$'s
# output is wanted times the number $j$ that it reads. If either is small for all tokens, so is a whole row or a whole column. In
# this matrix SNIP keeps only half as many weights as magnitude, since it spends them in block 0.
#
# ## It learns
#
# The task: of some words, say the one that is of another kind. In [lesson 03](03_adapters.ipynb) and in the comparison, adapters are some way
# behind full fine-tuning on it. The learning rates are those that the search of the course's comparison chose for adapters
# and for SparseAdapter on this task ([docs/comparison](../docs/comparison/README.md)).

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
print(f"{'before:':32}", before)
methods = {
    "adapters of 16": (Adapters(16, activation="relu", norms=False), 0.01),
    "adapters of 32, half cut: SNIP": (SparseAdapter(32, 0.5), 0.03),
    "adapters of 32, half cut: random": (SparseAdapter(32, 0.5, "random"), 0.03),
}
tuned = {name: copy.deepcopy(base) for name in methods}
for name, (method, lr) in methods.items():
    fit(tuned[name], method, task, steps=200, lr=lr, seed=0)
    print(f"{name + ':':32}", evaluate(tuned[name], task))

# %% [markdown]
# All three train the same number of weights. The wide adapter whose half was chosen by SNIP is ahead of the narrow one; the
# one whose half was chosen at random is not. But that is one seed.
#
# How far can one go? The next cell reads runs with three seeds each, made by `python benchmarks/sparse_adapters.py`.

# %%
import csv
from collections import defaultdict

runs = defaultdict(list)
with open("data/sparse_adapter.csv", newline="") as file:
    for row in csv.DictReader(file):
        runs[int(row["size"]), float(row["sparsity"]), row["score"]].append(float(row["accuracy"]))
sparsities = [0.5, 0.8, 0.9]
fig, ax = plt.subplots(figsize=(6, 3))
for shift, (score, style) in enumerate(
    {"snip": {"color": "C3", "marker": "^"}, "magnitude": {"color": "0.6"}, "random": {"color": "0.2"}}.items()
):
    style = {"marker": "o", "ms": 4} | style
    found = [runs[32, sparsity, score] for sparsity in sparsities]
    at = [i + 0.08 * (shift - 1) for i in range(3)]
    for values in zip(*found, strict=True):
        ax.plot(at, values, ls="", alpha=0.5, **style)
    ax.plot(at, [sum(values) / len(values) for values in found], label=score, **(style | {"marker": ""}))
ax.axhline(sum(runs[32, 0, "random"]) / 3, color="0.5", lw=0.8, ls="--", label="size 32, nothing cut")
ax.set(xlabel="share of the weights that is cut", ylabel="test accuracy, %", xticks=range(3), ylim=(0, 102))
ax.set_xticklabels([f"{sparsity:.0%}" for sparsity in sparsities])
ax.legend(frameon=False)
draw.show(
    fig,
    "Accuracy of adapters of size 32 against the share of weights that is cut, for three scores and three seeds. "
    "At 50 % SNIP is where nothing is cut, and the others a little lower; at 80 % all three are lower and mixed; at 90 % "
    "all are far lower, and their seeds far apart.",
)

# %%
budget = {(16, 0, "random"): "size 16", (32, 0.5, "snip"): "size 32, half cut", (64, 0.75, "snip"): "size 64, 3/4 cut"}
draw.table(
    [
        {"the same number of weights": name, "accuracy of three seeds": ", ".join(f"{a:.1f} %" for a in runs[key])}
        for key, name in budget.items()
    ]
)

# %% [markdown]
# With half of the weights cut, SNIP's adapters do what whole ones do; magnitude and random, which are two kinds of chance
# here, are behind with two seeds of three. At 80 % everything has lost something, and the seeds differ more than the
# scores. At 90 % everything has lost much. So at half the score matters a little, and beyond that the amount matters
# more.
#
# The table asks the other question, a wide adapter with holes or a narrow one without. Size 32 is ahead of size 16 with
# two seeds of three, and size 64 is behind with two of three, and always behind size 32. (The rates were searched for
# sizes 16 and 32; size 64 took that of 32, and may want another.) There is no clear gain in width on this task.
#
# ## What it costs, on the survey's axes
#
# **Predict first.** Eight adapters of size 32 on a width of 96, half of the weights cut: how many numbers train?

# %%
# NBVAL_CHECK_OUTPUT
model = tuned["adapters of 32, half cut: SNIP"]
m, places_in_block = 32, 2
print(counts(model))
print("predicted: trains", places_in_block * c.layers * (2 * c.width * m // 2 + m + c.width))

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {
    "full fine-tuning": FullFineTuning(),
    "adapters of 16": Adapters(16, activation="relu", norms=False),
    "adapters of 32": Adapters(32, activation="relu", norms=False),
    "adapters of 32, half cut": SparseAdapter(32, 0.5),
}
draw.table(costs(base, candidates))

# %% [markdown]
# - **Numbers, gradients, optimizer**: as for the adapters of size 16. This is what is saved.
# - **The file**: as for the *dense* adapters of size 32! Each number that stays has its place written beside it, and both take four
#   bytes. One bit for each weight would say as much: 49,152 bits are 6 kB.
# - **Activations and time**: nothing is saved. Before each product the short vector is written out as a whole matrix with
#   zeros, and multiplied as such. Hardware is fast with dense matrices, and holes don't make it faster.
#
# So here "sparse" is a way to spend a budget of trained numbers, not a way to compute less.
#
# ## Merging: no
#
# It is an adapter: a nonlinearity stands between its two matrices, and zeros in them change nothing about that.

# %%
# NBVAL_CHECK_OUTPUT
try:
    merge(copy.deepcopy(model), whole=True)
except ValueError as error:
    print(error)
given_back = detach(copy.deepcopy(model))
same = all(torch.equal(p, q) for p, q in zip(given_back.parameters(), base.parameters(), strict=True))
print("detached, the base as it was:", same)

# %% [markdown]
# ## Its nearest relatives
#
# | | SparseAdapter | adapters ([lesson 03](03_adapters.ipynb)) | FISH Mask ([lesson 13](13_fishmask.ipynb)) | DiffPruning ([lesson 11](11_diff_pruning.ipynb)) |
# |---|---|---|---|---|
# | what trains | some numbers of new adapters | all numbers of new adapters | some numbers of the base | some numbers of the base |
# | chosen by | $\lvert w\,g \rvert$, or others | – | $g^2$, each example's by itself | training, with a price on each number |
# | chosen when | before training | – | before training | in training |
# | what isn't chosen | becomes zero | – | stays as it was | stays as it was |
# | folds into the base | no | no | yes | yes |
#
# The fourth row is why $w$ stands in SNIP's score and not in FISH Mask's. To cut a weight is to take *it* away, so its size
# counts. To freeze a weight is to take its *movement* away, and how far it may move does not depend on how large it is.
#
# ## Your turn
#
# Open [`exercises/sparse_adapter.py`](../exercises/sparse_adapter.py) beside this notebook. Each function has its equation,
# its shapes and its points in the docstring. Save the file, then run the check. Stuck? `hint("18.1")`.

# %%
ask("18.1")

# %%
check("18.1")

# %%
check("18.2")

# %%
check("18.3")

# %%
check("18.4")

# %% [markdown]
# 18.5 is the mistake that masks invite: what was cut comes back.

# %%
check("18.5")

# %% [markdown]
# ### Your SparseAdapter in the mini GPT
#
# As soon as they pass their checks, the cell below uses *your* `sparse_masks` (with magnitude, adapter by adapter) and
# *your* `sparse_adapter`; until then the library's.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

your_masks, your_adapter = learner("18.2"), learner("18.3")


class Yours(Wrapper):
    """A part of the model, and the learner's cut adapter after it."""

    def __init__(self, part, size=32):
        super().__init__(part)
        self.D = nn.Parameter(0.01 * torch.randn(size, c.width))
        self.U = nn.Parameter(0.01 * torch.randn(c.width, size))
        self.c, self.b = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(c.width))
        self.M_D, self.M_U = your_masks(self.D.detach().abs(), self.U.detach().abs(), 0.5)

    def forward(self, x, *context):
        return your_adapter(self.base(x, *context), self.D, self.c, self.U, self.b, self.M_D, self.M_U)


class YourSparseAdapter(Method):
    lr = 1e-2

    def insert(self, model):
        wrap(model, ["attn", "mlp"], Yours)


mine = copy.deepcopy(base)
fit(mine, YourSparseAdapter(), task, steps=100, seed=0)
print("before:         ", before)
print("after 100 steps:", evaluate(mine, task))

# %% [markdown]
# ## What to remember
#
# 1. $h + (M_U \odot U)\,\mathrm{relu}((M_D \odot D) h + c) + b$, with masks that are found once, before training.
# 2. SNIP's score $\lvert w\,\partial L/\partial w \rvert$ is what the loss would change by, to first order, if this weight were cut.
# 3. It needs a start that is not exactly zero. Random and magnitude need no gradient.
# 4. All weights of all adapters share one threshold, so SNIP can move the budget between layers.
# 5. Large-Sparse: $k$ times the size, $1 - 1/k$ cut. Fewer numbers train; no time is saved.
#
# **The paper's headline**, quoted from it: in its first figure Large-Sparse averages 79.6, full fine-tuning 79.0; and up to a
# sparsity of 80 % the cut adapters are about as good as whole ones on GLUE. The course's comparison speaks
# for the idea: over five tasks and three seeds SparseAdapter (size 32, half cut by SNIP) has 85 % and 87 % on the two models,
# adapters of size 16, whose norms train too, 76 % and 83 % ([docs/comparison](../docs/comparison/comparison.md)). This
# lesson's runs, on one task, do not show the rest: at 80 % the cut adapters have lost something, and four times the size
# brings no more than twice.
#
# **Further reading.** Lee et al., 2018, *SNIP: Single-shot Network Pruning based on Connection Sensitivity*
# ([arXiv 1810.02340](https://arxiv.org/abs/1810.02340)), has the score. The library's method is
# `minipeft/hybrid/sparse_adapter.py`; `tests/test_sparse_adapter.py` compares its masks with torch's own global pruning.
#
# **Next:** [lesson 19, MAM](19_mam.ipynb), where a prefix and an adapter beside the MLP share the work. Or go back to
# [the start](00_start_here.ipynb).
