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
# # 06 · Prefix-Tuning: a cache that no text has written
#
# **The question.** Write an instruction before a text, and a model treats the text differently. No weight has changed.
# All that the instruction leaves for the tokens behind it is a cache: a key and a value in every layer for each of its
# own tokens. Could we leave the instruction out, and train the cache?
#
# | | |
# |---|---|
# | paper | Li and Liang, 2021, *Prefix-Tuning: Optimizing Continuous Prompts for Generation*, [arXiv 2101.00190](https://arxiv.org/abs/2101.00190) |
# | survey | section 7.2 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), soft prompts |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02](02_where_memory_goes.ipynb) (where memory goes); [lesson 05](05_prompt_tuning.ipynb) (prompt tuning) is its nearest relative |
# | you need | attention: queries, keys, values, the causal mask |
# | time | 30 minutes to read and run, 45 for the exercises |
#
# At the end you will have written attention behind a prefix, and you will be able to say what a prefix of zeros does,
# why most of what trains here is thrown away afterwards, and how much attention the prefix of a tuned model gets.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch

from minipeft import GPT, LoRA, PrefixTuning, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.gpt import attend
from minipeft.surgery import inner

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# Inside attention, after the keys and values of the text are computed: ten learned ones are put before them, in every
# block. The residual stream does not notice. It stays as long as the text, and no Linear sees anything new.

# %%
model = copy.deepcopy(base)
PrefixTuning(length=10, hidden=None).attach(model)
draw.block(model)

# %% [markdown]
# ## The equation
#
# In one head of one layer, let $q_i \in \mathbb{R}^e$ be the query of token $i$, and $K_i, V_i$ the keys and values of the
# tokens up to $i$, $(i + 1) \times e$ each. With a prefix of $n$ slots:
#
# $$ \text{head}_i \;=\; \text{softmax}\!\left(\frac{q_i\,[P_k; K_i]^\top}{\sqrt e}\right) [P_v; V_i]
# \qquad P_k, P_v \in \mathbb{R}^{n \times e}, \text{ other ones in each head of each layer} $$
#
# Four details carry it:
#
# - **All tokens see all slots.** The causal mask is between tokens; the prefix came before them all.
# - **A slot is a key and a value, and nothing else.** It asks nothing, goes through no MLP, and gives out no output.
# - **The text begins at position $n$**, as it would behind a cached text of $n$ tokens. On GPT-2 that is where it reads
#   its position vectors. (LLaMA sees differences of positions alone; there the prefix stands at $-n$ to $-1$.)
# - **There is one softmax.** What the prefix gets, the text loses. Written apart, with $g_i$ the share of the weights that
#   falls on the prefix:
#
# $$ \text{head}_i \;=\; (1 - g_i)\,\text{attention}(q_i, K_i, V_i) \;+\; g_i\,\text{attention}(q_i, P_k, P_v)
# \qquad g_i = \frac{\sum_j e^{q_i \cdot P_{k,j} / \sqrt e}}{\sum_j e^{q_i \cdot P_{k,j} / \sqrt e} + \sum_{j \le i} e^{q_i \cdot k_j / \sqrt e}} $$
#
# So a prefix is a *gate*: each token decides by its own query how much it takes from what was learned.

# %% [markdown]
# **Predict first.** We want to start as the base, as LoRA does, and fill the prefix with zeros: zero keys, zero values. Is
# the model then the base? Look at $g_i$ before you run the cell.


# %%
def fill(model, change):
    """Change every prefix of a model: change(P_k, P_v) -> their new values."""
    for block in model.trunk:
        link = inner(block.attn).past[0]
        link.write(*change(*link.rows()))


prompt, answer = task.test[0]
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(prompt)])
model = copy.deepcopy(base)
PrefixTuning(length=10, hidden=None).put(model)  # only the keys and values; the text stays at its positions
fill(model, lambda P_k, P_v: (0 * P_k, 0 * P_v))
with torch.no_grad():
    print(f"largest change of a logit: {(model(ids) - base(ids)).abs().max():.2f}")
    x = base.trunk[0].norm1(base.embed(ids))  # the same input for both
    q, k, v = base.trunk[0].attn.heads(x)
    Z = (q @ k.mT / c.head_width**0.5).exp().tril().sum(-1)  # (1, h, t)
    without, behind = (attend(*m.trunk[0].attn.heads(x), None).norm(dim=-1) for m in (base, model))
