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
# # 19 · MAM: what adapters, prefixes and LoRA have in common
#
# **The question.** An adapter is a small network. A prefix is a handful of keys and values. LoRA is a thin product. Three
# ideas, or one idea in three places? And if it is one: which form in which place is the best?
#
# | | |
# |---|---|
# | paper | He, Zhou, Ma, Berg-Kirkpatrick, Neubig, 2021, *Towards a Unified View of Parameter-Efficient Transfer Learning*, [arXiv 2110.04366](https://arxiv.org/abs/2110.04366) |
# | survey | section 11.2 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), hybrid methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT); lessons 03, 06 and 15 (adapters, prefixes, LoRA) help |
# | you need | what the keys and values of an attention are; the softmax |
# | time | 30 minutes to read and run, 40 for the exercises |
#
# MAM means *mix and match*. At the end you will have shown that a prefix is an adapter, put an adapter of your own beside
# the MLP, and seen what its scale really does.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch

from minipeft import GPT, MAM, LoRA, PrefixTuning, counts, detach, evaluate, fit, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.surgery import inner, merge, trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("odd_one_out")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# Two inserts in each block. A short prefix stands before the keys and values of the attention, and a bottleneck stands
# *beside* the MLP. Follow its red line: it leaves the stream where the MLP's line leaves it, but before the norm.

# %%
draw.block(MAM(hidden=None).attach(copy.deepcopy(base)))

# %% [markdown]
# ## The equation
#
# With $x$ for the stream before the block and $u$ for the stream after the attention has joined it:
#
# $$ \text{attention}\big(q,\ [P_k; k],\ [P_v; v]\big) \qquad\qquad P_k, P_v \in \mathbb{R}^{n \times e} \text{ for each head} $$
#
# $$ y \;=\; \underbrace{u + \text{MLP}(\text{norm}(u))}_{\text{frozen}} \;+\; \underbrace{s\,\big(U\,\text{relu}(D\,u + c) + b\big)}_{\text{trains}}
# \qquad D \in \mathbb{R}^{m \times d},\quad U \in \mathbb{R}^{d \times m} $$
#
# $n$ is the length of the prefix, 10 here, and $m$ the width of the bottleneck, 16 here. The second line alone is called the
# **scaled parallel adapter**. Four details:
#
# - **Beside, not behind.** Houlsby's adapter ([lesson 03](03_adapters.ipynb)) reads what the sub-layer has computed. This one reads $u$ and does not
#   know what the MLP says.
# - **It reads $u$ itself.** The MLP reads $\text{norm}(u)$; the adapter does not. The authors' code has it so.
# - **$s$ is a constant**, here 4, and multiplies all that the adapter says, $b$ included. Nothing else is scaled.
# - **$U$ and $b$ start at zero**, so the adapter starts as nothing. The prefix does not.

# %% [markdown]
# ## A prefix is an adapter
#
# This is the part of the paper that changes how one looks at all of these methods. Take one head and one token with query
# $q$. Its softmax runs over the learned keys *and* over the text. Let $\lambda$ be the share of it that goes to the learned
# keys. Then nothing is lost if we take the two softmaxes apart:
#
# $$ \text{attention}\big(q, [P_k; k], [P_v; v]\big) \;=\; (1 - \lambda)\ \text{attention}(q, k, v) \;+\;
#    \lambda\ \text{softmax}\!\Big(\frac{q P_k^\top}{\sqrt e}\Big) P_v $$
#
# The first term is the frozen model. The second one reads $q$, goes through a first matrix $P_k$ with $n$ rows, a nonlinearity,
# and a second matrix $P_v$: a bottleneck of width $n$, **beside** the attention. Only three things are different from an
# adapter: the nonlinearity is a softmax, the gate $\lambda$ depends on the token, and what the branch gets, the text loses.
#
# Let us check it, and compute both sides for an attention of the pretrained model.

# %%
from minipeft.gpt import attend

g = torch.Generator().manual_seed(0)
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
n, e = 10, c.head_width
with torch.no_grad():
    q, k, v = base.trunk[1].attn.heads(base.trunk[1].norm1(base.trunk[0](base.embed(ids))))  # (1, h, t, e) each
P_k, P_v = torch.randn(2, 1, c.heads, n, e, generator=g)

