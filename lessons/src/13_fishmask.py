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
# # 13 · FISH Mask: train the numbers that the answers depend on
#
# **The question.** Suppose you may train one number in two hundred, any one you like. Which? FISH Mask asks the data: it
# measures, before training, how much the model's answers depend on each number, and lets the top of that list train.
#
# | | |
# |---|---|
# | paper | Sung, Nair and Raffel, 2021, *Training Neural Networks with Fixed Sparse Masks*, [arXiv 2111.09839](https://arxiv.org/abs/2111.09839) |
# | survey | section 9.4 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), selective methods |
# | before this | lessons [01](01_mini_gpt.ipynb) and [02](02_where_memory_goes.ipynb); [lesson 10, BitFit](10_bitfit.ipynb), helps |
# | you need | gradients; what a log-probability is |
# | time | 30 minutes to read and run, 45 for the exercises |
#
# At the end you will have computed the Fisher information of every weight in the mini GPT from a few batches, and chosen
# with it what trains. You will also have seen three ways to compute it that look right, run without an error, and choose
# other numbers.

# %%
import copy
import inspect
import math

import matplotlib.pyplot as plt
import torch

from minipeft import GPT, FishMask, LoRA, counts, detach, evaluate, fit, merge, pretrain, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.method import IGNORE, FullFineTuning, Stage
from minipeft.selective.fishmask import fisher
from minipeft.sparse import budget, largest
from minipeft.surgery import trainable
from minipeft.tasks.task import collate, encode

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
rows = [encode(example, base.tokenizer) for example in task.train]  # (tokens, labels) of each example
data = [collate(rows[i : i + 16], base.tokenizer.end) for i in range(0, len(rows), 16)]  # in batches of 16

# %% [markdown]
# ## Where it acts
#
# Wherever the data say. FISH Mask adds no part to the block and knows no targets: norms, biases, embeddings and matrices
# all compete for the same places. Below it has measured 256 examples of a task, with the mini GPT as it is. The red strips
# say how many numbers of each part may train.

# %%
method = FishMask(examples=256)
k = budget(base, 0.005)  # int(0.5 % of all numbers)
information = fisher(method, copy.deepcopy(base), data, method.examples)  # {name of a tensor: F, of its shape}
chosen = largest(information, k)  # {name of a tensor: positions in it}
model = method.attach(copy.deepcopy(base), chosen)
draw.block(model)

# %% [markdown]
# ## The equation
#
# For each number $\theta_i$ of the model, with $N$ examples $(x_n, y_n)$ of a question and its answer:
#
# $$ F_i \;=\; \frac{1}{N} \sum_{n=1}^{N} \left( \frac{\partial \log p_\theta(y_n \mid x_n)}{\partial \theta_i} \right)^{\!2}
# \qquad F \text{ has the shape of } \theta $$
#
# $$ M_i = 1 \text{ for the } k = \lfloor \rho\,|\theta| \rfloor \text{ largest } F_i \text{ of the whole model, else } 0 $$
#
# $F$ is the diagonal of the **Fisher information**. If you move one number by a little $\varepsilon$, the model's answers
# change by about $\tfrac{1}{2} F_i\, \varepsilon^2$, measured as the divergence between the old and the new distribution
# (for the *true* $F$; we come back to the word). So a large $F_i$ says: this number is a handle on the answers. A small
# one says: turn it, and hardly anything happens.
#
# The mask is fixed before training begins. Then the $k$ numbers train as usual, and no other number moves. $\rho$ is the
# only new setting; the paper's is 0.5 %.
#
# Let us check the claim. We turn 2,485 numbers by the same small amount, up or down at random, and look how far the
# answers move: the divergence, in nats, at each answer of the test examples.
#
# **Predict first.** Three choices of 2,485 numbers: those of FISH Mask, random ones, and the weights that are largest in
# size. Order them by what happens to the answers, before you run the cell.

# %%
torch.manual_seed(0)
scores = {
    "the most Fisher information": information,
    "random": {name: torch.rand_like(f) for name, f in information.items()},
    "the largest in size": {name: p.detach().abs() for name, p in base.named_parameters()},
}
tests = [encode(example, base.tokenizer) for example in task.test]
x, y = collate(tests, base.tokenizer.end)


