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
# # 04 · AdaMix: several adapters, drawn at random, averaged in the end
#
# **The question.** One adapter is small. Four adapters at the same place hold more, but cost four times as much when the
# model is used. Can we train four and pay for one?
#
# | | |
# |---|---|
# | paper | Wang et al., 2022, *AdaMix: Mixture-of-Adaptations for Parameter-efficient Model Tuning*, [arXiv 2205.12410](https://arxiv.org/abs/2205.12410) |
# | survey | section 6.2 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), additive methods |
# | before this | [lesson 03](03_adapters.ipynb) (adapters) |
# | you need | cross-entropy, softmax; what KL divergence measures |
# | time | 25 minutes to read and run, 45 for the exercises |
#
# At the end you will have trained a mixture of adapters with your own code, you will know what the second forward pass is
# for, and you will have seen what it means to average *weights* rather than answers.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import GPT, AdaMix, FullFineTuning, LoRA, Method, counts, evaluate, fit, tasks
from minipeft.additive import adamix
from minipeft.additive.adamix import Mixture, average, disagreement
from minipeft.course import ask, check, draw, learner
from minipeft.method import IGNORE
from minipeft.surgery import Wrapper, wrap
from minipeft.tasks.task import collate, encode

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")
base_name = "mini-llama"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# One block of the mini GPT, this time in LLaMA's style, with AdaMix attached: grey parts are frozen, red ones train.
# There is one place in a block, after the MLP, and a `Mixture` of adapters stands there.

# %%
model = copy.deepcopy(base)
AdaMix(size=16, experts=4).attach(model)
draw.block(model)

# %% [markdown]
# ## The equation
#
# There are $M$ **experts**. $D_i \in \mathbb{R}^{m \times d}$ and $c_i \in \mathbb{R}^m$ read, $U_j \in \mathbb{R}^{d \times m}$
# and $b_j \in \mathbb{R}^d$ write:
#
# $$ \text{while training:}\quad h \leftarrow h + U_j\, \mathrm{gelu}(D_i h + c_i) + b_j
# \qquad i, j \text{ uniform from } 1 \ldots M, \text{ drawn anew in each pass} $$
#
# $$ \text{afterwards:}\quad h \leftarrow h + \bar U\, \mathrm{gelu}(\bar D h + \bar c) + \bar b
# \qquad \bar D = \tfrac{1}{M} \textstyle\sum_i D_i \text{, and so on} $$
#
# One draw holds for all tokens of a batch, in one layer; other layers draw for themselves. In the authors' runs, and
# here by default, the experts **share** $U$ and $b$: only the side that reads is a mixture, and $j$ has one value.
#
# Averaging weights makes sense only if the experts do similar things. So the paper adds a term to the loss: each batch
# goes through the model **twice**, with two draws, and the two predictions $p$ and $q$ should agree:
#
# $$ \text{loss} \;=\; \text{cross-entropy of the first pass} \;+\; \tfrac{w}{2} \bigl( \mathrm{KL}(p \,\|\, q) + \mathrm{KL}(q \,\|\, p) \bigr) $$

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey's pseudocode of the place itself, in PyTorch, with the two groups of experts named as it names them:


# %%
def survey_listing(h, ups, downs, i, j):
    h = ups[i](h)
    h = F.gelu(h)
    return downs[j](h)


torch.manual_seed(0)
downs = [torch.nn.Linear(96, 16) for _ in range(4)]
ups = [torch.nn.Linear(16, 96) for _ in range(4)]
try:
    survey_listing(torch.randn(5, 96), ups, downs, 0, 1)
except RuntimeError as error:
    print("as listed:", error)
h = torch.randn(5, 96)
exchanged = survey_listing(h, downs, ups, 0, 1)
print(f"with up and down exchanged it runs; what is left of h in it: {F.cosine_similarity(h, exchanged).mean():.2f}")

# %% [markdown]
# The order is the wrong way round: **down** comes first, then the nonlinearity, then **up**. And with the order put right
# there is still no path for $h$ itself: as in the listing of [lesson 03](03_adapters.ipynb), the **skip is missing**.
#
# The second half of the listing is the agreement of the two passes, a "symmetrized KL". It does not say that half of
# the sum is taken, how it is weighted (1 for RoBERTa, 100 for GPT-2 in the authors' code), nor which pass the
# cross-entropy comes from. And it is silent about one thing that does not show in the value of the loss: in the
# authors' code, each KL takes the distribution that it compares *with* as given. It is *detached*, so no gradient goes
# through it.

