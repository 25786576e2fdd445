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
# # 03 · Adapters: a small network after each sub-layer
#
# **The question.** A company has one large model and fifty tasks. Full fine-tuning gives fifty large models. Can we leave
# the model as it is, put a few small trainable networks between its parts, and store only those for each task?
#
# | | |
# |---|---|
# | paper | Houlsby et al., 2019, *Parameter-Efficient Transfer Learning for NLP*, [arXiv 1902.00751](https://arxiv.org/abs/1902.00751); the second placement: Pfeiffer et al., 2020, [arXiv 2005.00247](https://arxiv.org/abs/2005.00247) |
# | survey | section 6.1 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), additive methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02](02_where_memory_goes.ipynb) (where memory goes) |
# | you need | what a residual connection is; what a gradient is |
# | time | 30 minutes to read and run, 40 for the exercises |
#
# This is the oldest method of the course, and several of the others are its descendants. At the end you will have
# written an adapter that trains inside the mini GPT. You will know why it needs a path around itself, why in general it
# cannot be folded into the model, and how nearly it can be once it has been trained.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import GPT, Adapters, FullFineTuning, LoRA, counts, detach, evaluate, fit, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.surgery import Serial, Wrapper, find, wrap

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("reversing")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# One block of the mini GPT with adapters, drawn from the model itself: grey parts are frozen, red ones train. There are
# two adapters in each block. One reads what attention has computed, the other what the MLP has computed, and each adds
# something to it *before* it joins the residual stream. The norms train as well; that is a part of the paper's recipe.

# %%
model = copy.deepcopy(base)
Adapters(size=16).attach(model)
draw.block(model)

# %% [markdown]
# ## The equation
#
# Let $h \in \mathbb{R}^d$ be what a sub-layer gives for one token. The adapter is
#
# $$ A(h) \;=\; h \;+\; \underbrace{U\, \mathrm{gelu}(D\,h + c) + b}_{\text{the bottleneck } B(h)}
# \qquad D \in \mathbb{R}^{m \times d},\; c \in \mathbb{R}^m,\; U \in \mathbb{R}^{d \times m},\; b \in \mathbb{R}^d $$
#
# with $m$ much smaller than $d$: $d$ numbers are squeezed **d**own to $m$, bent by a nonlinearity, and brought back **u**p.
# In a block, with $x$ the residual stream:
#
# $$ \text{Houlsby:}\quad x \leftarrow x + A(\mathrm{sublayer}(\mathrm{norm}(x))) \;\text{ twice}
# \qquad\qquad \text{Pfeiffer:}\quad x \leftarrow A(\mathrm{block}(x)) \;\text{ once} $$
#
# Houlsby's adapter reads the sub-layer's result. Pfeiffer's reads the residual stream itself, after the whole block.
#
# Two details carry the method:
#
# - **The skip.** $A$ contains $h$ itself. If $B(h)$ is small, the model is nearly the one that was pretrained.
# - **It starts small.** The paper draws $D$ and $U$ from a normal of deviation 0.01, cut at two deviations; the biases are
#   zero.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey's pseudocode puts a second `FFN` behind the sub-layer. In PyTorch, beside what the paper says:


# %%
def survey_listing(h, bottleneck):
    return bottleneck(h)


def paper(h, bottleneck):
    return h + bottleneck(h)


class After(Wrapper):
    """A part of the model, and what one of the two makes of its result."""

    def __init__(self, part, form):
        super().__init__(part)
        self.form, self.bottleneck = form, Adapters(size=16).branch(c.width)

    def forward(self, x, *context):
        return self.form(self.base(x, *context), self.bottleneck)


def loss_of(model):
    score = evaluate(model, task, "valid")
    return f"{score.loss:.2f}"


losses = {"the base": loss_of(base)}
for form in (paper, survey_listing):
    torch.manual_seed(0)
    model = copy.deepcopy(base)
    wrap(model, ["attn", "mlp"], lambda part, form=form: After(part, form))
    losses[form.__name__] = loss_of(model)
print("loss before any training, nats per token:", losses)

