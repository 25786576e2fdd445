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
# # 14 · Intrinsic SAID: how many numbers does a task need?
#
# **The question.** Full fine-tuning moves half a million numbers of our mini GPT, one by one. Suppose we may only choose a
# *point* in a space of a hundred dimensions, and a fixed random map says how this point moves all half million numbers at
# once. Can a task be learnt like that? And what is the smallest number of dimensions with which it can?
#
# | | |
# |---|---|
# | paper | Aghajanyan, Gupta and Zettlemoyer, 2020, *Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning*, [arXiv 2012.13255](https://arxiv.org/abs/2012.13255) |
# | survey | section 10.1 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), reparametrization-based methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02](02_where_memory_goes.ipynb) (where memory goes) |
# | you need | matrix products, rank and dimension; what a gradient is |
# | time | 30 minutes to read and run, 45 for the exercises |
#
# At the end you will have written the transform that makes a huge random matrix cheap, measured the *intrinsic dimension*
# of a task, and trained with your own function. You will also know why "few dimensions" is not "low rank", and why a
# method that stores next to nothing can still cost a lot while it trains.

# %%
import copy
import csv
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from minipeft import GPT, IntrinsicSAID, LoRA, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.surgery import trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
sizes = [p.numel() for p in base.parameters()]
print(f"{sum(sizes):,} numbers in {len(sizes)} tensors")

# %% [markdown]
# ## Where it acts
#
# On every tensor of the model: embeddings, weights, biases, norms. Nothing stands beside them. Each one is *re-expressed*,
# as its old value plus a change, and the changes of all of them come from the same few numbers.

# %%
model = IntrinsicSAID(dims=256).attach(copy.deepcopy(base))
draw.block(model)

# %% [markdown]
# ## The equation
#
# Let $\theta_i$ be tensor number $i$, written as one long vector of $D_i$ numbers:
#
# $$ \theta_i \;=\; \theta_{0,i} \;+\; \lambda_i\, P_i\, z
# \qquad z \in \mathbb{R}^{d},\quad P_i \in \mathbb{R}^{D_i \times d},\quad \lambda_i \in \mathbb{R} $$
#
# - $z$ trains. There is **one** $z$ for the whole model. It starts at zero, so the model starts as its base.
# - $P_i$ is random and **never trains**. The seed of the random numbers is all that has to be stored of it. Each tensor has a
#   $P_i$ of its own, made so that $\lVert P_i z \rVert \approx \lVert z \rVert$, whether the tensor has 96 numbers or 40,000.
# - $\lambda_i$ trains, and starts at one. It says how strongly tensor $i$ follows $z$. This is the *structure-aware*
#   part, the SA in SAID. Without it the method is called DID: *direct* intrinsic dimension.
#
# For a budget of $d'$ numbers and $m$ tensors, $z$ has $d = d' - m$ numbers: the scales are paid for out of the budget.

# %% [markdown]
# **Predict first.** At the start $z = 0$ and all $\lambda_i = 1$. In the first step, which of the two gets a gradient? And in
# the second?

# %%
z = model.norm.parametrizations.weight[0].z
scales = [p for p in trainable(model).values() if p.ndim == 0]
print(f"{len(scales)} scales, and z of {len(z)} numbers: {len(scales) + len(z)} in all")
g = torch.Generator().manual_seed(0)
x, y = torch.randint(base.c.vocab, (2, 16, 24), generator=g)
optimizer = torch.optim.SGD([z, *scales], lr=0.1)
for step in (1, 2):
    optimizer.zero_grad()
    F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
    of_scales = torch.stack([p.grad for p in scales]).norm()
    print(f"step {step}:  |grad z| = {z.grad.norm():.1e}   |grad lambda| = {of_scales:.1e}")
    optimizer.step()

# %% [markdown]
# With $g_i$ the plain gradient of tensor $i$, the one that full fine-tuning would use,
#
# $$ \frac{\partial L}{\partial z} = \sum_i \lambda_i\, P_i^\top g_i \qquad
#    \frac{\partial L}{\partial \lambda_i} = (P_i z) \cdot g_i . $$
#
# The second is zero as long as $z$ is. Had the scales started at zero as well, nothing would ever move. LoRA ([lesson 15](15_lora.ipynb)) has
# the same trick with its $A$ and $B$.

