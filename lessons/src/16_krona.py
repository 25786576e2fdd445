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
# # 16 · KronA: few numbers, full rank
#
# **The question.** LoRA saves numbers by giving up rank. Must it be so? There is another way to make a large matrix from
# two small ones, the Kronecker product. For the price of a LoRA of rank 1 it gives a matrix of *full* rank. Is that
# better? And what does it give up instead?
#
# | | |
# |---|---|
# | paper | Edalati et al., 2022, *KronA: Parameter Efficient Tuning with Kronecker Adapter*, [arXiv 2212.10650](https://arxiv.org/abs/2212.10650) |
# | survey | section 10.3 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), reparametrization-based methods |
# | before this | [lesson 15, LoRA](15_lora.ipynb) |
# | you need | rank and singular values; `reshape` |
# | time | 30 minutes to read and run, 55 for the exercises |
#
# At the end you will have written the layer without ever forming the product. You will also know exactly in which sense
# KronA and LoRA are the same method, seen from two sides.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import GPT, LoRA, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.reparametrization import krona
from minipeft.reparametrization.krona import KronA, Kronecker

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("reversing")
base_name = "mini-llama"
base = GPT.from_pretrained(base_name).eval()

# %% [markdown]
# ## The product
#
# Take a small matrix $A$. Put in the place of each of its numbers a whole copy of $B$, times that number. This is the
# **Kronecker product** $A \otimes B$:
#
# $$ A \otimes B \;=\; \begin{pmatrix} A_{11} B & A_{12} B & \cdots \\ A_{21} B & A_{22} B & \cdots \\ \vdots & \vdots & \ddots \end{pmatrix} $$

# %%
# NBVAL_CHECK_OUTPUT
A = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]])
B = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
print(torch.kron(A, B))

# %% [markdown]
# $A$ says how much of $B$ stands where, $B$ says what it looks like. The order matters: $B \otimes A$ has the same size and
# the same numbers, in other places.

# %% [markdown]
# ## Where it acts
#
# In the same places as LoRA: beside the queries and the values of every layer. In this LLaMA-style model two heads of
# queries share keys and values, so the values' weight is only half as tall, and its product has fewer numbers.

# %%
model = copy.deepcopy(base)
KronA().attach(model)
draw.block(model)

# %% [markdown]
# ## The equation
#
# For one Linear with weight $W \in \mathbb{R}^{d_\text{out} \times d_\text{in}}$ and bias $b$:
#
# $$ y \;=\; \underbrace{W x + b}_{\text{frozen}} \;+\; \underbrace{s\,(A \otimes B)\,x}_{\text{trains}} \qquad
# A \in \mathbb{R}^{a_\text{out} \times a_\text{in}},\quad B \in \mathbb{R}^{b_\text{out} \times b_\text{in}},\quad
# a_\text{out} b_\text{out} = d_\text{out},\quad a_\text{in} b_\text{in} = d_\text{in} $$
#
# $s$ is a fixed number; it does what $\alpha / r$ does in LoRA. There is no rank to choose. What you choose is the size
# of $A$; the size of $B$ follows.
#
# $A \otimes B$ is as large as $W$, and it need not be formed. Cut $x$ into $a_\text{in}$ pieces of $b_\text{in}$ numbers and
# write them as the rows of a matrix $X$. Then
#
# $$ (A \otimes B)\,x \;=\; \text{the rows of } A X B^\top \text{, one after the other.} $$
#
# $B$ works inside each piece, the same in all; $A$ mixes the pieces.

# %%
g = torch.Generator().manual_seed(0)
A, B, x = (torch.randn(*shape, generator=g) for shape in ((8, 6), (12, 16), (96,)))
slow = torch.kron(A, B) @ x
fast = (A @ x.reshape(6, 16) @ B.T).reshape(-1)
print(f"largest difference: {(slow - fast).abs().max():.1e}")
print(f"multiplications: {96 * 96:,} with the product, {6 * 16 * 12 + 8 * 6 * 12:,} without; LoRA of rank 1: {96 + 96}")