@torch.no_grad()
def moved(where, size=0.02):
    """How far the answers move, in nats, when these numbers are turned by `size` up or down."""
    other = copy.deepcopy(base)
    for name, positions in where.items():
        signs = torch.randint(2, (len(positions),)) * 2.0 - 1
        other.get_parameter(name).view(-1)[positions] += size * signs
    p, q = (m(x)[y != IGNORE].log_softmax(-1) for m in (base, other))
    return (p.exp() * (p - q)).sum(-1).mean()


draw.table([{f"{k:,} numbers": name, "nats": f"{moved(largest(score, k)):.4f}"} for name, score in scores.items()])

# %% [markdown]
# The numbers that FISH Mask has chosen are handles: the same little turn moves the answers about 180 times as far as it
# does at random places. The weights that are largest in size are better handles than random ones, but only three times
# as good.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey's listing has three steps: collect $F$, choose, train with a mask on the gradient. What it means is this, in
# PyTorch:


# %%
def survey_collect(model, batches):
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for x, y in batches:
        (-method.loss(model, x, y) * (y != IGNORE).sum()).backward()  # log p
        for name, p in model.named_parameters():
            total[name] += p.grad**2
    return total


def survey_step(model, mask, optimizer, x, y):
    method.loss(model, x, y).backward()
    for name, p in model.named_parameters():
        p.grad *= mask[name]
    optimizer.step()


# %% [markdown]
# Run it, and nothing complains. But look for what is missing in the first function: **`.grad` is never set back to zero.**
# PyTorch adds each new gradient to what is there, so the listing squares a running sum of all examples so far. The second
# trap is in its argument: given **batches**, it squares a batch's gradient. The mean of squares is not the square of the mean:
# where two examples pull a number in opposite directions, both matter, and their sum shows nothing.
#
# The third is in the survey's formula, which takes an expectation over $y \sim p_\theta(y \mid x)$: the *true* Fisher
# information draws the answers from the model itself. The listing, like the authors' code and ours, takes the labels
# (the *empirical* Fisher information). These are two different masks.
#
# The next cell computes all of them on the same 256 examples, and compares each choice with FISH Mask's.


# %%
def singles(batches):
    return [(x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(len(x))]


def drawn(x, y):
    """The same question, with the tokens of the answer drawn from the model."""
    at = y != IGNORE
    with torch.no_grad():
        answer = torch.distributions.Categorical(logits=base(x)[at]).sample()
    return x, y.masked_scatter(at, answer)


def zeroed(model, batches):
    """survey_collect with the gradients set back to zero before each backward pass."""
    total = {}
    for batch in batches:
        model.zero_grad()
        for name, f in survey_collect(model, [batch]).items():
            total[name] = total.get(name, 0) + f
    return total


few = data[:16]  # 256 examples
ways = {
    "each example, zeroed: FISH Mask": information,
    "each example, never zeroed": survey_collect(copy.deepcopy(base), singles(few)),
    "batches of 16, zeroed": zeroed(copy.deepcopy(base), few),
    "answers drawn from the model": fisher(method, copy.deepcopy(base), [drawn(x, y) for x, y in few], 256),
    "each example, the first 32 alone": fisher(method, copy.deepcopy(base), data, 32),
}


def flat(where):
    """Positions in the whole model, as a set of (name, position)."""
    return {(name, i) for name, positions in where.items() for i in positions.tolist()}


ours = flat(chosen)
draw.table(
    [
        {"F from": way, "of the same numbers chosen": f"{len(flat(largest(f, k)) & ours) / k:.0%}"}
        for way, f in ways.items()
    ]
)

# %% [markdown]
# None of these raises an error. Each shares most of its numbers with the right choice, and misses a fifth of them or
# more; compare that with the last row, which has the right formula and an eighth of the data. (This says only that
# another choice was made. Whether it trains worse is another question, and on a task as easy as this one we don't
# expect it.)
#
# Two more things to mind:
#
# - The listing keeps what lies *above* a quantile. Exactly $k$ numbers are what was asked for, also when many are equal
#   (all that the loss does not reach have $F = 0$); the authors' code, and `largest` here, take exactly $k$.
# - The listing masks the **gradient**. That leaves the optimizer to do as it likes with the rest, which the next cell shows:
#   five steps of AdamW with weight decay.

# %%
masks = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in base.named_parameters()}
for name, positions in chosen.items():
    masks[name].view(-1)[positions] = True