for head in range(c.heads):
    left, formula = (behind / without)[0, head, -1], (Z / (10 + Z))[0, head, -1]
    print(f"block 0, head {head}, last token: {left:.4f} of its output is left;  Z / (n + Z) = {formula:.4f}")

# %% [markdown]
# No. A key of zeros has a score of 0 with every query, and $e^0 = 1$ is a weight like any other. It takes its share of
# the softmax and brings home a value of zero: each head shrinks to $Z / (n + Z)$ of what it was, where $Z$ is the sum
# of the text's own exponentials. Every finite key gets a share. **No prefix starts as the base**, and the paper does
# not try to: it starts at random.
#
# ## What it does start as: a text
#
# There is another identity, and it says better what a prefix is. Take a real text, let the frozen model read it, and copy
# the keys and values of its cache into the prefix. Here the story goes into the prefix, and only the question is given as
# a text.

# %%
story, question = prompt.rsplit(". ", 1)
story = "<|endoftext|>" + story + "."  # the token that every text begins with, written out
n = len(base.tokenizer.encode(story))
tail = ids[:, n:]
print(f"in the prefix: {story!r}, {n} tokens;  given as text: {question!r}, {tail.shape[1]} tokens")
model = copy.deepcopy(base)
PrefixTuning(length=n, hidden=None, text=story).attach(model)
print(f"largest difference to the logits behind the text: {(model(tail) - base(ids)[:, n:]).abs().max():.1e}")
unshifted = copy.deepcopy(base)
PrefixTuning(length=n, hidden=None, text=story).put(unshifted)
print(f"the same, if the text begins at position 0:       {(unshifted(tail) - base(ids)[:, n:]).abs().max():.1e}")

# %% [markdown]
# Equal, to rounding. So **a prefix can say all that a text of $n$ tokens can say, and more**: a text gives the
# same token to all layers, and its keys and values are what the weights make of it. In a prefix all of them are free. The
# last line shows what happens if one forgets to move the text: GPT-2 reads other position vectors than it would behind
# the real story.
#
# A *prompt* of learned vectors ([lesson 05](05_prompt_tuning.ipynb)) lies between the two: its vectors are free, but the model's weights make their
# keys and values.

# %% [markdown]
# **Predict first.** We shuffle the slots of a prefix, with a new order for each layer, and keys and values in the same
# way. The story is now told in another order. What happens to the logits?

# %%
g = torch.Generator().manual_seed(0)
logits = model(tail)


def shuffled(P_k, P_v):
    order = torch.randperm(n, generator=g)
    return P_k[:, order], P_v[:, order]


fill(model, shuffled)
print(f"shuffled: the logits change by {(model(tail) - logits).abs().max():.1e}")

# %% [markdown]
# Nothing happens. Attention is a sum over the slots, and a sum has no order. What a word's position does, it has done when
# its key was computed; in the slot it is only a key. A prefix is a *set*.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey describes the method in one sentence, "the same prefix is prepended to all of the hidden states", and gives
# pseudocode that says in PyTorch:


# %%
def survey_listing(blocks, network, soft_prompt, x):
    for block in blocks:
        soft_prompt = network(soft_prompt)
        x = torch.cat([soft_prompt.expand(len(x), -1, -1), x], 1)
        x = block(x)
    return x


torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(96, 64), torch.nn.Tanh(), torch.nn.Linear(64, 96))
x = torch.randn(1, 12, 96)
with torch.no_grad():
    listed = [survey_listing(list(base.trunk)[:i], network, torch.randn(10, 96), x).shape[1] for i in (1, 2, 3, 4)]
    ours = [state.shape[1] for state in PrefixTuning().attach(copy.deepcopy(base)).trunk.states(x)]
print("rows in the stream of 12 tokens, after each block, as listed:   ", listed)
print("rows in the stream of 12 tokens, after each block, in the paper:", ours)