# %% [markdown]
# ## Which size for A?
#
# $A$ and $B$ together have $a_\text{out} a_\text{in} + b_\text{out} b_\text{in}$ numbers. The rank of a Kronecker product is the
# *product* of the two ranks, so it can reach $\min(a_\text{out}, a_\text{in}) \cdot \min(b_\text{out}, b_\text{in})$.
#
# **Predict first.** For a weight of 96 × 96 and a square $A$: which size has the fewest numbers? Which size has the
# highest rank? And which old friend do you get with $A$ of size 96 × 1?

# %%
# NBVAL_CHECK_OUTPUT
rows = []
for a_out, a_in in ((1, 1), (2, 2), (4, 4), (8, 8), (12, 12), (48, 48), (8, 12), (2, 48), (96, 1), (1, 96)):
    branch = Kronecker(96, 96, 1.0, (a_out, a_in)).double()
    torch.nn.init.normal_(branch.A)
    rows.append(
        {
            "A": f"{a_out} × {a_in}",
            "B": f"{96 // a_out} × {96 // a_in}",
            "numbers": sum(p.numel() for p in branch.parameters()),
            "rank, measured": int(torch.linalg.matrix_rank(branch.matrix())),
        }
    )
draw.table(rows)

# %% [markdown]
# Every square $A$ gives full rank, and among them $a \approx \sqrt{d}$ has the fewest numbers: about $2d$, as many as a
# LoRA of rank 1. If you name no size, the library takes for $A$ the largest divisor that is not above $\sqrt{d}$, here
# 8, and 12 for $B$.
#
# The last two rows of the table are the old friend. A column times a row, $A$ (96 × 1) and $B$ (1 × 96), *is* LoRA of
# rank 1. So KronA contains it. With the size of $A$ you can go from rank 1 to rank 64 at the same price of 192 numbers,
# and to rank 96 for 16 more.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey writes vectors on the left, $x W$, so there the factors are transposed: $A$ is $(a_\text{in}, a_\text{out})$. Its
# listing says in PyTorch:


# %%
def survey_product(x, A, B):
    x = x.reshape(A.shape[1], B.shape[1])
    return (A.T @ x @ B).reshape(-1)


def survey_listing(x, W, A, B, scale):
    x = x @ W
    x = x + survey_product(x, A, B)
    return scale * x


def meant(x, W, A, B, scale):
    X = x.reshape(A.shape[0], B.shape[0])
    return x @ W + scale * (A.T @ X @ B).reshape(-1)


def compare(text, A, B, scale):
    d_in, d_out = A.shape[0] * B.shape[0], A.shape[1] * B.shape[1]
    g = torch.Generator().manual_seed(1)
    x, W = torch.randn(d_in, generator=g), torch.randn(d_in, d_out, generator=g)
    right = x @ W + scale * x @ torch.kron(A, B)
    for name, function in (("listing", survey_listing), ("meant", meant)):
        try:
            print(f"{text}, {name}: off by {(function(x, W, A, B, scale) - right).abs().max():.1e}")
        except RuntimeError as error:
            print(f"{text}, {name}: {error}")


g = torch.Generator().manual_seed(0)
A, B = torch.randn(4, 4, generator=g), torch.randn(6, 6, generator=g)
compare("A = 0, scale 1     ", 0 * A, B, 1)
compare("A = 0, scale 2     ", 0 * A, B, 2)
compare("square, scale 1    ", A, B, 1)
compare("W square, A (3, 4) ", torch.randn(3, 4, generator=g), torch.randn(8, 6, generator=g), 1)

# %% [markdown]
# Three mistakes, and each hides behind a special case:
#
# - **`x` is overwritten by `x @ W`** before the product is taken, so the adapter reads the *output* of the frozen weight.
#   While $A$ is zero, nobody can see it: the first line shows a difference of zero.
# - **`scale` reaches the frozen path**, the same slip as in the listing of LoRA. It hides at scale 1.
# - **`reshape` takes the wrong sides.** What is cut must have the sides that the factors *read*. With square factors both
#   are the same; with any other the listing raises.
#
# And around the listing:
#
# - It works on one vector. With a batch of texts the last dimension alone must be cut.
# - The survey says that the Kronecker product keeps the rank of its factors. You have just seen that it multiplies them.
# - It calls KronA much faster than adapters at inference. That holds for this form, once it is merged. The forms of
#   [lesson 17, KronA beside the MLP](17_krona_res.ipynb), cannot be merged: by the paper's table they take 127 % and 136 % of the plain
#   model's time.
# - It names neither the first values nor $s$.