# %%
g = torch.Generator().manual_seed(0)
first, second = (torch.randn(3, 7, generator=g, requires_grad=True) for _ in range(2))
p, q = first.log_softmax(-1), second.log_softmax(-1)
symmetric = ((p.exp() * (p - q)).sum(-1).mean() + (q.exp() * (q - p)).sum(-1).mean()) / 2
for name, value in {"targets detached": disagreement(p, q), "nothing detached": symmetric}.items():
    (gradient,) = torch.autograd.grad(value, first, retain_graph=True)
    off = (gradient - (p.exp() - q.exp()) / 6).abs().max()
    print(f"{name}: value {value:.4f}, gradient off (p - q) / 2n by {off:.1e}")

# %% [markdown]
# The same value, another gradient. With detached targets the gradient at a pass's logits is just $(p - q) / 2n$, $n$ the
# number of positions: it has the form of a cross-entropy's gradient, with the other pass as the label.
#
# Two more things to mind. The survey speaks of amortising the parameters: they are amortised at inference, while training
# all experts are there. And it presents AdaMix as a method for adapters alone; in the paper the experts may be LoRAs too.

# %% [markdown]
# ## The implementation
#
# All of it, read from the library.

# %%
for piece in (Mixture, adamix.average, disagreement, AdaMix):
    print(inspect.getsource(piece))

# %% [markdown]
# ## It starts near the base, and never twice the same
#
# **Predict first.** We give the same text to the fresh model twice. In evaluation, do we get the same logits twice? While
# training? And if there is one expert only?

# %%
# NBVAL_CHECK_OUTPUT
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
torch.manual_seed(0)
for experts in (4, 1):
    fresh = AdaMix(size=16, experts=experts).attach(copy.deepcopy(base))
    for mode in ("eval", "train"):
        getattr(fresh, mode)()
        print(f"{experts} experts, {mode:5}: the same twice:", torch.equal(fresh(ids), fresh(ids)))
    print("          the base's logits:", torch.equal(fresh.eval()(ids), base(ids)))

# %% [markdown]
# In evaluation there is nothing to draw, the mean is used. While training, two passes differ as soon as there is more than
# one expert. And no start is the base exactly: $U$ is small, not zero.

# %%
print(f"how far a logit of the last one is from the base's, at most: {(fresh(ids) - base(ids)).abs().max():.2f}")

# %% [markdown]
# ## It learns
#
# The task: a few people go to places, and we ask for one of them. `fit` with `AdaMix` ends by averaging the experts. We
# want to look at them first, so here is an AdaMix that stops before.


# %%
class Unaveraged(AdaMix):
    """AdaMix that ends with all its experts."""

    def stages(self, model, batches):
        return Method.stages(self, model, batches)


prompt, answer = task.test[0]
print(prompt, "→", answer)
model = copy.deepcopy(base)
before = evaluate(model, task)
history = fit(model, Unaveraged(), task, steps=200, seed=0)
after = evaluate(model, task)
print("before:", before)
print("after: ", after)

# %%
averaged = copy.deepcopy(model)
average(averaged)
print(averaged.trunk[0].mlp)
print("averaged:", evaluate(averaged, task))

# %% [markdown]
# The score does not change: `evaluate` had already used the means, since nothing is drawn in evaluation. `average` makes it
# final, and throws the experts away.

# %% [markdown]
# ## The picture: do they drift apart?
#
# Averaging the weights of two networks is a strange thing to do. Take one adapter and train it twice, the second time
# from another random start and with the examples in another order. Both come out well. But half of the one plus half of
# the other need not do anything useful.
#
# **Predict first.** The four experts of a mixture start as independent draws as well. After 200 steps, do they resemble
# each other more than at the start, or less?


# %%
class OnePass(Unaveraged):
    """One pass, and the plain cross-entropy.  With one expert: a plain adapter after the MLP."""

    loss = Method.loss


