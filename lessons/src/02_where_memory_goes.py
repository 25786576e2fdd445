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
# # 02 · Where memory goes
#
# **The question.** A model of seven billion numbers runs on one card with 24 GB. Fine-tune it on the same card, and the
# first step ends with *out of memory*. What takes all that room? Which part of it can a method of this course save, and
# which part can it not?
#
# | | |
# |---|---|
# | survey | section 4 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647): in what ways a method can be efficient, and how it is counted |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT) |
# | you need | what `loss.backward()` and `optimizer.step()` do; the chain rule |
# | time | 35 minutes to read and run, 40 for the exercises |
#
# At the end you will be able to predict the memory of a training step on paper, for the mini GPT to within two per
# cent, and you will have put a method of your own into the model. One MB is $10^6$ bytes here and one GB $10^9$; a
# number has 4 bytes in fp32 and 2 in bf16.

# %%
import copy
import time
import weakref
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minipeft import GPT, Config, FullFineTuning, LoRA, Method, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, hint, learner  # noqa: F401  hint is for you, at the end
from minipeft.measure import kept_bytes
from minipeft.surgery import Wrapper, find, reparametrize, trainable, walk, wrap

torch.set_num_threads(1)  # slower than two, and steadier to measure
base = GPT.from_pretrained("mini-gpt2").eval()
c = base.c
L, d, h, v = c.layers, c.width, c.heads, c.vocab

# %% [markdown]
# ## Four piles
#
# A training step is three lines of code, and each of them leaves something in memory.
#
# | pile | comes with | what it is |
# |---|---|---|
# | **weights** | loading the model | all numbers of the model, whether they train or not |
# | **activations** | `loss = ...` | what the forward pass computed on its way, as far as the backward pass will need it |
# | **gradients** | `loss.backward()` | one number for each number that trains |
# | **optimizer** | `optimizer.step()` | AdamW keeps two running averages for each number that trains: of its gradient, and of the gradient's square |
#
# The learning data below is 16 texts of 24 tokens. Which tokens they are makes no difference to memory.

# %%
# NBVAL_CHECK_OUTPUT
b, t = 16, 24
n = b * t  # tokens in a step
random = torch.Generator().manual_seed(0)
x, y = torch.randint(v, (2, b, t), generator=random)
numbers = sum(p.numel() for p in base.parameters())
print(f"{numbers:,} numbers in the model, {n} tokens in a batch")

# %% [markdown]
# **Predict first.** All numbers train, in fp32. How many MB are the weights, the gradients, the optimizer's averages?
# And do you expect the activations to be smaller than the weights, or larger?


# %%
def nbytes(tensors):
    return sum(t.nbytes for t in tensors)


def piles(method):
    """Bytes of the four piles in a training step, measured."""
    model = method.attach(copy.deepcopy(base))
    activations = kept_bytes(lambda: method.loss(model, x, y), model)
    optimizer = torch.optim.AdamW(trainable(model).values())
    method.loss(model, x, y).backward()
    optimizer.step()
    return {
        "weights": nbytes(model.parameters()),
        "gradients": nbytes(p.grad for p in model.parameters() if p.grad is not None),
        "optimizer": nbytes(s for state in optimizer.state.values() for s in state.values() if s.ndim),
        "activations": activations,
    }


full = piles(FullFineTuning())
for pile, size in full.items():
    print(f"{pile:12} {size / 1e6:6.2f} MB = {size / full['weights']:.2f} x the weights")

# %% [markdown]
# Three of the piles are plain counting: one gradient and two averages for each number that trains, so 1 + 1 + 2 = 4
# times the weights, **16 bytes a number** in fp32. The fourth has nothing to do with the number of weights. It grows
# with the tokens in a batch, and even this small batch makes it the largest pile.
#
# `kept_bytes` measures it by asking autograd, PyTorch's machinery for gradients, to show each tensor that it puts aside
# during the forward pass. The model's own weights are not counted there.

# %% [markdown]
# ## One step, watched
#
# The piles are not all there at the same time. To see when they come and go, we look after *every operation* of PyTorch
# at which tensors are alive. The class below does that; you need not read it to go on.


# %%
class Meter(TorchDispatchMode):
    """Inside, after every operation of torch: bytes of weights, optimizer, gradients, and of everything alive."""

    def __init__(self, model, optimizer):
        super().__init__()
        self.params, self.live, self.readings = list(model.parameters()), {}, []
        self.averages = [s for state in optimizer.state.values() for s in state.values()]
        self.add(self.params + self.averages)

    def add(self, tensors):
        for storage in (t.untyped_storage() for t in tensors):
            if storage._cdata not in self.live:  # two tensors may share their numbers
                self.live[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.live.pop, storage._cdata)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.add(t for t in tree_leaves(result) if isinstance(t, torch.Tensor))
        gradients = nbytes(p.grad for p in self.params if p.grad is not None)
        self.readings.append((nbytes(self.params), nbytes(self.averages), gradients, sum(self.live.values())))
        return result


# %%
def watch(method):
    """One training step under the meter: readings (operations, 4) in MB, and where backward and optimizer begin."""
    model, marks = method.attach(copy.deepcopy(base)), []
    optimizer = torch.optim.AdamW(trainable(model).values())
    method.loss(model, x, y).backward()
    optimizer.step()  # the first step makes the averages; the second one is watched
    optimizer.zero_grad()
    with Meter(model, optimizer) as meter:
        loss = method.loss(model, x, y)
        marks.append(len(meter.readings))
        loss.backward()
        marks.append(len(meter.readings))
        optimizer.step()
        optimizer.zero_grad()
    return torch.tensor(meter.readings) / 1e6, marks


