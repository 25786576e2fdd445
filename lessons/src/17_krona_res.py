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
# # 17 · KronA beside the MLP
#
# **The question.** LoRA and KronA change a *weight*. An adapter changes what a *sub-layer* does. What happens if we take
# the Kronecker product of [lesson 16](16_krona.ipynb) out of the attention and put it, as an adapter, beside the whole MLP? What does one
# more number do, which says how much of the input is added? And what does the new place cost?
#
# | | |
# |---|---|
# | paper | Edalati et al., 2022, *KronA: Parameter Efficient Tuning with Kronecker Adapter*, [arXiv 2212.10650](https://arxiv.org/abs/2212.10650) |
# | survey | section 10.3 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), reparametrization-based methods |
# | before this | [lesson 16, KronA](16_krona.ipynb) |
# | you need | the Kronecker product; eigenvalues |
# | time | 20 minutes to read and run, 40 for the exercises |
#
# At the end you will know the paper's three methods apart, and you will have merged what is said to be unmergeable, at a
# price.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import GPT, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.reparametrization import krona_res
from minipeft.reparametrization.krona import KronA
from minipeft.reparametrization.krona_res import KronARes

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("past_tense")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()

# %% [markdown]
# ## Where it acts

# %%
model = copy.deepcopy(base)
KronARes().attach(model)
draw.block(model)

# %% [markdown]
# One product for each block, on a detour around the MLP: it reads what the MLP reads, after norm2, and adds to what the MLP makes.
#
# ## The equation
#
# $$ h \;=\; \underbrace{\text{MLP}(x)}_{\text{frozen}} \;+\; \underbrace{s\,(A \otimes B)\,x \;+\; r\,x}_{\text{trains}} \qquad
# A \in \mathbb{R}^{a \times a},\quad B \in \mathbb{R}^{d/a \times d/a},\quad r \in \mathbb{R} $$
#
# The product maps the stream's width $d$ to itself, whatever the MLP's hidden width is. There is no activation and no bias
# in it. $s$ is given; $r$ is learned, and each layer has its own. The paper has three methods:
#
# | name | beside | adds | merges |
# |---|---|---|---|
# | KronA | a Linear | $s\,(A \otimes B)\,x$ | yes |
# | KronA^B | the MLP (B for **b**lock) | $s\,(A \otimes B)\,x$ | no |
# | KronA^B_res | the MLP | $s\,(A \otimes B)\,x + r\,x$ | no |
#
# What can $r$ do that the product can't? The identity is a Kronecker product too, $I \otimes I$. But a *sum* of two products
# is in general none. Lesson 16's rearrangement shows it: there, one product has rank 1.

# %%
# NBVAL_CHECK_OUTPUT
g = torch.Generator().manual_seed(0)
A, B = torch.randn(8, 8, generator=g).double(), torch.randn(12, 12, generator=g).double()
for name, M in (("A ⊗ B", torch.kron(A, B)), ("A ⊗ B + r I", torch.kron(A, B) + 0.5 * torch.eye(96))):
    blocks = M.reshape(8, 12, 8, 12).transpose(1, 2).reshape(64, 144)
    print(f"{name:12} rearranged: rank {torch.linalg.matrix_rank(blocks)}")

# %% [markdown]
# ## The survey's sentence, and what to mind in it
#
# The survey has no listing for it, only one sentence: a parallel adapter, its weights parametrized by a Kronecker product,
# with a residual connection. A reader who knows adapters will build the first function below. What the paper says is the
# second.


# %%
def as_it_sounds(h, x, down, up):
    """A bottleneck with an activation, both projections Kronecker products, and a plain residual."""
    z = F.relu(x @ torch.kron(*down).T)
    return h + z @ torch.kron(*up).T + x


def paper(h, x, A, B, scale, r):
    return h + scale * x @ torch.kron(A, B).T + r * x


g = torch.Generator().manual_seed(0)
x, other, h = torch.randn(3, 5, 24, generator=g)
A, B = torch.randn(4, 4, generator=g), torch.randn(6, 6, generator=g)
down, up = (torch.randn(2, 4, generator=g), torch.randn(3, 6, generator=g)), (A[:, :2], B[:, :3])
zero = torch.zeros(())
for name, added, start in (
    ("as it sounds", lambda x: as_it_sounds(0, x, down, up), as_it_sounds(h, x, down, (0 * up[0], up[1]))),
    ("the paper", lambda x: paper(0, x, A, B, 1.0, 0.3), paper(h, x, 0 * A, B, 1.0, zero)),
):
    bent = (added(x + other) - added(x) - added(other)).abs().max()
    print(
        f"{name:12}  f(x + y) is off f(x) + f(y) by {bent:.1e}, the start is off the base by {(start - h).abs().max():.1e}"
    )