# %% [markdown]
# The paper's form starts at the base's loss. In the listing, $h$ is *replaced* by a bottleneck that starts near zero: every
# attention and every MLP falls silent, and the loss more than doubles. What would then be trained is hardly the pretrained
# model any more. (You may say that the author of the listing means a module with its own skip. Then it is still the one
# line that a reader who implements it will miss.)
#
# Other things to mind when you read that section:
#
# - It does not say that the LayerNorms train too, nor that everything starts near zero.
# - It says that Pfeiffer et al. keep the adapter after *self-attention*. They keep the one after the **feed-forward**
#   sub-layer; it reads the stream that the sub-layer has joined.
# - "Less than 4 %" is the paper's 3.6 % of new numbers a task, with the best size chosen for each task.
# - `FFN` is the name of two different things in one block: the model's own MLP, and the adapter.

# %% [markdown]
# ## The implementation
#
# This is all of it, read from the library: the bottleneck, the wrapper that adds the skip, and the method.

# %%
from minipeft.additive import adapters

for piece in (adapters.Bottleneck, Serial, adapters.Adapters):
    print(inspect.getsource(piece))

# %% [markdown]
# ## It starts near the base
#
# Near, not exactly. `start="zero"` makes $U$ zero, and then it is exact to the last bit. What matters more: the start has
# to be *small*. Below, the deviation of the first $D$ and $U$ grows from a thousandth to one. Nothing is trained; we look
# how far the predictions are from the base's.

# %%
from minipeft.tasks.task import collate, encode

batch = collate([encode(e, base.tokenizer) for e in task.valid[:64]], base.tokenizer.end)


@torch.no_grad()
def distance(deviation):
    """KL divergence of the base's predictions from those at the start, if D and U are drawn with this deviation."""
    torch.manual_seed(0)
    model = Adapters(size=16).attach(copy.deepcopy(base))
    for part in find(model, ["attn", "mlp"]).values():
        part.branch.down.weight.normal_(std=deviation)
        part.branch.up.weight.normal_(std=deviation)
    was, now = (m(batch[0]).log_softmax(-1).flatten(0, 1) for m in (base, model))
    return F.kl_div(now, was, log_target=True, reduction="batchmean").item()


deviations = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
distances = [distance(deviation) for deviation in deviations]
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.loglog(deviations, distances, "ko-", ms=4)
ax.axvline(0.01, color="C3", lw=1.5, label="the paper's deviation")
ax.set(xlabel="standard deviation of the first D and U", ylabel="KL from the base (nats)")
ax.legend(frameon=False, loc="lower right")
draw.show(
    fig,
    "How far the predictions are from the base's before training, against the deviation of the first weights, on "
    "logarithmic axes: it grows steeply. A line marks the paper's deviation of 0.01.",
)
for deviation, far in zip(deviations, distances, strict=True):
    print(f"deviation {deviation:5.3f}: {far:.1e} nats")

# %% [markdown]
# As long as the deviation is small, ten times as much of it gives seven to nine thousand times the distance: the branch
# is a product of two matrices, so it grows with the square of the deviation, and KL with the square of the branch. At
# the paper's deviation nobody would notice the adapters; at 0.3 little is left of the base's predictions.

# %%
# NBVAL_CHECK_OUTPUT
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
for start in ("near", "zero"):
    model = Adapters(size=16, start=start).attach(copy.deepcopy(base))
    print(f'start="{start}": the same logits as the base:', torch.equal(model(ids), base(ids)))

# %% [markdown]
# **Predict first.** With $U = 0$ (and $c = b = 0$), which of $D$, $c$, $U$, $b$ have a gradient in the first step? Write it
# down; the next cell asks autograd.

# %%
# NBVAL_CHECK_OUTPUT
adapters.Adapters().loss(model, *batch).backward()
branch = model.trunk[0].attn.branch
for name, p in zip("DcUb", branch.parameters(), strict=True):
    print(f"gradient of {name}: {'not zero' if p.grad.any() else 'zero'}")

