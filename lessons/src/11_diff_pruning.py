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
# # 11 · DiffPruning: learn which numbers have to change
#
# **The question.** A tuned model is its base plus a difference. Could nearly all of that difference be exactly zero? Then we
# would store the few numbers that are not. DiffPruning learns the difference and its zeros together, by gradient descent.
# But how can one count zeros with something that has a gradient?
#
# | | |
# |---|---|
# | paper | Guo, Rush and Kim, 2020, *Parameter-Efficient Transfer Learning with Diff Pruning*, [arXiv 2012.07463](https://arxiv.org/abs/2012.07463) |
# | survey | section 9.2 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), selective methods |
# | before this | lessons [01](01_mini_gpt.ipynb) and [02](02_where_memory_goes.ipynb); [lesson 10, BitFit](10_bitfit.ipynb), helps |
# | you need | the sigmoid and its gradient; what an expectation is |
# | time | 35 minutes to read and run, 60 for the exercises |
#
# At the end you will have written a gate that is exactly shut in some draws, exactly open in others, and can be trained all
# the same. You will know why this method stores half a per cent of a model and trains two hundred.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch

from minipeft import GPT, DiffPruning, FishMask, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.method import IGNORE, FullFineTuning
from minipeft.selective.diff_pruning import HIGH, LOW, OPEN, Diff, diffs, gate, likely
from minipeft.selective.fishmask import fisher
from minipeft.sparse import budget, largest
from minipeft.surgery import reparametrize, trainable
from minipeft.tasks.task import batches, collate, encode

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()

# %% [markdown]
# ## Where it acts
#
# On every number of the model. In its first stage each of them gets two companions: a value $w$, which is the change, and
# a gate's $\alpha$, which decides how often the change counts. The red strips say how many numbers train in each part.

# %%
model = DiffPruning().attach(copy.deepcopy(base))
draw.block(model)

# %% [markdown]
# ## The equation
#
# For each number $i$ of the base, which belongs to a tensor $g$ (a weight matrix, a bias, a norm's gain, the embeddings):
#
# $$ \theta_i \;=\; \underbrace{\theta_{0,i}}_{\text{frozen}} \;+\; \underbrace{z_i\; z_g\; w_i}_{\text{the difference}}
# \qquad z = \mathrm{clip}\big(s\,(r - l) + l,\; 0,\; 1\big), \qquad s = \sigma\big(\log u - \log (1-u) + \alpha\big) $$
#
# $w$, $\alpha$ and $z$ have the shape of the tensor, $\alpha_g$ and $z_g$ are one number for each tensor. $u$ is drawn anew in each
# step, uniformly between 0 and 1. And $l < 0$, $r > 1$: here and in the paper $-1.5$ and $1.5$.
#
# So $z$ is drawn by squeezing noise through a sigmoid, **stretching** the result beyond 0 and 1 at both ends, and cutting off
# what sticks out. What was cut is exactly 0, or exactly 1; in between $z$ is smooth in $\alpha$. This is the *hard concrete*
# distribution (Louizos et al., 2018, [arXiv 1712.01312](https://arxiv.org/abs/1712.01312)). Its chance of not being zero is a formula,
# and so is the expected number of changes:
#
# $$ P(z > 0) = \sigma\!\Big(\alpha - \log \frac{-l}{r}\Big) \qquad
#    \text{loss} \;+\; \lambda \sum_i P(z_i > 0)\, P(z_g > 0) $$
#
# Counting the changes has no gradient. Their **expected** count has one, and gradient descent can lower it.
#
# The first values: $w = 0$, so that the model starts as its base, and $\alpha = 5$, so that all gates are open to begin with.

