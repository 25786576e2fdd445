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
# # 20 · UniPELT: a gate before each part
#
# **The question.** On one task LoRA is best, on another adapters, on a third a prefix, and nobody knows it beforehand. Could
# we take all three, and let the model learn, token by token, how much to listen to each?
#
# | | |
# |---|---|
# | paper | Mao et al., 2021, *UniPELT: A Unified Framework for Parameter-Efficient Language Model Tuning*, [arXiv 2110.07577](https://arxiv.org/abs/2110.07577) |
# | survey | section 11.3 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), hybrid methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 15](15_lora.ipynb) (LoRA), [lesson 19](19_mam.ipynb) (a prefix is an adapter) |
# | you need | the sigmoid; the causal mask of an attention |
# | time | 30 minutes to read and run, 50 for the exercises |
#
# At the end you will have written a gated prefix. You will know why the paper's gate must not be used in a GPT, and you
# will have seen a shut gate that still lets something through.

# %%
import copy
import inspect
from collections import defaultdict
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch

from minipeft import GPT, Adapters, LoRA, PrefixTuning, UniPELT, counts, detach, evaluate, fit, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.hybrid import unipelt
from minipeft.surgery import merge, trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("odd_one_out")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c
rate = 1e-2  # what the search of docs/comparison found for UniPELT on this task and model

# %% [markdown]
# ## Where it acts
#
# Three methods in one block: a prefix before the keys and values, LoRA beside the queries and the values, an adapter behind
# the block. Each has a gate of its own, which is counted with it in the drawing.

# %%
draw.block(UniPELT(hidden=None).attach(copy.deepcopy(base)))

# %% [markdown]
# ## The equation
#
# A gate reads a token's vector and says one number between 0 (shut) and 1 (open):
#
# $$ g(x) = \sigma(w \cdot x + c) \qquad w \in \mathbb{R}^{d},\ c \in \mathbb{R} $$
#
# and multiplies what its part would say:
#
# $$ \begin{aligned}
# \text{LoRA, at the queries and the values:} \quad & W x + g(x)\, B A\, x \\
# \text{prefix:} \quad & \text{attention}\big(q,\ [\,g(x) P_k;\, k],\ [\,g(x) P_v;\, v]\big) \qquad P_k, P_v \in \mathbb{R}^{n \times e} \text{ for each head} \\
# \text{adapter, with } h = \text{block}(x): \quad & h + g(h)\,\big(U\,\text{relu}(D\,h + c') + b\big)
# \end{aligned} $$
#
# - **Each part has a gate of its own**, in each layer: four in a block here, as in the authors' code. The paper's text counts
#   three: one for both LoRAs.
# - **The gate takes the place of LoRA's $\alpha / r$.** There is no other scale.
# - **A gate reads what its part reads**: the prefix's and LoRA's the normalised $x$, the adapter's $h$.
# - **They start half open**, $c = 0$ and a small $w$.

# %% [markdown]
# ## Whose gate? The paper's sees the future
#
# The paper's models are BERTs, which read a text as a whole. There the gate is one number for the whole text: the mean of
# $\sigma(w \cdot x_i + c)$ over all its tokens. The library has it as `gates="text"`.
#
# **Predict first.** We give a GPT such gates, and change the *last* token of a text. Do the logits of the *first* token move?

# %%
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
other = ids.clone()
other[0, -1] = base.tokenizer.encode("anna")[0]


def shaken(method):
    """The method with random gates, as training might have left them."""
    torch.manual_seed(0)
    model = method.attach(copy.deepcopy(base))
    for name, p in trainable(model).items():
        torch.nn.init.normal_(p, std=0.5 if ".gate." in name else 0.05)
    return model


with torch.no_grad():
    for over in ("text", "token"):
        model = shaken(UniPELT(hidden=None, gates=over))
        moved = (model(ids) - model(other))[0, 0].abs().max()
        print(f"gates over the {over:5}: the first token's logits move by {moved:.0e}")