left = attend(q, torch.cat([P_k, k], 2), torch.cat([P_v, v], 2), None)
prefix_only = attend(q, torch.cat([P_k, k], 2), torch.cat([torch.ones_like(P_v), torch.zeros_like(v)], 2), None)
share = prefix_only[..., :1]  # lambda: what arrives if all values are 1 in the prefix and 0 in the text
right = (1 - share) * attend(q, k, v, None) + share * ((q @ P_k.mT / e**0.5).softmax(-1) @ P_v)
print(f"largest difference of the two sides: {(left - right).abs().max():.0e}, of numbers up to {left.abs().max():.1f}")

# %% [markdown]
# The same, up to rounding. Now the methods can be laid side by side. Each adds something to a vector inside the frozen model,
# and each is a choice in four columns:
#
# | | what is computed | between the two matrices | where | how it joins |
# |---|---|---|---|---|
# | adapter ([lesson 03](03_adapters.ipynb)) | $U\,f(D\,h)$ | a nonlinearity | behind a sub-layer | added |
# | prefix ([lesson 06](06_prefix_tuning.ipynb)) | $\text{softmax}(q P_k^\top) P_v$ | a softmax | beside the attention | $\lambda$ of it, $1 - \lambda$ of the rest |
# | LoRA ([lesson 15](15_lora.ipynb)) | $B\,A\,x$ | nothing | beside a Linear | added, times a constant |
# | scaled parallel adapter | $U\,f(D\,u)$ | a nonlinearity | beside the MLP | added, times a constant |
#
# The last row is new. It takes the form from the first, the place from the second, the scale from the third. This is the *mix
# and match* of the name. MAM then puts two of the rows into one model: few numbers in the attention (a short prefix), many
# beside the MLP.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# As it stands, the survey's listing for MAM can't be run: it adds an `x_adapter` that is computed nowhere. Read as well as
# one can, it says in PyTorch:


# %%
def survey_listing(x, soft_prompt, attention, adapter, norm, scale):
    x = torch.cat([x, soft_prompt], 1)
    x = norm(x + attention(x))
    return norm(x + scale * adapter(x))


torch.manual_seed(0)
block = MAM(length=0).attach(copy.deepcopy(base)).trunk[0]
for p in block.branch.parameters():
    torch.nn.init.normal_(p, std=0.1)
x, one, other = torch.randn(2, 7, c.width), *torch.randn(2, 2, n, c.width)
attn, norm = block.base.attn, block.base.norm1
with torch.no_grad():
    listed = [survey_listing(x, prompt, attn, block.branch, norm, 4.0) for prompt in (one, other)]
print("7 tokens go in, and out come", listed[0].shape[1])
print(
    f"another soft prompt moves the 7 tokens by {(listed[0] - listed[1])[:, :7].abs().max():.1f}, "
    f"and itself by {(listed[0] - listed[1])[:, 7:].abs().max():.1f}"
)

# %% [markdown]
# Three mistakes in three lines:
#
# - **The prompt is appended as hidden states**, so the text grows with every block. A prefix is keys and values, and the stream
#   keeps its length.
# - **It stands at the end.** In a causal model no token of the text can see it: another prompt moves the text by exactly nothing.
#   It belongs in front.
# - **The MLP is gone.** The adapter stands in its place, where it should stand beside it: $u + \text{MLP}(\dots) + s\,A(u)$.
#
# And in the prose of that section:
#
# - It gives MAM a soft prompt of length **200**, at 7 % extra numbers. 200 is the paper's *baseline*, prefix-tuning. MAM has a
#   prefix of **30** and adapters of width 512, together 6.7 %.
# - It speaks of a *soft prompt*. That is [lesson 05](05_prompt_tuning.ipynb), learned embeddings before the first layer. MAM uses a *prefix*, learned
#   keys and values in every layer.

# %% [markdown]
# ## The implementation
#
# A block with something beside its MLP, and the method that puts it there. The prefix comes from [lesson 06](06_prefix_tuning.ipynb)'s file.

# %%
from minipeft.hybrid import mam

print(inspect.getsource(mam.Beside))
print(inspect.getsource(mam.MAM))

# %% [markdown]
# `Beside` has to know a block's insides, since it needs $u$, which lives only between the two sub-layers. Everything else about
# the block stays as it was: the same frozen parts, called in the same order.
#
# ## How it starts
#
# **Predict first.** Before training, the adapters are nothing, and the prefix is ten *random* keys and values in each layer.
# Our question has 13 tokens. What share of their attention will go to the ten random keys?