# %%
alphas = [5.0, 2.0, 0.0, -2.0]
grid = (torch.arange(400_000) + 0.5) / 400_000  # u, evenly
fig, axes = plt.subplots(1, 4, figsize=(9, 2.5), sharey=True)
for ax, alpha in zip(axes, alphas, strict=True):
    z = (torch.sigmoid(torch.logit(grid) + alpha) * (HIGH - LOW) + LOW).clamp(0, 1)
    shut, fully = (z == 0).float().mean(), (z == 1).float().mean()
    counted = torch.histc(z[(z > 0) & (z < 1)], bins=5, min=0, max=1) / len(z)
    ax.bar((torch.arange(5) + 0.5) / 5, counted, width=0.2, color="0.7", ec="white")
    ax.text(0.5, counted.max() + 0.02, f"{counted.sum():.0%}", ha="center", color="0.45", size=8)
    ax.bar([-0.08], [shut], width=0.09, color="C3")
    ax.bar([1.08], [fully], width=0.09, color="black")
    ax.text(-0.08, shut + 0.02, f"{shut:.0%}", ha="center", color="C3", size=8)
    ax.text(1.08, fully + 0.02, f"{fully:.0%}", ha="center", size=8)
    ax.set(title=f"α = {alpha:g}", xlabel="gate z", xticks=[0, 0.5, 1], xlim=(-0.25, 1.25), ylim=(0, 1.1))
axes[0].set_ylabel("share of draws")
fig.tight_layout()
draw.show(
    fig,
    "The distribution of a gate for four values of alpha. For 5 nearly all draws are exactly one; for 2 and 0 some are "
    "exactly zero, some exactly one, some between; for minus 2 most are exactly zero.",
)

# %% [markdown]
# Red is the share of draws that are exactly 0, black of those that are exactly 1, and grey lies between (five bars, and what
# they are together). Grey is where the gradient of $\alpha$ comes from. At $\alpha = 5$ there is little of it, and little red: the gates are open.
# Where $\alpha$ falls, red grows.
#
# **Predict first.** At the very first step, $w = 0$ everywhere. Which gradient does the *task* give to $w$, and which to
# $\alpha$? And the penalty? Then run the cell.

# %%
g = torch.Generator().manual_seed(0)
x, y = torch.randint(base.c.vocab, (2, 16, 24), generator=g)
for penalty in (0.0, 1e-5):
    method = DiffPruning(penalty=penalty)
    model = method.attach(copy.deepcopy(base))
    method.loss(model, x, y).backward()
    norms = {
        key: torch.cat([p.grad.flatten() for name, p in trainable(model).items() if name.endswith(f".{key}")]).norm()
        for key in ("w", "a", "group")
    }
    print(f"λ = {penalty:g}:  " + "   ".join(f"|grad of {key}| = {norm:.1e}" for key, norm in norms.items()))

# %% [markdown]
# The gate stands before $w$, so its gradient contains the factor $w$, and that is zero. The task moves $w$ alone at first;
# only the penalty moves the gates, and it moves all of them down. Later they compete: a gate whose change helps the task
# is pushed up, one whose change does nothing goes on falling. (`a` and `group` are what the library trains:
# $\alpha = 5 + 10\,a$. Adam moves every number by about one learning rate a step, so the factor makes the gates move ten
# times as fast as $w$. In the paper they have a learning rate of their own, 0.1 against $10^{-5}$.)

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey describes "a learnable binary mask on the weights". Take it at its word, and compare with the paper's form, which
# puts the gate before the *change*:


# %%
class OnTheWeights(Diff):
    """The survey's prose: the gates multiply the weight, changes and all."""

    def forward(self, weight):
        return self.gates(lambda alpha: gate(alpha, self.training)) * (weight + self.w)


rows, valid = ([encode(example, base.tokenizer) for example in split] for split in (task.train, task.valid))
end = base.tokenizer.end
stories, _ = collate(valid, end)
following = stories.roll(-1, 1)  # the next token of each, which the base can guess: it has read many such texts
following[(stories == end) | (following == end)] = IGNORE


def story_loss(form, alpha):
    model = copy.deepcopy(base)
    reparametrize(model, lambda name, weight: form(weight.detach(), False, 1.0))
    with torch.no_grad():
        for diff in diffs(model).values():
            diff.a.fill_(alpha - OPEN)
        torch.manual_seed(0)
        return FullFineTuning().loss(model.train(), stories, following).item()  # train: the gates are drawn


forms = {"gates on the change": Diff, "gates on the weights": OnTheWeights}
draw.table(
    [
        {"before training, w = 0": name}
        | {f"loss at α = {alpha:g}": f"{story_loss(form, alpha):.2f}" for alpha in (OPEN, 1.0)}
        for name, form in forms.items()
    ]
)