# %% [markdown]
# They do. Every gate has looked at the whole text, so the first token knows something about the last. In training the
# loss then rewards the model for what it has seen of the future, and when it writes a text, there is no future to look
# at. AdapterHub's library has the paper's gate in its GPT-2 too. For a task that only classifies whole texts it does no
# harm; to write, it is wrong.
#
# So here each token has its own gates. That is simple for LoRA and for the adapter. The prefix needs more care: a token's gate
# scales the keys that *it* sees, so every query sees other keys. Exercise 20.3 asks how to do it without forming them all.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# In PyTorch, piece by piece. First the adapter. The survey writes that $x$ *becomes* the gated adapter's output:

# %%
block = UniPELT(hidden=None).attach(copy.deepcopy(base)).trunk[0]
adapter, gate = block.branch.branch, block.branch.gate
with torch.no_grad():
    h = next(base.trunk.states(base.embed(ids)))  # the stream after the first block
    listed = gate(h) * adapter(h)
    paper = h + gate(h) * adapter(h)
for name, x in (("before the adapter", h), ("as the survey has it", listed), ("as the paper has it", paper)):
    print(f"the stream {name:21} has a length of {x.norm(dim=-1).mean():.4f} a token")

# %% [markdown]
# **The skip is missing**, $h\, +$, and with it all that the block has computed is gone. Then LoRA, without its $x$:

# %%
d, r = c.width, 8
x, W, A, B = torch.randn(13, d), torch.randn(d, d), torch.randn(r, d), torch.randn(d, r)
try:
    x @ W.T + 0.5 * (B @ A).T
except RuntimeError as reason:
    print(reason)

# %% [markdown]
# **A weight is added to activations.** It can't be run, unless a text happens to have exactly $d$ tokens. What is meant is
# $g \cdot (x A^\top) B^\top$. Two more of that section:
#
# - It gives the prefix queries and keys. There is **no prefix of queries**; it is keys and values. (And what the listing computes
#   for the prefix it never uses.)
# - Its attention has **lost $1 / \sqrt e$**.
#
# And one number: 1.3 % of the parameters train, says the survey. The paper's table says 1.26 %, for what is *kept*. The network that
# writes the prefix while training is not in it. With the settings of the authors' code, ten inputs of 768, a hidden layer of 512 and
# 12 layers, it is $10 \cdot 768 + (768 \cdot 512 + 512) + (512 + 1) \cdot 12 \cdot 2 \cdot 768$ numbers: 9.9 million, to
# write a prefix of 184,320. All that is kept is 1.4 million.

# %% [markdown]
# ## The implementation
#
# The gate, what stands behind a gate, and attention with a gated prefix:

# %%
print(inspect.getsource(unipelt.Gate))
print(inspect.getsource(unipelt.Gated))
print(inspect.getsource(unipelt.GatedPrefix))

# %% [markdown]
# The trick in `GatedPrefix`: $q \cdot (g P_k) = (g q) \cdot P_k$. So the prefix's keys stay the same for all, and each query comes
# twice, as it is for the text and times its gate for the prefix. To let one softmax run over both, the heads are made twice as
# wide: in one half the text has zeros, in the other the prefix. The method puts it all together:

# %%
print(inspect.getsource(unipelt.UniPELT))

# %% [markdown]
# ## A shut gate, and a zero that is not nothing
#
# **Predict first.** All gates shut, $g = 0$ everywhere. Is the model its base again?

# %%
shut = shaken(UniPELT(hidden=None))
with torch.no_grad():
    for module in shut.modules():
        if isinstance(module, unipelt.Gate):
            module.bias.fill_(-10_000)
    x = torch.randn(1, 13, c.width)
    block = shut.trunk[0]
    query = block.base.attn.base.q
    print("LoRA behind a shut gate, same queries:     ", torch.equal(query(x), query.base(x)))
    print("the adapter behind a shut gate, same stream:", torch.equal(block(x), block.base(x)))
    print("all gates shut, same logits as the base:   ", torch.equal(shut(ids), base(ids)))
    for block in shut.trunk:
        block.base.attn = block.base.attn.base
    print("the prefixes taken off as well:            ", torch.equal(shut(ids), base(ids)))