dense = copy.deepcopy(base)
optimizer = torch.optim.AdamW(dense.parameters(), 1e-3, weight_decay=0.1)
sparse = FishMask().attach(copy.deepcopy(base), chosen)
short = torch.optim.AdamW(trainable(sparse).values(), 1e-3, weight_decay=0.1)
for x, y in data[:5]:
    dense.zero_grad()
    survey_step(dense, masks, optimizer, x, y)
    short.zero_grad()
    method.loss(sparse, x, y).backward()
    short.step()
for name, m, o in (("a mask on the gradient", dense, optimizer), ("a short vector", merge(sparse), short)):
    off = sum((p != base.get_parameter(n))[~masks[n]].sum().item() for n, p in m.named_parameters())
    held = sum(t.numel() for state in o.state.values() for t in state.values() if t.ndim)
    print(f"{name:22}  {off:7,} numbers outside the mask have moved · the optimizer holds {held:7,} numbers")

# %% [markdown]
# Weight decay pulls at every number, whatever its gradient. And with a mask on the gradient Adam keeps its two numbers
# for each of the half million that never train. One idea mends both: gather the $k$ numbers in **a short vector**, and
# let that be the only thing that trains. Exercise 13.3 has this mistake in it.
#
# ## The implementation
#
# `fisher` measures, `FishMask` chooses, and `Sparse` re-expresses a weight as the frozen one plus a few added numbers.

# %%
from minipeft import sparse as sparse_module
from minipeft.selective import fishmask

print(inspect.getsource(fishmask.fisher))
print(inspect.getsource(fishmask.FishMask))
print(inspect.getsource(sparse_module.Sparse))

# %% [markdown]
# ## It starts as the base
#
# The short vectors start at zero and are added to the weights, so nothing changes, in any bit.

# %%
# NBVAL_CHECK_OUTPUT
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
print("trains:", {name.split(".")[-1] for name in trainable(model)}, "and nothing else")
numbers = sum(p.numel() for p in base.parameters())
print(
    f"how many: {sum(p.numel() for p in trainable(model).values()):,} of {numbers:,}, int(0.005 x all) = {int(0.005 * numbers):,}"
)

# %% [markdown]
# ## It learns
#
# The task: a few people go to places, and we ask for one of them. Measuring 256 examples, choosing, then 120 steps of 16.
# (Left to itself the method measures 1,024, as in the paper.)

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
tuned = copy.deepcopy(base)
before = evaluate(base, task)
history = fit(tuned, method, task, steps=120, seed=0, validate=10)
reached = evaluate(tuned, task)
print("before:", before)
print("after: ", reached)

# %% [markdown]
# ## What it costs, on the survey's axes
#
# The three counts. What trains is what changes, one number for one number. And the rank? LoRA's change of a matrix had
# a low rank, because it was a product of two thin ones. Here nothing forces it to be low.
#
# **Predict first.** 508 numbers are chosen of the 9,216 of one matrix of the first layer. Scatter 508 numbers over 96 ×
# 96 at random: on average five in each row and in each column, and such a matrix has nearly full rank. Will the change
# that FISH Mask has trained have one as well?

# %%
print(counts(tuned))
g = torch.Generator().manual_seed(0)
random_places = torch.zeros(96 * 96).index_fill(0, torch.randperm(96 * 96, generator=g)[:508], 1.0).view(96, 96)
print(
    "rank of 508 random numbers at random places:", int(torch.linalg.matrix_rank(random_places * torch.randn(96, 96)))
)
changes = {
    name: p.detach() - base.get_parameter(name).detach() for name, p in merge(copy.deepcopy(tuned)).named_parameters()
}
places = {name: change.ne(0) for name, change in changes.items() if change.ndim == 2 and change.any()}
draw.table(
    [
        {
            "": name.removesuffix(".weight"),
            "changed": int(where.sum()),
            "of": where.numel(),
            "rows": int(where.any(1).sum()),
            "columns": int(where.any(0).sum()),
            "rank": int(torch.linalg.matrix_rank(changes[name])),
        }
        for name, where in sorted(places.items(), key=lambda item: -item[1].sum())[:5]
    ]
)

