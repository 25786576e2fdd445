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
# # 21 · Compacter: adapters that share what they are made of
#
# **The question.** The adapters of [lesson 03](03_adapters.ipynb) are small, and there are many of them: two in each block, each with two
# matrices of its own. Must each start from nothing? Compacter builds all of these matrices out of one small set of
# patterns that they have in common, and a few numbers of their own. How far down does that bring the count, and what is
# given up?
#
# | | |
# |---|---|
# | paper | Karimi Mahabadi, Henderson and Ruder, 2021, *Compacter: Efficient Low-Rank Hypercomplex Adapter Layers*, [arXiv 2106.04647](https://arxiv.org/abs/2106.04647) |
# | survey | section 11.4 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), hybrid methods |
# | before this | [lesson 03, adapters](03_adapters.ipynb), and [lesson 16, KronA](16_krona.ipynb), for the Kronecker product |
# | you need | rank; what a gradient is |
# | time | 30 minutes to read and run, 55 for the exercises |
#
# At the end you will have written the weight of such a layer and the gradient of what is shared. You will know how much
# of the work is done by which of its few numbers, and one way to start it that kills it for ever.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from minipeft import GPT, Adapters, FullFineTuning, counts, detach, evaluate, fit, merge, tasks
from minipeft.additive.adapters import Bottleneck
from minipeft.course import ask, check, draw, learner
from minipeft.hybrid.compacter import PHM, Compacter
from minipeft.method import Method
from minipeft.surgery import thaw_norms, trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("reversing")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# In the same places as Houlsby's adapters: after attention and after the MLP, before the result joins the residual stream.
# The norms train as well. Compacter++ has the second of the two alone.

# %%
model = copy.deepcopy(base)
Compacter().attach(model)
draw.block(model)

# %% [markdown]
# An adapter of the same size has 3,184 numbers; here it has 336. But the first one in the drawing has 400. The 64 more are
# what all the others share; they have to be kept somewhere, so the first adapter of the first block keeps them.
#
# ## The equation
#
# The adapter is the one of [lesson 03](03_adapters.ipynb), $A(h) = h + U\,\mathrm{gelu}(D h + c) + b$. New is how $D \in \mathbb{R}^{m \times d}$ and
# $U \in \mathbb{R}^{d \times m}$ are made. Each of them is a sum of $n$ Kronecker products:
#
# $$ W \;=\; \sum_{i=1}^{n} A_i \otimes B_i, \qquad B_i = s_i\, t_i, \qquad
# A_i \in \mathbb{R}^{n \times n},\quad s_i \in \mathbb{R}^{\frac{d_\text{out}}{n} \times r},\quad t_i \in \mathbb{R}^{r \times \frac{d_\text{in}}{n}} $$
#
# with $n = 4$ and $r = 1$ in the paper. Three ideas are stacked here:
#
# - **A sum of Kronecker products**, as in KronA but with $n$ terms. With whole $B_i$ this is a *PHM layer*, and adapters made
#   of it are the paper's PHM-Adapter.
# - **A low rank for each $B_i$**, as in LoRA: $s_i t_i$.
# - **The $A_i$ are shared**: one tensor of $n \times n \times n$ numbers for $D$ and for $U$, after attention and after the MLP,
#   in every layer. Only $s$, $t$ and the biases belong to one matrix.
#
# (The letter $A$ has two meanings in the literature: an adapter, and these factors. From here on it is the factors.)