def mountain(ax, method):
    """Draw what `watch` saw."""
    readings, marks = watch(method)
    weights, averages, gradients, everything = readings.T
    rest = everything - weights - averages - gradients
    colours = ["0.35", "0.55", "0.8", "C3"]
    labels = ["weights", "optimizer", "gradients", "activations, and what is in use for a moment"]
    ax.stackplot(range(len(readings)), weights, averages, gradients, rest, colors=colours, labels=labels, lw=0)
    for mark in marks:
        ax.axvline(mark, color="black", lw=0.8, ls=":")
    ax.set(xlabel="operations since the step began", xlim=(0, len(readings) - 1))
    return everything.max().item(), marks


# %%
fig, ax = plt.subplots(figsize=(8, 3.2))
peak, (turn, end) = mountain(ax, FullFineTuning())
ax.set(ylabel="MB", ylim=(0, 1.15 * peak))
for place, label in ((0, "forward"), (turn, "backward"), (end, "optimizer")):
    ax.text(place + 12, 1.07 * peak, label)
ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.94), fontsize=8)
draw.show(
    fig,
    "Memory during one step of full fine-tuning. Weights and optimizer are a constant floor. Activations pile up during the "
    "forward pass, like a mountain, and go down during the backward pass, while the gradients grow in their place.",
)
print(f"the peak: {peak:.1f} MB; the four piles added up: {sum(full.values()) / 1e6:.1f} MB")

# %% [markdown]
# Read it from left to right. The forward pass piles up activations. The backward pass goes through the model from the
# top to the bottom, and gives back the activations of each part as soon as it has used them; the gradients grow at the
# same pace. So the peak is where forward turns into backward, and it is somewhat lower than the sum of the four piles.
# (If gradients of an earlier batch are still there, because you accumulate them, it is the sum.)

# %% [markdown]
# ## What a method saves
#
# LoRA ([lesson 15](15_lora.ipynb)) puts small matrices beside some weights and trains those alone.
#
# **Predict first.** LoRA of rank 8 trains a few numbers for every hundred that the model has. Which of the four piles
# shrink as much? What becomes of the mountain? And what if LoRA stands in the top block only?

# %%
ways = {"full fine-tuning": FullFineTuning(), "LoRA": LoRA(rank=8), "LoRA, top block": LoRA(rank=8, layers=[L - 1])}
fig, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
for ax, (name, method) in zip(axes, ways.items(), strict=True):
    peak, _ = mountain(ax, method)
    ax.set_title(f"{name}: peak {peak:.1f} MB", size=10)
    ax.set(xlabel="operations")
axes[0].set(ylabel="MB")
draw.show(
    fig,
    "The same picture for three ways. With LoRA, gradients and optimizer have vanished, and the mountain of activations is "
    "about two thirds as high. With LoRA in the top block alone the mountain is small, and stands at the end of the forward pass.",
)

# %% [markdown]
# Gradients and optimizer are gone, as they should be: what does not train has neither. But most of the mountain is
# still there. That is the part of the answer that is seldom told: **a frozen weight saves its gradient and its
# averages, not the activations above it.** To see why, look at one Linear.

# %% [markdown]
# ## What one Linear keeps
#
# $y = x W^\top$ for $n$ tokens: $x$ is $(n, d_\text{in})$, $W$ is $(d_\text{out}, d_\text{in})$. Let $G = \partial
# \text{loss} / \partial y$, which is $(n, d_\text{out})$, come down from above. Then
#
# $$ \frac{\partial\, \text{loss}}{\partial W} = G^\top x \qquad\qquad \frac{\partial\, \text{loss}}{\partial x} = G\, W $$
#
# The first is what the optimizer wants. The second is what the layers *below* want, to go on with the chain rule.
#
# **Predict first.** One of the two needs $x$ and the other needs $W$. If $W$ is frozen, what does this Linear keep?


# %%
def kept_by_linear(x_needs, W_trains):
    """Names of the tensors that autograd puts aside."""
    inp, W = torch.randn(5, 8, requires_grad=x_needs), torch.randn(6, 8, requires_grad=W_trains)
    names, kept = {inp.data_ptr(): "x", W.data_ptr(): "W"}, []
    with torch.autograd.graph.saved_tensors_hooks(lambda s: kept.append(names[s.data_ptr()]), lambda s: s):
        F.linear(inp, W)
    return " and ".join(sorted(kept)) or "nothing"


# %%
# NBVAL_CHECK_OUTPUT
linears = {  # does something below wait for a gradient?  does W train?
    "everything trains": (True, True),
    "the lowest Linear that trains": (False, True),
    "frozen, above something that trains": (True, False),
    "frozen, nothing that trains below": (False, False),
}
draw.table([{"": where, "keeps": kept_by_linear(*flags)} for where, flags in linears.items()])

# %% [markdown]
# $W$ lies in memory anyway, so keeping it costs nothing. **A frozen Linear does not keep its input**, and that is the
# whole saving. The gradient still passes through it.
#
# Other operations have no weights, and freezing does nothing to them. The gradient of `gelu` is computed from its
# input, that of attention from queries, keys, values and its output. They keep these as long as anything below waits
# for a gradient.