# %% [markdown]
# No: far from it. The chosen numbers are not scattered. They lie in lines, which the picture further down shows.

# %% [markdown]
# **Predict first.** FISH Mask trains a fifth of the numbers that LoRA of rank 8 does. Does it keep fewer activations for the
# backward pass? Is its step shorter?

# %%
from minipeft.course.costs import costs

draw.table(costs(base, {"full fine-tuning": FullFineTuning(), "LoRA, rank 8": LoRA(rank=8), "FISH Mask": FishMask()}))

# %% [markdown]
# No, and no. Its step is no shorter than LoRA's, and it keeps more than LoRA does. Embeddings and first layer are among
# the chosen, so the backward pass runs through the whole model. Wherever a matrix has chosen numbers, its input is kept, the
# gradient of the whole matrix is computed, and then a few numbers are picked from it. What a mask saves comes after the
# gradient: the place to keep it, the optimizer's state, and the file.
#
# ## What is stored, and merging
#
# For each number a value and a position, 8 bytes. Merging writes the values into the weights, exactly, and the model is a
# plain GPT again: inference costs nothing more. `detach` gives the base back.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    delta.save(tuned, Path(folder) / "where")
    size = sum(f.stat().st_size for f in (Path(folder) / "where").iterdir())
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "where").eval()
everything = sum(p.numel() * p.element_size() for p in base.parameters())
print(
    f"the delta: {size / 1e3:.0f} kB, of which values and positions {8 * k / 1e3:.0f} kB; the model: {everything / 1e6:.1f} MB"
)
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), tuned.eval()(ids)))
print("merged, the same logits:", torch.equal(merge(copy.deepcopy(tuned))(ids), tuned(ids)))
given_back = detach(copy.deepcopy(tuned))
print("detached, the base:", all(torch.equal(p, base.get_parameter(name)) for name, p in given_back.named_parameters()))

# %% [markdown]
# ## The picture: where the information is
#
# On the left, each part of the model: which share of its numbers was chosen. On the right, all half million numbers in the
# order of their information, and how much of the whole the first ones hold together.

# %%
kinds = ["norm1", "attn.q", "attn.k", "attn.v", "attn.o", "norm2", "mlp.up", "mlp.down"]
layers = range(base.c.layers)
share = torch.tensor(
    [
        [
            torch.cat([masks[n].flatten() for n in masks if n.startswith(f"trunk.{i}.{kind}.")]).float().mean()
            for i in layers
        ]
        for kind in kinds
    ]
)
outside = {name: masks[f"{name}.weight"].float().mean().item() for name in ("tokens", "positions", "norm")}
falling = torch.cat([f.flatten() for f in information.values()]).sort(descending=True).values
held = falling.double().cumsum(0) / falling.double().sum()

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), gridspec_kw={"width_ratios": [1, 1.1]})
left.imshow(share.sqrt(), cmap="Greys", vmin=0, aspect="auto")
for row in range(len(kinds)):
    for i in layers:
        dark = share[row, i].sqrt() > 0.6 * share.max().sqrt()
        text = f"{100 * share[row, i]:.1f}" if share[row, i] else "–"
        left.text(i, row, text, ha="center", va="center", color="white" if dark else "black", size=8)