# %% [markdown]
# Before the change, the gates do nothing as long as $w = 0$, however far they are shut. Before the weights they set numbers of
# the pretrained model to zero, and the model is damaged before training starts. The word matters: it is the *difference* that
# is masked.
#
# More to mind in that section:
#
# - **$z$ is not binary.** It is drawn between 0 and 1, with both ends likely; a binary mask would have no gradient.
# - **Two of three stages are missing.** After the search comes a projection, which keeps the $\rho|\theta|$
#   largest changes of the whole model and undoes the others; then what is left trains on, under the fixed mask. These stages
#   set the half per cent. The penalty alone does not, as you will see.
# - **The gate for each tensor** is missing, $z_g$. The paper's best results have it.
# - The survey says that the search trains twice as many numbers as the model has. Right, up to one for each tensor.
# - Paper and code are not quite the same either. The authors' code *adds* the two probabilities in the penalty where the paper
#   multiplies them, and its last stage goes on from $w$ instead of $z w$. The library follows the paper.
#
# ## The implementation
#
# The gate, its chance, one re-expressed tensor, and the recipe in three stages.

# %%
for thing in (gate, likely, Diff, DiffPruning):
    print(inspect.getsource(thing))

# %% [markdown]
# ## It starts as the base
#
# And in the first stage it trains two numbers for each one of the base.

# %%
# NBVAL_CHECK_OUTPUT
model = DiffPruning().attach(copy.deepcopy(base))
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
numbers, tensors = sum(p.numel() for p in base.parameters()), len(list(base.parameters()))
print(f"2 x {numbers:,} + {tensors} = {2 * numbers + tensors:,}")
print(counts(model))

# %% [markdown]
# ## It learns, in three stages
#
# The task: a few people go to places, and we ask for one of them. `fit` would do all that follows in one line. Here we go
# through the recipe by hand, to look at it between the stages: `stages` attaches the gates and hands over; we train; it
# projects and hands over again; we train what is left. A hundred steps of 16 examples each time.

# %%
from minipeft.train import Fit, train

moments, seen, scores = (0, 25, 50, 75, 99), {}, {}


def watched(model, data):
    """The same batches, and before some of them a look at the gates."""
    for step, batch in enumerate(data):
        if step in moments and diffs(model):
            with torch.no_grad():
                seen[step] = torch.cat([diff.gates(likely).flatten() for diff in diffs(model).values()])
        yield batch


prompt, answer = task.test[0]
print(prompt, "→", answer)
method, tuned, history = DiffPruning(), copy.deepcopy(base), Fit()
data = batches(rows, 16, end, seed=0)
torch.manual_seed(0)
for stage in method.stages(tuned, ()):
    scores["before", stage.name] = evaluate(tuned, task)
    if not diffs(tuned):  # the gates are gone: here are the changes that survived
        found = {
            n: p.detach() - base.get_parameter(n).detach() for n, p in merge(copy.deepcopy(tuned)).named_parameters()
        }
    train(tuned, method, watched(tuned, data), valid, steps=100, lr=method.lr, history=history, label=stage.name)
    scores["after", stage.name] = evaluate(tuned, task)
    if gates := diffs(tuned):
        expected = sum(diff.expected() for diff in gates.values()).item()
        tensors_open = {name: likely(OPEN + diff.speed * diff.group).item() for name, diff in gates.items()}

# %% [markdown]
# **Predict first.** After the search the model knows the task. Then all but 0.5 % of the changes are undone. What is left of the
# accuracy right after that? And at the end?

# %%
search, last = "find the mask", "train what is left"
before, reached = scores["before", search], scores["after", last]
print("before:              ", before)
print("after the search:    ", scores["after", search], f"· {expected:,.0f} changes expected")
print("after the projection:", scores["before", last], f"· {counts(tuned).changed:,} changes")
print("after the last stage:", reached)

# %% [markdown]
# The search learns the task. Its penalty has closed many gates, but far too few: hundreds of thousands of changes are still
# expected, where 2,485 were asked for. So the projection cuts deep, and what the model has learnt is gone: it was spread over
# more changes than may stay. The last stage brings it back within a hundred steps, with these few alone.

# %%
fig, ax = plt.subplots(figsize=(6.5, 2.8))
ax.plot(history.losses, color="0.6", lw=1, label="training, each step")
ax.plot(*zip(*history.validations, strict=True), "ko-", ms=4, label="validation")
ax.axvline(100, color="C3", lw=1.5)
ax.text(102, ax.get_ylim()[1], "projection", color="C3", va="top")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend(frameon=False, loc="lower left")
draw.show(
    fig,
    "The loss in the search, which includes the penalty, and in the last stage. At the projection, after step 100, "
    "the validation loss jumps up, and then falls again.",
)