# %% [markdown]
# ## What one block keeps
#
# Now for a whole block. The cell below names the tensors by the parts they go into or come out of, and asks autograd
# twice: once with the block trained, once with it frozen, while something below waits for a gradient.

# %%
PLACES = {  # part: what goes in, what comes out
    "norm1": ("the stream, into norm1", None),
    "attn.q": ("normalised, into q, k, v", "queries"),
    "attn.k": (None, "keys"),
    "attn.v": (None, "values"),
    "attn.o": ("attention's answer, into o", None),
    "norm2": ("the stream, into norm2", None),
    "mlp.up": ("normalised, into up", "hidden, into gelu"),
    "mlp.down": ("hidden, into down", None),
}


REST = "statistics of norms and softmax"


def block_keeps(train):
    """{what: how many numbers the first block keeps of it for each token, in units of the width d}"""
    block, seen, kept = copy.deepcopy(base.trunk[0]).requires_grad_(train), {}, {}
    for part, (before, after) in PLACES.items():

        def look(module, inputs, output, before=before, after=after):
            seen.update({what: t for what, t in ((before, inputs[0]), (after, output)) if what})

        block.get_submodule(part).register_forward_hook(look)
    with torch.autograd.graph.saved_tensors_hooks(lambda s: kept.update({s.data_ptr(): s}) or s, lambda s: s):
        result = block(torch.randn(b, t, d, requires_grad=True))  # noqa: F841  as long as it lives, so does what is kept
    own = {p.data_ptr() for p in block.parameters()}
    names = {t.data_ptr(): what for what, t in seen.items()}
    units = dict.fromkeys([*seen, REST], 0.0)
    for address, s in kept.items():
        if address not in own:
            units[names.get(address, REST)] += s.numel() / (n * d)
    return units


trained, frozen = block_keeps(True), block_keeps(False)

# %%
order = [what for places in PLACES.values() for what in places if what] + [REST]
fig, ax = plt.subplots(figsize=(8, 3.4))
ax.barh(order, [trained[what] for what in order], color="C3", label="kept only if the weights train")
ax.barh(order, [frozen[what] for what in order], color="0.6", label="kept even if the block is frozen")
ax.invert_yaxis()
ax.set(xlabel="numbers for each token, in units of the width d")
ax.legend(frameon=False, loc="upper right")
draw.show(
    fig,
    "Eleven tensors that a trained block keeps. The inputs of q, k, v, of up and of down are kept only if the weights "
    "train; the stream, queries, keys, values, attention's answer and gelu's input are kept even in a frozen block.",
)
print(f"a trained block keeps {sum(trained.values()):.2f} d for each token, a frozen one {sum(frozen.values()):.2f} d")

# %% [markdown]
# So a GPT-2 block keeps **16 d numbers a token if it trains and 10 d if it is frozen**. ($f = 4d$, which is why the
# hidden layer weighs so much.) Attention's answer is there in both cases: attention itself needs it for its own
# gradient.
#
# That is all we need to predict the activations of a step, with the two ends of the model:
#
# - LoRA on q and v needs their input after all, $d$, and inside its branch the $r$ numbers between its two matrices: a
#   block keeps $11 d + 2 r$ numbers.
# - The lowest block that has LoRA in it has nothing below that waits, so its norm1 keeps nothing: $d$ less.
# - At the top, the final norm keeps its input, $d$; the head, if it trains, its own, $d$; and the loss one probability
#   for each word of the vocabulary, $v$.
#
# Blocks below the lowest LoRA keep nothing at all: their Linears are the last row of the table.

# %%
r = 8
lora_block = 11 * d + 2 * r
predicted = {
    "full fine-tuning": 4 * n * (L * 16 * d + d + d + v),
    "LoRA": 4 * n * (L * lora_block - d + d + v),
    "LoRA, top block": 4 * n * (lora_block - d + d + v),
}
measured = {name: piles(method) for name, method in ways.items()}
for name, size in predicted.items():
    real = measured[name]["activations"]
    print(f"{name:17} predicted {size / 1e6:6.2f} MB, measured {real / 1e6:6.2f} MB: {size / real - 1:+.1%}")

# %% [markdown]
# The rest, a few per cent at most, is statistics and the indices of the tokens. Here are all four piles, as predicted
# (lines) and as measured (bars).

# %%
trains = {name: sum(p.numel() for p in trainable(m.attach(copy.deepcopy(base))).values()) for name, m in ways.items()}
fig, ax = plt.subplots(figsize=(8, 2.8))
everything = {"forward pass alone": {"weights": 4 * numbers}} | measured
for row, (name, sizes) in enumerate(everything.items()):
    left = 0.0
    for pile, colour in zip(full, ["0.35", "0.8", "0.55", "C3"], strict=True):
        size = sizes.get(pile, 0) / 1e6
        ax.barh(row, size, left=left, color=colour, label=pile if row == 1 else None)
        left += size
    added = trains.get(name, 0) if "LoRA" in name else 0  # LoRA's own numbers come on top of the model's
    paper = 4 * (numbers + added) + 12 * trains.get(name, 0) + predicted.get(name, 0)
    ax.plot([paper / 1e6] * 2, [row - 0.45, row + 0.45], color="black", lw=1.5, label="predicted" if row == 1 else None)
ax.set(yticks=range(len(everything)), yticklabels=everything, xlabel="MB")
ax.invert_yaxis()
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
draw.show(
    fig,
    "Stacked bars of weights, gradients, optimizer and activations. The forward pass alone holds the weights. Full fine-tuning "
    "has all four. LoRA has almost no gradients and optimizer, but two thirds of the activations. LoRA in the top block alone has few "
    "activations. The predicted sums lie at the ends of the bars.",
)