apart = [copy.deepcopy(base) for _ in range(2)]
for seed, one in enumerate(apart):
    fit(one, OnePass(experts=1), task, steps=200, seed=seed)
    print(f"one adapter, seed {seed}:", evaluate(one, task))


def mixtures(model):
    return [part for part in model.modules() if isinstance(part, Mixture)]


def expert(model, k):
    """D, c, U, b of expert k, layer by layer."""
    return [stack[k % len(stack)].detach() for part in mixtures(model) for stack in part.parameters()]


def start_of(method, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # as `fit` does
        return method.attach(copy.deepcopy(base))


def cosine(one, other):
    """Of the matrices D of two experts, the mean over the layers."""
    return sum(F.cosine_similarity(a.flatten(), b.flatten(), 0).item() for a, b in zip(one, other, strict=True)) / len(
        one
    )


alone = [start_of(OnePass(experts=1), seed) for seed in range(2)]
mixed = start_of(Unaveraged())
rows = []
for name, (first, last) in {
    "two experts of the mixture": [[expert(m, k)[::4] for k in (0, 1)] for m in (mixed, model)],
    "two adapters, trained apart": [[expert(m, 0)[::4] for m in pair] for pair in (alone, apart)],
}.items():
    learned = [[z - a for z, a in zip(after, before, strict=True)] for before, after in zip(first, last, strict=True)]
    values = {"at the start": first, "after training": last, "what was learned": learned}
    rows.append({"cosine of D": name} | {when: f"{cosine(*pair):.2f}" for when, pair in values.items()})
draw.table(rows)

# %% [markdown]
# They don't drift apart, they come together. What training *adds* to two experts of a mixture points almost in the same
# direction. Two adapters that were trained apart have found two different ways to do the same task.
#
# A likely reason: no expert can go a way of its own. In every other layer a stranger may have been drawn, and the answer has
# to be right with all of them. (They share $U$, too, but that isn't what does it: try `share_up=False`.)
#
# Now walk in a straight line from one expert to another, in all layers at once, and look at the loss on the way. The middle
# of the way is the mean of the two.

# %%
x, y = collate([encode(e, base.tokenizer) for e in task.test[:64]], base.tokenizer.end)
labelled = y != IGNORE


@torch.no_grad()
def log_probabilities(model):
    return model.logits(model.features(x)[labelled]).log_softmax(-1)


def walk(one, other, ways):
    """The losses on the straight way from the weights `one` (0) to the weights `other` (1)."""
    plain = OnePass(experts=1).attach(copy.deepcopy(base)).eval()
    places, losses = [p for part in mixtures(plain) for p in part.parameters()], []
    for way in ways:
        for place, a, b in zip(places, one, other, strict=True):
            place.data[0] = (1 - way) * a + way * b
        losses.append(F.nll_loss(log_probabilities(plain), y[labelled]).item())
    return losses


ways = [k / 8 for k in range(9)]
pairs_of_experts = [(i, j) for i in range(4) for j in range(i)]
together = [walk(expert(model, i), expert(model, j), ways) for i, j in pairs_of_experts]
across = walk(*(expert(one, 0) for one in apart), ways)

# %%
fig, ax = plt.subplots(figsize=(8, 2.8))
for k, losses in enumerate(together):
    ax.plot(ways, losses, color="0.55", lw=1.2, label="two experts of the mixture\n(all six pairs)" if k == 0 else None)
ax.plot(ways, across, "o-", color="C3", ms=4, label="two adapters,\ntrained apart")
ax.axvline(0.5, color="0.8", lw=1, ls=":")
ax.text(0.505, 0.01, "the mean", color="0.4", size=8, va="bottom")
ax.set(xlabel="way from one (0) to the other (1)", ylabel="loss on 64 test examples\n(nats per token)", ylim=(0, None))
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
draw.show(
    fig,
    "Loss on the straight way between two adapters. Between any two experts of the mixture the lines are flat or slightly "
    "tilted. Between two adapters that were trained apart the loss rises to about twice that of its ends in the middle.",
)
ends, middles = [end for losses in together for end in (losses[0], losses[-1])], [losses[4] for losses in together]
print(f"experts: ends {min(ends):.3f} to {max(ends):.3f}, middles {min(middles):.3f} to {max(middles):.3f}")
print(f"trained apart: ends {across[0]:.3f} and {across[-1]:.3f}, middle {across[4]:.3f}")

# %% [markdown]
# Between experts the way is level: a nearly straight, slightly tilted line, and the mean is about as good as its ends. All of them sit in
# one flat valley. Between the two adapters that were trained apart there is a hill, and their mean is on top of it with
# about twice the loss of either. (The hill is low enough that the task survives it: this task is easy.)
#
# So averaging weights is no trick that works by itself. It works because the experts were trained as parts of one model.

# %% [markdown]
# ## What the second pass does
#
# Each draw gives another model: with 4 experts at each of the layers there are $4^{\text{layers}}$ of them. Below are
# some draws, as dots; the mean of their *answers*, which would cost as many passes; and the mean of the *weights*,
# which costs one. There are three rows. The middle one is the model that you have just seen. Above it is one that was
# trained without the second pass, and so without any demand to agree; below it one with the authors' weight for GPT-2,
# $w = 100$.
#
# **Predict first.** What will $w = 100$ do to the spread of the dots? And to the loss?

# %%
careless, strict = copy.deepcopy(base), copy.deepcopy(base)
fit(careless, OnePass(), task, steps=200, seed=0)
print("without the second pass:", evaluate(careless, task))
fit(strict, Unaveraged(consistency=100.0), task, steps=200, seed=0)
print("with a weight of 100:   ", evaluate(strict, task))


def look(model, draws=24):
    """Losses of single draws, of the mean of their answers, of the mean of the weights; and how far two draws differ."""
    model.train()
    torch.manual_seed(0)
    said = torch.stack([log_probabilities(model) for _ in range(draws)])
    model.eval()
    mean_answer = said.logsumexp(0) - torch.tensor(float(draws)).log()
    losses = [F.nll_loss(one, y[labelled]).item() for one in (*said, mean_answer, log_probabilities(model))]
    differ = sum(disagreement(a, b).item() for a, b in said.view(-1, 2, *said.shape[1:])) / (draws // 2)
    return losses[:draws], losses[-2], losses[-1], differ


seen = {"one pass": look(careless), "two passes, w = 1": look(model), "two passes, w = 100": look(strict)}

# %%
fig, ax = plt.subplots(figsize=(8, 2.8))
for row, (losses, answers, weights, _) in enumerate(seen.values()):
    spread = [row + 0.012 * ((7 * k) % 24 - 12) for k in range(len(losses))]
    ax.plot(losses, spread, "o", color="0.55", ms=4, label="one draw" if row == 0 else None)
    for value, style in ((weights, {"color": "C3", "lw": 2}), (answers, {"color": "black", "lw": 1.5, "ls": "--"})):
        label = "mean of the weights" if value is weights else "mean of the answers"
        ax.plot([value] * 2, [row - 0.3, row + 0.3], label=label if row == 0 else None, **style)
ax.set(yticks=range(len(seen)), yticklabels=seen, xlabel="loss on 64 test examples (nats per token)")
ax.invert_yaxis()
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
draw.show(
    fig,
    "Losses of 24 draws as dots, for three trainings, with a line for the mean of the draws' answers and one for the mean of "
    "the weights. With one pass and with w = 1 the dots spread alike, with w = 100 much less, but at about twice the loss.",
)
for name, (losses, answers, weights, differ) in seen.items():
    print(
        f"{name}: draws {min(losses):.4f} to {max(losses):.4f}, mean of answers {answers:.4f}, "
        f"mean of weights {weights:.4f}; two draws differ by {differ:.4f} nats"
    )

# %% [markdown]
# Compare the first two rows. The dots are spread about as widely in both. The predictions of two draws differ by little
# in both, and with the second pass by a little more than half as much. So the labels alone have made the experts nearly
# agree, since each of them is pulled to the same answers. With $w = 100$ the dots fall together, but the loss of all of
# them is nearly twice as high after the same 200 steps: they agree, and have learned less.
#
# And in each row the red line lies among the dots, close to the dashed one. That is the bet of the paper, and it holds
# here: the mean of the weights does what the mean of the answers does, for one pass instead of many. But in our toy the
# second pass isn't what makes it hold.

# %% [markdown]
# ## When the mean of the weights is the mean of the answers
#
# **Predict first.** Suppose that the experts share the side that *reads* instead, $D$ and $c$, and each has its own $U_j$
# and $b_j$. Is the mean of the weights then the mean of what the experts say? And in the usual AdaMix?


# %%
def pairs(D, c, U, b, h):
    """What every pair says of h: (pairs, tokens, d)."""
    return torch.stack([F.gelu(h @ D[i].T + c[i]) @ U[j].T + b[j] for i in range(len(D)) for j in range(len(U))])


g = torch.Generator().manual_seed(0)
h = torch.randn(5, 96, generator=g)
for name, reads, writes in (("shared D, own U", 1, 4), ("own D, shared U", 4, 1)):
    stacks = [
        torch.randn(*shape, generator=g) / 5 for shape in ((reads, 16, 96), (reads, 16), (writes, 96, 16), (writes, 96))
    ]
    answers = pairs(*stacks, h).mean(0)
    weights = pairs(*(stack.mean(0, keepdim=True) for stack in stacks), h)[0]
    print(f"{name}: the two means are {(answers - weights).abs().max():.1e} apart")

# %% [markdown]
# What comes after the gelu is linear, and a mean passes through it. What comes before does not. So the default of the paper
# is the case in which the average is an approximation, and it needs experts that are close to each other.

# %% [markdown]
# ## What it costs, on the survey's axes
#
# **Predict first.** Width 96, 4 layers, size 16, 4 experts, $U$ and $b$ shared. How many numbers train, and how many are
# stored at the end?

# %%
# NBVAL_CHECK_OUTPUT
m, experts = 16, 4
down, up = m * c.width + m, c.width * m + c.width
print("trains:", c.layers * (experts * down + up), "| measured:", counts(model).trainable)
print("stored:", c.layers * (down + up), "| measured:", counts(averaged).changed)

# %% [markdown]
# An adapter changes no weight matrix of the base: there is no rank to report. Papers like to quote the second number. It
# is right for what you store, and wrong for what you train.

# %%
from minipeft.course.costs import costs


class Cheap(AdaMix):
    """AdaMix without its second pass, averaged in the end."""

    loss = Method.loss


candidates = {
    "full fine-tuning": FullFineTuning(),
    "AdaMix, two passes": AdaMix(),
    "AdaMix, one pass": Cheap(),
    "one adapter": Cheap(experts=1),
    "LoRA": LoRA(),
}
draw.table(costs(base, candidates))

# %% [markdown]
# **The second pass is what costs.** AdaMix keeps the activations of both passes until the backward pass, more than full
# fine-tuning keeps of its one, and a step takes more than twice as long as that of a single adapter. The experts
# themselves cost next to nothing in time, as one of them is drawn; but gradients and Adam's averages are held for all
# four. The file and the forward pass are those of one adapter. Such a pass takes a little longer than that of a model
# into which LoRA was merged: in the comparison of all methods, measured with nothing else running, 9 % and 11 % longer
# than the base's ([docs/comparison](../docs/comparison/comparison.md)).

# %%
import tempfile
from pathlib import Path

from minipeft import delta

averaged.attached = (AdaMix(),)  # the file should name the library's method, not our Unaveraged
with tempfile.TemporaryDirectory() as folder:
    delta.save(averaged, Path(folder) / "where")
    size = sum(f.stat().st_size for f in (Path(folder) / "where").iterdir())
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "where").eval()
everything = sum(p.numel() * p.element_size() for p in base.parameters())
print(f"the delta: {size / 1e3:.0f} kB, the whole model: {everything / 1e6:.1f} MB")
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), averaged.eval()(ids)))