# %% [markdown]
# ## The implementation
#
# This is all of it, read from the library: the branch, and the method that puts it beside the Linears.

# %%
print(inspect.getsource(krona.divisor))
print(inspect.getsource(krona.Kronecker))
print(inspect.getsource(krona.KronA))

# %% [markdown]
# `X` holds the matrix $X$ of every token. `A.bmm(X)`, a product of as many pairs of matrices, is $A X$ for each of them;
# `expand` lets one $A$ stand for all without a copy. `F.linear(..., B)` multiplies with $B^\top$. `matrix` forms the product;
# it is called by `merge` and never in training.
#
# ## It starts as the base
#
# $A$ starts at zero and $B$ at random, as with LoRA: the change is zero, and the gradient of $A$ is not. (That one factor
# starts at zero follows from the idea. Which one it is in the authors' experiments we could not verify; they published no
# code.)

# %%
# NBVAL_CHECK_OUTPUT
model = copy.deepcopy(base)
KronA().attach(model)
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
print("trains:", sorted({name.split(".", 2)[2] for name, p in model.named_parameters() if p.requires_grad}))
F.cross_entropy(model(ids)[0, :-1], ids[0, 1:]).backward()
branch = model.trunk[0].attn.q.branch
print("A has a gradient:", bool(branch.A.grad.any()), "· B has one:", bool(branch.B.grad.any()))

# %% [markdown]
# ## It learns
#
# The task: write a few words in reversed order. It is one of those on which this model wants more than rank 1
# ([docs/tasks.md](../docs/tasks.md)). Beside KronA we train LoRA of rank 1, which has about as many numbers.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
print("before:      ", before)
tuned, histories = {}, {}
for name, method in (("KronA", KronA()), ("LoRA, rank 1", LoRA(rank=1, alpha=2))):
    tuned[name] = copy.deepcopy(base)
    histories[name] = fit(tuned[name], method, task, steps=200, seed=0)
    print(f"{name + ':':13}", evaluate(tuned[name], task))

# %%
fig, ax = plt.subplots(figsize=(6, 2.6))
for (name, history), style in zip(histories.items(), ({"color": "C3"}, {"color": "0.3", "ls": "--"}), strict=True):
    ax.plot(history.losses, lw=0.7, alpha=0.35, **style)
    ax.plot(*zip(*history.validations, strict=True), marker="o", ms=4, label=f"{name}, validation", **style)
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend(frameon=False)
draw.show(
    fig,
    "The training and validation losses of KronA and of LoRA of rank 1 fall steeply and then slowly; KronA's falls later.",
)

# %% [markdown]
# This is one seed and one task, so the two accuracies say no more than "about the same". Over three seeds LoRA of rank
# 1 reaches 88 % on average here, and rank 8 reaches 100 % ([docs/tasks.md](../docs/tasks.md)). So rank matters on this
# task, and yet KronA's rank of 96 has not carried it past a LoRA of rank 1. (A higher learning rate helps KronA: with
# those that a search chose, it reaches 93 % here, and LoRA of rank 8 again 100 %, in
# [docs/comparison](../docs/comparison/comparison.md).) The pictures below say why that need not surprise us.

# %% [markdown]
# ## What it costs, on the survey's axes
#
# First the three counts. The queries' weight is 96 × 96, so $A$ is 8 × 8 and $B$ 12 × 12. The values' is 48 × 96: $A$ is
# 6 × 8 and $B$ 8 × 12.

# %%
# NBVAL_CHECK_OUTPUT
model = tuned["KronA"]
print("KronA:       ", counts(model))
print("LoRA, rank 1:", counts(tuned["LoRA, rank 1"]))
print("predicted:    trains", base.c.layers * (8 * 8 + 12 * 12 + 6 * 8 + 8 * 12), end=", ")
print("changes", base.c.layers * (96 * 96 + 48 * 96), end=", ")
print("rank", max(8 * 12, 6 * 8))