# %% [markdown]
# ## Freeze the bottom
#
# If the gradient passes through everything that is frozen, the only way to stop it is to have nothing that trains
# below. Twelve blocks this time, with random weights, since memory does not mind. Two ways to choose what trains:
#
# **Predict first.** Only *one* block trains, block 3 of 12. Does it take less memory than if block 3 *and all above*
# train? How much less?


# %%
def kept(model, batch=b, length=t):
    """MB of activations in a step of such a model, as its parameters' requires_grad say."""
    x, y = torch.zeros(2, batch, length, dtype=torch.long)
    return kept_bytes(lambda: Method().loss(model, x, y), model) / 1e6


deep = GPT(Config(vocab=v, context=64, layers=12, heads=h, width=d)).requires_grad_(False)
one, above = [], []
for lowest in reversed(range(12)):
    deep.requires_grad_(False)
    deep.trunk[lowest].requires_grad_(True)
    one.insert(0, kept(deep))
    for block in list(deep.trunk)[lowest:]:
        block.requires_grad_(True)
    above.insert(0, kept(deep))

# %%
fig, ax = plt.subplots(figsize=(7, 2.8))
ax.plot(above, "o-", color="0.5", label="it and all above it")
ax.plot(one, "o-", color="C3", label="it alone")
ax.set(
    xlabel="the lowest block that trains (0: at the embedding, 11: at the head)",
    ylabel="activations, MB",
    ylim=(0, None),
)
ax.legend(frameon=False, title="what trains")
draw.show(
    fig,
    "Activations against the lowest block that trains. Both lines fall straight from the left to the right, to almost "
    "nothing. If one block alone trains, the activations are about two thirds of what they are if all above it train as well.",
)
print(f"block 3 alone: {one[3]:.1f} MB, block 3 and all above: {above[3]:.1f} MB")

# %% [markdown]
# What counts is how *low* the lowest trained number lies, much more than how many train. Train a handful of numbers at
# the embedding, and the whole mountain is kept: prompt tuning ([lesson 05](05_prompt_tuning.ipynb)) is of that kind, although it trains very few
# numbers. Ladder side-tuning ([lesson 08](08_ladder_side.ipynb)) is built around this picture: it puts a small network *beside* the model, and
# lets no gradient into the model at all.

# %% [markdown]
# ## How activations grow
#
# By the formula, with the batch, with the length and with the depth in straight lines. One thing does not: attention
# compares each token with each, $t^2$ numbers a head. Does a block keep them? It depends on how attention is computed.
# A *fused* kernel works through the comparison in pieces, keeps one number for each query instead of a row, and
# computes the rest again in the backward pass ([FlashAttention](https://arxiv.org/abs/2205.14135)). It is what
# `F.scaled_dot_product_attention` uses where it can; we can ask it not to.

# %%
from torch.nn.attention import SDPBackend, sdpa_kernel


def small(layers=4, context=512):
    return GPT(Config(vocab=v, context=context, layers=layers, heads=4, width=64))


def formula(b, t, layers=4, quadratic=False):
    """MB of activations of `small` on paper; without the fused kernel, t numbers more for each head and token."""
    block = 16 * 64 + (4 * t if quadratic else 0)
    return 4 * b * t * (layers * block + 2 * 64 + v) / 1e6


batches, lengths, depths = [1, 2, 4, 8, 16], [32, 64, 128, 256, 512], [1, 2, 4, 8, 12]
by_batch = [kept(small(), batch, 64) for batch in batches]
by_length = [kept(small(), 2, length) for length in lengths]
by_depth = [kept(small(layers), 4, 64) for layers in depths]
with sdpa_kernel(SDPBackend.MATH):
    unfused = [kept(small(), 2, length) for length in lengths]

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.8))
left.plot(batches, [formula(size, 64) for size in batches], color="0.6")
left.plot(batches, by_batch, "ko", ms=4)
left.set(xlabel="texts in a batch", ylabel="activations, MB")
middle.plot(depths, [formula(4, 64, layers) for layers in depths], color="0.6", label="predicted")
middle.plot(depths, by_depth, "ko", ms=4, label="measured")
middle.set(xlabel="blocks")
middle.legend(frameon=False)
finer = range(0, 513, 16)
right.plot(finer, [formula(2, length) for length in finer], color="0.6")
right.plot(lengths, by_length, "ko", ms=4, label="fused")
right.plot(finer, [formula(2, length, quadratic=True) for length in finer], color="C3")
right.plot(lengths, unfused, "o", color="C3", ms=4, label="not fused")
right.set(xlabel="tokens in a text")
right.legend(frameon=False, title="attention")
for ax in (left, middle, right):
    ax.set(xlim=(0, None), ylim=(0, None))
draw.show(
    fig,
    "Activations grow in straight lines with the batch and with the number of blocks. With the length of the text they "
    "grow in a straight line if attention is fused, and as a parabola if it is not. Measured points lie on the predicted lines.",
)

# %% [markdown]
# ## What helps against the mountain
#
# No method of this course is needed for these three, and all of them go together with any method.
#
# - **Recomputation** (activation checkpointing): keep the input of each block alone, $d$ numbers a token instead of $16
#   d$. In the backward pass, run each block again just before its gradient is computed.
# - **Accumulation**: cut the batch into pieces, run forward and backward for one after the other, and let the gradients
#   add up before the optimizer's step.
# - **Mixed precision**: compute in bf16 where that is good enough. Most activations are then half as large.
#
# **Predict first.** Each of them costs something. What does recomputation cost in time, and what accumulation?