# %% [markdown]
# As listed, **the stream grows by ten rows in every block**, and each of these rows has queries and goes through the MLP.
# Other things to mind when you read that section:
#
# - The prefix is *not* the same in all layers: the paper trains other keys and values for each. And it puts them before
#   the keys and values, not before the hidden states: there, the frozen weights would make both the key and the value
#   of a slot, from the same $d$ numbers.
# - The network is one, and runs once a step; it writes all layers at the same time. The listing runs it once a layer, on
#   what it wrote before.
# - "0.1 % of the parameters" is what is *stored*. While the network is there, far more train; we count below.
# - The generation tasks with 0.1 % were done with GPT-2, medium and large. BART was used for summaries alone, with 2 %,
#   and 0.1 % was clearly worse there (in the paper's table, ROUGE-L is 36.05 with 2 %, 35.05 with 0.1 %, and 37.25 for
#   full fine-tuning).

# %% [markdown]
# ## The network that writes it
#
# In the paper's experiments, training $P_k$ and $P_v$ directly was unstable. So there a small network writes them
# during training. There is one network for the whole model, and it reads one vector $p_j \in \mathbb{R}^d$ for each
# slot:
#
# $$ [P_{k,j}^{(l)}; P_{v,j}^{(l)}] \;=\; W_l \tanh(A\,p_j + a) + b_l \qquad A \in \mathbb{R}^{m \times d},\quad
# W_l \in \mathbb{R}^{2 d_{kv} \times m} $$
#
# $d_{kv}$ is the width of all keys of a token together: $d$ on GPT-2, less where heads share keys. After training, the
# network runs one last time. Its output is kept, and the network is dropped.
#
# This is the implementation: a prefix, the two parts of the network, and where they go.

# %%
from minipeft.additive import prefix_tuning

for part in (prefix_tuning.Prefix, prefix_tuning.Source, prefix_tuning.Written, prefix_tuning.PrefixTuning):
    print(inspect.getsource(part))
print(inspect.getsource(prefix_tuning.PrefixMethod.loss))

# %% [markdown]
# `attn.past` is the opening that the mini GPT has for what came before the first token. A generation cache is a link in
# that chain, and so is a prefix.
#
# ## What trains
#
# **Predict first.** 4 layers of width 96, 10 slots, $m = 64$. How many numbers does the prefix have? How many has the
# network that writes it?

# %%
# NBVAL_CHECK_OUTPUT
L, d, n, m = c.layers, c.width, 10, 64
model = PrefixTuning(length=n, hidden=m).attach(copy.deepcopy(base))
print("while it trains:", counts(model))
print("predicted:      ", n * d + (m * d + m) + L * (2 * d * m + 2 * d), "= n d + (m d + m) + L (2 d m + 2 d)")
prefix_tuning.drop(model)
print("network dropped:", counts(model))
print("predicted:      ", 2 * L * n * d, "= 2 L n d")

# %% [markdown]
# Only about one number in seven is still there after training. In the paper's own setting it is fewer still. Take GPT-2
# medium, $n = 10$ and $m = 512$; the published sizes are all that we need to compute it.

# %%
# NBVAL_CHECK_OUTPUT
L, d, n, m, everything = 24, 1024, 10, 512, 354_823_168
trained, stored = n * d + (m * d + m) + L * (2 * d * m + 2 * d), 2 * L * n * d
print(
    f"GPT-2 medium: {trained:,} train ({trained / everything:.1%}), {stored:,} are stored ({stored / everything:.2%})"
)

# %% [markdown]
# "Changed" counts the keys and values beside the model; no weight of the base changes, so there is no rank to speak of.
#
# ## It learns
#
# The task is the one of lessons 05 and 15: a few people go to places, and we ask for one of them. Two hundred steps of
# 16 examples, first with the network.

# %%
print(prompt, "→", answer)
print("the base:                 ", evaluate(base, task))
torch.manual_seed(0)
untrained = PrefixTuning().attach(copy.deepcopy(base))
print("with a prefix, untrained: ", evaluate(untrained, task))

# %%
model = copy.deepcopy(base)
history = fit(model, PrefixTuning(), task, steps=200, seed=0)
print("written by the network:   ", evaluate(model, task))

# %% [markdown]
# Now without the network: $P_k$ and $P_v$ themselves train, from random numbers. **Predict first.** The paper says that
# this is unstable and reaches less. Will it here, at the same learning rate? And what would you try next?

# %%
direct = copy.deepcopy(base)
history_direct = fit(direct, PrefixTuning(hidden=None), task, steps=200, seed=0)
print("learned directly:          ", evaluate(direct, task))