# %% [markdown]
# ## Its nearest relatives
#
# The fair comparison is one adapter at the same place, trained for the same number of steps: the same storage, the same
# cost at inference, half the work in training.

# %%
rows = []
for name, tuned in {"AdaMix, 4 experts": model, "one adapter": apart[0], "one adapter, seed 1": apart[1]}.items():
    kept = copy.deepcopy(tuned)
    average(kept)
    numbers = {"trains": counts(tuned).trainable, "stored": counts(kept).changed}
    rows.append({"": name} | numbers | {"on the test set": str(evaluate(kept, task))})
draw.table(rows)

# %% [markdown]
# Here one adapter does as well, with half the work: a little better in loss, about equal in accuracy; the differences are
# of a few examples in two hundred.
#
# | | AdaMix | adapters ([lesson 03](03_adapters.ipynb)) | a mixture of experts with a router |
# |---|---|---|---|
# | who chooses the expert | chance, for a whole batch | there is one | a trained router, for each token |
# | at inference | one adapter, the mean | one adapter | all experts are stored, some are used |
# | passes in a training step | 2 | 1 | 1 |
# | folds into the base | no | no | no |
#
# The paper does the same with LoRA ([lesson 15](15_lora.ipynb)): the experts are pairs of thin matrices, and their mean *does* fold.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/adamix.py`](../exercises/adamix.py) beside this notebook. Each function has its equation, its shapes and
# its points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck?
# `hint("04.1")`.