# %%
def training_step(recompute=False, pieces=1, dtype=None):
    """A function that does forward and backward for 32 texts, and the model it does it to."""
    method = FullFineTuning()
    model = method.attach(copy.deepcopy(base))
    model.trunk.recompute = recompute
    many = torch.zeros(2 * b, t, dtype=torch.long)

    def step():
        for ids in many.chunk(pieces):
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                loss = method.loss(model, ids, ids) / pieces
            loss.backward()

    return step, model


def peak(step, model):
    """MB at the highest point of a step, beside weights and gradients."""
    step()  # now the gradients are there
    with Meter(model, torch.optim.SGD(model.parameters())) as meter:
        meter.add(p.grad for p in trainable(model).values())
        start = sum(meter.live.values())
        step()
    return (max(everything for *_, everything in meter.readings) - start) / 1e6


def processor_ms(*runs, rounds=9):
    """Milliseconds of processor time that each run takes at best; whatever else the machine does is not counted."""
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):  # in turns, so that a slow moment meets them all
            began = time.process_time()
            run()
            best[i] = min(best[i], 1e3 * (time.process_time() - began))
    return best


# %%
levers = {
    "none of them": training_step(),
    "recomputation": training_step(recompute=True),
    "four pieces": training_step(pieces=4),
    "recomputation, four pieces": training_step(recompute=True, pieces=4),
}
peaks = {name: peak(*lever) for name, lever in levers.items()}
spent = processor_ms(*(step for step, _ in levers.values()))
peaks["bf16"] = peak(*training_step(dtype=torch.bfloat16))

# %%
fig, ax = plt.subplots(figsize=(8, 2.6))
ax.barh(list(peaks), list(peaks.values()), color="C3", height=0.6)
for row, (size, factor) in enumerate(zip(peaks.values(), [*(ms / spent[0] for ms in spent), None], strict=True)):
    note = f"time × {factor:.2f}" if factor else "time: see below"
    ax.text(size, row, f"  {size:.1f} MB, {note}", va="center", size=9)
ax.invert_yaxis()
ax.set(xlabel="highest point of a step beside weights and gradients, MB", xlim=(0, 1.4 * max(peaks.values())))
draw.show(
    fig,
    "The highest point of a training step with none of them, with recomputation, with a batch in four pieces, with both, and "
    "with bf16. Recomputation and pieces each save most of it, both together still more; bf16 saves about a quarter.",
)

# %% [markdown]
# Recomputation runs the forward pass twice: a third more time, if backward takes twice as long as forward. Accumulation
# gives the same gradient, piece by piece; what it costs is that small pieces keep the machine less busy, a GPU above
# all. bf16 saves less than half here: norms and the loss stay in fp32, and the weights get a copy in bf16. It is
# *faster* on processors that are made for it, and very slow on many laptops, so only its memory is measured. `fit` has
# all three: `recompute=True`, `accumulate=4`, `dtype=torch.bfloat16`.

# %% [markdown]
# ## Where time goes
#
# The same two products that decided about memory decide about time. For each Linear there are three of the same size:
# $x W^\top$ in the forward pass, $G W$ for the layers below, $G^\top x$ for the weight itself. So a step is three equal
# parts, and a method that freezes the weights can save the last of them, not more, as long as the gradient has to pass.
#
# **Predict first.** LoRA trains a few per cent of the numbers. How long is its step, compared with full fine-tuning?
# (The cell takes a wider model, with random weights, so that the products dominate as they do in real ones.)


# %%
def passing_through(model, ids):
    """Forward and backward with all weights frozen: the gradient goes down to the embedding's output."""
    stream = model.embed(ids).requires_grad_(True)
    F.cross_entropy(model.logits(model.norm(model.trunk(stream))).flatten(0, 1), ids.flatten()).backward()


wide = GPT(Config(vocab=v, context=t, layers=L, heads=h, width=256)).requires_grad_(False)
ids = torch.zeros(b, t, dtype=torch.long)
runs = {"forward": lambda: wide(ids), "and through": lambda: passing_through(wide, ids)}
for name, method in ways.items():
    model = method.attach(copy.deepcopy(wide))
    runs[name] = lambda model=model, method=method: method.loss(model, ids, ids).backward()
ms = dict(zip(runs, processor_ms(*runs.values()), strict=True))

# %%
fig, ax = plt.subplots(figsize=(8, 2.2))
parts = [ms["forward"], ms["and through"] - ms["forward"], ms["full fine-tuning"] - ms["and through"]]
for part, start, colour, label in zip(
    parts, [0, parts[0], ms["and through"]], ["0.75", "0.5", "C3"],
    ["forward", "gradient of activations", "gradient of weights"], strict=True,
):  # fmt: skip
    ax.barh("full fine-tuning", part, left=start, color=colour, label=label)
for name in ("LoRA", "LoRA, top block"):
    ax.barh(name, ms[name], color="white", edgecolor="black", hatch="///", lw=0.8)
    ax.text(ms[name], name, f"  {ms[name] / ms['full fine-tuning']:.0%}", va="center")