# %%
@torch.no_grad()
def look(model, ids):
    """What the two inserts do with one text: (layers, t) each.

    The prefix's share of the attention, the mean over heads, and |s A(u)| / |MLP(norm(u))|.
    """
    shares, says, mlps, hooks = [], [], [], []

    def share_of(attn, args, _):
        q, k, v = attn.heads(*args[:2])
        n = k.shape[2] - q.shape[2]
        ones = torch.cat([torch.ones_like(v[:, :, :n]), torch.zeros_like(v[:, :, n:])], 2)
        shares.append(attend(q, k, ones, None)[0, :, :, 0].mean(0))

    for block in model.trunk:
        hooks.append(block.base.attn.register_forward_hook(share_of))
        hooks.append(
            block.branch.register_forward_hook(lambda _, a, y, s=block.scale: says.append(s * y[0].norm(dim=-1)))
        )
        hooks.append(block.base.mlp.register_forward_hook(lambda _, a, y: mlps.append(y[0].norm(dim=-1))))
    model(ids)
    for hook in hooks:
        hook.remove()
    return torch.stack(shares), torch.stack(says) / torch.stack(mlps)


torch.manual_seed(0)
fresh = MAM().attach(copy.deepcopy(base))
shares, says = look(fresh, ids)
print("share of the prefix, layer by layer:", [f"{row.mean():.0%}" for row in shares])
print("the adapters say, beside the MLPs:  ", [f"{row.mean():.0%}" for row in says])

# %% [markdown]
# Ten keys that mean nothing take from a quarter to a little over a half of the attention. A prefix is never neutral:
# what it gets, the text loses. So MAM does **not** start as its base. The adapter alone does, to the last bit:

# %%
# NBVAL_CHECK_OUTPUT
alone = MAM(length=0).attach(copy.deepcopy(base))
print("the adapter alone, same logits as the base:", torch.equal(alone(ids), base(ids)))
print("with the prefix, same logits as the base:  ", torch.equal(fresh(ids), base(ids)))
names = {name.split(".", 2)[2] for name in trainable(alone)}
print("trains in a block:", sorted(names))

# %% [markdown]
# ## It learns
#
# The task: which of four words is of another kind? It is one of the two tasks on which LoRA of rank 8 stays behind full
# fine-tuning in [docs/tasks.md](../docs/tasks.md), so there is something to win.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
model = copy.deepcopy(base)
history = fit(model, MAM(), task, steps=200, seed=0)
after = evaluate(model, task)
print("before:", before)
print("after: ", after)

# %% [markdown]
# ## What it costs, on the survey's axes
#
# Four layers, $d = 96$, keys as wide as the stream, $n = 10$ and $m = 16$. By formula, and then counted:

# %%
# NBVAL_CHECK_OUTPUT
d, m = c.width, 16
d_kv = c.kv_heads * c.head_width
print("a prefix: ", 2 * n * d_kv, "  an adapter:", 2 * d * m + m + d)
print("kept:     ", c.layers * (2 * n * d_kv + 2 * d * m + m + d))
print(counts(model))

# %% [markdown]
# No rank: no weight of the base has changed, and all that trained stays beside it.
#
# Mind *when* one counts. While it trains, a network writes the prefixes of all layers ([lesson 06](06_prefix_tuning.ipynb) says why), and then it is
# dropped. The paper's percentages count what is kept.

# %%
# NBVAL_CHECK_OUTPUT
h = MAM().hidden
network = n * d + (d * h + h) + c.layers * (h + 1) * 2 * d_kv
print("trains:", network + c.layers * (2 * d * m + m + d))
print("       ", sum(p.numel() for p in trainable(fresh).values()), "counted before training")
print("       ", sum(p.numel() for p in trainable(model).values()), "counted after training, the network dropped")

# %% [markdown]
# More than three times as many numbers train as are kept. Papers that report one number rarely say which.
#
# Memory, time, and what is stored:

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {
    "full fine-tuning": FullFineTuning(),
    "LoRA, rank 8": LoRA(rank=8),
    "prefix of 10": PrefixTuning(10),
    "parallel adapter of 16": MAM(length=0),
    "MAM": MAM(),
}
draw.table(costs(base, candidates))