left.set(xlabel="layer", title="share of its numbers chosen (%)", xticks=layers, yticks=range(len(kinds)))
left.set_yticklabels([kind.removeprefix("attn.").removeprefix("mlp.") for kind in kinds])
ranks = torch.logspace(0, torch.tensor(len(held)).log10().item(), 200).long().clamp(1, len(held)).unique()
right.semilogx(100 * ranks / len(held), 100 * held[ranks - 1], "k-", lw=1.5)
right.axvline(0.5, color="C3", lw=1.5)
right.text(0.42, 96, "FISH Mask's\n0.5 %", color="C3", ha="right", va="top", size=9)
right.set(xlabel="the first … % of all numbers", ylabel="hold so much of the information (%)", ylim=(0, 103))
fig.tight_layout()
draw.show(
    fig,
    "Left: a map of the share of numbers chosen, by part and layer; the first layer has most, the last layers almost "
    "none. Right: the share of all Fisher information that the first numbers hold, which rises steeply; a line marks "
    "FISH Mask's half per cent.",
)

# %%
print(f"the first 0.5 % hold {held[k - 1]:.0%} of the information, the first 10 % hold {held[len(held) // 10 - 1]:.0%}")
print("chosen outside the blocks:", {name: f"{s:.1%}" for name, s in outside.items()})
by_layer = [sum(masks[n].sum().item() for n in masks if n.startswith(f"trunk.{i}.")) for i in layers]
print("chosen in each layer:", by_layer)

# %% [markdown]
# Half a per cent of the numbers hold nearly half of the information. Most of it lies in the first two layers, above all in
# their attention and the norm before it, and in the embeddings of tokens and positions. The last layer gets nothing at all. A
# share of each tensor, fixed beforehand, would have sent most of the budget where it is of little use.
#
# And within a matrix? Here are three masks as they are: each chosen number is a dot.

# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3.5))
shown = {
    "positions.weight": ("position", "a number of the stream", "positions"),
    "trunk.0.attn.o.weight": ("output: a number of the stream", "input: from the heads", "attention's o, layer 0"),
    "trunk.1.attn.o.weight": ("output: a number of the stream", "input: from the heads", "attention's o, layer 1"),
}
for ax, (name, (row, column, title)) in zip(axes, shown.items(), strict=True):
    where = masks[name].nonzero()
    ax.plot(where[:, 1], where[:, 0], "s", color="C3", ms=1.8, mew=0)
    ax.set(xlim=(-1, 96), ylim=(96, -1), xlabel=column, ylabel=row, title=f"{title}: {len(where)}", aspect="equal")
fig.tight_layout()
draw.show(
    fig,
    "Three matrices of 96 by 96 with the chosen numbers as dots. They lie in lines: a few whole rows in the embedding of "
    "positions and in the second layer, a few rows and columns in the first layer.",
)

# %%
by_word = masks["tokens.weight"].sum(1)
first = by_word.argsort(descending=True)[:6].tolist()
print("words with the most chosen numbers:  ", {base.tokenizer.decode([i]): int(by_word[i]) for i in first})
by_position = masks["positions.weight"].sum(1)
print("positions with the most:             ", sorted(by_position.argsort(descending=True)[:3].tolist()))
answers = torch.tensor([labels.index(next(t for t in labels if t != IGNORE)) for _, labels in rows[:256]])
print("positions from which answers are read:", answers.unique().tolist())
for i in (0, 1):
    rows_of = masks[f"trunk.{i}.attn.o.weight"].sum(1).argsort(descending=True)[:3]
    print(f"fullest rows of o in layer {i}:         ", sorted(rows_of.tolist()))

# %% [markdown]
# The dots lie in lines. For one example, the gradient of a Linear's weight is a sum over its tokens of what has come back
# times what was read, $\sum_t G_t\, x_t^\top$. So a full **row** is an output through which the answers move, whatever was
# read; a full **column** is an input that is large in most examples. Many numbers in few lines: that is why the rank was low.
#
# And the lines have names. Every question of this task ends with a name and a colon, and the colon stands at position
# 20: from there the answer is read. The mask has found positions 18 to 20, the embeddings of the colon and the full
# stop, and that of `<|endoftext|>`, with which every text begins and every answer ends. The three fullest rows of both
# layers are the same three numbers of the stream.
#
# ## Does the choice matter?
#
# The honest control is a random mask of the same size. Here it is, at the paper's half per cent and at a tenth of that,
# in 120 steps. The table also says how far the model has moved, as the length of the whole change, and what became of
# the stories that the base was pretrained on. Their *perplexity* is $e$ to the mean loss of a token: the lower, the
# better the model knows them. The base's is 2.7 ([docs/comparison](../docs/comparison/README.md)).
#
# **Predict first.** 248 numbers of 497,088. Can a model be taught by so few, if they are the right ones? If they are random
# ones? And which mask needs the longer way?