# %%
faster = copy.deepcopy(base)
history_faster = fit(faster, PrefixTuning(hidden=None), task, steps=200, lr=10 * PrefixTuning.lr, seed=0)
print("directly, ten times the rate:", evaluate(faster, task))

# %%
fig, ax = plt.subplots(figsize=(6.5, 2.8))
curves = {
    "directly": (history_direct, "0.55", "s--"),
    "directly, ten times the rate": (history_faster, "black", "^:"),
    "written by the network": (history, "C3", "o-"),
}
for label, (h, colour, style) in curves.items():
    ax.plot(*zip((0, h.losses[0]), *h.validations, strict=True), style, color=colour, ms=5, label=label)
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log", xlim=(0, 208))
ax.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.45))
draw.show(
    fig,
    "Loss against steps: of the first batch, then of the validation set. Learned directly at the network's rate, the loss falls slowly and stays far above the "
    "other two. Written by the network, and directly at ten times the rate, it falls by orders of magnitude.",
)

# %% [markdown]
# (The point at step 0 is the loss of the first batch; the others are losses on the validation set.) At the same rate,
# what is learned directly stays behind. At ten times the rate it does as well as the network. So here our toy disagrees
# with the paper in part: direct training wants a higher rate, and is then not worse. A likely reason: AdamW moves a
# number by at most about the learning rate in a step. The rate is 0.01 at its highest and falls to zero, so over 200
# steps that adds up to about 1, no more than the size of the random numbers it starts from. A number that the network
# writes is a sum of 64 products: when all their weights move by the learning rate, the sum moves many times as far.
# This is one task with one seed, and nothing unstable was to be seen; the paper saw it in larger models on text
# generation.
#
# ## What it costs
#
# Like LoRA, the method saves gradients and the optimizer's state, even with the network, and no Linear of the model has to
# keep its input. But the gradient has to travel down through all layers, to the lowest prefix.

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {"full fine-tuning": FullFineTuning(), "LoRA": LoRA(rank=8), "Prefix-Tuning": PrefixTuning()}
draw.table(costs(base, candidates))

# %% [markdown]
# What is kept for the backward pass is about two thirds of full fine-tuning's, as with LoRA, and a step is a little
# shorter, not many times shorter. Both are what [lesson 02](02_where_memory_goes.ipynb) predicts for anything that trains at the bottom of a frozen
# model.
#
# ## At inference
#
# It does not merge, and the last column of the table shows it. There is no weight that could hold a key which comes from
# no token:

# %%
try:
    merge(copy.deepcopy(model), whole=True)
except ValueError as error:
    print(error)
print(f"room for text: base {base.room} tokens, behind the prefix {model.room}")
cache = 2 * c.layers * c.width * 4  # bytes a token
print(f"generation cache of a text of 24 tokens: {24 * cache / 1e3:.0f} kB, with the prefix {34 * cache / 1e3:.0f} kB")

# %% [markdown]
# Each token looks at $n$ more keys in each layer, and $n$ positions of the context are gone. In exchange, **every row of a
# batch may have a prefix of its own**: a server can answer for many tasks at once, which merged weights can't.
#
# ## One base, many tasks
#
# The file holds the keys and values alone.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    size = delta.save(model, Path(folder) / "where")
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "where").eval()
numbers = sum(p.numel() for p in base.parameters())
print(f"the delta: {size / 1e3:.0f} kB, the whole model: {4 * numbers / 1e6:.1f} MB")
print(f"numbers stored, as a share of the model's: {counts(model).trainable / numbers:.1%}")
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), model.eval()(ids)))
given_back = detach(copy.deepcopy(model))
print("detached, the base again:", torch.equal(given_back(ids), base(ids)))

# %% [markdown]
# ## The picture: who looks at the prefix?
#
# $g_i$ is the share of a token's attention that falls on the prefix. It says where in the model the method acts, and we can
# read it off. Below is the last token of a question, the colon at which the model has to name the place. Each row is
# one head. On the left of the line are the ten slots, on the right the words.


# %%
@torch.no_grad()
def attention_of(model, ids):
    """Softmax weights of the last token: (layers, h, n + t)."""
    inputs = []
    hooks = [block.norm1.register_forward_hook(lambda part, given, out: inputs.append(out)) for block in model.trunk]
    model(ids)
    for hook in hooks:
        hook.remove()
    rows = []
    for block, x in zip(model.trunk, inputs, strict=True):
        q, k, _ = inner(block.attn).heads(x)
        rows.append((q[0, :, -1:] @ k[0].mT / c.head_width**0.5).softmax(-1)[:, 0])
    return torch.stack(rows)