# %% [markdown]
# ## A random matrix that nobody stores
#
# How large would all $P_i$ be, written out? The paper uses **Fastfood** (Le, Sarlós and Smola, 2013) instead: a product of
# five factors, four of which are just lists of numbers, and one of which is a very regular matrix.
#
# $$ P \;=\; c\; H\, G\, \Pi\, H\, B , \quad \text{cut to its first } D \text{ rows} $$
#
# From right to left: $B$ flips signs at random, $H$ spreads each number over all $n$ places, $\Pi$ permutes the places, $G$
# multiplies each place by a normal number, and $H$ spreads once more. $H$ is the Hadamard matrix of size
# $n \times n$, where $n$ is a power of two that is at least $D$ (and at least $d$):
#
# $$ H_1 = (1), \qquad H_{2n} = \begin{pmatrix} H_n & H_n \\ H_n & -H_n \end{pmatrix} $$
#
# All its entries are 1 or −1. It is never written out either: $H x$ takes $n \log n$ additions. You will write it below.

# %%
from minipeft.reparametrization.intrinsic_said import Fastfood, hadamard

kept = sum(b.numel() * b.element_size() for n, b in model.named_buffers() if "parametrizations" in n)
print(f"all P_i written out: {sum(sizes) * len(z) * 4 / 1e6:6.1f} MB")
print(f"what Fastfood keeps: {kept / 1e6:6.1f} MB")
print(f"the model itself:    {sum(sizes) * 4 / 1e6:6.1f} MB")

# %% [markdown]
# Here are the factors at work, for a tensor of 64 numbers and a $z$ of 24. Each column of $P$ is where one number of $z$
# sends the tensor.