# %% [markdown]
# Not with its prefix. A learned key of zero has the score $q \cdot 0 = 0$, and $e^0 = 1$: it takes a share of the
# softmax, and its value of zero brings nothing for it. A shut gate makes the prefix *silent*, but it also makes the
# text quieter. How much quieter?

# %%
from minipeft.gpt import attend

taken = []
with torch.no_grad():
    streams = [base.embed(ids)]
    streams += base.trunk.states(streams[0])
    for x, block in zip(streams[:-1], base.trunk, strict=True):
        q, k, v = block.attn.heads(block.norm1(x))
        zero = torch.zeros_like(k[:, :, :1]).expand(-1, -1, 10, -1)
        ones = torch.cat([torch.ones_like(zero), torch.zeros_like(v)], 2)
        taken.append(attend(q, torch.cat([zero, k], 2), ones, None)[0, :, :, 0])
for i, share in enumerate(taken):
    print(
        f"layer {i}: ten keys of zero take {share.mean():.0%} of the attention, in single heads up to {share.max():.0%}"
    )

# %% [markdown]
# From nearly a third to more than a half: about as much as the ten *random* keys in [lesson 19](19_mam.ipynb). To the softmax a zero is a key like any
# other. Exercise 20.4 asks for the number.
#
# ## It learns
#
# Which of four words is of another kind? The model starts near its base, but because of the prefix not at it. While it trains we
# note how far each gate is open, on average over the tokens of the batch.


# %%
def gates(model):
    """{(part, layer): its gate}"""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, unipelt.Gate):
            pieces = name.split(".")
            part = {4: "adapter", 5: "prefix"}.get(len(pieces)) or f"LoRA, {pieces[-3]}"
            found[part, int(pieces[1])] = module
    return found


@dataclass(frozen=True)
class Watched(UniPELT):
    """UniPELT whose gates note in each step how far they are open."""

    def insert(self, model):
        super().insert(model)
        for key, gate in gates(model).items():

            def note(gate, inputs, g, key=key):
                if gate.training:
                    opened[key].append(g.mean().item())

            gate.register_forward_hook(note)


prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
torch.manual_seed(0)
print("before, the base:    ", before)
print("before, with UniPELT:", evaluate(UniPELT().attach(copy.deepcopy(base)), task))
opened, model = defaultdict(list), copy.deepcopy(base)
fit(model, Watched(), task, steps=200, lr=rate, seed=0)
for gate in gates(model).values():
    gate._forward_hooks.clear()
after = evaluate(model, task)
print("after:               ", after)

# %% [markdown]
# ## The picture: the gates open, and shut
#
# One panel for each part, one line for each layer. All begin near one half.

# %%
parts = ("prefix", "LoRA, q", "LoRA, v", "adapter")
fig, axes = plt.subplots(1, 4, figsize=(9, 2.9), sharey=True, layout="constrained")
for ax, part in zip(axes, parts, strict=True):
    for i, style in enumerate(({"color": "0.7"}, {"color": "0.45"}, {"color": "black"}, {"color": "C3", "ls": "--"})):
        ax.plot(opened[part, i], lw=1.4, label=f"layer {i}", **style)
    ax.axhline(0.5, color="0.8", lw=0.8, zorder=0)
    ax.set(title=part, xlabel="step", ylim=(0, 1))
axes[0].set_ylabel("mean gate (0 shut, 1 open)")
axes[0].legend(frameon=False, fontsize=8)
draw.show(
    fig,
    "Four panels, one for each part, with the mean gate of each layer over 200 steps. All start near one half, move farthest in "
    "the first fifty steps, and some of them until step 130. In the end the prefix is nearly shut in layer 2, LoRA at the values in layer 1, the adapter in "
    "layer 0; the adapter of layer 2 is all but open.",
)