seen = {"untrained": attention_of(untrained, ids), "trained": attention_of(model, ids)}
words = ["start", *(base.tokenizer.decode([i]).strip() or "·" for i in ids[0, 1:].tolist())]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), width_ratios=[3.2, 1], sharey=True, layout="constrained")
shown = left.imshow(seen["trained"].flatten(0, 1), cmap="Greys", vmin=0, vmax=1, aspect="auto")
left.axvline(9.5, color="C3", lw=2)
left.set_xticks(range(10 + len(words)), [*map(str, range(10)), *words], rotation=90, fontsize=8)
left.set_yticks(range(16), [f"block {i // 4}, head {i % 4}" for i in range(16)], fontsize=8)
left.set(xlabel="slots of the prefix | tokens of the text", title="attention of the last token")
fig.colorbar(shown, ax=left, label="weight", fraction=0.04)
for (name, weights), (marker, colour) in zip(seen.items(), [("o", "0.6"), ("D", "C3")], strict=True):
    right.plot(weights[..., :10].sum(-1).flatten(), range(16), marker, color=colour, ms=5, label=name)
right.set(xlabel="share of the prefix", title="on the prefix", xlim=(-0.03, 1.03))
right.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15))
for ax in (left, right):
    for line in (3.5, 7.5, 11.5):
        ax.axhline(line, color="0.5", lw=0.6, ls=":")
draw.show(
    fig,
    "Left: attention of the colon in 16 heads. In block 1, three heads look at a single slot of the prefix; in block 2 all four "
    "look at the name that was asked for; elsewhere it is spread. Right: the share of the prefix by head. Untrained it is below "
    "a quarter everywhere; trained it is above 0.9 in four heads, between 0.5 and 0.8 in two, and near zero in most others.",
)

# %%
for name, weights in seen.items():
    share = weights[..., :10].sum(-1)
    by_block = ", ".join(f"{s:.0%}" for s in share.mean(1).tolist())
    print(f"{name:9}  share of the prefix, mean of the heads of block 0, 1, 2, 3: {by_block}")

# %% [markdown]
# Untrained, the prefix is noise that hardly anyone looks at. Trained, it is no small push everywhere but a few
# *switches*. In block 1 three heads put nearly all their weight on one slot each. What these heads would have read in
# the story is replaced by a constant, the same for all texts; it may tell the layers above what kind of text this is.
# In block 2 the colon's heads look at the name that was asked for, and not at the prefix. In block 3 one head is
# switched again, to several slots.
#
# **Predict first.** Is the prefix needed in every layer? A key with a score of minus infinity gets nothing, and its layer
# is as in the base. We cannot write such a key, but we can take a layer's prefix out of the chain. Which block will miss
# it least?

# %%
rows = [{"prefix left out of": "no block", "test": str(evaluate(model, task))}]
for i in range(c.layers):
    less = copy.deepcopy(model)
    del inner(less.trunk[i].attn).past[0]
    rows.append({"prefix left out of": f"block {i}", "test": str(evaluate(less, task))})
draw.table(rows)

# %% [markdown]
# Without the prefix in block 0, or in block 3, hardly an answer is right. Block 2, where the colon took nothing from
# the prefix, can do without it best. (It loses something, for there are other tokens than the colon.) With the table
# and the picture one can see *where* a model was tuned, which a change of weights in all layers does not show so
# easily.
#
# ## Its nearest relatives
#
# | | Prefix-Tuning | prompt tuning ([lesson 05](05_prompt_tuning.ipynb)) | IPT ([lesson 07](07_ipt.ipynb)) | LoRA ([lesson 15](15_lora.ipynb)) |
# |---|---|---|---|---|
# | what is learned | keys and values in every layer | vectors before the embedded text | a few numbers, from which a frozen decoder makes the prompt | a change of weights |
# | numbers stored | $2 L n d_{kv}$ | $n d$ | $k$, and the shared decoder | $2 r d$ a weight |
# | has an order | no | yes, it stands at positions | yes | – |
# | starts as the base | never | never | never | exactly |
# | merges | no | no | no | exactly |
# | room for text | $n$ less | $n$ less | $n$ less | all |
#
# The paper compared the first two itself: vectors at the embedding alone ("embedding-only", 10 of them) reached a BLEU of
# 62.2 on E2E with GPT-2 medium, the prefix in all layers 69.7. Lesson 19 (MAM) reads the gate form above once more, and
# finds that an adapter *beside* attention is nearly the same thing.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/prefix_tuning.py`](../exercises/prefix_tuning.py) beside this notebook. Save the file, then run the
# check; it reads the file anew every time. Stuck? `hint("06.1")`.