# %% [markdown]
# Here all three counts are needed. By the first, KronA is as small as LoRA of rank 1. By the second, both change the same
# weights. By the third they are as far apart as two changes can be.

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {"full fine-tuning": FullFineTuning(), "LoRA, rank 1": LoRA(rank=1, alpha=2), "KronA": KronA()}
draw.table(costs(base, candidates))

# %% [markdown]
# KronA keeps more for the backward pass than LoRA of rank 1: not one number per token between its two products, but a
# matrix of $a_\text{out} b_\text{in}$, which is about as long as $x$. It also computes more, as you have counted above.
# In both, gradients, Adam's averages and the file are nearly nothing. Activations are saved in part, for the reasons
# that [lesson 15](15_lora.ipynb) gives. Of the time KronA saves little: its step took nine tenths
# of full fine-tuning's in this run, LoRA's eight. Few numbers are not little work.
#
# ## Merging
#
# After training the product is formed once and added to $W$. What is left is a plain GPT, so inference costs nothing
# extra.

# %%
logits = model(ids)
plain = merge(copy.deepcopy(model))
print(plain.trunk[0].attn.q)
print(f"largest difference of a logit after merging: {(plain(ids) - logits).abs().max():.1e}")
given_back = detach(copy.deepcopy(model))
same = all(torch.equal(p, q) for p, q in zip(given_back.parameters(), base.parameters(), strict=True))
print("detached, the base as it was:", same)

# %% [markdown]
# ## The picture: what a change of full rank looks like
#
# The two factors that were trained for the queries of the first layer, and their product. Grey is zero, black and white are
# the largest numbers of either sign.

# %%
trained = {name: m.trunk[0].attn.q.branch for name, m in tuned.items()}
A, B, product = (z.detach() for z in (trained["KronA"].A, trained["KronA"].B, trained["KronA"].matrix()))
fig, axes = plt.subplots(1, 4, figsize=(9, 2.7), width_ratios=(1, 1.5, 3, 3.4), layout="constrained")
for ax, values, title in zip(axes, (A, B, product), ("A", "B", "A ⊗ B"), strict=False):
    ax.imshow(values, cmap="gray", vmin=-values.abs().max(), vmax=values.abs().max())
    ax.set(title=f"{title}: {values.shape[0]} × {values.shape[1]}", xticks=[], yticks=[])
    ax.set(xlabel="input", ylabel="output" if title == "A" else None)
for k in range(1, 8):
    axes[2].axhline(12 * k - 0.5, color="C3", lw=0.4)
    axes[2].axvline(12 * k - 0.5, color="C3", lw=0.4)
low_rank = trained["LoRA, rank 1"].matrix().detach()
for values, label, style in (
    (product, "KronA", {"color": "C3", "marker": "."}),
    (low_rank, "LoRA, rank 1", {"color": "black", "marker": "s", "ls": ""}),
):
    s = torch.linalg.svdvals(values)
    s = s[s > 1e-5 * s[0]]
    axes[3].semilogy(range(1, len(s) + 1), s, ms=4, lw=0.8, label=f"{label}: {len(s)}", **style)
axes[3].set(xlabel="number of the singular value", ylabel="singular value", title="how many are not zero")
axes[3].legend(frameon=False)
draw.show(
    fig,
    "Two small matrices A and B as grey images; their Kronecker product, 96 by 96, in which each block shows B again, "
    "lighter, darker or negated. On the right its singular values fall slowly over all 96 directions; LoRA of rank 1 "
    "has a single one.",
)

# %% [markdown]
# The pattern of $B$ returns in all 64 blocks, stronger or weaker, or as its negative. Full rank, then, but not full
# freedom: 208 numbers are 208 numbers. The singular values show the same: they are all the products of one singular value
# of $A$ and one of $B$.

# %%
s_a, s_b = torch.linalg.svdvals(A), torch.linalg.svdvals(B)
products = (s_a[:, None] * s_b).flatten().sort(descending=True).values
difference = (products - torch.linalg.svdvals(product)).abs().max()
print(
    f"{len(s_a)} × {len(s_b)} = {len(products)} products; largest difference from the singular values: {difference:.1e}"
)