# %% [markdown]
# They move far in the first fifty steps, and after a hundred most have settled. In the end the adapter is nearly shut
# in layer 0 and all but open in layer 2; the prefix is shut the furthest in layer 2, LoRA at the values in layer 1. No
# part is shut everywhere. The paper thinks of gates that choose among the parts; these choose, for each part, among the
# *layers*.
#
# Those are means. A gate can say another number for each token. On the left, all tokens of 50 questions: the bar reaches from the
# tenth to the ninetieth percentile, the dot is the mean, and the red line is where all began. On the right one question, token by
# token: white is shut, black is open.


# %%
@torch.no_grad()
def gates_for(model, ids):
    """{(part, layer): the gate of each token}"""
    found, hooks = {}, []
    for key, gate in gates(model).items():
        hooks.append(gate.register_forward_hook(lambda _, x, g, key=key: found.update({key: g[0, :, 0]})))
    model(ids)
    for hook in hooks:
        hook.remove()
    return found


texts = [torch.tensor([base.tokenizer.start + base.tokenizer.encode(q.prompt)]) for q in task.test[:50]]
each = [gates_for(model, text) for text in texts]
keys = [(part, i) for part in parts for i in range(c.layers)]
every = {key: torch.cat([found[key] for found in each]) for key in keys}

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6), sharey=True, width_ratios=(1, 1.5), layout="constrained")
words = ["start"] + [base.tokenizer.decode([i]).strip() for i in ids[0, 1:].tolist()]
one = gates_for(model, ids)
image = right.imshow(torch.stack([one[key] for key in keys]), cmap="Greys", vmin=0, vmax=1, aspect="auto")
right.set_xticks(range(len(words)), words, rotation=45, ha="right")
right.set(xlabel="token", title="one question")
for row, key in enumerate(keys):
    low, high = every[key].quantile(0.1), every[key].quantile(0.9)
    left.plot([low, high], [row, row], color="0.6", lw=3, solid_capstyle="butt")
    left.plot(every[key].mean(), row, "ko", ms=4)
left.axvline(0.5, color="C3", lw=1.2)
left.set(xlim=(0, 1), xlabel="gate (0 shut, 1 open)", title="all tokens of 50 questions")
left.set_yticks(range(len(keys)), [f"{part}, layer {i}" for part, i in keys], fontsize=8)
for ax in (left, right):
    for edge in range(c.layers, len(keys), c.layers):
        ax.axhline(edge - 0.5, color="0.4", lw=0.8)
fig.colorbar(image, ax=right, pad=0.02, label="gate")
draw.show(
    fig,
    "Left: for each of the sixteen gates the spread and mean over tokens; most spread widely around one half, the adapter's in layers "
    "1 and 3 from 0 to 1. Right: the same gates for each token of one question, from white (shut) to black (open). The adapter's gate "
    "in layer 3 is black at the four words that are to be compared and white nearly everywhere else.",
)

# %% [markdown]
# Many gates depend on the token, and some have become switches. Look at the adapter in the last layer: it is open at *puzzle*, *pig*,
# *dog* and *lion*, the four words that are to be compared, and shut nearly everywhere else. In layer 0 it is open at the start of the
# text alone. In layer 2 it is open for all, and might as well have no gate.
#
# ## What a gate is worth
#
# **Predict first.** Take the trained model, and put all gates of one part to zero: the prefix's, LoRA's, the adapter's. Which hurts
# most? And what if each gate is held at its own mean, so that it no longer depends on the token?