# %% [markdown]
# Everything that lies below $U$ gets its gradient *through* $U$, and $U$ is zero: so $D$ and $c$ wait for one step. Exercise
# 03.4 asks the same about a $D$ that is zero.

# %% [markdown]
# ## It learns
#
# The task: say four words in reverse order. It needs attention, since each answer is a word that stands elsewhere.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
model = copy.deepcopy(base)
before = evaluate(model, task)
history = fit(model, Adapters(size=16), task, steps=200, seed=0)
after = evaluate(model, task)
print("before:", before)
print("after: ", after)

# %%
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(history.losses, color="0.6", lw=1, label="training, each step")
ax.plot(*zip(*history.validations, strict=True), "ko-", ms=4, label="validation")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend(frameon=False)
draw.show(fig, "The training loss falls by orders of magnitude within 200 steps, and the validation loss follows it.")

# %% [markdown]
# ## The picture: take adapters out again
#
# An adapter has a skip around it. So, unlike a part of the model, it can be taken out after training, and what is left
# still works as a network. We take out both adapters of a *span* of blocks, from one block to another, train nothing, and
# look at what the model can still do.
#
# **Predict first.** Where do adapters matter most, in the first blocks or in the last ones? And if you can take out those
# of block 2 alone and those of block 3 alone almost without harm, can you take out both?


# %%
def without(first, last):
    """The trained model without the adapters of blocks first to last."""
    less = copy.deepcopy(model)
    for block in less.trunk[first : last + 1]:
        block.attn, block.mlp = block.attn.base, block.mlp.base
    return less


spans = torch.full((c.layers, c.layers), float("nan"))
for first in range(c.layers):
    for last in range(first, c.layers):
        spans[first, last] = 100 * evaluate(without(first, last), task).accuracy

added = {}
for name, part in find(model, ["attn", "mlp"]).items():

    def look(branch, inputs, output, name=name):
        h = inputs[0]
        added[name] = h.flatten(0, 1), output.flatten(0, 1)  # (tokens, d) each

    part.branch.register_forward_hook(look)
with torch.no_grad():
    model(batch[0])
for part in find(model, ["attn", "mlp"]).values():
    part.branch._forward_hooks.clear()

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=[1, 1.25], layout="constrained")
left.imshow(spans, cmap="Greys_r", vmin=0, vmax=100)
for first in range(c.layers):
    for last in range(first, c.layers):
        value = spans[first, last].item()
        left.text(last, first, f"{value:.0f}", ha="center", va="center", color="black" if value > 50 else "white")
left.set(
    xticks=range(c.layers),
    yticks=range(c.layers),
    xlabel="last block without adapters",
    ylabel="first block without adapters",
    title="accuracy left, %",
)
share = {name: (out.norm(dim=1) / h.norm(dim=1)).mean().item() for name, (h, out) in added.items()}
for shift, place, colour in ((-0.2, "attn", "C3"), (0.2, "mlp", "0.6")):
    heights = [share[f"trunk.{i}.{place}"] for i in range(c.layers)]
    right.bar([i + shift for i in range(c.layers)], heights, width=0.4, color=colour, label=f"after {place}")
right.set(xticks=range(c.layers), xlabel="block", ylabel="|B(h)| / |h|", title="what an adapter adds to what it reads")
right.legend(frameon=False)
draw.show(
    fig,
    "Left: the accuracy that is left without the adapters of a span of blocks. Without block 0 nothing is left; without "
    "block 1, 2 or 3 alone nearly everything; without two neighbours much less. Right: the mean length of what each "
    "adapter adds, as a share of the length of what it reads.",
)

# %% [markdown]
# Read the left picture by rows. Without the adapters of block 0 nothing is left, whatever else stays. Without those of
# block 1, of block 2 or of block 3 *alone*, the accuracy is nearly what it was. But without those of 1 *and* 2 it falls
# to 72 %, without those of 2 and 3 to 18 %, and without those of 1, 2 and 3 to nothing. So blocks 1 to 3 do not each
# hold a piece of the task that only they know: the others can stand in for one block, but less and less for two or
# three. (The norms stayed as they were trained.)
#
# The paper draws this map for BERT-base, in its section 3, and there it is the adapters of the *lower* layers that can best
# be missed. Our toy says the opposite of block 0. We do not know why; four layers and one task of copying words are not
# twelve layers and language. What agrees is the other half: a single block's adapters can be spared, many cannot.
#
# The right picture explains a little of it: after the MLP of block 0 the adapter adds a vector as long as the one it
# reads, in the other blocks less than half as long. "Near the identity" was the start; it is not where training ends.