# %% [markdown]
# ## Is it the right shape for a change?
#
# In [lesson 15](15_lora.ipynb) we asked how much of the change that full fine-tuning makes is held by the best matrix of rank $r$. Ask the
# same of KronA: how much does the best Kronecker product hold?
#
# There is a beautiful way to find it. Cut $\Delta W$ into its blocks and make **each block a row** of a new matrix. If
# $\Delta W = A \otimes B$, then row $(i, j)$ is $A_{ij}$ times all of $B$: a column times a row, rank 1! So *a
# Kronecker product is a matrix of rank 1 whose numbers have been moved to other places*, and the nearest one comes from
# the first singular value, with its two vectors, of the rearranged matrix (Van Loan and Pitsianis, 1993). KronA is LoRA
# of rank 1 after a rearrangement.
#
# **Predict first.** A random matrix has no structure: there, the best Kronecker product and the best matrix of rank 1 hold
# about the same share, as both have about $2d$ numbers. And for the change of a real fine-tuning: which holds more?


# %%
def rearranged(D, a_out, a_in):
    """Each block of D (d_out, d_in) as a row: (a_out a_in, b_out b_in)."""
    b_out, b_in = D.shape[0] // a_out, D.shape[1] // a_in
    return D.reshape(a_out, b_out, a_in, b_in).transpose(1, 2).reshape(a_out * a_in, b_out * b_in)


def shares(D):
    """What the best sum of k terms holds of D, k = 1, 2, ...: of rank-1 matrices, and of Kronecker products."""
    values = map(torch.linalg.svdvals, (D, rearranged(D, krona.divisor(D.shape[0]), krona.divisor(D.shape[1]))))
    return [(s.square().cumsum(0) / s.square().sum())[:32] for s in values]


full = copy.deepcopy(base)
fit(full, FullFineTuning(), task, steps=200, seed=0)
print("full fine-tuning:", evaluate(full, task))
changes = [
    getattr(full.trunk[i].attn, name).weight.detach() - getattr(base.trunk[i].attn, name).weight.detach()
    for i in range(base.c.layers)
    for name in "qv"
]
real = [shares(D) for D in changes]
noise = [shares(torch.randn(D.shape, generator=torch.Generator().manual_seed(i))) for i, D in enumerate(changes)]

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.1), sharey=True)
for ax, found, title in zip(axes, (real, noise), ("the changes of q and v", "random matrices"), strict=True):
    for rank_1, kronecker in found:
        ax.plot(range(1, 33), rank_1, color="0.25", lw=0.8, ls="--")
        ax.plot(range(1, 33), kronecker, color="C3", lw=0.8)
    ax.plot([], [], color="0.25", ls="--", label="matrices of rank 1 (LoRA)")
    ax.plot([], [], color="C3", label="Kronecker products")
    ax.set(xlabel="number of terms in the sum", title=title, xscale="log", xticks=[1, 2, 4, 8, 16, 32], ylim=(0, 1))
    ax.set_xticklabels([1, 2, 4, 8, 16, 32])
axes[0].set_ylabel("share of the change held")
axes[1].legend(frameon=False, loc="upper left")
draw.show(
    fig,
    "Left: of the changes that full fine-tuning makes, one matrix of rank 1 holds far more than one Kronecker product, "
    "and eight far more than eight. Right: of random matrices both hold about the same small share.",
)
for kind, found in (("of the changes", real), ("of random matrices", noise)):
    for i, name in enumerate(("one matrix of rank 1", "one Kronecker product")):
        held = [float(pair[i][0]) for pair in found]
        print(f"{name:22} holds {min(held):.0%} to {max(held):.0%} {kind}")

# %% [markdown]
# (On the right, the upper bundle of lines belongs to matrices of the size of the values' weight, the lower one to those
# of the queries' size.)
#
# The change is close to a matrix of low rank. It has nearly no Kronecker structure: the best product holds 6 % to 9 %
# of it, little more than of noise. If we wanted to *copy* what full fine-tuning does here, low rank would be a much
# better shape than this one.
#
# And yet KronA learned the task nearly as well as LoRA of rank 1. The two facts agree once you recall [lesson 15](15_lora.ipynb): a method
# need not imitate full fine-tuning. There are many changes that solve a task. Some have low rank, and some, it seems,
# are Kronecker products.