# %% [markdown]
# In the search the grey line holds the penalty as well, so it lies far above the validation loss.
#
# ## The picture: the mask fills in
#
# First, all gates of the model in the order of their chance to be open, at five moments of the search. Then the tensors' own
# gates when it ends. And last, where the 2,485 changes lie that survived: the share of each part's numbers.

# %%
kinds = ["norm1", "attn.q", "attn.k", "attn.v", "attn.o", "norm2", "mlp.up", "mlp.down"]
layers = range(base.c.layers)


def share_of(changes, i, kind):
    return (
        torch.cat([c.flatten() for n, c in changes.items() if n.startswith(f"trunk.{i}.{kind}.")]).ne(0).float().mean()
    )


def map_of(ax, values, title, form):
    ax.imshow(values.sqrt(), cmap="Greys", vmin=0, aspect="auto")
    for row in range(len(kinds)):
        for i in layers:
            dark = values[row, i].sqrt() > 0.6 * values.max().sqrt()
            text = form.format(100 * values[row, i]) if values[row, i] else "–"
            ax.text(i, row, text, ha="center", va="center", color="white" if dark else "black", size=8)
    ax.set(xlabel="layer", xticks=layers, yticks=range(len(kinds)))
    ax.set_title(title, size=10)
    ax.set_yticklabels([kind.removeprefix("attn.").removeprefix("mlp.") for kind in kinds])


share = torch.tensor([[share_of(found, i, kind) for i in layers] for kind in kinds])
opened = torch.tensor([[tensors_open[f"trunk.{i}.{kind}.weight"] for i in layers] for kind in kinds])
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), width_ratios=(1.5, 1, 1))
for n, moment in enumerate(moments):
    chance = seen[moment].sort(descending=True).values[:: numbers // 400]
    tone = f"{0.75 - 0.75 * n / (len(moments) - 1):.2f}"
    axes[0].plot(torch.linspace(0, 100, len(chance)), 100 * chance, color=tone, lw=1.5)
    axes[0].text(102, 100 * chance[-1], f"step {moment}", color=tone, size=8, va="center")
axes[0].axvline(0.5, color="C3", lw=1.5)
axes[0].text(2, 3, "0.5 %", color="C3", size=8)
axes[0].set(
    xlabel="share of all numbers (%)", ylabel="chance that the change counts (%)", xlim=(-3, 135), ylim=(0, 108)
)
axes[0].set(xticks=range(0, 101, 20))
axes[0].set_title("the gates close", size=10)
map_of(axes[1], opened, "tensor's gate open (%)", "{:.0f}")
map_of(axes[2], share, "numbers changed (%)", "{:.1f}")
fig.tight_layout()
draw.show(
    fig,
    "Left: the chance of each gate to be open, sorted, at five steps of the search: first all near one, then lower and "
    "lower. Middle: a map of the chance of each tensor's gate to be open. Right: a map of the share of numbers changed.",
)

# %%
outside = {name: found[f"{name}.weight"].ne(0).float().mean().item() for name in ("tokens", "positions", "norm")}
print("changed outside the blocks:", {name: f"{s:.1%}" for name, s in outside.items()})
print("expected changes:", {moment: f"{seen[moment].sum():,.0f}" for moment in moments})

# %% [markdown]
# All gates close, but some close faster. A tensor's gate stands before all of its numbers, so the penalty on it grows with their
# count: a norm's gate costs little to keep open, that of an MLP's matrix much. In the end the gates of the norms and of most
# of the first layer are open, and those of most MLP matrices and of most of the last layer's attention are at one half or
# below. For half a per cent the last curve would have to drop to nothing at the red line. It is nowhere near, and the projection has to do the rest.

# %% [markdown]
# ## What it costs, on the survey's axes
#
# First the drawing again, for the last stage: nothing is left of gates and values but short vectors.

# %%
draw.block(tuned)

# %%
from minipeft.course.costs import costs

candidates = {"full fine-tuning": FullFineTuning(), "DiffPruning": DiffPruning(), "FISH Mask": FishMask()}
draw.table(costs(base, candidates))

# %% [markdown]
# The search trains two numbers for each one of the base, so gradients and optimizer take twice what full fine-tuning takes. The
# gates of every number are kept for the backward pass as well, and a step takes more than twice as long. The last stage is as
# small as FISH Mask. When a paper says *parameter-efficient*, ask: in training, or in storage?
#
# What is stored is small: a value and a position for each change. It folds into the base exactly, and then costs nothing at
# inference.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

few = sum(p.numel() for p in trainable(tuned).values())
with tempfile.TemporaryDirectory() as folder:
    delta.save(tuned, Path(folder) / "where")
    size = sum(f.stat().st_size for f in (Path(folder) / "where").iterdir())
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "where").eval()
everything = sum(p.numel() * p.element_size() for p in base.parameters())
print(
    f"the delta: {size / 1e3:.0f} kB, of which values and positions {8 * few / 1e3:.0f} kB; the model: {everything / 1e6:.1f} MB"
)
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), tuned.eval()(ids)))
print("merged, the same logits:", torch.equal(merge(copy.deepcopy(tuned))(ids), tuned(ids)))
given_back = detach(copy.deepcopy(tuned))
print("detached, the base:", all(torch.equal(p, base.get_parameter(name)) for name, p in given_back.named_parameters()))
print(counts(tuned))