# %% [markdown]
# - There is **no bottleneck and no activation**: one linear map, as wide as the stream.
# - The residual is **not plain**: it is $r x$, and $r$ is learned.
# - KronA^B, the form without $r$, is not mentioned at all.
# - In its section on hybrid methods the survey says that it reparametrizes the weights of an adapter. There is no
#   adapter in it whose weights could be reparametrized.
#
# **Predict first.** $A$ and $r$ start at zero and $B$ at random. Which of the three have a gradient that is not zero in the
# first step?

# %%
# NBVAL_CHECK_OUTPUT
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
F.cross_entropy(model(ids)[0, :-1], ids[0, 1:]).backward()
for name, p in model.trunk[0].mlp.branch.named_parameters():
    print(f"{name:10} starts at zero: {not p.any()!s:5}  has a gradient: {bool(p.grad.any())}")

# %% [markdown]
# $A$ and $r$ move at once, $B$ from the second step on. So zero is a safe start for $r$. Is it the paper's? We could not
# verify which first value the authors used, and they published no code. Here is what other values would do to the model
# before any training: at how many positions of 40 prompts would it still guess the same next token as its base?

# %%
texts = [torch.tensor([base.tokenizer.start + base.tokenizer.encode(e.prompt)]) for e in task.test[:40]]
with torch.no_grad():
    for value in (0, 0.1, 0.3, 1):
        for block in model.trunk:
            block.mlp.branch.r.fill_(value)
        same = torch.cat([(model(t).argmax(-1) == base(t).argmax(-1)).flatten() for t in texts])
        print(f"r = {value}: the same guess at {same.float().mean():.0%} of {len(same)} positions")

# %% [markdown]
# ## The implementation

# %%
print(inspect.getsource(krona_res.ResidualKronecker))
print(inspect.getsource(krona_res.KronARes))

# %% [markdown]
# `Kronecker` is [lesson 16](16_krona.ipynb)'s branch. `Parallel` puts it around the MLP now and not around a Linear.
#
# ## It learns
#
# The task: say a sentence of the story again, as if it had been yesterday. Two hundred steps of 16 examples. The learning
# rates are those that the search of the course's comparison chose for this task on validation data
# ([docs/comparison](../docs/comparison/README.md)).

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
print("before:", before)
methods = {
    "KronA": (KronA(), 0.03),
    "KronA^B": (KronARes(residual=False), 0.1),
    "KronA^B_res": (KronARes(), 0.1),
}
tuned = {name: copy.deepcopy(base) for name in methods}
method, lr = methods["KronA^B_res"]
histories = {"KronA^B_res": fit(tuned["KronA^B_res"], method, task, steps=200, lr=lr, seed=0)}
print("after: ", evaluate(tuned["KronA^B_res"], task))

# %% [markdown]
# **Predict first.** The paper's other two methods, for as many steps: will KronA, beside queries and values, do better or
# worse than the two beside the MLP? KronA has two products in each block. So we also train half of it, beside the values
# only, which has exactly the numbers of KronA^B.

# %%
methods["KronA, values only"] = KronA(to=["attn.v"]), 0.03
for name, (method, lr) in methods.items():
    if name not in histories:
        tuned[name] = copy.deepcopy(base)
        histories[name] = fit(tuned[name], method, task, steps=200, lr=lr, seed=0)
    print(f"{name:19} trains {counts(tuned[name]).trainable:5,}, {evaluate(tuned[name], task)}")

# %%
fig, ax = plt.subplots(figsize=(6, 2.6))
styles = {
    "KronA, values only": {"color": "0.6", "ls": ":"},
    "KronA": {"color": "0.25", "ls": "--"},
    "KronA^B": {"color": "0.25"},
    "KronA^B_res": {"color": "C3"},
}
for name, style in styles.items():
    losses = torch.tensor(histories[name].losses).unfold(0, 10, 1).mean(1)
    ax.plot(range(10, 201), losses, lw=1.5, label=name, **style)