# %%
ask("04.1")

# %%
check("04.1")

# %%
check("04.2")

# %%
check("04.3")

# %%
check("04.4")

# %% [markdown]
# 04.5 is a prediction.

# %%
check("04.5")

# %% [markdown]
# ### Your AdaMix in the mini GPT
#
# As soon as `check("04.1")` passes, the cell below trains *your* `adamix_train`, with your `adamix_eval` where nothing is
# drawn, and your `adamix_disagreement` in the loss; each of the three is used as soon as its own check passes.

# %%
one_draw, mean, differ = learner("04.1"), learner("04.2"), learner("04.3")


class Yours(Wrapper):
    """A part of the model, and the learner's functions after it."""

    def __init__(self, part, size=16, experts=4):
        super().__init__(part)
        self.experts = torch.nn.ParameterList(
            [
                0.02 * torch.randn(experts, size, c.width),
                torch.zeros(experts, size),
                0.02 * torch.randn(1, c.width, size),
                torch.zeros(1, c.width),
            ]
        )

    def forward(self, x, *context):
        h = self.base(x, *context)
        if self.training:
            return one_draw(h, *self.experts, torch.randint(4, ()).item(), 0)
        return mean(h, *self.experts)


class YourAdaMix(Method):
    lr = 3e-3

    def insert(self, model):
        wrap(model, "mlp", Yours)

    def loss(self, model, x, y):
        here = y != IGNORE
        first, second = (model.logits(model.features(x)[here]) for _ in range(2))
        return F.cross_entropy(first, y[here]) + differ(first, second)