# %% [markdown]
# The third count is large: the changes are few, but scattered over a matrix of 96 × 384 they have full rank. Sparse and low rank
# are two different ways to be small. (FISH Mask's changes lie in lines, and have a low rank as well.)
#
# ## Does the search pay?
#
# FISH Mask ([lesson 13](13_fishmask.ipynb)) chooses the same number of places without any search: by squared gradients
# of the base. And there is the control that every mask has to be compared with, random places. In the next picture each
# of them gets the hundred steps of the last stage, from the base, with three seeds. DiffPruning is there as it is, with
# its tensors' gates and without them; and its places are there once more, starting from zero, without the values that
# the search has found.
#
# **Predict first.** Put the five in order.

# %%
import csv

with open("data/diff_pruning.csv", newline="") as file:  # python benchmarks/diff_places.py
    runs = list(csv.DictReader(file))
ways = {
    "DiffPruning": "DiffPruning",
    "single gates alone": "DiffPruning without tensors' gates",
    "the search's, from zero": "DiffPruning's places, from zero",
    "FISH Mask's, from zero": "FISH Mask's places, from zero",
    "random, from zero": "random places, from zero",
}
fig, ax = plt.subplots(figsize=(7, 2.6))
for row, way in enumerate(ways):
    reached = [100 * float(run["accuracy"]) for run in runs if run["what"] == way]
    ax.plot(reached, [row] * len(reached), "o", color="C3" if row < 3 else "black", ms=6, alpha=0.6, mew=0)
    ax.plot([sum(reached) / len(reached)], [row], "|", color="black", ms=16)
ax.set(
    xlabel="test accuracy (%), three seeds and their mean", yticks=range(len(ways)), xlim=(-3, 103), ylim=(4.5, -0.5)
)
ax.set_yticklabels(ways.values())
fig.tight_layout()
draw.show(
    fig,
    "Accuracy of three seeds each. DiffPruning: two near 100 %, one far below; without tensors' gates: none above 40 %; its "
    "places from zero: from near 0 to near 100 %; FISH Mask's places: all 100 %; random places: between 50 and 90 %.",
)
for what in ("DiffPruning", "single gates alone"):
    some = [run for run in runs if run["what"] == what]
    print(
        f"{ways[what]}: {min(float(run['searched']) for run in some):.0%} to {max(float(run['searched']) for run in some):.0%} "
        f"after the search, with about {sum(int(run['expected']) for run in some) / len(some):,.0f} changes expected"
    )

# %%
information = fisher(FishMask(), copy.deepcopy(base), [collate(rows[:256], end)], 256)
chosen = largest(information, budget(base, 0.005))
both = sum((found[name].flatten()[positions] != 0).sum().item() for name, positions in chosen.items())
print(f"of FISH Mask's {few:,} places, {both} are among those that DiffPruning has changed above")