# %%
food = Fastfood(torch.zeros(64), nn.Parameter(torch.zeros(24)), False, torch.Generator().manual_seed(0))
with torch.no_grad():
    H = torch.stack([hadamard(e) for e in torch.eye(64)], 1)
    P = torch.stack([torch.func.functional_call(food, {"z": e}, torch.zeros(64)) for e in torch.eye(24)], 1)
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), gridspec_kw={"width_ratios": [64, 24, 40]})
for ax, matrix, title in zip(axes, (H, P, P.T @ P), ("$H$, 64 × 64", "$P$, 64 × 24", "$P^T P$, 24 × 24"), strict=True):
    limit = float(matrix.abs().max())
    image = ax.imshow(matrix, cmap="Greys", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set(title=title, xlabel="column", ylabel="row")
fig.colorbar(image, ax=axes[2], shrink=0.7, label="value")
draw.show(
    fig,
    "Three matrices as grey images. H is a regular pattern of two shades. P looks like noise. P transposed times P is "
    "nearly the unit matrix: a dark diagonal, and all else near zero.",
)
off = (P.T @ P - torch.eye(24)).abs()
print(f"the columns' lengths: {P.norm(dim=0).min():.4f} to {P.norm(dim=0).max():.4f}")
print(f"largest product of two different columns: {off.max():.2f}")

# %% [markdown]
# From the regular $H$ and three random lists comes a matrix that looks like noise. Its columns have length one
# (exactly, if $D$ is a power of two) and stand roughly at right angles, as random vectors do: the longer the tensor, the
# more exactly. So a step of $z$ is a step of about the same length for the tensor, whatever the tensor's size.

# %% [markdown]
# ## The survey's formula, and what to mind in it
#
# The survey writes the method as $\theta = \theta_0 + F(\theta_d)$, with $F$ the Fastfood transform. That is DID: the
# $\lambda_i$, which make it SAID, are missing. And it calls the change **low-rank**. Is it?
#
# **Predict first.** We take DID with only 8 numbers, draw twenty random $z$, and look at how the query weight of the first
# layer (96 × 96) changes. What is the rank of one such change? And how many dimensions do the twenty changes span?

# %%
# NBVAL_CHECK_OUTPUT
eight = IntrinsicSAID(dims=8, scales=False).attach(copy.deepcopy(base))
q, q0 = eight.trunk[0].attn.q, base.trunk[0].attn.q
changes = []
with torch.no_grad():
    for _ in range(20):
        q.parametrizations.weight[0].z.normal_(generator=g)
        changes.append(q.weight - q0.weight)
print("rank of a change:", {int(torch.linalg.matrix_rank(change)) for change in changes})
print("dimensions that the twenty span:", int(torch.linalg.matrix_rank(torch.stack([c.flatten() for c in changes]))))

# %% [markdown]
# Each single change is a matrix of **full rank**: eight random matrices of full rank, added up. But the *set* of all changes
# that can be reached has eight dimensions. These are two questions, "what does one change look like?" and "how many are
# there to choose from?", and they have nothing to do with each other. LoRA is the other way round: its changes have a low
# rank, and the set of them has as many dimensions as it has numbers.
#
# Three more things to mind:
#
# - **The budget.** The scales are paid for out of it. With 68 tensors a SAID of 100 numbers has only 32 directions.
# - **The time.** The survey gives $O(D \log d)$. That is Fastfood in many blocks of size $d$. Padding to one block of size
#   $n \ge D$, which is what the published code and the library here do, takes $O(D \log D)$.
# - **The gradient.** The Fastfood code published with Compacter ([lesson 21](21_compacter.ipynb)) normalises $H$ on the way back but not on
#   the way forward: a tensor padded to $n$ gets its gradient divided by $n$. Small tensors are heard, large ones hardly. It trains,
#   no error is raised, and learning rates found with it mean nothing elsewhere. `gradcheck`, which
#   `tests/test_intrinsic_said.py` runs, finds such a thing at once.

# %% [markdown]
# ## The implementation
#
# `Fastfood` re-expresses one tensor. The method makes one for each tensor and gives the same `z` to all of them. `SMALL[r]` is
# $H_r$, written out, for $r$ up to 32; larger ones are made of these.

# %%
from minipeft.reparametrization import intrinsic_said

for part in ("hadamard", "spread", "Fastfood", "IntrinsicSAID"):
    print(inspect.getsource(getattr(intrinsic_said, part)))

# %% [markdown]
# ## It starts as the base

# %%
# NBVAL_CHECK_OUTPUT
model = IntrinsicSAID(dims=256).attach(copy.deepcopy(base))
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
names = sorted({name.split(".")[-1] for name in trainable(model)})
print("trains:", names, "·", sum(p.numel() for p in trainable(model).values()), "numbers")

# %% [markdown]
# ## It learns
#
# The task: a few people go to places, and we ask for one of them. The budget: 256 numbers, 188 directions and 68 scales, in
# place of half a million.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
tuned = copy.deepcopy(base)
fit(tuned, IntrinsicSAID(dims=256), task, steps=200, seed=0)
print("before:", before)
print("after: ", evaluate(tuned, task))

# %% [markdown]
# ## What it costs, on the survey's axes
#
# The three counts could hardly be further apart.

# %%
# NBVAL_CHECK_OUTPUT
print("predicted: trainable", 256, "· changed", f"{sum(sizes):,}", "· rank", base.c.width)
print("measured: ", counts(tuned))

# %% [markdown]
# **Predict first.** Memory. Hardly anything trains, so there is hardly any gradient to store, and no optimizer state to speak
# of. And the activations kept for the backward pass: as few as with LoRA?

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {
    "full fine-tuning": FullFineTuning(),
    "LoRA, rank 8": LoRA(rank=8),
    "SAID, 256 numbers": IntrinsicSAID(dims=256),
}
draw.table(costs(base, candidates))

# %% [markdown]
# The gradient of $z$ is a sum over all tensors, of $P_i^\top g_i$. So the gradient $g_i$ of every tensor has to be computed, as
# in full fine-tuning, and what this needs has to be kept. SAID even keeps *more*: in every step all tensors are made anew from
# $z$, and the new ones are held until the backward pass, two megabytes, once more the size of the model. The transforms
# cost time, forwards and backwards: a step takes more than twice as long as one of full fine-tuning. What is saved is the
# optimizer's state.
#
# ## What is stored, and merging
#
# Where it does save is on disk. One task is $z$, the scales, and the seed.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    delta.save(tuned, Path(folder) / "where")
    files = {f.name: f.stat().st_size for f in sorted((Path(folder) / "where").iterdir())}
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "where").eval()
print("the delta:", " + ".join(f"{name} {size:,} bytes" for name, size in files.items()))
print(f"256 numbers alone: {256 * 4:,} bytes; the whole model: {sum(sizes) * 4:,} bytes")
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), tuned.eval()(ids)))
logits = tuned(ids)
plain = merge(copy.deepcopy(tuned))
print(f"merged, the largest difference of a logit: {(plain(ids) - logits).abs().max():.1e}")
given_back = detach(copy.deepcopy(tuned))
print("detached, the base:", all(map(torch.equal, given_back.parameters(), base.parameters())))

# %% [markdown]
# Most of this file is the names of the 69 tensors in it, a vector and 68 scales; the seed is in `delta.json`.
#
# Merging writes the moved tensors down once, and $P$ is forgotten. The result is a plain GPT and costs nothing at
# inference. But mind what this means for many tasks: every number of the model has changed, so two tasks cannot share
# any part of a merged model.

# %% [markdown]
# ## The picture: accuracy against dimension
#
# How many directions does a task need? The paper's measure is $d_{90}$: the smallest budget that reaches 90 % of what full
# fine-tuning reaches. The curves take many trainings, so they are read from a committed file;
# `python benchmarks/intrinsic_dimension.py` made it (mini-gpt2, 200 steps, one seed, two learning rates). What full
# fine-tuning reaches is the mean of three seeds from `data/tasks.csv`.
#
# **Predict first.** `where` asks for a place that was named in the text. `reversing` asks for a list of words backwards.
# Which has the larger $d_{90}$, and how large is it, of half a million?