ax.invert_yaxis()
ax.set(xlabel="milliseconds of processor time for forward and backward")
ax.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.45, 1.0))
draw.show(
    fig,
    "Time of forward and backward. Full fine-tuning consists of three parts of about equal length: forward, gradient of "
    "activations, gradient of weights. LoRA takes about as long as the first two. LoRA in the top block alone is not much longer than forward.",
)

# %% [markdown]
# The parts are only about equal: norms, gelu and softmax take their share of the first two, and LoRA's own small
# products cost something too.
#
# This answers a question that many people ask: *I train one per cent of the numbers, why is it not a hundred times
# faster?* What a method saves in time it saves mostly by what memory allows: a larger batch, no recomputation, one card
# instead of four.

# %% [markdown]
# ## On paper, for large models
#
# The arithmetic does not need the model. We only need its shape, and PyTorch can build it on the device `meta`, where
# tensors have a shape and no memory.

# %%
# NBVAL_CHECK_OUTPUT
shapes = {
    "GPT-2": Config("gpt2", vocab=50257, context=1024, layers=12, heads=12, width=768),
    "Llama 3.2 1B": Config("llama", 128256, 4096, layers=16, heads=32, kv_heads=8, width=2048, hidden=8192, tied=True),
    "LLaMA 7B": Config("llama", 32000, 4096, layers=32, heads=32, width=4096, hidden=11008),
    "Llama 2 70B": Config("llama", 32000, 4096, layers=80, heads=64, kv_heads=8, width=8192, hidden=28672),
}
sizes, thin = {}, {}
for name, shape in shapes.items():
    with torch.device("meta"):
        model = GPT(shape)
    sizes[name] = sum(p.numel() for p in model.parameters())
    thin[name] = sum(p.numel() for p in trainable(LoRA(rank=8).attach(model)).values())
    print(f"{name:13} {sizes[name]:14,} numbers, LoRA of rank 8 on q and v trains {thin[name]:10,}")

# %% [markdown]
# For the activations we write the sum over a block for both styles. LLaMA's MLP, `down(silu(gate(x)) * up(x))`, keeps
# three hidden layers (into silu, and both sides of the product), and grouped queries make keys and values narrower. This
# is what plain autograd keeps. For large tensors the library keeps less: it computes one of the three again, and of a
# loss behind a frozen head it keeps $d$ numbers for each token instead of $v$; [lesson 24](24_real_weights.ipynb) counts with that. The check: does
# the plain count hold for the two bundled models, with LoRA?


# %%
def block_numbers(c, trains):
    """Numbers that a block keeps for each token, if something below waits for a gradient."""
    q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    hidden = c.hidden * (1 if c.style == "gpt2" else 3)
    always = 2 * c.width + (q + kv + kv) + q + hidden  # before the norms; into attention and out of it; the MLP
    return always + trains * (2 * c.width + c.hidden)  # inputs of the Linears


def activations(c, tokens, size, trains=False, recompute=False):
    """Bytes in a step with LoRA on q and v, or if everything trains; `size` bytes a number, 4 for the loss's."""
    block = block_numbers(c, trains) + (0 if trains else c.width)
    blocks = c.layers * c.width + block if recompute else c.layers * block
    return tokens * (blocks * size + c.width * size + c.vocab * 4)


for name in ("mini-gpt2", "mini-llama"):
    model = LoRA(rank=8).attach(GPT.from_pretrained(name))
    paper, real = activations(model.c, n, 4) / 1e6, kept(model)
    print(f"{name:10} on paper {paper:5.2f} MB, measured {real:5.2f} MB: {paper / real - 1:+.1%}")

# %% [markdown]
# Good enough to plan with. The next cell puts it together with `step_bytes`, **which is exercise 02.1**: yours, as soon
# as it passes its check. The setting: four texts of 512 tokens, activations in bf16. The base is frozen in bf16 under
# LoRA; full fine-tuning keeps all numbers in fp32, since a small step on a bf16 number is lost in rounding.

# %%
step_bytes = learner("02.1")


def gigabytes(name, lora, base_bytes=2, recompute=False, tokens=4 * 512):
    """GB of a training step of that model: with LoRA on a frozen base, or full fine-tuning."""
    kept = activations(shapes[name], tokens, 2, trains=not lora, recompute=recompute)
    return step_bytes(sizes[name] if lora else 0, thin[name] if lora else sizes[name], base_bytes, kept) / 1e9


def in_gb(*setting, **more):
    return {name: f"{gigabytes(name, *setting, **more):,.1f}" for name in shapes}


draw.table(
    [
        {"GB in a training step": "full fine-tuning"} | in_gb(False),
        {"GB in a training step": "full, recomputation"} | in_gb(False, recompute=True),
        {"GB in a training step": "LoRA, base in bf16"} | in_gb(True),
        {"GB in a training step": "LoRA, bf16, recomputation"} | in_gb(True, recompute=True),
        {"GB in a training step": "LoRA, base in 4 bits, recomputation"} | in_gb(True, 0.5, recompute=True),
    ]
)

# %% [markdown]
# The column of the 7B model as a picture, with the 24 GB card of the question.

# %%
settings = {
    "full fine-tuning": (False, 2, False),
    "LoRA, bf16": (True, 2, False),
    "LoRA, bf16, recomputation": (True, 2, True),
    "LoRA, 4 bits, recomputation": (True, 0.5, True),
}
seven = "LLaMA 7B"
fig, ax = plt.subplots(figsize=(8, 2.6))
for row, (lora, base_bytes, recompute) in enumerate(settings.values()):
    train, stay = (thin[seven], sizes[seven]) if lora else (sizes[seven], 0)
    stack = [stay * base_bytes + 4 * train, 4 * train, 8 * train]
    stack.append(activations(shapes[seven], 4 * 512, 2, trains=not lora, recompute=recompute))
    left = 0.0
    for size, colour, pile in zip(stack, ["0.35", "0.8", "0.55", "C3"], full, strict=True):
        ax.barh(row, size / 1e9, left=left, color=colour, label=None if row else pile)
        left += size / 1e9