# %% [markdown]
# The parallel adapter alone keeps about half of full fine-tuning's activations, and a step took about seven tenths of
# the time in this run. The lowest adapter stands in the second half of block 0, so no gradient goes into block 0's
# attention, nor through its MLP: the adapter stands beside it. With the prefix, the gradient has to go down there. So
# MAM costs about what its prefix costs. While the network trains, MAM needs ten times the memory for gradients and Adam
# that it stores in the end.
#
# Neither insert can be **merged**. A prefix is no weight: there is no token whose key it could be. And between $D$ and
# $U$ stands a relu. So at inference the model computes two thin products a layer more: in the table above, an eighth
# of the time on top. (In [docs/comparison](../docs/comparison/comparison.md), on other data, a fifth.) And every text
# carries $n$ more keys and values in its cache:

# %%
try:
    merge(copy.deepcopy(model), whole=True)
except ValueError as reason:
    print(reason)
per_token = c.layers * 2 * d_kv * 4
print(f"the cache: {per_token / 1e3:.1f} kB for a token of text, {n * per_token / 1e3:.1f} kB for the prefix")
given_back = detach(copy.deepcopy(model))
print("detached, the base:", all(map(torch.equal, given_back.parameters(), base.parameters())))

# %% [markdown]
# ## The picture: what each place brings
#
# The paper compares forms and places at equal numbers. So do we: about 20,000 trained numbers each, on this task. On the left
# stands *one* adapter, $s = 1$, in four places: behind or beside the attention, behind or beside the MLP. On the right stand
# the adapter beside the MLP with $s = 4$, a prefix, LoRA, and MAM. Each is trained at four learning rates, each four times the one
# before, with two seeds: the points are their means, the bars reach from one to the other. These 64 runs take too long for a
# lesson: `python benchmarks/mam_places.py` made the file that is read here.
#
# **Predict first.** Which of the four places is best? And can you say it without the learning rate?

# %%
import csv
from collections import defaultdict

with open("data/mam.csv", newline="") as file:
    runs = list(csv.DictReader(file))
found = defaultdict(lambda: defaultdict(list))  # {place: {rate: accuracies}}
for run in runs:
    found[run["place"]][float(run["rate"])].append(100 * float(run["accuracy"]))


def curve(ax, place, label, **style):
    rates, results = zip(*found[place].items(), strict=True)
    means = [sum(some) / len(some) for some in results]
    ends = [(mean - min(some), max(some) - mean) for mean, some in zip(means, results, strict=True)]
    ax.errorbar(
        rates, means, list(zip(*ends, strict=True)), capsize=2, elinewidth=0.7, ms=4.5, lw=1.3, label=label, **style
    )


fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
for sub, marker in (("attention", "s"), ("MLP", "o")):
    full = {"mfc": "white"} if sub == "attention" else {}
    curve(left, f"adapter behind the {sub}", f"behind the {sub}", color="0.55", ls="--", marker=marker, **full)
    curve(left, f"adapter beside the {sub}", f"beside the {sub}", color="C3", marker=marker, **full)
curve(right, "adapter beside the MLP", "adapter beside the MLP, s = 1", color="C3", marker="o")
curve(right, "adapter beside the MLP, s = 4", "the same, s = 4", color="C3", ls="--", marker="D")
curve(right, "MAM: prefix of 10, adapter of 16, s = 4", "MAM", color="black", marker="*")
curve(right, "LoRA of rank 13", "LoRA of rank 13", color="0.5", marker="^")
curve(right, "prefix of 26", "prefix of 26", color="0.5", ls=":", marker="v")
for ax, title in ((left, "one adapter, s = 1, in four places"), (right, "other forms, and the scale")):
    ax.set(xscale="log", xlabel="learning rate", title=title, ylim=(-3, 103))
    ax.set_xticks(list(found["LoRA of rank 13"]), [f"{rate:g}" for rate in found["LoRA of rank 13"]])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
left.set_ylabel("test accuracy, %")
draw.show(
    fig,
    "Two panels of test accuracy against the learning rate. Left: beside the MLP, beside the attention and behind the attention "
    "the adapter rises above 90 % at a rate of 0.012 and falls again at 0.048; behind the MLP it stays below 45 %. Right: with "
    "s = 4 the curve of the adapter beside the MLP is moved to the left by one step and is about as high. MAM has its top there too; "
    "LoRA's is lower, and a prefix stays below 20 %.",
)
for place, by_rate in found.items():
    mean, best_rate = max((sum(some) / len(some), rate) for rate, some in by_rate.items())
    print(f"{place:41} at its best rate, {best_rate:g}: {mean:.0f} %")