# %%
with open("data/tasks.csv", newline="") as file:
    full = {row["task"]: float(row["full"]) / 100 for row in csv.DictReader(file) if row["model"] == base_name}
curves = {}
with open("data/intrinsic_dimension.csv", newline="") as file:
    for run in csv.DictReader(file):
        points = curves.setdefault((run["task"], run["way"], float(run["lr"])), {})
        points[int(run["dims"])] = float(run["accuracy"])

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
for ax, name in zip(axes, ("where", "reversing"), strict=True):
    ax.axhline(90 * full[name], color="0.6", lw=1)
    for rate, color in ((0.01, "black"), (0.1, "C3")):
        for way, style in (("did", {"marker": "o"}), ("said", {"marker": "s", "mfc": "white", "ls": "--"})):
            points = curves[name, way, rate]
            budgets = sorted(points)
            label = f"{way.upper()}, learning rate {rate:g}"
            ax.plot(budgets, [100 * points[d] for d in budgets], color=color, ms=5, label=label, **style)
    ticks = (16, 32, 64, 128, 256, 512, 1024)
    ax.set(xscale="log", xlabel="budget (numbers that train)", title=f"task: {name}", ylim=(-4, 106))
    ax.set_xticks(ticks, map(str, ticks))
    ax.minorticks_off()
axes[1].text(16, 90 * full["reversing"] - 1.5, "90 % of full fine-tuning", color="0.4", size=8, va="top")
axes[0].set_ylabel("accuracy (%)")
fig.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=4, fontsize=8)
draw.show(
    fig,
    "Accuracy against the budget on a logarithmic axis, for two tasks, two learning rates, with and without scales, and a "
    "line at 90 percent of full fine-tuning. `where` rises steeply around 64 numbers, `reversing` around 512; a high "
    "learning rate helps small budgets, and with 1,024 numbers it ruins `where`.",
)

# %%
d90 = learner("14.5")
rows = {}
for (name, way, rate), points in sorted(curves.items(), key=lambda item: (item[0][0] != "where", item[0])):
    found = d90(list(points), list(points.values()), full[name])
    cell = f"{found:,} ({found / sum(sizes):.3%})" if found else "none of these"
    rows.setdefault((name, way), {"task": name, "": way.upper()})[f"d90, learning rate {rate:g}"] = cell
draw.table(list(rows.values()))

# %% [markdown]
# About a hundred random directions are enough for `where`, some hundreds for `reversing`: between 0.01 % and 0.2 % of
# the half million numbers. Nobody has chosen these directions for the task. It seems that good models lie so densely
# around the pre-trained one that a random choice of a few hundred directions leads to some of them.
#
# - **The scales pay for themselves** on `reversing`: at both learning rates SAID needs half of what DID needs, although
#   68 numbers of its budget are no directions. On `where`, at the higher rate, DID needs only 64 numbers. That is fewer
#   than there are scales, so there is no SAID as small as that.
# - **It is a measure of the training as well.** With the higher learning rate three of the four $d_{90}$ are half as large. And
#   it can be too high: with 1,024 numbers DID loses `where` again. Adam moves each number by about the learning rate, so the
#   more numbers $z$ has, the longer is its step.
# - It is one seed, 200 steps and a grid of powers of two, and an upper bound: another training might do with less.
#
# ## Its nearest relatives
#
# | | SAID | LoRA ([lesson 15](15_lora.ipynb)) | KronA ([lesson 16](16_krona.ipynb)) | Compacter ([lesson 21](21_compacter.ipynb)) |
# |---|---|---|---|---|
# | what is limited | the dimension of the set of changes | the rank of each change | the form of each change | the form of each adapter |
# | rank of one change | full | $r$ | up to full | it is no change of a weight |
# | who chooses the directions | a random seed | training | training | training |
# | shared over the layers | everything | nothing | nothing | one factor |
# | numbers a task | any, from one on (SAID: more than there are tensors) | $r(d_\text{in} + d_\text{out})$ a weight | as few as LoRA has | fewer than an adapter |
# | merges | yes | yes | yes | no |
# | memory of a step | more than full fine-tuning, but for the optimizer | less | less | less |
#
# In the comparison of all twenty methods ([docs/comparison](../docs/comparison/README.md)) SAID with 1,000 numbers answers 72 %
# and 70 % of the questions, averaged over five tasks, on our two models. LoRA, with more than ten times as many numbers, answers
# 77 % on both. And SAID's step is the slowest of the twenty on both.
#
# SAID is a measuring instrument more than a method for daily use. It told people that fine-tuning needs few dimensions. LoRA
# is what came of it: its authors name this paper as their reason to expect that a low rank might do.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/intrinsic_said.py`](../exercises/intrinsic_said.py) beside this notebook. Each function has its equation,
# its shapes and its points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck?
# `hint("14.1")`.