# %% [markdown]
# ## Its nearest relatives
#
# | | LoRA | KronA | Compacter | Intrinsic SAID |
# |---|---|---|---|---|
# | lesson | 15 | 16 | 21 | 14 |
# | the change of a weight | $B A$ | $A \otimes B$ | none: it builds an adapter's weights | one random projection of a short vector |
# | numbers for $d \times d$ | $2 d r$ | about $2d$ | those of a few small factors, some shared by all layers | one short vector for the whole model |
# | rank | $r$ at most | up to $d$ | of an adapter's bottleneck | up to $d$ |
# | to make it larger | a higher $r$ | add a second product | more products | a longer vector |
# | folds into the base | yes | yes | no | yes |

# %% [markdown]
# ## Your turn
#
# Open [`exercises/krona.py`](../exercises/krona.py) beside this notebook. Each function has its equation, its shapes and
# its points in the docstring. Save the file, then run the check. Stuck? `hint("16.1")`.

# %%
ask("16.1")

# %%
check("16.1")

# %% [markdown]
# 16.2 is the survey's listing with its three mistakes.

# %%
check("16.2")

# %%
check("16.3")

# %%
check("16.4")

# %% [markdown]
# 16.5 is the rearrangement behind the picture. Ten lines at most, and worth the time.

# %%
check("16.5")

# %% [markdown]
# ### Your KronA in the mini GPT
#
# As soon as `check("16.1")` passes, the cell below trains *your* `krona_linear` inside the model. Until then it uses the
# library's, and says so.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

yours = learner("16.1")


class Yours(Wrapper):
    """A Linear with KronA whose forward is the learner's function."""

    def __init__(self, linear):
        super().__init__(linear)
        (d_out, d_in), near = linear.weight.shape, krona.divisor
        a_out, a_in = near(d_out), near(d_in)
        b_out, b_in = d_out // a_out, d_in // a_in
        self.A = torch.nn.Parameter(torch.zeros(a_out, a_in))
        self.B = torch.nn.Parameter((2 * torch.rand(b_out, b_in) - 1) / b_in**0.5)
        self.bias = torch.zeros(d_out) if linear.bias is None else linear.bias  # a LLaMA has none

    def forward(self, x):
        return yours(x, self.base.weight, self.bias, self.A, self.B, 1.0)


class YourKronA(Method):
    lr = 1e-2

    def insert(self, model):
        wrap(model, ["attn.q", "attn.v"], Yours)


model = copy.deepcopy(base)
fit(model, YourKronA(), task, steps=100, seed=0)
print("before:         ", before)
print("after 100 steps:", evaluate(model, task))

# %% [markdown]
# ## What to remember
#
# 1. $W x + s\,(A \otimes B)\,x$: each number of $A$ is replaced by a copy of $B$, times that number.
# 2. Ranks multiply, so about $2d$ numbers reach full rank: as many as a LoRA of rank 1 has.
# 3. The product is never formed in training: cut $x$ into a grid, $A$ from one side, $B$ from the other.
# 4. One factor starts at zero; afterwards the product is formed once and merged.
# 5. Rearranged, it *is* a matrix of rank 1: full rank is not full freedom, and not by itself an advantage.
#
# **The paper's headline**, quoted from its tables: on GLUE with T5-base, an average of 86.14 for KronA, 85.73 for LoRA and
# 85.65 for full fine-tuning, with about 0.07 % of the numbers; training takes 75 % of full fine-tuning's time (LoRA: 72 %).
# The toy agrees that KronA stays close to a LoRA of about the same size, and that it costs a little more time than LoRA.
# It does not show KronA ahead of full fine-tuning.
#
# **Further reading.** Van Loan and Pitsianis, *Approximation with Kronecker products* (1993), for the rearrangement. In
# Hugging Face `peft` this method is `LoKr` with two whole factors, and `tests/test_krona.py` compares with it. The library's
# is `minipeft/reparametrization/krona.py`.
#
# **Next:** [lesson 17, KronA beside the MLP](17_krona_res.ipynb), where the same product stands beside a whole sub-layer and cannot be merged.
# Or go back to [the start](00_start_here.ipynb).