ax.set(xlabel="step", ylabel="loss (nats per token),\nmean of 10 steps", yscale="log")
ax.legend(frameon=False)
draw.show(
    fig,
    "Training losses over 200 steps: KronA's ends far below the others; KronA^B, KronA^B_res and KronA beside the values "
    "only end close to each other.",
)

# %% [markdown]
# KronA is far ahead, but with twice the numbers. Take one of its two products away, and its loss is no longer below
# theirs. So on this task, it seems, not the place decides, but how much trains. And $r$ gains nothing that one can see:
# the curves of KronA^B and KronA^B_res lie on each other. (We tried seeds 1 and 2 as well, outside this notebook: 98 %
# and 98.5 % for KronA, and between 81 % and 86 % for each of the other three, in no fixed order.)
#
# ## What it costs, on the survey's axes
#
# **Predict first.** $d = 96$, $a = 8$, four layers. How many numbers train? And how many are *changed*, when nothing can be
# merged?

# %%
# NBVAL_CHECK_OUTPUT
c = base.c
for name, m in tuned.items():
    print(f"{name:19}", counts(m))
print("predicted:          trains", c.layers * (8 * 8 + 12 * 12 + 1))

# %% [markdown]
# Half of KronA's numbers: one product a block and not two. No weight of the base changes, so there is no rank to
# report; what trains stays beside the model, and is counted as changed for this reason. (The map itself,
# $s\,(A \otimes B) + r I$, can have full rank.)

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {name: method for name, (method, _) in methods.items() if name != "KronA, values only"}
draw.table(costs(base, {"full fine-tuning": FullFineTuning()} | candidates))

# %% [markdown]
# KronA^B keeps less for the backward pass than KronA: it has one product a block, and the attention of the lowest block lies
# below all that trains, so nothing of it need be kept. That also makes its step shorter, by about a fifth of full
# fine-tuning's. KronA computes two products a block, and saves next to no time in a model as small as this.
#
# ## Merging: no. Or is it?
#
# The product goes around the MLP's nonlinearity. No change of `up` or `down` can do the same, and the library says so:

# %%
# NBVAL_CHECK_OUTPUT
model = tuned["KronA^B_res"]
try:
    merge(copy.deepcopy(model), whole=True)
except ValueError as error:
    print(error)
given_back = detach(copy.deepcopy(model))
same = all(torch.equal(p, q) for p, q in zip(given_back.parameters(), base.parameters(), strict=True))
print("detached, the base as it was:", same)

# %% [markdown]
# That is true of an MLP of the same size. But GELU has a property that is easily overlooked. It is
# $\text{gelu}(z) = z\,p(z)$, and $p(z) + p(-z) = 1$. So
#
# $$ \text{gelu}(z) - \text{gelu}(-z) \;=\; z\,p(z) + z\,p(-z) \;=\; z. $$
#
# **Two hidden units, one that reads $z$ and one that reads $-z$, hand a number through unchanged.** With $2d$ more hidden
# units the MLP can do the linear path as well, exactly. You write this in 17.4; the cell below uses your function as soon as
# its check passes, else the reference.

# %%
from torch import nn

widened = learner("17.4")
wide = detach(copy.deepcopy(model))
with torch.no_grad():
    for block, around in zip(wide.trunk, model.trunk, strict=True):
        M = around.mlp.branch.product.matrix() + around.mlp.branch.r * torch.eye(c.width)
        mlp = block.mlp
        up, bias, down = widened(mlp.up.weight, mlp.up.bias, mlp.down.weight, M)
        mlp.up, shift = nn.Linear(c.width, len(up)), mlp.down.bias
        mlp.down = nn.Linear(len(up), c.width)
        for linear, w, b in ((mlp.up, up, bias), (mlp.down, down, shift)):
            linear.weight.copy_(w)
            linear.bias.copy_(b)
print(f"hidden units: {c.hidden} before, {len(up)} after")
print(f"largest difference of a logit: {(wide(ids) - model(ids)).abs().max():.1e}")

# %% [markdown]
# A plain GPT again, with the same logits up to rounding, but a larger one. Is it worth it? Time the forward pass, on 16
# texts of 24 tokens:

# %%
from minipeft.measure import times