# %% [markdown]
# ## What it costs, on the survey's axes
#
# **Predict first.** The model has 4 layers of width 96, the adapters' size is 16, and the norms train. How many numbers
# is that?

# %%
# NBVAL_CHECK_OUTPUT
print(counts(model))
m = 16
print("adapters:", 2 * c.layers * (2 * c.width * m + m + c.width))
print("norms:   ", (2 * c.layers + 1) * 2 * c.width)

# %% [markdown]
# An adapter changes no weight matrix, so there is no rank to speak of: what it adds stays beside the model, and counts
# as "changed" as a whole. The norms do change, they are vectors of the base.
#
# Now memory, time, and what the forward pass costs. (Times are those of the machine that built this notebook: compare
# them with each other only.)

# %%
from minipeft.course.costs import costs

candidates = {
    "full fine-tuning": FullFineTuning(),
    "adapters (Houlsby)": Adapters(size=16),
    "adapters (Pfeiffer)": Adapters(size=16, placement="pfeiffer"),
    "LoRA": LoRA(rank=8),
}
draw.table(costs(base, candidates))

# %% [markdown]
# Gradients and optimizer take about a twentieth of full fine-tuning's memory. With Houlsby's adapters most of the
# activations are still kept, for the reason of [lesson 02](02_where_memory_goes.ipynb): the gradient has to travel down to the lowest adapter.
# Pfeiffer's adapters keep least of all four, and not only because there are fewer of them. The lowest one stands
# *after* block 0, so nothing in block 0 waits for a gradient, and that whole block keeps nothing.
#
# The last column is the price that stays. LoRA can be merged and then is the plain model; adapters stand in the way of
# every token for ever. The sums are small, about $4 d m$ multiplications a block and token for Houlsby's, but they are
# extra steps that wait for each other.
#
# ## One base, many tasks
#
# This is what the paper was written for. A task's delta holds its adapters and its norms; the base is stored once.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    delta.save(model, Path(folder) / "reversing")
    size = sum(f.stat().st_size for f in (Path(folder) / "reversing").iterdir())
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "reversing").eval()
everything = sum(p.numel() * p.element_size() for p in base.parameters())
print(f"the delta: {size / 1e3:.0f} kB, the whole model: {everything / 1e6:.1f} MB")
print(
    f"fifty tasks: {(50 * size + everything) / 1e6:.0f} MB with adapters, {50 * everything / 1e6:.0f} MB with full fine-tuning"
)
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), model.eval()(ids)))

# %% [markdown]
# And `detach` gives the base back as it was, trained norms included.

# %%
# NBVAL_CHECK_OUTPUT
given_back = detach(copy.deepcopy(model))
print(all(torch.equal(p, q) for p, q in zip(given_back.parameters(), base.parameters(), strict=True)))

# %% [markdown]
# ## It cannot be merged. How bent is it?
#
# `merge` leaves adapters where they are. Two matrices with a gelu between them are not one matrix, so no weight of the
# base can take them up. That is true of every adapter that *could* come out of training. But what about those that
# *did*?
#
# We look for the straight (linear, plus a constant) map that comes nearest to what a trained adapter does: least
# squares, $B(h) \approx M h + k$, over the tokens of some training examples. A straight map *can* be folded: the Linear
# in front of the adapter (`attn.o` or `mlp.down`) has weight $W$ and bias $w$, so $h = W z + w$, and
#
# $$ h + M h + k \;=\; (I + M) W z \;+\; (I + M) w + k . $$
#
# **Predict first.** We replace all eight adapters by their straight maps and fold them. The result is a plain GPT, without
# any adapter. How much of the accuracy is left?