ax.axvline(24, color="black", lw=1, ls=":")
ax.text(25, 3.25, "24 GB", size=9)
ax.set(yticks=range(len(settings)), yticklabels=settings, xlabel="GB in a training step of a 7B model")
ax.invert_yaxis()
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
draw.show(
    fig,
    "Four stacked bars for a model of seven billion numbers. Full fine-tuning reaches far beyond the line at 24 GB, most of it "
    "weights, gradients and optimizer. The three bars of LoRA stay left of the line; they consist of frozen weights and activations.",
)
print(f"LoRA's own numbers with all that belongs to them: {16 * thin[seven] / 1e9:.2f} GB")

# %% [markdown]
# There is the answer to the question. Full fine-tuning fails on weights in fp32, gradients and averages, and PEFT takes
# these away. What decides then is no longer what trains: it is the frozen base and the activations. So the next steps
# are to store the base in fewer bits ([QLoRA](https://arxiv.org/abs/2305.14314)) and to recompute. A method that trains
# ten times fewer numbers than LoRA saves next to nothing more.
#
# In a large model the vocabulary matters too: the loss keeps one number for each word and token, in fp32. For `Llama
# 3.2 1B` that is

# %%
# NBVAL_CHECK_OUTPUT
print(
    f"{4 * 512 * 128256 * 4 / 1e9:.2f} GB for the loss, {4 * 512 * 16 * 2048 * 2 / 1e9:.2f} GB for the inputs of all blocks"
)

# %% [markdown]
# ## On disk
#
# After training, what has to be kept for each task is what was trained. One base, many deltas:

# %%
# NBVAL_CHECK_OUTPUT
copies, deltas = 100 * sizes["LLaMA 7B"] * 2 / 1e9, 100 * thin["LLaMA 7B"] * 4 / 1e9
print(
    f"100 tasks on LLaMA 7B: {copies:,.0f} GB as full copies in bf16; {sizes['LLaMA 7B'] * 2 / 1e9:.1f} + {deltas:.1f} GB as one base and 100 deltas"
)

# %% [markdown]
# # Surgery
#
# Freezing is one line. The other half of a method is putting something new into a model that knows nothing of it. The
# model of [lesson 01](01_mini_gpt.ipynb) has no switch for LoRA or for adapters, and never will. The tools are few:
#
# | tool | what it does | who uses it |
# |---|---|---|
# | `find` | parts of the model by their names: `attn.q` in every block, or in some | everybody |
# | `wrap` | puts something around a part: `Parallel`, base(x) + s branch(x) with a given number s; `Serial`, h + branch(h) with h = base(x); or a wrapper of your own | LoRA, adapters |
# | `reparametrize` | W becomes a function of W | DiffPruning, FishMask |
# | `thaw` | lets a number train where it stands | BitFit, full fine-tuning |
# | `attn.past` | keys and values before the first token | prefix-tuning |
# | `merge`, `detach` | fold into plain weights what can be folded; or take everything off again | you, at the end |

# %%
# NBVAL_CHECK_OUTPUT
print(*find(base, ["attn.o", "mlp.down"], layers=[0, 3]), sep="\n")

# %% [markdown]
# ## A method in five lines
#
# We make one up. Both sub-layers of a block write into the residual stream, attention through `attn.o` and the MLP
# through `mlp.down`. Put a volume knob on each: one number $g$, starting at zero.
#
# $$ y = (1 + g)\,(W x + b) \qquad g \in \mathbb{R} $$
#
# A wrapper says what happens in the forward pass, and, if it can, what plain Linear does the same. The method says
# where it goes.


# %%
class Gate(Wrapper):
    def __init__(self, linear):
        super().__init__(linear)
        self.g = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return (1 + self.g) * self.base(x)

    @torch.no_grad()
    def merged(self):
        for p in self.base.parameters():
            p *= 1 + self.g
        return self.base


@dataclass(frozen=True)
class Gates(Method):
    """One number for each sub-layer: how loud it is."""

    lr = 0.05

    def insert(self, model):
        wrap(model, ["attn.o", "mlp.down"], Gate)


# %% [markdown]
# That is all the library asks for. `attach` freezes the model and inserts; what the method has made is what trains.
# Everything else, training, counting, saving, drawing, works on any method.

# %%
model = Gates().attach(copy.deepcopy(base))
draw.block(model)

# %%
# NBVAL_CHECK_OUTPUT
print(model.trunk[0].mlp)
print("the same logits as the base:", torch.equal(model(x), base(x)))
print("the same names:", {name for name, _, _ in walk(model)} == {name for name, _, _ in walk(base)})

# %% [markdown]
# The print shows what was done: the Linear is still there, as `base` of the new part. For the tools its name is still
# `mlp.down`, so a second method can be put on top without knowing of the first.
#
# **Predict first.** Eight numbers train. How many numbers of the model will they have changed, and what is the rank of
# the change of a weight?