# %%
def with_mask(where):
    """FISH Mask that is told what to choose."""

    class Given(FishMask):
        def stages(self, model, batches):
            self.attach(model, where)
            yield Stage("train")

    return Given()


fewer = budget(base, 0.0005)
runs = [("random", k), ("the most Fisher information", fewer), ("random", fewer), ("the largest in size", fewer)]
trained, histories = {("the most Fisher information", k): tuned}, {("the most Fisher information", k): history}
for name, size in runs:
    trained[name, size] = model = copy.deepcopy(base)
    histories[name, size] = fit(
        model, with_mask(largest(scores[name], size)), task, steps=120, seed=0, validate=10, progress=False
    )

# %%
stories = pretrain.held_out()[:100]


def row(model):
    plain = merge(copy.deepcopy(model)).eval()
    score = evaluate(plain, task)
    length = sum((p - base.get_parameter(name)).square().sum() for name, p in plain.named_parameters()).sqrt().item()
    return {
        "accuracy": f"{score.accuracy:.1%}",
        "loss": f"{score.loss:.3f}",
        "length of the change": f"{length:.1f}",
        "perplexity of the stories": f"{math.exp(pretrain.loss(plain, stories)):.2f}",
    }


draw.table([{"chosen": name, "numbers": size} | row(model) for (name, size), model in trained.items()])

# %%
fig, ax = plt.subplots(figsize=(6.5, 3))
looks = {"the most Fisher information": ("C3", "o"), "random": ("black", "s"), "the largest in size": ("0.6", "^")}
for (name, size), found in histories.items():
    color, marker = looks[name]
    ax.plot(*zip(*found.validations, strict=True), color=color, marker=marker, ms=4, ls="-" if size == k else "--",
            label=f"{name}, {size:,}")  # fmt: skip
ax.set(xlabel="step", ylabel="validation loss (nats per token)", yscale="log")
ax.legend(frameon=False, fontsize=8, bbox_to_anchor=(1, 1), loc="upper left")
fig.tight_layout()
draw.show(
    fig,
    "Validation loss over 120 steps for five masks. The numbers with the most Fisher information learn by far the "
    "fastest at either size; half a per cent of random numbers learns later, 248 random numbers hardly at all.",
)

# %% [markdown]
# At half a per cent a random mask learns this task too, only later. At a twentieth of a per cent the choice decides:
# 248 numbers of one kind learn all of it, 248 of the other nothing. So a fair test of a mask says what a random one
# does, and makes the budget small enough that it matters.
#
# The lengths show what a good handle saves: at half a per cent the random numbers have to go four times as far. But
# look at the last column. The numbers with the most Fisher information have moved the model less, and have hurt its
# stories more. What these answers depend on, other answers depend on as well.
#
# The [comparison of all methods](../docs/comparison/README.md) shows the same at higher learning rates. A search has
# chosen these by the task's loss alone, and with them FISH Mask leaves mini-gpt2 with a perplexity of 2.2 million
# (LoRA: 22), the highest but one of twenty. And on `opposite` it answers 100 % of the test's questions, but 0 % of
# those about words that the training data don't hold (LoRA: 88 %); on mini-llama, at a lower rate, it is 89 %.
#
# ## Its nearest relatives
#
# | | FISH Mask | [DiffPruning](11_diff_pruning.ipynb) | [FAR](12_far.ipynb) | [BitFit](10_bitfit.ipynb) |
# |---|---|---|---|---|
# | what trains | single numbers, anywhere | single numbers, anywhere | rows of the MLPs, and all that is no MLP | the biases |
# | who chooses | squared gradients of the base | learned gates | how far rows move in a first short training | the architecture |
# | trains while choosing | nothing | two numbers for each one | everything | nothing |
# | the mask afterwards | fixed | fixed after the first stage | fixed | fixed |
# | folds into the base | exactly | exactly | exactly | is the base |
#
# LoRA ([lesson 15](15_lora.ipynb)) takes the other road: all numbers of a matrix change, but together, in a few directions. Nothing
# forces a sparse change to have a low rank. This one has it nearly, since its numbers lie in a few rows and columns.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/fishmask.py`](../exercises/fishmask.py) beside this notebook. Each function has its equation, its shapes
# and its points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck?
# `hint("13.1")`.