x = torch.randint(c.vocab, (16, 24), generator=torch.Generator().manual_seed(0))
forms = {
    "the base": base,
    "KronA, merged": merge(copy.deepcopy(tuned["KronA"])),
    "KronA^B, beside": tuned["KronA^B"],
    "KronA^B_res, beside": model,
    "KronA^B_res, in a wider MLP": wide,
}
with torch.no_grad():
    seconds = times(*[lambda m=m: m(x) for m in forms.values()], rounds=60).min(1).values  # the least disturbed
draw.table([{"": name, "time of the base": f"{s / seconds[0]:.0%}"} for name, s in zip(forms, seconds, strict=True)])

# %% [markdown]
# Merged, KronA is free, up to the noise of such short times. Beside the MLP, the detour takes time, although it holds
# less than two thousandths of the base's numbers: many small operations take longer than one large one. Measured with
# nothing else running, in [docs/comparison](../docs/comparison/comparison.md), KronA^B_res takes 116 % in this model
# and 115 % in the LLaMA-style one; the paper's table says 127 % for KronA^B and 136 % for KronA^B_res. The wider MLP is
# a plain model again, but it has half as many hidden units again, and it is slower than the detour.
#
# ## The picture: what $r$ does to the map
#
# The trained path of each layer is the matrix $M = s\,(A \otimes B) + r I$. An **eigenvalue** of $M$ says by what number it
# multiplies a direction of the stream. Those of $A \otimes B$ are all products of one of $A$ and one of $B$, so they lie
# around zero. Adding $r I$ moves every one of them by $r$, to the right or to the left, and nothing else.

# %%
fig, axes = plt.subplots(1, 4, figsize=(9, 2.7), sharex=True, sharey=True, layout="constrained")
with torch.no_grad():
    for i, (ax, block) in enumerate(zip(axes, model.trunk, strict=True)):
        r, product = block.mlp.branch.r, block.mlp.branch.product
        values = (torch.linalg.eigvals(product.A)[:, None] * torch.linalg.eigvals(product.B)).flatten() * product.scale
        ax.axhline(0, color="0.85", lw=0.8, zorder=0)
        ax.axvline(0, color="0.85", lw=0.8, zorder=0)
        ax.plot(values.real, values.imag, "o", color="0.6", ms=4, mfc="none", label="$s (A ⊗ B)$")
        ax.plot(values.real + r.item(), values.imag, ".", color="C3", ms=4, label="$s (A ⊗ B) + r I$")
        ax.set(title=f"layer {i}: r = {r.item():+.2f}", xlabel="real part", aspect="equal")
axes[0].set_ylabel("imaginary part")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
draw.show(
    fig,
    "For each of the four layers, 96 eigenvalues in the complex plane: grey circles around zero are those of the "
    "Kronecker product, red dots are the same moved sideways by the layer's r.",
)

# %% [markdown]
# In layers 0 and 3, $r$ has hardly left zero, and each dot lies in its circle. A plain residual would have $r = 1$. In
# layer 1 $r$ is more than half of that, and in layer 2 twice that: there, nearly all of the cloud has moved to the
# right of zero. So the four layers made very different use of their one number; a fixed residual of 1 would suit none
# of them.
#
# How large are the parts beside the MLP's own output?

# %%
sizes = torch.zeros(c.layers, 3)
with torch.no_grad():
    for i, block in enumerate(model.trunk):
        around, seen = block.mlp, []
        handle = around.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0][0]))
        for t in texts:
            model(t)
        handle.remove()
        into = torch.cat(seen)
        parts = around.base(into), around.branch.product(into), around.branch.r * into
        sizes[i] = torch.stack([z.square().mean().sqrt() for z in parts])
fig, ax = plt.subplots(figsize=(6, 2.6))
names = ("MLP(x)", "s (A ⊗ B) x", "r x")
for k, (name, colour) in enumerate(zip(names, ("0.85", "C3", "0.3"), strict=True)):
    ax.bar(torch.arange(c.layers) + 0.27 * (k - 1), sizes[:, k], 0.25, color=colour, ec="black", lw=0.5, label=name)
ax.set(xlabel="layer", ylabel="size (root mean square)", xticks=range(c.layers))
ax.legend(frameon=False)
draw.show(
    fig,
    "For each layer three bars: the size of what the MLP writes, of what the Kronecker product adds, and of r times x.",
)