# %%
def straight(branch, h):
    """The affine map nearest to the branch on the inputs h (n, d): M, k, and the share of variance it explains."""
    with torch.no_grad():
        out = branch(h)
    ones = torch.ones(len(h), 1)
    best = torch.linalg.lstsq(torch.cat([h, ones], 1).double(), out.double(), driver="gelsd").solution.float()
    M, k = best[:-1].T, best[-1]
    unexplained = (h @ M.T + k - out).square().sum() / (out - out.mean(0)).square().sum()
    return M, k, 1 - unexplained.item()


some = collate([encode(e, base.tokenizer) for e in task.train[:200]], base.tokenizer.end)[0]
read = {}
hooks = [
    part.branch.register_forward_hook(
        lambda branch, inputs, output, name=name: read.update({name: inputs[0].flatten(0, 1)})
    )
    for name, part in find(model, ["attn", "mlp"]).items()
]
with torch.no_grad():
    model(some)
for hook in hooks:
    hook.remove()

plain, rows = copy.deepcopy(model), []
for name, h in read.items():
    M, k, explained = straight(model.get_submodule(name).branch, h)
    part = plain.get_submodule(name).base
    last = part.o if name.endswith("attn") else part.down
    with torch.no_grad():
        last.weight += M @ last.weight
        last.bias += M @ last.bias + k
    plain.set_submodule(name, part)
    rows.append(
        {"adapter after": name.removeprefix("trunk."), "variance explained by a straight map": f"{explained:.1%}"}
    )
draw.table(rows)

# %%
print("modules left beside the GPT:", sum(isinstance(module, Wrapper) for module in plain.modules()))
print("with its adapters:  ", after)
print("folded, as straight:", evaluate(plain, task))

# %% [markdown]
# The result is a plain GPT without any module beside it, and it does the task as well as before; only its loss tells
# that something was lost. "Cannot be merged" is a statement about what adapters *can* do. These ones, after training,
# do something that is nearly straight: a straight map explains nearly nine tenths or more of the variance of what each
# adds, and after the MLPs all but a thousandth or two.
#
# Why it can be so: near zero gelu is almost a line, $\mathrm{gelu}(z) \approx z/2$, for large positive $z$ it is about
# $z$, and for large negative $z$ about zero. An adapter bends only where one of its $m$ numbers goes, from token to
# token, over from one of these stretches to another. Mind what was *not* shown: this is one task and a small model, and
# the straight map was fitted on inputs like those of the test. A folded adapter is an approximation, and has to be
# measured each time.

# %% [markdown]
# ## Its nearest relatives
#
# Two of them, trained in the same way on the same examples, each at the learning rate that the library suggests for it.

# %%
results = [
    {
        "": "adapters (Houlsby), size 16",
        "trains": counts(model).trainable,
        "accuracy": f"{after.accuracy:.1%}",
        "test loss": f"{after.loss:.3f}",
    }
]
for name, method in {
    "adapters (Pfeiffer), size 16": Adapters(size=16, placement="pfeiffer"),
    "LoRA, rank 8": LoRA(rank=8),
}.items():
    other = copy.deepcopy(base)
    fit(other, method, task, steps=200, seed=0)
    score = evaluate(other, task)
    results.append(
        {
            "": name,
            "trains": counts(other).trainable,
            "accuracy": f"{score.accuracy:.1%}",
            "test loss": f"{score.loss:.3f}",
        }
    )
draw.table(results)