# %% [markdown]
# - **Behind the MLP is the worst place.** An adapter there reads only what the MLP has computed. Beside the MLP it reads the whole
#   stream $u$. We think that this is why, but have not tested it.
# - **Beside the MLP is the best**, and the two places at the attention are not far from it. In the paper, too, the place beside the
#   MLP wins when there are many numbers to spend. With few, it says, the attention is the better place; we have tried one size only.
# - **There is no ranking without the learning rate.** At 0.00075 all four are equally poor, and at 0.048 the order is another one.
# - **A prefix alone** is too weak for this task. In MAM, with an adapter of 16 instead of 26, it does no harm, and MAM is at the
#   top.
# - **The scale moves the curve, and does not lift it.** With $s = 4$ the adapter reaches at 0.003 what takes a rate of
#   0.012 with $s = 1$; its top is no higher. If you compared at 0.003 alone, you would write that the scale doubles the
#   accuracy.
#
# ## What the scale really does
#
# Look at the two red curves on the right again. **Predict first.** We train an adapter with $s = 4$. Then one with $s = 1$ from the
# same start, whose $U$ and $b$ learn at four times the rate; all else learns as before. Which of the two is ahead after sixty
# steps?

# %%
from minipeft.tasks.task import batches, encode

rows = [encode(example, base.tokenizer) for example in task.train]