# %% [markdown]
# The product adds about a half to two thirds of what the MLP writes. $r x$ is next to nothing in layers 0 and 3, and a third
# of the MLP's output in layer 2. Is it needed there? Take out one of the two, and train nothing:

# %%
print("as trained:         ", evaluate(model, task))
for name in ("r", "product.A"):
    less = copy.deepcopy(model)
    for block in less.trunk:
        block.mlp.branch.get_parameter(name).data.zero_()
    print(f"with {name} = 0:".ljust(20), evaluate(less, task))

# %% [markdown]
# Without the product nothing of the task is left. Without $r x$ a few examples are lost. So the product does the work.
# And if it is trained alone, as KronA^B, it does without $r$ from the start, and no worse.
#
# ## Its nearest relatives
#
# | | KronA^B_res | KronA ([lesson 16](16_krona.ipynb)) | parallel adapter ([lesson 19](19_mam.ipynb)) | Compacter ([lesson 21](21_compacter.ipynb)) |
# |---|---|---|---|---|
# | place | beside the MLP | beside a Linear | beside the MLP | after a sub-layer |
# | shape | one map, $d$ to $d$ | one map, $d_\text{in}$ to $d_\text{out}$ | down, activation, up | down, activation, up |
# | Kronecker product of | the map | the map | nothing | sums of them, in both projections |
# | linear | yes | yes | no | no |
# | merges | in a wider MLP only | yes | no | no |
#
# ## Your turn
#
# Open [`exercises/krona_res.py`](../exercises/krona_res.py) beside this notebook. Stuck? `hint("17.1")`.

# %%
ask("17.1")

# %%
check("17.1")

# %%
check("17.2")

# %%
check("17.3")

# %% [markdown]
# 17.4 is the wider MLP. When its check passes, go back to the cell that merges and run it again.

# %%
check("17.4")

# %% [markdown]
# ### Your KronA^B_res in the mini GPT
#
# As soon as `check("17.1")` passes, the cell below trains *your* `krona_res` inside the model; until then the library's.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

yours = learner("17.1")


class Yours(Wrapper):
    """An MLP with KronA^B_res beside it, added up by the learner's function."""

    def __init__(self, mlp):
        super().__init__(mlp)
        self.A = nn.Parameter(torch.zeros(8, 8))
        self.B = nn.Parameter((2 * torch.rand(12, 12) - 1) / 12**0.5)
        self.r = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return yours(self.base(x), x, self.A, self.B, 1.0, self.r)


class YourKronARes(Method):
    lr = 1e-2

    def insert(self, model):
        wrap(model, ["mlp"], Yours)


m = copy.deepcopy(base)
fit(m, YourKronARes(), task, steps=100, seed=0)
print("before:         ", before)
print("after 100 steps:", evaluate(m, task))

# %% [markdown]
# ## What to remember
#
# 1. $\text{MLP}(x) + s\,(A \otimes B)\,x + r\,x$: one linear map beside the whole MLP, and a learned share of its input.
# 2. There is no bottleneck and no activation in it, whatever "parallel adapter" makes you think.
# 3. $A$ and $r$ start at zero: exactly the base, and both move from the first step on.
# 4. It stays beside the model: no merge into the same shape, and some time at inference.
# 5. GELU passes a line through two units, so $2d$ more hidden units take the path in, exactly.
#
# **The paper's headline**, quoted from its tables: on GLUE with T5-base, an average of 86.57 for KronA^B_res, 86.28 for
# KronA^B, 86.14 for KronA and 85.65 for full fine-tuning, with about 0.07 % of the numbers. The toy agrees that there
# is a cost at inference, though a smaller one. It does not agree about the order. In
# [docs/comparison](../docs/comparison/comparison.md), over five tasks and three seeds, KronA answers 71 % and 70 % on
# the two models, KronA^B_res 56 % and 53 %, with 836 numbers against 1,664 and 1,408. This lesson's runs suggest that
# these counts are at least one reason. The paper gives all three about the same budget.
#
# **Further reading.** Section 3 of the paper has the three methods. Lesson 19 has the parallel adapter, its nearest
# relative with a bottleneck. The library's method is `minipeft/reparametrization/krona_res.py`.
#
# **Next:** [lesson 18, SparseAdapter](18_sparse_adapter.ipynb), which makes an adapter small by cutting it. Or go back to
# [the start](00_start_here.ipynb).