# %%
ask("06.1")

# %%
check("06.1")

# %%
check("06.2")

# %% [markdown]
# 06.3 is a mistake to find in given code, 06.4 a question of counting.

# %%
ask("06.3")

# %%
check("06.3")

# %%
check("06.4")

# %% [markdown]
# ### Your prefix in the mini GPT
#
# As soon as 06.1 and 06.3 pass, the cell below trains *your* functions inside the model: your network writes each layer's
# prefix, and your attention reads it. Until then it uses the library's, and says so. (Your attention knows no padding, so
# we count right answers directly: an answer is right if each of its tokens is the likeliest one.)

# %%
from einops import rearrange

from minipeft.method import IGNORE, Method
from minipeft.surgery import Wrapper, make_room, wrap
from minipeft.tasks.task import collate, encode

your_attention, your_network = learner("06.1"), learner("06.3")


class Yours(Wrapper):
    """Attention behind a prefix; what writes the prefix and what reads it are the learner's functions."""

    def __init__(self, attn, p, up):
        super().__init__(attn)
        self.p, self.up, self.out = p, up, torch.nn.Linear(up.out_features, 2 * c.width)

    def forward(self, x, turn=None, mask=None):
        attn = inner(self.base)
        P_k, P_v = your_network(self.p, self.up.weight, self.up.bias, self.out.weight, self.out.bias, c.heads)
        heads = your_attention(*attn.heads(x, turn), P_k, P_v)
        return attn.o(rearrange(heads, "b h t e -> b t (h e)"))


class YourPrefix(Method):
    lr = 1e-2

    def insert(self, model):
        p, up = torch.nn.Parameter(torch.randn(10, c.width)), torch.nn.Linear(c.width, 64)
        make_room(model, 10)
        wrap(model, "attn", lambda attn: Yours(attn, p, up))


@torch.no_grad()
def right(model):
    x, y = collate([encode(example, base.tokenizer) for example in task.test], base.tokenizer.end)
    return ((model(x).argmax(-1) == y) | (y == IGNORE)).all(1).float().mean()


yours = copy.deepcopy(base)
fit(yours, YourPrefix(), task, steps=150, seed=0)
print(f"before: {right(base):.1%} of the test answers are right, after: {right(yours):.1%}")

# %% [markdown]
# ## What to remember
#
# 1. Before the keys and values of the text stand $n$ learned ones, in every layer; the stream and the weights stay as
#    they are.
# 2. One softmax: each token's query decides what share the prefix gets. Zeros are not nothing.
# 3. Filled with the cache of a real text, a prefix *is* that text. Its slots have no order.
# 4. A network writes it while it trains, and is dropped: many numbers train, $2 L n d_{kv}$ are stored.
# 5. It never merges: $n$ more keys a layer and $n$ positions less, but another prefix for each row of a batch.
#
# **The paper's headline**, quoted from its tables: on E2E, GPT-2 medium with 0.1 % of its numbers reaches a BLEU of
# 69.7, full fine-tuning 68.2, adapters with 3 % 68.9 and with 0.1 % 66.3. Our toy agrees that this little can be
# enough: 1.5 % of the model's numbers answer all test questions of `where`, as LoRA and full fine-tuning do
# ([docs/tasks.md](../docs/tasks.md)). Whether it does *better* cannot be seen on a task that all of them solve.
#
# **Further reading.** The paper's section 7 asks about length, about the embedding alone, and about the start. In the
# library, `minipeft/additive/prefix_tuning.py` is the method, and `tests/test_prefix_tuning.py` compares it with Hugging
# Face `peft` and with attention written out.
#
# **Next:** [lesson 07, IPT](07_ipt.ipynb), which asks whether the prompts of many tasks lie in a small space. Or go back to [the
# start](00_start_here.ipynb).