# %%
# NBVAL_CHECK_OUTPUT
g = torch.Generator().manual_seed(0)
n, r, d, m = 4, 1, c.width, 16
A, s, t = (torch.randn(*shape, generator=g) for shape in ((n, n, n), (n, m // n, r), (n, r, d // n)))
D = sum(torch.kron(A_i, s_i @ t_i) for A_i, s_i, t_i in zip(A, s, t, strict=True))
print("D is", tuple(D.shape), "made of", A.numel(), "shared numbers and", s.numel() + t.numel(), "of its own")

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# In PyTorch, beside what the paper says. `lphm` is the layer; both take the same factors.


# %%
def lphm(x, A, s, t, bias):
    W = sum(torch.kron(A_i, s_i @ t_i) for A_i, s_i, t_i in zip(A, s, t, strict=True))
    return x @ W.T + bias


def survey_listing(h, A, s, t, bias):
    return lphm(F.gelu(lphm(h, A, s, t, bias)), A, s, t, bias)


def two_layers(h, A, down, up):
    return lphm(F.gelu(lphm(h, A, *down)), A, *up)


def paper(h, A, down, up):
    return h + two_layers(h, A, down, up)


g = torch.Generator().manual_seed(0)
h, A = torch.randn(5, d, generator=g), 1e-4 * torch.randn(n, n, n, generator=g)
down = torch.randn(n, m // n, r, generator=g), torch.randn(n, r, d // n, generator=g), torch.zeros(m)
up = torch.randn(n, d // n, r, generator=g), torch.randn(n, r, m // n, generator=g), torch.zeros(d)
try:
    survey_listing(h, A, *down)
except RuntimeError as error:
    print("the listing:         ", error)
for name, function in (("two layers, no skip: ", two_layers), ("the paper:           ", paper)):
    print(f"{name} |result - h| / |h| = {((function(h, A, down, up) - h).norm() / h.norm()):.7f}")

# %% [markdown]
# - The listing calls **one layer twice**. But the first has to lead from $d$ numbers to $m$ and the second back. They are two
#   layers with factors of their own; only $A$ is the same in both.
# - **The skip is missing.** Without it, all of what attention has computed is thrown away at the start (the second line: the
#   difference from $h$ is as long as $h$).
# - The sum runs **from 0 to $n$**: that would be $n + 1$ products.
# - It says that the $A_i$ are shared by all *adapter layers*. They are also shared by the two matrices of each.
# - It leaves out that **the norms train**, and the biases. In a moment you will see how much hangs on the norms.
# - It compares the $B_i$ with LoRA. The shape is LoRA's; but there is no $\alpha / r$, and no factor starts at zero.
#
# And one that no listing shows: $A \otimes B$ is not $B \otimes A$. Exchange the two and the layer is another one, with the
# same numbers in other places.
#
# ## The implementation
#
# This is all of it, read from the library.

# %%
print(inspect.getsource(PHM))
print(inspect.getsource(Compacter))

# %% [markdown]
# Two things to look at. `borrow` makes the sharing: a layer throws its own $A$ away and reads the first one's. And `forward`
# does not form $W$ if it need not: $t$ comes first, since it leaves only $n^2 r$ numbers of a token, 16 here.
#
# ## How it starts
#
# Near the base, but not exactly there: $s$ and $t$ are of usual size, and $A$ is tiny, with a deviation of 0.0001.

# %%
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
with torch.no_grad():
    print(f"largest difference of a logit from the base's: {(model(ids) - base(ids)).abs().max():.1e}")
phms = [part for part in model.modules() if isinstance(part, PHM)]
print(len(phms), "matrices, one and the same A in all:", all(phm.A is phms[0].A for phm in phms))

# %% [markdown]
# **Predict first.** Why not make $A$ exactly zero? The start would be exact, as with LoRA. In LoRA one factor is zero and the
# other is not, and it learns. Here $A$ is zero and $s$ and $t$ are not. Which of $A$, $s$, $t$, $c$ and $b$ will move?

# %%
# NBVAL_CHECK_OUTPUT
from minipeft.tasks.task import collate, encode

batch = collate([encode(e, base.tokenizer) for e in task.train[:16]], base.tokenizer.end)


def moved(model, steps=20):
    """Which kinds of numbers are others after some steps."""
    before = {name: p.detach().clone() for name, p in trainable(model).items()}
    optimizer = torch.optim.AdamW(trainable(model).values(), 1e-2, weight_decay=0)
    for _ in range(steps):
        Compacter().loss(model, *batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    different = {name for name, p in trainable(model).items() if not torch.equal(p, before[name])}
    kinds = {"A": ".A", "s": ".s", "t": ".t", "c": "down.bias", "b": "up.bias"}
    return {kind: any(name.endswith(end) for name in different) for kind, end in kinds.items()}


for deviation in (1e-4, 0.0):
    torch.manual_seed(0)
    model = Compacter(norms=False).attach(copy.deepcopy(base))
    shared = next(part for part in model.modules() if isinstance(part, PHM)).A
    with torch.no_grad():
        shared.normal_(std=deviation)
    print(f"A starts with deviation {deviation}: moved after 20 steps:", moved(model))

# %% [markdown]
# Only $b$ moves. $A$ is in *both* matrices, so $D$ and $U$ are zero at once, and each waits for the other: the gradient of $U$ is
# a product with $\mathrm{gelu}(D h + c) = 0$, that of $D$ comes through $U = 0$. Nothing will ever wake them. Lesson 03 asked the
# same about adapters with both matrices zero; there it was a choice one would hardly make. Here sharing makes it for you.
# That is why the authors start at 0.0001.
#
# ## It learns
#
# The task of [lesson 03](03_adapters.ipynb): say four words in reverse order.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
model = copy.deepcopy(base)
before = evaluate(model, task)
history = fit(model, Compacter(), task, steps=200, seed=0)
after = evaluate(model, task)
print("before:", before)
print("after: ", after)

# %%
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(history.losses, color="0.6", lw=1, label="training, each step")
ax.plot(*zip(*history.validations, strict=True), "ko-", ms=4, label="validation")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend(frameon=False)
draw.show(fig, "The training loss and the validation loss fall by two orders of magnitude within 200 steps.")

# %% [markdown]
# ## What is shared
#
# This is the picture of the method. The first row shows the four $A_i$ after training. Below, for three of the sixteen
# matrices, the four products and their sum. Grey is zero, black and white are the largest numbers of either sign; the red
# lines are the borders of the blocks. (The matrices are of different shapes; all are drawn as squares.)

# %%
places = {
    "D after attn, block 0\n16 × 96": model.trunk[0].attn.branch.down,
    "U after attn, block 0\n96 × 16": model.trunk[0].attn.branch.up,
    "D after mlp, block 3\n16 × 96": model.trunk[3].mlp.branch.down,
}
fig, axes = plt.subplots(4, 5, figsize=(8.6, 7), layout="constrained")


def image(ax, values, lines=True):
    top = values.abs().max()
    ax.imshow(values, cmap="gray", vmin=-top, vmax=top, aspect="auto", interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for k in range(1, n) if lines else ():
        ax.axhline(k * values.shape[0] / n - 0.5, color="C3", lw=0.7)
        ax.axvline(k * values.shape[1] / n - 0.5, color="C3", lw=0.7)


shared = model.trunk[0].attn.branch.down.A.detach()
for i in range(n):
    image(axes[0, i], shared[i])
    axes[0, i].set_title(f"$A_{i + 1}$: {n} × {n}", size=10)
axes[0, 0].set_ylabel("shared by all")
axes[0, 4].axis("off")
axes[0, 4].text(0.5, 0.5, f"{shared.numel()} numbers,\nonce", ha="center", va="center", transform=axes[0, 4].transAxes)
for row, (place, phm) in zip(axes[1:], places.items(), strict=True):
    B = (phm.s @ phm.t).detach()
    for i in range(n):
        image(row[i], torch.kron(shared[i], B[i]))
        row[i].set_title(f"$A_{i + 1} \\otimes B_{i + 1}$", size=10)
    image(row[4], phm.weight().detach())
    row[4].set_title("their sum", size=10)
    row[0].set_ylabel(place)
draw.show(
    fig,
    "First row: the four shared 4 by 4 matrices as grey images. Below, for three matrices of the model, the four Kronecker "
    "products and their sum. Down each column the 4 by 4 pattern of light and dark blocks is the same, and what fills "
    "the blocks differs from row to row. In the sums hardly any pattern can be seen.",
)

# %% [markdown]
# Go down a column. Where $A_i$ has a strong number, the block is strong in all three matrices; where it is near grey, the
# block is nearly empty in all three. What stands *in* the blocks is each matrix's own. In the sums on the right hardly
# anything of this can be seen, and yet it is all that they are made of.
#
# ## Would they share by themselves?
#
# Compacter *forces* all matrices to use the same four patterns of 4 × 4. Is that a discovery about adapters, that they have
# such patterns in common, or an order that they can live with?
#
# We can measure it. Cut a matrix into its 4 × 4 blocks. Each position within a block then gives one pattern of 16 numbers.
# Collect the patterns of all sixteen matrices. How much of all of it do the best $k$ of the possible 16 directions hold?
# With a shared $A$ the answer is known: four hold everything.
#
# **Predict first.** And if each matrix trains $A_i$ of its own? And in plain adapters, where nobody has cut anything into
# blocks?


# %%
def patterns(W):
    """(16, numbers in a block): a pattern in each column, all together of length 1."""
    rows, columns = W.shape[0] // n, W.shape[1] // n
    blocks = W.detach().reshape(n, rows, n, columns).transpose(1, 2).reshape(n * n, rows * columns)
    return blocks / blocks.norm()


def held(model):
    """The share of all patterns that the best 1, 2, ..., 16 directions hold."""
    thin = [part for part in model.modules() if isinstance(part, Bottleneck)]
    matrices = [part.weight() if isinstance(part, PHM) else part.weight for b in thin for part in (b.down, b.up)]
    energy = torch.linalg.svdvals(torch.cat([patterns(W) for W in matrices], 1)).square()
    return energy.cumsum(0) / energy.sum()


own, plain = copy.deepcopy(base), copy.deepcopy(base)
results = {"Compacter": (model, after)}
for name, other, method in (
    ("Compacter, own A's", own, Compacter(shared=False)),
    ("adapters", plain, Adapters()),
):
    torch.manual_seed(0)
    fit(other, method, task, steps=200, seed=0)
    results[name] = other, evaluate(other, task)
torch.manual_seed(0)
start = held(Compacter(shared=False).attach(copy.deepcopy(base)))

# %%
fig, ax = plt.subplots(figsize=(6.5, 3.2))
ks = range(1, n * n + 1)
ax.plot(ks, held(model), "o-", color="C3", ms=4, label="Compacter")
ax.plot(ks, held(own), "s-", color="black", ms=4, label="each its own A's, trained")
ax.plot(ks, start, "s--", color="0.6", ms=3, lw=1, label="each its own A's, before training")
ax.plot(ks, held(plain), "^-", color="0.4", ms=4, lw=1, label="plain adapters, trained")
ax.set(
    xlabel="number of directions, of 16", ylabel="share of all patterns held", ylim=(0, 1.04), xticks=[1, 4, 8, 12, 16]
)
ax.legend(frameon=False)
draw.show(
    fig,
    "With a shared A four directions hold everything. With own A's four directions hold less than half, about as much after "
    "training as before it. Plain adapters need still more directions.",
)
for name, curve in (("own A's, before training", start), ("own A's, trained", held(own)), ("adapters", held(plain))):
    print(f"{name:24} four directions hold {curve[3]:.0%}")

# %%
draw.table(
    [
        {
            "": name,
            "trains": counts(m_).trainable,
            "accuracy": f"{score.accuracy:.1%}",
            "test loss": f"{score.loss:.3f}",
        }
        for name, (m_, score) in results.items()
    ]
)

# %% [markdown]
# They would not. If each matrix has its own $A$'s, training does not bring them any nearer to each other: four
# directions hold as much of them afterwards as of the random ones before. And plain adapters have not much more in
# common than if all 16 directions were equally strong (four would then hold a quarter). So sharing is an order, not a
# discovery. But it is an order that costs little: the accuracy hardly falls, and the loss rises a little from 27,200
# numbers to 5,440 and again to 4,480. As with KronA in [lesson 16](16_krona.ipynb): many changes solve a task, and some of them are made
# of four patterns.
#
# (One thing this measure does not see: the $m$ numbers in the middle of an adapter have no order. Perhaps two adapters have
# more in common after a reordering. We have not looked.)
#
# ## Who does the work?
#
# Of Compacter's 4,480 numbers 1,728 are the norms', gains and biases that the base had all along. The survey does not
# mention them, though they are in the percentage that it quotes.
#
# **Predict first.** We train three times: the norms alone (no adapter anywhere), Compacter with frozen norms, and both. Put
# them in order.


# %%
class NormsAlone(Method):
    lr = Compacter.lr

    def insert(self, model):
        thaw_norms(model)


rows = []
for name, method in (("the norms alone", NormsAlone()), ("Compacter, norms frozen", Compacter(norms=False))):
    other = copy.deepcopy(base)
    fit(other, method, task, steps=200, seed=0)
    score = evaluate(other, task)
    rows.append({"": name, "trains": counts(other).trainable, "accuracy": f"{score.accuracy:.1%}"})
rows.append({"": "both: Compacter", "trains": counts(model).trainable, "accuracy": f"{after.accuracy:.1%}"})
draw.table(rows)

# %% [markdown]
# Without a single adapter, the norms alone answer more than a third of the questions, of which the base answers none. With the
# norms frozen, Compacter loses a quarter of the answers. So a good part of what "Compacter" reaches here is the norms' work.
# (One seed, one task.) When you read a table in which Compacter stands beside LoRA, ask whether LoRA was allowed to train the
# norms.
#
# ## Counting
#
# One matrix from $d$ to $m$ has $r (d + m)$ numbers and a bias. So an adapter has $(2r + 1)(d + m)$, and a model of $L$ layers
#
# $$ 2 L\,(2 r + 1)(d + m) \;+\; n^3 \;+\; \text{the norms}. $$
#
# **Predict first.** Here $n = 4$. What happens to this number with $n = 2$, and with $n = 8$? And for PHM-Adapter, whose $B_i$
# are whole and whose $A_i$ are not shared?

# %%
# NBVAL_CHECK_OUTPUT
print("Compacter:  ", counts(model))
norms = (2 * c.layers + 1) * 2 * d
print("predicted:   trains", 2 * c.layers * 3 * (d + m) + n**3 + norms, "of which the norms", norms)
rows = []
for k in (1, 2, 4, 8, 16):
    row = {"n": k}
    for name, settings in (("Compacter", {}), ("PHM-Adapter", {"rank": None, "shared": False})):
        method = Compacter(n=k, norms=False, **settings)
        row[name] = counts(method.attach(copy.deepcopy(base))).trainable
    row["rank of D, at most"] = min(m, k * k)
    rows.append(row)
draw.table(rows)

# %% [markdown]
# The norms are left out of this table, so that you see what depends on $n$. For Compacter almost nothing does: only the
# $n^3$ shared numbers do, and they are there once. What $n$ buys is *rank*. A matrix made with $n$ products of rank-$r$
# factors can have rank $n^2 r$; with $n = 1$ it is $s\,t$ times a number, rank 1.
#
# For PHM-Adapter there is a price on both sides: $2dm/n$ numbers in the $B_i$ fall with $n$, and $2n^3$ in the unshared $A_i$
# rise. Now the same at the size of the paper's model, T5-base: 48 adapters, $d = 768$, $m = 24$.

# %%
d5, m5, adapters5, norms5, all5 = 768, 24, 48, 62 * 768, 222_882_048
ns = [k for k in range(1, m5 + 1) if m5 % k == 0]  # n has to divide d and m
compacter5 = [adapters5 * 3 * (d5 + m5) + k**3 for k in ns]
phm5 = [adapters5 * (2 * d5 * m5 // k + d5 + m5 + 2 * k**3) for k in ns]
dense5 = adapters5 * (2 * d5 * m5 + d5 + m5)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.axhline(dense5, color="0.4", ls=":", label="adapters")
left.plot(ns, phm5, "ks--", ms=4, lw=1, label="PHM-Adapter")
left.plot(ns, compacter5, "o-", color="C3", ms=4, label="Compacter")
left.axhline(norms5, color="0.6", lw=1, label="the norms")
left.set(xscale="log", yscale="log", xlabel="n", ylabel="numbers that train", title="T5-base, without the norms")
right.plot(ns, [min(m5, k * k) for k in ns], "o-", color="C3", ms=4, label="Compacter, r = 1")
right.plot(ns, [min(m5, k * k * 2) for k in ns], "o--", color="C3", mfc="white", ms=4, lw=1, label="Compacter, r = 2")
right.axhline(m5, color="0.4", ls=":", label="a whole matrix")
right.set(xscale="log", xlabel="n", ylabel="largest rank of D", title="what n buys", ylim=(0, m5 + 2))
for ax in (left, right):
    ax.set_xticks(ns, ns)
    ax.minorticks_off()
left.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 0.29), fontsize=8)
right.legend(frameon=False, loc="lower right")
draw.show(
    fig,
    "Left: numbers that train in T5-base against n. Adapters have 1.8 million. PHM-Adapter falls to a minimum at n = 8 and "
    "rises again. Compacter is nearly flat at 114 thousand up to n = 24, where the shared numbers begin to show. The norms "
    "are 48 thousand. Right: the largest rank of a matrix grows as n squared, up to its 24 rows.",
)
rows = [
    {"": name, "numbers": total, "of T5-base": f"{total / all5:.3%}", "of these, norms": f"{norms5 / total:.0%}"}
    for name, total in (
        ("Compacter, n = 4", adapters5 * 3 * (d5 + m5) + 4**3 + norms5),
        ("Compacter++, n = 4", adapters5 // 2 * 3 * (d5 + m5) + 4**3 + norms5),
        ("PHM-Adapter, n = 12", phm5[ns.index(12)] + norms5),
        ("PHM-Adapter, n = 8", phm5[ns.index(8)] + norms5),
    )
]
draw.table(rows)

# %% [markdown]
# 0.073 %, 0.047 % and 0.179 % are the percentages in the paper: our formula finds them. It also says what stands behind the
# smallest one. **Nearly half of Compacter++'s 0.047 % is LayerNorms.** And with $n = 12$ PHM-Adapter is past its minimum: $n = 8$
# has fewer numbers.
#
# ## What it costs, on the survey's axes

# %%
from minipeft.course.costs import costs

candidates = {
    "full fine-tuning": FullFineTuning(),
    "adapters": Adapters(),
    "Compacter": Compacter(),
    "Compacter++": Compacter(to=["mlp"]),
}
draw.table(costs(base, candidates))

# %% [markdown]
# Gradients and Adam's averages are nearly nothing, and a task's file is about a fifth of the adapters'. That is what
# the method is for. It does not save time: a step of Compacter takes about as long as one of full fine-tuning, clearly
# longer than one with plain adapters, and it keeps a little more for the backward pass than they do. The reason is in
# `forward`: instead of one product with a small matrix there are three steps with still smaller ones, and at this size
# each step costs about the same, however little it computes. Compacter++ has half as many adapters and pays less.
#
# [The comparison of all methods](../docs/comparison/comparison.md), measured on a quiet machine, says the same: 1.11 of full
# fine-tuning's time for a step, and 1.35 of the base's for a forward pass.
#
# ## Unpacked after training
#
# `merge` leaves it where it is, for the reason of [lesson 03](03_adapters.ipynb): a nonlinearity stands between the two matrices. But half a merge
# is possible. After training, each $W$ can be formed once and put into a plain Linear. What comes out is an ordinary adapter.

# %%
from functools import partial

from minipeft.measure import times

unpacked = copy.deepcopy(model)
for bottleneck in [part for part in unpacked.modules() if isinstance(part, Bottleneck)]:
    for name in ("down", "up"):
        phm = getattr(bottleneck, name)
        W = phm.weight().detach()
        linear = nn.Linear(W.shape[1], W.shape[0])
        linear.load_state_dict({"weight": W, "bias": phm.bias.detach()})
        setattr(bottleneck, name, linear)
with torch.no_grad():
    print(f"largest difference of a logit, unpacked: {(unpacked(ids) - model(ids)).abs().max():.1e}")
    ready = {"base": base, "Compacter": model, "unpacked": unpacked, "adapters, lesson 03": plain}
    seconds = (
        times(*(partial(x, batch[0]) for x in ready.values()), rounds=41).min(1).values
    )  # the quickest turn of each
for name, ratio in zip(ready, seconds / seconds[0], strict=True):
    print(f"forward pass, {name:19} {ratio:.2f}")
print("merge changes nothing:", torch.equal(merge(copy.deepcopy(model))(ids), model(ids)))
given_back = detach(copy.deepcopy(model))
same = all(torch.equal(p, q) for p, q in zip(given_back.parameters(), base.parameters(), strict=True))
print("detached, the base as it was:", same)

# %% [markdown]
# Unpacked, it does the same and is as quick as adapters are. So keep the small file on the disk, and unpack it when it is loaded. On
# the disk it is a Compacter, in memory an adapter.
#
# ## Its nearest relatives
#
# | | adapters | PHM-Adapter | Compacter | KronA | LoRA |
# |---|---|---|---|---|---|
# | lesson | 03 | 21 | 21 | 16 | 15 |
# | what is built | $D$ and $U$ of an adapter | $D$ and $U$ | $D$ and $U$ | the change of a weight | the change of a weight |
# | from | themselves | $\sum_i A_i \otimes B_i$ | $\sum_i A_i \otimes s_i t_i$ | $A \otimes B$ | $B A$ |
# | numbers of a $d \times m$ matrix | $dm$ | $dm/n + n^3$ | $r(d + m)$ | about $d + m$ at least | $r(d + m)$ |
# | shared by all layers | nothing | nothing | the $A_i$ | nothing | nothing |
# | the norms train | yes | yes | yes | no | no |
# | folds into the base | no | no | no | yes | yes |
#
# ## Your turn
#
# Open [`exercises/compacter.py`](../exercises/compacter.py) beside this notebook. Each function has its equation, its shapes
# and its points in the docstring. Save the file, then run the check. Stuck? `hint("21.1")`.

# %%
ask("21.1")

# %%
check("21.1")

# %% [markdown]
# 21.2 is the survey's listing.

# %%
check("21.2")

# %%
check("21.3")

# %% [markdown]
# 21.4 is what sharing means for training. It is the one to think about.

# %%
check("21.4")

# %%
check("21.5")

# %% [markdown]
# ### Your Compacter in the mini GPT
#
# As soon as `check("21.1")` passes, the cell below trains adapters whose matrices *your* `phm_weight` makes. Until then it uses
# the library's, and says so.

# %%
yours = learner("21.1")


class YourPHM(PHM):
    """The library's factors, and the learner's function that makes a weight of them."""

    def forward(self, x):
        return F.linear(x, yours(self.A, self.s, self.t), self.bias)


class YourCompacter(Compacter):
    def branch(self, width):
        bottleneck = Bottleneck(width, self.size)
        bottleneck.down = YourPHM(width, self.size, self.n, self.rank, 1e-4)
        bottleneck.up = YourPHM(self.size, width, self.n, self.rank, 1e-4)
        return bottleneck


model = copy.deepcopy(base)
fit(model, YourCompacter(), task, steps=100, seed=0)
print("before:         ", before)
print("after 100 steps:", evaluate(model, task))

# %% [markdown]
# ## What to remember
#
# 1. An adapter whose matrices are $\sum_i A_i \otimes s_i t_i$: the $A_i$ are one small tensor for the whole model, $s$ and $t$ are
#    each matrix's own.
# 2. $(2r + 1)(d + m)$ numbers an adapter instead of $2dm$; $n$ costs next to nothing and buys rank, $n^2 r$.
# 3. $A$ is in both matrices of each adapter: start it near zero, never at zero.
# 4. The norms train too. They are nearly half of Compacter++'s numbers in the paper, and do their share of the work.
# 5. Small to store, not quick to run: unpack it after training, and it is an adapter again.
#
# **The paper's headline**, quoted from it: with T5-base and 0.047 % of the numbers trained (Compacter++), it is on par
# with full fine-tuning on GLUE, and ahead of it on SuperGLUE and where there are few data. The authors of KronA ran it
# again and report 85.82 on GLUE, where full fine-tuning has 85.65; in their table it takes 181 % of the base's time at
# inference.
#
# The toy agrees in part. In [docs/comparison](../docs/comparison/comparison.md), over three seeds and with a search for the
# learning rate, Compacter is within a point of full fine-tuning on three of five tasks on mini-gpt2 (`opposite`, `reversing`,
# `past_tense`). On `odd_one_out` it is not (50 % against 96 %; adapters 79 %), and on `cipher`, which is to be learnt by heart,
# it answers 1 % (full fine-tuning 73 %). The search took its largest rate for Compacter on six of ten occasions, so it may want
# a larger one still.
#
# **Further reading.** Zhang et al. (2021), *Beyond Fully-Connected Layers with Quaternions*
# ([arXiv 2102.08597](https://arxiv.org/abs/2102.08597)), is where the sum of Kronecker products comes from. In the library,
# `minipeft/hybrid/compacter.py` is the method, and `tests/test_compacter.py` compares it with AdapterHub's `adapters`, and
# its counts with the paper's percentages.
#
# **Next:** [lesson 22, S4](22_s4.ipynb), which gives each group of layers another method. Or go back to [the start](00_start_here.ipynb).