# %% [markdown]
# On this task the search does not pay. FISH Mask's places, found with 256 backward passes, learn it with every seed. DiffPruning's
# own places, started from zero, are on average no better than random ones. With the values that the search has found more is
# reached in the end, but not with every seed. After the search the model knows the task; but it knows it by hundreds of
# thousands of changes together, and the few largest of them are not those that carry it alone.
#
# The tensors' gates matter most. Without them more changes are left to cut off, and what remains does not learn the task.
# And the two methods have hardly a place in common: "which numbers matter" has more than one answer.
#
# ## Its nearest relatives
#
# | | DiffPruning | [FISH Mask](13_fishmask.ipynb) | [FAR](12_far.ipynb) | [BitFit](10_bitfit.ipynb) |
# |---|---|---|---|---|
# | what trains in the end | single numbers, anywhere | single numbers, anywhere | rows of the MLPs, and all that is no MLP | the biases |
# | who chooses | learned gates, then size of the change | squared gradients of the base | how far rows move in a first short training | the architecture |
# | trains while choosing | two numbers for each one | nothing | everything | nothing |
# | folds into the base | exactly | exactly | exactly | is the base |

# %% [markdown]
# ## Your turn
#
# Open [`exercises/diff_pruning.py`](../exercises/diff_pruning.py) beside this notebook. Each function has its equation, its
# shapes and its points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck?
# `hint("11.1")`.

# %%
ask("11.1")

# %%
check("11.1")

# %%
check("11.2")

# %%
check("11.3")

# %% [markdown]
# 11.4 is a mistake to find in given code, 11.5 a counting question, 11.6 a prediction.

# %%
check("11.4")

# %%
check("11.5")

# %%
check("11.6")

# %% [markdown]
# ### Your gates in the mini GPT
#
# As soon as `check("11.1")` passes, every gate in the cell below is *your* `diff_gate`: half a million of them, drawn in each
# step of the search, and autograd finds its way through your code. Until then it uses the reference, and says so.

# %%
yours = learner("11.1")


class YourDiff(Diff):
    def diff(self, sample):
        def z(alpha):
            u = torch.rand_like(alpha).clamp(1e-6, 1 - 1e-6) if sample else torch.full_like(alpha, 0.5)
            return yours(u, alpha, LOW, HIGH)

        return self.gates(z) * self.w


class YourDiffPruning(DiffPruning):
    def insert(self, model, where=None, values=None):
        if where is None:
            reparametrize(model, lambda name, weight: YourDiff(weight.detach(), self.structured, self.speed))
        else:
            super().insert(model, where, values)


model = copy.deepcopy(base)
fit(model, YourDiffPruning(), task, steps=200, seed=0)
print("before:", before)
print("after: ", evaluate(model, task))

# %% [markdown]
# ## What to remember
#
# 1. The gate stands before the *change*, $\theta_0 + z w$. A shut gate gives the base's number, not zero.
# 2. Stretch a sigmoid beyond 0 and 1 and cut it: exact zeros, a gradient between, and a chance of zero that is a formula.
# 3. Search, project to $k$ changes of the whole model, train on. Without the last two there is no half per cent.
# 4. It stores little and trains the most: two numbers for each one of the base while it searches.
# 5. What comes out is sparse, folds in exactly, and has nearly full rank.
#
# **The paper's headline**, quoted from its tables: on GLUE with BERT-large, changing 0.5 % of the numbers for each task gives
# 80.6 on average (test, without QNLI), as much as full fine-tuning, 80.6; without the gates for whole tensors it is 79.4, and
# tuning the last layer alone gives 68.2. On the development sets, 0.1, 0.25, 0.5 and 1 % give 82.5, 84.5, 84.8 and 85.1,
# full fine-tuning 85.0. Our toy agrees about the gates for whole tensors: without them far less is reached. It does not agree
# about the rest. With one seed of three half a per cent stays far behind, and in the [comparison](../docs/comparison/comparison.md)
# DiffPruning reaches 55 % on average over five tasks on mini-gpt2, full fine-tuning 94 % and FISH Mask 68 %. Why, we don't
# know. Our searches are short, a hundred steps; the paper's take three epochs.
#
# **Further reading.** Louizos, Welling and Kingma, 2018, for the gates. In the library,
# `minipeft/selective/diff_pruning.py` is the method, and `tests/test_diff_pruning.py` compares the gates with hundreds of
# thousands of draws.
#
# **Next:** [lesson 12, FAR](12_far.ipynb), which chooses whole rows and moves them together. Or go back to [the start](00_start_here.ipynb).