# %%
ask("13.1")

# %%
check("13.1")

# %%
check("13.2")

# %% [markdown]
# 13.3 is a mistake to find in given code, 13.4 a counting question, 13.5 a prediction.

# %%
check("13.3")

# %%
check("13.4")

# %%
check("13.5")

# %% [markdown]
# ### Your Fisher information in the mini GPT
#
# The library runs one backward pass for each example. It need not: the gradient of a Linear's weight for one example is a
# product of what the Linear has read and of what came back to it, and both are there after **one** pass over a whole batch,
# row by row. That is exercise 13.1. As soon as `check("13.1")` passes, the cell below asks *your* function for the Fisher
# information of all Linears of the mini GPT, 16 examples a pass. Until then it uses the reference, and says so.

# %%
yours = learner("13.1")
linears = {name: part for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)}


def your_fisher(batches):
    seen, total = {}, {}

    def look(name):
        def hook(part, given, out):
            seen[name] = given[0].detach(), out

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in linears.items()]
    for x, y in batches:
        log_p = -method.loss(base, x, y) * (y != IGNORE).sum()  # summed over the 16 examples
        back = torch.autograd.grad(log_p, [out for _, out in seen.values()])
        for (name, (read, _)), G in zip(seen.items(), back, strict=True):
            total[f"{name}.weight"] = total.get(f"{name}.weight", 0) + yours(read, G) / len(batches)
    for hook in hooks:
        hook.remove()
    return total


mine = your_fisher(few)
worst = max(((mine[name] - information[name]).abs().max() / information[name].max()).item() for name in mine)
print(
    f"{len(few)} backward passes instead of {16 * len(few)}; largest difference from the library's F: {worst:.0e} of its largest"
)
model = copy.deepcopy(base)
fit(model, with_mask(largest(mine, k)), task, steps=50, seed=0)
print("before:", before)
print("after: ", evaluate(model, task))

# %% [markdown]
# ## What to remember
#
# 1. $F_i$ is the mean over examples of the squared gradient of $\log p$. Square first, then average; zero the gradients.
# 2. One competition for the whole model, exactly $k$ winners, fixed before training.
# 3. Train a short vector of the winners: the optimizer is as small as the mask, and nothing else can move.
# 4. It saves what comes after a gradient (its place, the optimizer's state, the file); of activations and time little.
# 5. Compare any clever mask with a random one of the same size.
#
# **The paper's headline**, as it is usually quoted (not checked against the paper's tables): on GLUE with BERT-large,
# updating 0.5 % of the numbers matches full fine-tuning. Our toy agrees in part. In the
# [comparison](../docs/comparison/comparison.md), on mini-gpt2, half a per cent matches full fine-tuning on three tasks
# (both have 100, 100 and 99 %), and stays far behind on the two hard ones: 28 % against 96 % on `odd_one_out`, 15 %
# against 73 % on `cipher`. The (IA)³ paper ([arXiv 2205.05638](https://arxiv.org/abs/2205.05638)) has FISH Mask among
# its baselines on T0-3B, below (IA)³.
#
# **Further reading.** The paper compares sample sizes from 32 to 16,384, and masks from 0.02 % to 2.1 %. In the library,
# `minipeft/selective/fishmask.py` measures and chooses, `minipeft/sparse.py` holds the short vectors, and
# `tests/test_fishmask.py` has the laws of this lesson as tests.
#
# **Next:** [lesson 14, Intrinsic SAID](14_intrinsic_said.ipynb), which moves in a few random directions of all numbers at once. Or go back to
# [the start](00_start_here.ipynb).