# %%
ask("14.1")

# %%
check("14.1")

# %%
check("14.2")

# %% [markdown]
# 14.3 is a mistake to find in given code, 14.4 a counting question, 14.5 reads a curve.

# %%
check("14.3")

# %%
check("14.4")

# %%
check("14.5")

# %% [markdown]
# ### Your Fastfood in the mini GPT
#
# As soon as `check("14.2")` passes, the cell below trains the mini GPT with *your* `said_fastfood`. Your function takes $H$
# as a matrix, so it is used for the short tensors alone: the biases and the gains of the norms, all in all 42 vectors. One
# $z$ of 64 numbers moves them all. You could call it BitFit in 64 random directions. Until your check passes it uses the
# library's, and says so.

# %%
from torch.nn.utils import parametrize

from minipeft.method import Method
from minipeft.surgery import originals, reparametrize

yours = learner("14.2")
hadamard_matrix = {n: torch.stack([hadamard(e) for e in torch.eye(n)], 1) for n in (128, 512)}


class Yours(nn.Module):
    """A vector that moves by the learner's P z."""

    def __init__(self, vector, z, draws):
        super().__init__()
        n = 128 if len(vector) <= 128 else 512
        self.z, self.H = z, hadamard_matrix[n]
        self.signs = torch.randint(0, 2, (len(z),), generator=draws) * 2.0 - 1
        self.order, self.normal = torch.randperm(n, generator=draws), torch.randn(n, generator=draws)

    def forward(self, vector):
        return vector + yours(self.z, self.signs, self.order, self.normal, self.H, len(vector))


class YourDID(Method):
    lr = 3e-2

    def insert(self, model):
        z, draws = nn.Parameter(torch.zeros(64)), torch.Generator().manual_seed(0)
        reparametrize(model, lambda name, p: Yours(p, z, draws) if p.ndim == 1 else None)


model = copy.deepcopy(base)
fit(model, YourDID(), task, steps=200, seed=0)
print("vectors that move:", sum(parametrize.is_parametrized(part, key) for _, part, key, _ in originals(model)))
print("before:", before)
print("after: ", evaluate(model, task))

# %% [markdown]
# Compare it with the curve of `where` at 64: DID with as many numbers, which moves the whole model and not the short
# vectors alone, reached 86.5 % and 97 %. So 64 random directions among the biases and gains come close, at a learning
# rate in between. Few numbers in the right place can do much; BitFit ([lesson 10](10_bitfit.ipynb)) is built on that.
#
# ## What to remember
#
# 1. $\theta_i = \theta_{0,i} + \lambda_i P_i z$: one short $z$ moves every number of the model, along random directions that are fixed.
# 2. $P_i$ is Fastfood, $c\,H G \Pi H B$: nothing large is stored, and $P z$ takes $n \log n$ steps. It keeps the length of $z$.
# 3. Few dimensions are not a low rank: each change is of full rank, the *set* of changes is small.
# 4. The scales are paid for out of the budget. Without them it is DID.
# 5. It stores next to nothing and merges exactly; of a training step it saves the optimizer's state and little else.
#
# **The paper's headline**, quoted from its tables, $d_{90}$ with SAID and with DID: RoBERTa-large on MRPC 207 and 322,
# on QQP 774 and 774; RoBERTa-base on MRPC 896 and 1,000; BERT-base on MRPC 1,608 and 1,861, on QQP 8,030 and 9,295. So
# the larger and better pre-trained model needs *fewer* numbers. Our toy agrees that some hundred numbers are enough,
# and, on `reversing`, that SAID needs fewer than DID. About the size of models it says nothing: we have one.
#
# **Further reading.** Li et al., 2018, *Measuring the Intrinsic Dimension of Objective Landscapes*
# ([arXiv 1804.08838](https://arxiv.org/abs/1804.08838)), where the idea comes from. In the library,
# `minipeft/reparametrization/intrinsic_said.py` is the method; `tests/test_intrinsic_said.py` compares it with its dense
# matrices.
#
# **Next:** [lesson 15, LoRA](15_lora.ipynb), which learns its directions. Or go back to [the start](00_start_here.ipynb).