yours = copy.deepcopy(base)
fit(yours, YourAdaMix(), task, steps=60, seed=0)
print("before:", before)
print("after: ", evaluate(yours, task))

# %% [markdown]
# ## What to remember
#
# 1. Several adapters at one place; each training pass draws one at random, for the whole batch.
# 2. Afterwards their **weights** are averaged: one adapter is stored, at one adapter's price.
# 3. It works because the experts are trained as parts of one model, and end in one valley. Adapters that were trained
#    apart don't.
# 4. Each batch goes through twice, and the two predictions are pulled together; that doubles the price of a step.
# 5. What trains is not what is stored; say which you count. As any adapter, the mean does not fold into the base.
#
# **The paper's headline**, quoted from its abstract: tuning 0.1 to 0.2 % of a language model's parameters, AdaMix does
# better than full fine-tuning and than other parameter-efficient methods. Our toy does not show that. One adapter
# at the same place does as well with half the work. In the comparison of all twenty methods
# ([docs/comparison](../docs/comparison/README.md)), over five tasks and three seeds, AdaMix answers 54 % on either model and
# Houlsby's adapters, with twice as many places, 76 % and 83 %. (With 200 steps for everybody; an expert sees only its
# share of them, and the paper's runs have 20 and more epochs.) What the toy does show is the mechanism: experts that are
# drawn at random in one model learn the same thing, their mean is as good as they are, and one adapter's price is what is
# left.
#
# **Further reading.** The paper's section 3 has the method, and its ablations compare the mean with random and with fixed
# draws. In the library, `minipeft/additive/adamix.py` is the method, and `tests/test_adamix.py` proves what is said here.
#
# **Next:** [lesson 05, Prompt Tuning](05_prompt_tuning.ipynb), which adds nothing to the blocks at all. Or go back to
# [the start](00_start_here.ipynb).