# %%
@torch.no_grad()
def held(model, to, some=parts):
    """A copy whose gates of some parts say the same for every token: to(part, layer)."""
    model = copy.deepcopy(model)
    for (part, i), gate in gates(model).items():
        if part in some:
            gate.weight.zero_()
            gate.bias.fill_(torch.as_tensor(to(part, i)).logit(1e-8))
    return model


rows = {
    "as trained": model,
    "each gate held at its mean": held(model, lambda *key: every[key].mean()),
    "all gates held at one half": held(model, lambda *_: 0.5),
    "the prefix shut": held(model, lambda *_: 0.0, ["prefix"]),
    "LoRA shut": held(model, lambda *_: 0.0, ["LoRA, q", "LoRA, v"]),
    "the adapter shut": held(model, lambda *_: 0.0, ["adapter"]),
}
draw.table([{"gates": name, "accuracy": f"{evaluate(m, task).accuracy:.1%}"} for name, m in rows.items()])

# %% [markdown]
# The adapter is missed most and the prefix least, as with MAM in [lesson 19](19_mam.ipynb). And the tokens matter: with each gate
# held at its own mean, one answer in five is lost.
#
# ## Are gates that learn better than gates that stand still?
#
# That was a trained model whose gates were changed afterwards. The fair question is another one: train the same three
# parts with gates that do *not* learn, held open or held half open from the first step to the last. From all 1,000
# examples, and from 100 of them, since the paper finds its gates most useful where there are few data. Three seeds
# each; `python benchmarks/unipelt_gates.py` made the file.
#
# **Predict first.** Which is ahead?

# %%
import csv

with open("data/unipelt.csv", newline="") as file:
    runs = list(csv.DictReader(file))
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
ways = {"learn": ("gates that learn", {"color": "C3", "marker": "o"}), "held half open": ("held half open", {"color": "0.55", "marker": "s"}),
        "held open": ("held open", {"color": "black", "marker": "^"})}  # fmt: skip
for ax, (column, title) in zip(axes, {"accuracy": "the task's test", "new words": "on new words"}.items(), strict=True):
    for shift, (way, (label, style)) in enumerate(ways.items()):
        for place, examples in enumerate(("100", "1000")):
            some = [100 * float(r[column]) for r in runs if (r["gates"], r["examples"]) == (way, examples)]
            at = place + 0.18 * (shift - 1)
            ax.plot([at] * len(some), some, ls="", ms=5, alpha=0.8, label=label if not place else None, **style)
            ax.plot([at - 0.07, at + 0.07], [sum(some) / len(some)] * 2, color=style["color"], lw=1.5)
    ax.set(title=title, xlabel="training examples", xlim=(-0.5, 1.5), ylim=(0, 103))
    ax.set_xticks([0, 1], ["100", "1,000"])
axes[0].set_ylabel("accuracy, %")
axes[0].legend(frameon=False, fontsize=8)
draw.show(
    fig,
    "Two panels, each with the accuracies of three seeds for gates that learn, are held half open or are held open, from 100 and from "
    "1,000 examples. From 1,000, on the task's test, gates that stand still are ahead of gates that learn by a few points; elsewhere the "
    "seeds spread more than the three ways differ.",
)
for way in ways:
    means = []
    for examples in ("1000", "100"):
        some = [100 * float(r["accuracy"]) for r in runs if (r["gates"], r["examples"]) == (way, examples)]
        means.append(f"{sum(some) / len(some):.0f} % from {examples} examples")
    print(f"{ways[way][0] + ':':18}", *means, sep="  ")

# %% [markdown]
# Not the gates that learn. From 1,000 examples the gates that stand still are ahead by a few points; from 100, and on
# new words, the seeds spread more than the three ways differ. So what makes UniPELT good here is its three parts, not
# its gates. A part that was trained with a gate needs it, as the table above shows; a part that was trained without
# does not miss it.
#
# The paper finds otherwise: with a prefix and an adapter alone, gates bring its mean from 82.23 to 83.12. That is less than one
# point, on other tasks, with gates over the whole text. And ours is one task at one learning rate, the one that suits the gates that
# learn.
#
# ## What it costs, on the survey's axes
#
# Per layer: ten keys and values, as wide as the stream; LoRA of rank 8 at two weights; an adapter of 16; four gates. By
# formula, and then counted:

# %%
# NBVAL_CHECK_OUTPUT
d_kv, n, r, m = c.kv_heads * c.head_width, 10, 8, 16
numbers = {
    "prefix": 2 * n * d_kv,
    "LoRA": r * (d + d) + r * (d + d_kv),
    "adapter": 2 * d * m + m + d,
    "gates": 4 * (d + 1),
}
print(numbers, "kept:", c.layers * sum(numbers.values()))
print(counts(model))

# %% [markdown]
# There is no rank: no weight of the base gets a new fixed value, since the change of $W_q$ is $g(x)\,BA$, another
# matrix for every token.
#
# Memory, time, and what is stored:

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {
    "full fine-tuning": FullFineTuning(),
    "LoRA, rank 8": LoRA(rank=8),
    "prefix of 10": PrefixTuning(10),
    "adapter of 16": Adapters(16, "pfeiffer", "relu"),
    "UniPELT": UniPELT(),
}
draw.table(costs(base, candidates))

# %% [markdown]
# UniPELT costs the most of the five. It keeps more activations than full fine-tuning, and a step takes longer than full
# fine-tuning's: every small part and every gate keeps what it needs for its own gradient, and the heads of the
# attention are twice as wide. Its forward pass is the slowest too. In
# [docs/comparison](../docs/comparison/comparison.md), measured on a quiet machine, a step takes 130 % of full
# fine-tuning's time, and a forward pass 148 % of the base's.
#
# The paper reports, for BERT-base, 127 % of full fine-tuning's time at inference, and only 67 % of it in training. Our toy does not
# agree on training. We think that it is too small: its matrices are so narrow that a gate takes nearly as long as what it gates.
#
# It can't be merged: LoRA alone would fold, but a gate that depends on the text has no place in a weight.

# %%
try:
    merge(UniPELT().attach(copy.deepcopy(base)), whole=True)
except ValueError as reason:
    print(reason)
given_back = detach(copy.deepcopy(model))
print("detached, the base:", all(map(torch.equal, given_back.parameters(), base.parameters())))

# %% [markdown]
# ## Its nearest relatives
#
# | | UniPELT | MAM ([lesson 19](19_mam.ipynb)) | its parts alone |
# |---|---|---|---|
# | in the attention | prefix and LoRA | prefix | one of them |
# | beside or behind the MLP | an adapter, behind | an adapter, beside | an adapter, behind |
# | how strong a part is | a learned gate, another one for each token | a constant $s$ | LoRA's $\alpha / r$ |
# | starts as the base | no: the prefix | no: the prefix | LoRA does |
# | merged | no | no | LoRA |
#
# The paper's promise is that the whole is about as good as the best of its parts, whatever the task. From
# [docs/comparison](../docs/comparison/comparison.md), on this model, each at the learning rate that a search chose; means and
# deviations of three seeds, test accuracy in per cent:
#
# | | trained numbers kept | `opposite` | `reversing` | `past_tense` | `odd_one_out` | `cipher` | mean |
# |---|---:|---:|---:|---:|---:|---:|---:|
# | **UniPELT** | 34,256 | 100 ± 0 | 100 ± 0 | 99 ± 0 | 92 ± 2 | 4 ± 8 | 79 |
# | LoRA, rank 8 | 12,288 | 100 ± 0 | 100 ± 0 | 100 ± 0 | 80 ± 9 | 5 ± 8 | 77 |
# | Houlsby's adapters of 16 | 27,200 | 100 ± 0 | 100 ± 0 | 97 ± 1 | 79 ± 10 | 2 ± 1 | 76 |
# | a prefix of 10 | 7,680 | 97 ± 5 | 99 ± 2 | 89 ± 4 | 18 ± 10 | 0 ± 1 | 61 |
# | MAM | 20,416 | 100 ± 0 | 100 ± 0 | 94 ± 1 | 93 ± 2 | 1 ± 0 | 77 |
#
# The promise holds here: on each of the five tasks UniPELT is within a point or two of the best of its parts, and on
# `odd_one_out` it is far ahead of them. But it has more numbers than any of them, so part of that may be size; and on mini-llama
# its mean is 76, LoRA's 77. The price is in the same file: its step takes 130 % of full fine-tuning's time, LoRA's 84 %.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/unipelt.py`](../exercises/unipelt.py) beside this notebook. Each function has its equation, its shapes and its
# points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck? `hint("20.1")`.