# %%
task = tasks.load("where")
model = copy.deepcopy(base)
history = fit(model, Gates(), task, steps=100)
print("before:", evaluate(base, task))
print("after: ", evaluate(model, task))
print(f"{counts(model)} (the model has {numbers:,} numbers)")

# %% [markdown]
# Eight knobs lower the loss, but they do not give right answers: they can only say more or less of what the sub-layers
# say anyway.
#
# The counts are why the survey, in its section 4, insists on three counts: **how many numbers train, how many numbers
# of the model change, and the rank of the change**. Eight numbers changed a large part of the model, and the change of
# each matrix, $g W$, has the full rank that $W$ has. Papers like to quote the first count. The others are not small
# because it is.

# %%
gates = {name: part.g.item() for name, part in find(model, ["attn.o", "mlp.down"]).items()}
fig, ax = plt.subplots(figsize=(7, 2.4))
for offset, (part, colour) in enumerate((("attn.o", "0.5"), ("mlp.down", "C3"))):
    loud = [1 + g for name, g in gates.items() if name.endswith(part)]
    ax.bar([i + 0.36 * offset for i in range(L)], loud, width=0.34, color=colour, label=part)
ax.axhline(1, color="black", lw=0.8, ls=":")
ax.set(xticks=[i + 0.18 for i in range(L)], xticklabels=[f"block {i}" for i in range(L)], ylabel="loudness, 1 + g")
ax.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
draw.show(
    fig,
    "How loud the eight sub-layers are after training: "
    + ", ".join(f"{n.removeprefix('trunk.')} {1 + g:.2f}" for n, g in gates.items()),
)

# %% [markdown]
# ## Fold it in, or take it off
#
# `merge` asks every wrapper for its plain part. `detach` gives the base back, bit for bit.

# %%
# NBVAL_CHECK_OUTPUT
folded = merge(copy.deepcopy(model))
print(type(folded.trunk[0].mlp.down).__name__, "instead of", type(model.trunk[0].mlp.down).__name__)
print("the logits differ by less than 0.0001:", torch.allclose(folded(x), model(x), atol=1e-4))
given_back = detach(copy.deepcopy(model))
print("the base, bit for bit:", all(map(torch.equal, given_back.parameters(), base.parameters())))

# %% [markdown]
# What can be folded? A change that is linear in what the part reads or writes: a scale, a shift, a product of matrices,
# beside the Linear or behind it (exercise 02.6). A nonlinearity in between, as adapters have it, makes folding
# impossible, and then `merge` leaves the wrapper where it is.

# %% [markdown]
# ## Wrap the output, or re-express the weight?
#
# The same method could have been written as a function of the weight, $W \to (1 + g) W$, with `reparametrize`. The
# logits are equal. The memory is not.


# %%
class Louder(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Parameter(torch.zeros(()))

    def forward(self, W):
        return (1 + self.g) * W


@dataclass(frozen=True)
class GatedWeights(Method):
    def insert(self, model):
        gated = ("attn.o.weight", "mlp.down.weight")
        reparametrize(model, lambda name, W: Louder() if name.endswith(gated) else None)


for method in (Gates(), GatedWeights()):
    print(
        f"{type(method).__name__:13} keeps {kept(method.attach(copy.deepcopy(base)), batch=1, length=8):.2f} MB for a batch of 8 tokens"
    )

# %% [markdown]
# A re-expressed weight is formed anew in each step, and kept until the backward pass. Do that to every weight, and a
# second model lies in memory. So the rule of this library: **wrap, if the change can be applied to activations;
# re-express, only if it cannot** (a change of a few scattered numbers, [lesson 13](13_fishmask.ipynb), or a random projection of all of
# them, [lesson 14](14_intrinsic_said.ipynb)).

# %% [markdown]
# ## Your turn
#
# Open [`exercises/memory.py`](../exercises/memory.py) beside this notebook, write, save, and run the check. Stuck?
# `hint("02.1")`.

# %%
ask("02.1")

# %%
check("02.1")

# %%
check("02.2")

# %%
check("02.3")

# %%
check("02.4")

# %%
check("02.5")

# %%
check("02.6")

# %% [markdown]
# ## What to remember
#
# 1. A training step holds weights, gradients (one a trained number), averages (two a trained number), and activations:
#    16 bytes a trained number in fp32, and for activations about $16\,d$ numbers a block and token.
# 2. A frozen Linear keeps no input, but the gradient passes through it: freezing saves about a third of the activations
#    and at most a third of the time.
# 3. Below the lowest number that trains nothing is kept and no gradient is computed. How low it lies counts, more than
#    how many train.
# 4. Against activations, recompute, accumulate, use bf16 and fused attention; that goes with every method.
# 5. A method is one `insert`: find, wrap, re-express, thaw, or fill the past. What is linear folds back into the
#    weights.
#
# **Further reading.** Korthikanti et al., 2022, *Reducing Activation Recomputation in Large Transformer Models* ([arXiv
# 2205.05198](https://arxiv.org/abs/2205.05198)), does the count of this lesson for GPT-3 and its relatives, in 16 bits
# and with dropout. Chen et al., 2016, *Training Deep Nets with Sublinear Memory Cost* ([arXiv
# 1604.06174](https://arxiv.org/abs/1604.06174)), is where recomputation comes from. In the library,
# `minipeft/measure.py` has the measures of this lesson, and `minipeft/surgery.py` the tools.
#
# **Next:** the methods, in the survey's order, from [lesson 03](03_adapters.ipynb) on; or straight to [lesson 15, LoRA](15_lora.ipynb).