# %% [markdown]
# All three do the task. LoRA has the lowest loss with less than half of the numbers of Houlsby's adapters; Pfeiffer's
# are a little behind. That is one seed, one task and one learning rate each: enough to see that all three work, too
# little to rank them. Lesson 23 says what a fair comparison takes.
#
# | | Houlsby's adapter | Pfeiffer's adapter | parallel adapter ([lesson 19](19_mam.ipynb)) | LoRA ([lesson 15](15_lora.ipynb)) |
# |---|---|---|---|---|
# | reads | the sub-layer's result | the stream after the block | the stream before the sub-layer and its norm | what a Linear reads |
# | adds to | the sub-layer's result | the stream | the sub-layer's result | the Linear's result |
# | in between | a nonlinearity | a nonlinearity | a nonlinearity | nothing |
# | how many in a block | 2 | 1 | 1, beside the MLP | one for each chosen Linear |
# | folds into the base | no | no | no | yes |
#
# AdaMix ([lesson 04](04_adamix.ipynb)) has several adapters at one place, Compacter ([lesson 21](21_compacter.ipynb)) makes $D$ and $U$ of Kronecker products, and
# SparseAdapter ([lesson 18](18_sparse_adapter.ipynb)) removes most of their numbers before training.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/adapters.py`](../exercises/adapters.py) beside this notebook. Each function has its equation, its shapes
# and its points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck?
# `hint("03.1")`.

# %%
ask("03.1")

# %%
check("03.1")

# %%
check("03.2")

# %%
check("03.3")

# %% [markdown]
# 03.4 is a prediction, 03.5 a mistake to find in given code: the folding that you saw above.

# %%
check("03.4")

# %%
check("03.5")

# %% [markdown]
# ### Your adapter in the mini GPT
#
# As soon as `check("03.1")` passes, the cell below trains *your* `adapter` inside the model: after attention and after the
# MLP of every block. Until then it uses the library's, and says so.

# %%
from minipeft.method import Method

yours = learner("03.1")


class Yours(Wrapper):
    """A part of the model, and the learner's function after it."""

    def __init__(self, part, size=16):
        super().__init__(part)
        self.D = torch.nn.Parameter(0.01 * torch.randn(size, c.width))
        self.c = torch.nn.Parameter(torch.zeros(size))
        self.U = torch.nn.Parameter(0.01 * torch.randn(c.width, size))
        self.b = torch.nn.Parameter(torch.zeros(c.width))

    def forward(self, x, *context):
        return yours(self.base(x, *context), self.D, self.c, self.U, self.b)


class YourAdapters(Method):
    lr = 3e-3

    def insert(self, model):
        wrap(model, ["attn", "mlp"], Yours)


model = copy.deepcopy(base)
fit(model, YourAdapters(), task, steps=150, seed=0)
print("before:", before)
print("after: ", evaluate(model, task))

# %% [markdown]
# ## What to remember
#
# 1. $A(h) = h + U\,\mathrm{gelu}(D h + c) + b$: a bottleneck with a skip, after each sub-layer of a frozen model.
# 2. The skip and a small start keep the pretrained model alive at the first step. Without the skip it is gone.
# 3. Houlsby: two a block, on the sub-layers' results, and the norms train. Pfeiffer: one a block, on the stream.
# 4. A delta of kilobytes or megabytes for each task, one base for all.
# 5. In general it cannot be merged, so the forward pass has two more thin products at each place, for ever.
#
# **The paper's headline**, quoted from it: on GLUE, with BERT-large, adapters reach 80.0 where full fine-tuning reaches
# 80.4, with 3.6 % of new numbers for each task. Our toy agrees in part. On `reversing` adapters do what full
# fine-tuning does. In [docs/tasks.md](../docs/tasks.md), over fifteen tasks with adapters of size 12 and three seeds,
# they are on most rows within a few points of it; on `cipher` (2 % against 78 %) and `odd_one_out` (53 % against 98 %)
# they are far behind after 200 steps at one learning rate.
#
# **Further reading.** Section 3 of the paper has the picture with the spans for BERT, and asks how large the start may be.
# He et al. (2021), *Towards a Unified View of Parameter-Efficient Transfer Learning*
# ([arXiv 2110.04366](https://arxiv.org/abs/2110.04366)), put adapters, prefixes and LoRA into one formula; [lesson 19](19_mam.ipynb)
# comes back to it. In the library, `minipeft/additive/adapters.py` is the method, and `tests/test_adapters.py` compares
# it with AdapterHub's `adapters`.
#
# **Next:** [lesson 04, AdaMix](04_adamix.ipynb), with several adapters at each place, drawn at random. Or go back to
# [the start](00_start_here.ipynb).