# %%
ask("20.1")

# %%
check("20.1")

# %% [markdown]
# 20.2 is a mistake to find: a gate that looks ahead.

# %%
check("20.2")

# %% [markdown]
# 20.3 is the heart of this lesson. Take your time.

# %%
ask("20.3")

# %%
check("20.3")

# %% [markdown]
# 20.4 is a prediction, 20.5 counts.

# %%
check("20.4")

# %%
check("20.5")

# %% [markdown]
# ### Your gated LoRA in the mini GPT
#
# As soon as `check("20.1")` passes, the cell below trains *your* `gated_lora` at the queries and values: only LoRA and its gates,
# no prefix and no adapter, so the model starts as its base. Until then it uses the library's, and says so.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

yours = learner("20.1")


class Yours(Wrapper):
    """A Linear with gated LoRA whose forward is the learner's function."""

    def __init__(self, linear, rank=8):
        super().__init__(linear)
        d_out, d_in = linear.weight.shape
        self.A = torch.nn.Parameter(torch.randn(rank, d_in) / d_in**0.5)
        self.B = torch.nn.Parameter(torch.zeros(d_out, rank))
        self.w = torch.nn.Parameter(torch.randn(d_in) * 0.02)

    def forward(self, x):
        return yours(x, self.base.weight, self.A, self.B, self.w, 0.0)


class YourGatedLoRA(Method):
    lr = LoRA.lr

    def insert(self, model):
        wrap(model, ["attn.q", "attn.v"], Yours)


mine = copy.deepcopy(base)
fit(mine, YourGatedLoRA(), task, steps=200, seed=0)
print("before:                ", before)
print("after, your gated LoRA:", evaluate(mine, task))

# %% [markdown]
# ## What to remember
#
# 1. UniPELT is a prefix, LoRA and an adapter in one block, each times a gate $\sigma(w \cdot x + c)$ that is learned.
# 2. The gate takes the place of LoRA's $\alpha / r$; the skip around the adapter is not gated.
# 3. A mean over the whole text lets a GPT's tokens see the future. Here each token has its own gates.
# 4. A shut gate switches LoRA and the adapter off, and not the prefix: keys of zero still take their share of the softmax.
# 5. Gates depend on the text, so nothing can be merged, and every part costs at inference. Whether they help, one must measure.
#
# **The paper's headline**, quoted from it: the mean over GLUE, BERT-base with 100 examples a task, is 62.59 for UniPELT, where full
# fine-tuning reaches 60.02, an adapter 58.24, LoRA 49.26, a prefix 47.99. With all the data it is 83.50, full fine-tuning 82.67, an
# adapter 83.02. Our toy agrees that the three parts together are about as good as the best of them, and on one task better. It does not
# show that the gates are the reason, nor that training gets cheaper.
#
# **Further reading.** Section 3 of the paper for the gates. In the library, `minipeft/hybrid/unipelt.py` is the method, and
# `tests/test_unipelt.py` compares it with AdapterHub's library and writes the gated prefix out by hand.
#
# **Next:** [lesson 21, Compacter](21_compacter.ipynb), an adapter of Kronecker products. Or go back to [the start](00_start_here.ipynb).