def losses_of(scale, times):
    """Sixty steps of plain Adam; U and b learn at so many times the rate of D and c."""
    torch.manual_seed(0)
    method = MAM(length=0, scale=scale)
    other = method.attach(copy.deepcopy(base)).train()
    groups = [
        {"params": [p for name, p in trainable(other).items() if (".up." in name) == up], "lr": rate}
        for up, rate in ((True, times * 3e-3), (False, 3e-3))
    ]
    optimizer, data, losses = torch.optim.Adam(groups), batches(rows, 16, base.tokenizer.end, 0), []
    for _ in range(60):
        loss = method.loss(other, *next(data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


scaled, faster, plain = losses_of(4.0, 1), losses_of(1.0, 4), losses_of(1.0, 1)
fig, ax = plt.subplots(figsize=(6, 2.7))
ax.plot(plain, color="0.6", lw=1, label="s = 1")
ax.plot(scaled, color="C3", lw=3, alpha=0.5, label="s = 4")
ax.plot(faster, color="black", lw=1, ls="--", label="s = 1, four times the rate for U and b")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.set_yticks([2, 4, 8], ["2", "4", "8"])
ax.minorticks_off()
ax.legend(frameon=False)
draw.show(
    fig,
    "Three curves of the loss over sixty steps. With s = 1 it falls more slowly at first. With s = 4 it falls faster, and the "
    "curve of s = 1 with four times the rate for U and b lies exactly on it.",
)
gap = max(abs(a - b) for a, b in zip(scaled, faster, strict=True))
print(
    f"largest difference of the last two in a step: {gap:.0e} nats; after sixty steps s = 1 is at {plain[-1]:.2f}, they at {scaled[-1]:.2f}"
)

# %% [markdown]
# Neither: they are the same training, up to rounding. Write $U' = sU$ and $b' = sb$ for what the branch really multiplies with.
# Adam divides each gradient by its usual length, so its steps do not depend on $s$: $U$ moves as it would without it, and $U'$ moves
# $s$ times as fast. $D$ and $c$ see only $U'$, and don't notice. Since $U$ and $b$ start at zero, the start is the same as well.
#
# So in Adam's hands $s$ is no part of the model at all. It is **a larger learning rate for $U$ and $b$**. The same goes for
# LoRA's $\alpha / r$ in [lesson 15](15_lora.ipynb), where $B$ starts at zero. With plain gradient descent it would be another matter; exercise 19.2
# asks which.

# %% [markdown]
# ## When does each insert speak?
#
# The share $\lambda$ of the prefix depends on the token, and the relu of the adapter lets through what it likes. So we can look at
# who speaks where, in the MAM that we have trained. Above: how much of its attention each token gives to the
# prefix. Below: how loud the adapter is beside the MLP; at 1 both say as much. The red frame marks the colon, where the model
# has to answer.

# %%
shares, says = look(model, ids)
words = [base.tokenizer.decode([i]).strip() or "␣" for i in ids[0].tolist()]
words[0] = "start"
fig, axes = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True)
titles = ("the prefix's share of the attention", "the adapter, relative to the MLP")
for ax, values, title, top in zip(axes, (shares, says), titles, (1, 5), strict=True):
    image = ax.imshow(values, cmap="Greys", vmin=0, vmax=top, aspect="auto", origin="lower")
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            dark = value > 0.5 * top
            ax.text(j, i, f"{value:.1f}", ha="center", va="center", size=7, color="white" if dark else "black")
    ax.set(ylabel="layer", yticks=range(c.layers), title=title)
    ax.add_patch(plt.Rectangle((len(words) - 1.5, -0.5), 1, c.layers, fill=False, ec="C3", lw=2, clip_on=False))
    fig.colorbar(image, ax=ax, pad=0.02, label="share" if top == 1 else "ratio of lengths")
axes[1].set_xticks(range(len(words)), words, rotation=45, ha="right")
axes[1].set_xlabel("token")
fig.tight_layout()
draw.show(
    fig,
    "Two maps of layers by tokens for one question. Above, the share of attention on the prefix: high for many tokens in "
    "layers 0, 2 and 3, low in layer 1 but for the first tokens. Below, the adapter's size relative to the MLP's: large at "
    "the words of the question in the first and last layer, larger in layer 2 towards the end.",
)

# %% [markdown]
# In layer 0 the adapter is more than four times as loud as the MLP at *pig*, *dog* and *lion*, and says little at *puzzle* and at the
# commas. It seems to mark the words of one kind. But that is one question. Does it mark *animals*, or the three that belong
# together? Let us take a hundred questions, and sort their words by kind, whichever the odd one is (the words that are one
# token):

# %%
from minipeft.tasks.words import KINDS

kind_of = {word: kind for kind, some in KINDS.items() for word in some}
loud = {kind: [] for kind in KINDS}
for question in task.test[:100]:
    text = torch.tensor([base.tokenizer.start + base.tokenizer.encode(question.prompt)])
    _, says = look(model, text)
    for place, token in enumerate(text[0].tolist()):
        if (word := base.tokenizer.decode([token]).strip()) in kind_of:
            loud[kind_of[word]].append(says[:, place])
means = {kind: torch.stack(some).mean(0) for kind, some in loud.items()}
draw.table(
    [{"kind": kind, "words": len(loud[kind])} | {f"layer {i}": f"{mean[i]:.1f}" for i in range(c.layers)}
     for kind, mean in sorted(means.items(), key=lambda pair: -pair[1][0])]
)  # fmt: skip

# %% [markdown]
# Animals. In layer 0 the adapter is twice as loud at them as at the next kind, whether they are the odd one or not; in layer 3 it
# is at its quietest there. Why animals and no other kind we do not know; another seed may choose another kind.
#
# ## Which insert does the work?
#
# **Predict first.** Take the trained model and switch one insert off: the prefix out of all attentions, or the adapters to
# $s = 0$. Which of the two hurts more?

# %%
without_adapter, without_prefix = copy.deepcopy(model), copy.deepcopy(model)
for block in without_adapter.trunk:
    block.scale = 0.0
for block in without_prefix.trunk:
    del inner(block).attn.past[:]
print("both:               ", after)
print("without the adapter:", evaluate(without_adapter, task))
print("without the prefix: ", evaluate(without_prefix, task))

# %% [markdown]
# Without the adapters nothing is left. Without the prefix almost half of the answers are still right, although the adapters had
# been trained with it. Here most of the work is done beside the MLP.
#
# ## Its nearest relatives
#
# The table of forms above has laid them side by side. In the course, the same bottleneck stands in [lesson 03](03_adapters.ipynb) behind
# each sub-layer, in [lesson 04](04_adamix.ipynb) several times at one place, in [lesson 18](18_sparse_adapter.ipynb) with most of its numbers removed, and in lesson
# 20 behind a learned gate in place of the constant $s$.
#
# Which is ahead, if each has its own best learning rate? From [docs/comparison](../docs/comparison/comparison.md), on this task and
# model: means and deviations of three seeds, 200 steps, the rate chosen on validation data. *New words* are questions whose
# words the training data don't hold.
#
# | | trained numbers kept | accuracy, % | on new words, % |
# |---|---:|---:|---:|
# | full fine-tuning | 497,088 | 96 ± 1 | 36 ± 6 |
# | **MAM** | 20,416 | 93 ± 2 | 70 ± 5 |
# | UniPELT ([lesson 20](20_unipelt.ipynb)) | 34,256 | 92 ± 2 | 66 ± 9 |
# | LoRA, rank 8 | 12,288 | 80 ± 9 | 51 ± 9 |
# | Houlsby's adapters of 16 | 27,200 | 79 ± 10 | 43 ± 10 |
# | a prefix of 10 | 7,680 | 18 ± 10 | 21 ± 9 |
#
# Here MAM comes close to full fine-tuning, and on new words it is far ahead of it. This is not so on every task and
# model: over that table's five tasks MAM answers 77 % on average on mini-gpt2, like LoRA, and 67 % on mini-llama, where
# LoRA answers 77 %.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/mam.py`](../exercises/mam.py) beside this notebook. Each function has its equation, its shapes and its
# points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck? `hint("19.1")`.

# %%
ask("19.1")

# %%
check("19.1")

# %% [markdown]
# 19.2 is one step of training: the scale with Adam, and without. 19.3 is *a prefix is an adapter*. (How to find the share $\lambda$
# was exercise 06.2.)

# %%
check("19.2")

# %%
check("19.3")

# %% [markdown]
# 19.4 counts, 19.5 is a mistake to find in given code.

# %%
check("19.4")

# %%
check("19.5")

# %% [markdown]
# ### Your adapter in the mini GPT
#
# As soon as `check("19.1")` passes, the cell below trains *your* `parallel_adapter`: in each block the attention and the MLP are
# the frozen ones, and your function puts the second half together. Until then it uses the library's, and says so. No prefix
# this time, so the model starts as its base.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

yours = learner("19.1")


class Yours(Wrapper):
    """A block whose second half is the learner's function."""

    def __init__(self, block, size=16, scale=4.0):
        super().__init__(block)
        d = c.width
        self.scale = scale
        self.D, self.c = torch.nn.Parameter(torch.randn(size, d) / d**0.5), torch.nn.Parameter(torch.zeros(size))
        self.U, self.b = torch.nn.Parameter(torch.zeros(d, size)), torch.nn.Parameter(torch.zeros(d))

    def forward(self, x, *context):
        block = self.base
        u = x + block.attn(block.norm1(x), *context)
        n = block.norm2(u)
        return yours(u, n, block.mlp(n), self.D, self.c, self.U, self.b, self.scale)


class YourAdapter(Method):
    lr = MAM.lr

    def insert(self, model):
        wrap(model, "block", Yours)


mine = copy.deepcopy(base)
fit(mine, YourAdapter(), task, steps=150, seed=0)
print("before:", before)
print("after: ", evaluate(mine, task))

# %% [markdown]
# ## What to remember
#
# 1. A prefix is an adapter beside the attention: $P_k$ is its first matrix, $P_v$ its second, a softmax its nonlinearity, and
#    the share $\lambda$ its gate.
# 2. The scaled parallel adapter stands beside the MLP and reads the stream $u$ before the norm: $u + \text{MLP}(\text{norm}(u)) + s\,A(u)$.
# 3. MAM is both: a short prefix in the attention, a wide adapter beside the MLP.
# 4. The adapter starts as nothing, the prefix does not. Neither can be merged.
# 5. With Adam, a constant $s$ in front of a branch that starts at zero is a larger learning rate for $U$. To compare
#    methods, search the rate for each.
#
# **The paper's headline**, quoted from it: on XSum summaries (BART-large, ROUGE-2) MAM reaches 21.90 with 6.7 % of the numbers, where
# full fine-tuning reaches 21.94, a prefix of 200 reaches 20.46, a sequential adapter 20.89 and LoRA beside the MLP 21.29.
# Our toy agrees in what it can see: at equal size, an adapter beside the MLP is ahead of one behind it and far ahead of a prefix,
# and MAM is at the top. It shows, too, how much of such a ranking is the learning rate, and that $s$ is a part of that.
#
# **Further reading.** Section 3 of the paper for the unified view, section 4 for the comparison of forms and places. In the
# library, `minipeft/hybrid/mam.py` is the method, and `tests/test_mam.py` compares it with AdapterHub's library.
#
# **Next:** [lesson 20, UniPELT](20_unipelt.ipynb), which puts a gate before each part. Or go back to [the start](00_start_here.ipynb).
