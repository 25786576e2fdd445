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
# # 09 · (IA)³: turn up, turn down
#
# **The question.** An adapter adds small networks to a model, LoRA adds thin matrices. Could we add nothing new at all, and
# only make what the model computes already *louder or quieter*, with one learned number for each coordinate?
#
# | | |
# |---|---|
# | paper | Liu et al., 2022, *Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning*, [arXiv 2205.05638](https://arxiv.org/abs/2205.05638) |
# | survey | section 8.2 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), additive methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02](02_where_memory_goes.ipynb) (where memory goes) |
# | you need | rows and columns of a matrix; what the rank of a matrix is |
# | time | 25 minutes to read and run, 35 for the exercises |
#
# The name stands for *Infused Adapter by Inhibiting and Amplifying Inner Activations*. At the end you will have put your
# own scales into a LLaMA's MLP, folded all of them into plain weights, and answered two tasks in one batch.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import GPT, IA3, LoRA, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.surgery import trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("opposite")
base_name = "mini-llama"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# Three vectors in each block: one scales the keys, one the values, one the hidden layer of the MLP. Our model is a LLaMA.
# It has four heads of queries, but two of keys and values, so `k` and `v` give 48 numbers where `q` gives 96.

# %%
model = IA3().attach(copy.deepcopy(base))
draw.block(model)

# %% [markdown]
# ## The equation
#
# With $\odot$ for the product coordinate by coordinate:
#
# $$ k \leftarrow l_k \odot k \qquad v \leftarrow l_v \odot v \qquad
#    \text{MLP}(x) = W_\text{down}\,\big(l_\text{ff} \odot h\big), \quad h = \text{silu}(W_\text{gate}\,x) \odot W_\text{up}\,x $$
#
# $$ l_k, l_v \in \mathbb{R}^{h_\text{kv}\, e} \qquad l_\text{ff} \in \mathbb{R}^{f} $$
#
# with $h_\text{kv}$ heads of keys and values, each $e$ wide, and a hidden layer of width $f$. The scales are the same for
# every token of every text, and each layer has its own.
#
# - **All start at one**, so the model starts as its base.
# - **The keys are scaled before they are rotated** by their positions (a GPT-2 has no rotation, there it makes no difference).
# - **The hidden layer is scaled after the activation**, that is, just before `down`.
# - **The queries are not scaled.** A score is a sum of products $q_i k_i$; without a rotation, what multiplies $k_i$
#   does the same as if it multiplied $q_i$.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The attention in the survey's listing says in PyTorch:


# %%
def survey_listing(q, k, v, l_k, l_v):
    k, v = l_k * k, l_v * v
    return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


def paper(q, k, v, l_k, l_v):
    k, v = l_k * k, l_v * v
    return torch.softmax(q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5, -1) @ v


g = torch.Generator().manual_seed(0)
e = c.head_width
q, k, v = torch.randn(3, 6, e, generator=g)
plain = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
one = torch.ones(e)
for name, attention in (("the listing", survey_listing), ("the paper", paper)):
    print(
        f"{name:12} with all scales at one is off plain attention by {(attention(q, k, v, one, one) - plain).abs().max():.1e}"
    )

# %% [markdown]
# The listing has **lost the $1/\sqrt e$** of the scores. With all scales at one it is not the base, so training does
# not start where it should. (It also multiplies by a `V` that it never defined. We wrote `v`.) Other things to mind in
# that section:
#
# - It says that $l_k$ and $l_v$ can be folded into the weights, and that **$l_\text{ff}$ stays as an overhead. It does not**, as
#   you will see below.
# - It calls (IA)³ a method to fine-tune "T-few". T-Few is the name of the whole *recipe*: the model T0, (IA)³, two more losses,
#   and vectors that were trained on many tasks before. (IA)³ is one part of it.

# %% [markdown]
# ## The implementation
#
# All of it: a Linear whose output is scaled, a Linear whose input is scaled, and the method that puts them in place.

# %%
from minipeft.additive import ia3

print(inspect.getsource(ia3.ScaleOut))
print(inspect.getsource(ia3.ScaleIn))
print(inspect.getsource(ia3.IA3))

# %% [markdown]
# Why is `down`'s *input* scaled, and not `up`'s output? In a LLaMA it makes no difference, since the hidden layer is a product
# with `up`'s output in it. In a GPT-2 there is a GELU between the two, and the place matters: a scale before the GELU cannot
# be folded into the weights behind it.
#
# ## It starts as the base
#
# To the last bit: a number times one is that number.

# %%
# NBVAL_CHECK_OUTPUT
model = IA3().attach(copy.deepcopy(base))
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
print("trains:", {n.removeprefix("trunk.0."): tuple(p.shape) for n, p in trainable(model).items() if ".0." in n})

# %% [markdown]
# ## It learns
#
# The task: two things are described, then comes *not* and one of the two; we ask for the opposite of how it was described.
# The mini GPT has read these words, but never a question in this form.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
before = evaluate(base, task)
tuned = copy.deepcopy(base)
history = fit(tuned, IA3(), task, steps=200, seed=0)
reached = evaluate(tuned, task)
print("before:", before)
print("after: ", reached)

# %% [markdown]
# ## What it costs, on the survey's axes
#
# **Predict first.** All three counts: how many numbers train, in 4 layers with $h_\text{kv}\,e = 48$ and $f = 256$? How
# many numbers of the base have changed once the scales are folded in ($d = 96$)? And the *rank* of the change: LoRA
# trains thin matrices, and gets a low one. Here we train vectors only. Is the rank lower still?

# %%
# NBVAL_CHECK_OUTPUT
d_kv = c.kv_heads * c.head_width
print("trains: ", c.layers * (2 * d_kv + c.hidden))
print("changes:", c.layers * (2 * d_kv * c.width + c.hidden * c.width))
print(counts(tuned))

# %% [markdown]
# The rank is **full**. The change of a weight is $\text{diag}(l)\,W - W = \text{diag}(l - 1)\,W$: each row is
# multiplied by a number of its own, and as long as none of these is zero, the rank stays that of $W$. So 1,408 trained
# numbers change nearly a hundred times as many, in as many directions as the weight has. This is why the survey wants
# three counts, and why a low rank is not the same as few numbers: the $\Delta W$ of (IA)³ is not low in rank, it is
# *tied to* $W$: it can only be $W$ with its rows or columns scaled.

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {"full fine-tuning": FullFineTuning(), "LoRA, rank 8": LoRA(rank=8), "(IA)³": IA3()}
draw.table(costs(base, candidates))

# %% [markdown]
# An eighth of LoRA's numbers, and **more** activations kept. Look at the gradients to see why. The gradient of a scale $l$ in
# $l \odot k$ needs $k$ as it was *before* the scale, and the gradient that goes on to $k$ needs $l$. So (IA)³ keeps the unscaled
# keys and values, and the unscaled hidden layer, the widest thing in the block. LoRA at the queries and values keeps the
# inputs of these two, which is one tensor, and narrower. Few trained numbers do not mean little memory.
#
# A step took about three quarters of full fine-tuning's time in this run: what is spared is the gradient of the weights, and
# the way back through all layers remains.
#
# ## What is stored
#
# Three vectors a layer for each task, beside one base for all.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    delta.save(tuned, Path(folder) / "opposite")
    size = sum(f.stat().st_size for f in (Path(folder) / "opposite").iterdir())
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "opposite").eval()
everything = sum(p.numel() * p.element_size() for p in base.parameters())
print(f"the delta: {size / 1e3:.0f} kB, of which {4 * counts(tuned).trainable / 1e3:.1f} kB are scales")
print(f"the whole model: {everything / 1e6:.1f} MB")
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), tuned.eval()(ids)))

# %% [markdown]
# ## Merging: all three, and exactly
#
# A scale of what comes out of a Linear is a scale of its **rows**, and of its bias if it has one. A scale of what goes in is a
# scale of its **columns**:
#
# $$ l \odot (W x + b) = (\text{diag}(l)\,W)\,x + l \odot b \qquad\qquad W\,(l \odot h) = (W\,\text{diag}(l))\,h $$
#
# **Predict first.** The survey would leave $l_\text{ff}$ outside. Three places to fold it into: the columns of `down`, the rows of
# `up`, the rows of `gate`. Which of them give the same MLP?

# %%
part = tuned.trunk[0].mlp
l_ff, down = part.down.scale, part.down.base
h = torch.randn(2, 5, c.width, generator=g)
with torch.no_grad():
    right = part(h)
    for place in ("down's columns", "up's rows", "gate's rows"):
        W_gate, W_up, W_down = part.gate.weight, part.up.weight, down.weight
        if place == "down's columns":
            W_down = W_down * l_ff
        elif place == "up's rows":
            W_up = l_ff[:, None] * W_up
        else:
            W_gate = l_ff[:, None] * W_gate
        folded = (F.silu(h @ W_gate.T) * (h @ W_up.T)) @ W_down.T
        print(f"l_ff in {place:15} off by {(folded - right).abs().max():.0e}, of numbers up to {right.abs().max():.1f}")

# %% [markdown]
# The first two are right, up to rounding: nothing stays, and inference costs what it did. Only the way through the activation
# is closed, because silu of a multiple is not the multiple of silu. `merge` takes the columns of `down`, which is right for
# both styles, and `detach` gives the base back.

# %%
logits = tuned(ids)
plain = merge(copy.deepcopy(tuned))
print(plain.trunk[0].mlp)
print(f"largest difference of a logit after merging: {(plain(ids) - logits).abs().max():.1e}")
given_back = detach(copy.deepcopy(tuned))
print("detached, the base:", all(map(torch.equal, given_back.parameters(), base.parameters())))

# %% [markdown]
# ## The picture: what is turned up, what is turned down
#
# A delta of (IA)³ is small enough to look at as a whole. On the left, all scales of each layer, sorted; the red line is where
# they all began. On the right an experiment: keep only those scales that moved furthest from one, put the others back to one,
# and ask the test questions again.

# %%
scales = {name: p.detach().clone() for name, p in trainable(tuned).items()}
every = torch.cat(list(scales.values()))


@torch.no_grad()
def keep(number):
    """Accuracy with only so many scales kept, those furthest from one."""
    model, least = copy.deepcopy(tuned), (every - 1).abs().sort(descending=True).values[number - 1]
    for p in trainable(model).values():
        p[(p - 1).abs() < least] = 1.0
    return evaluate(model, task).accuracy


numbers = [0, 50, 100, 200, 400, 700, 1000, len(every)]
kept = [before.accuracy] + [keep(n) for n in numbers[1:]]

# %%
fig, axes = plt.subplots(1, 4, figsize=(9, 3.2), gridspec_kw={"width_ratios": [1, 1, 1.4, 2.2]})
parts = {"attn.k": "$l_k$, keys", "attn.v": "$l_v$, values", "mlp.down": "$l_{ff}$, hidden"}
low, high = every.min().item() - 0.1, every.max().item() + 0.1
for ax, (name, title) in zip(axes, parts.items(), strict=False):
    for i in range(c.layers):
        shade = str(0.72 * (1 - i / (c.layers - 1)))
        ax.plot(scales[f"trunk.{i}.{name}.scale"].sort().values, color=shade, lw=1.3, label=f"layer {i}")
    ax.axhline(1, color="C3", lw=1.2)
    ax.set(title=title, xlabel="place when sorted", ylim=(low, high))
axes[0].set_ylabel("scale")
for ax in axes[1:3]:
    ax.tick_params(labelleft=False)
axes[2].legend(frameon=False, fontsize=7, loc="upper left")
axes[3].plot(numbers, [100 * a for a in kept], "ko-", ms=4)
axes[3].set(
    xlabel=f"scales kept, of {len(every):,}", ylabel="accuracy (%)", ylim=(-3, 103), title="the rest put back to one"
)
fig.tight_layout()
draw.show(
    fig,
    "Three plots of all scales, sorted, a line for each layer; they lie on both sides of one. A fourth plot: the accuracy "
    "against how many of the scales are kept.",
)

# %%
for name in parts:
    some = torch.cat([scales[f"trunk.{i}.{name}.scale"] for i in range(c.layers)])
    print(
        f"{name:9} from {some.min():5.2f} to {some.max():.2f} · half of them between {some.quantile(0.25):.2f} and "
        f"{some.quantile(0.75):.2f} · below zero: {(some < 0).sum()} of {len(some)}"
    )

# %% [markdown]
# About as many scales went down as up. Half of them lie roughly between 0.6 and 1.3, a few were switched off (near
# zero), and 29 of 1,408 turned their sign. A negative scale has a meaning too: a hidden unit then pushes the other way.
#
# On the right comes the sobering part. The 200 scales that moved most do nothing on their own, 400 answer about a
# quarter of the questions, and it takes some 1,000 of the 1,408 to answer as many as all of them do. The delta is
# small, but what it has learned is not in a few loud coordinates. It is spread over most of them. (The scales were
# trained together; trained to be few, they might do better.)
#
# ## One batch, several tasks
#
# A merged model serves one task. Unmerged, (IA)³ can do what the paper asks of a good method: serve a *mixed* batch.
# The big products, $W x$, are the same for all texts; a text's own scales come after them. So texts of different tasks
# can go through the model together, each with its own vectors. With LoRA this means a thin product for each text; here
# it is one multiplication.
#
# We train scales for a second task and let one batch hold both. The scale of text $i$ is row $i$ of a tensor $(b, 1, n)$.

# %%
second = tasks.load("where")
other = copy.deepcopy(base)
fit(other, IA3(), second, steps=100, seed=0)
print(second.name, "alone:", evaluate(other, second))

questions = [task.test[0], second.test[0], second.test[1], task.test[1]]
whose = [tuned, other, other, tuned]
tokens = [base.tokenizer.start + base.tokenizer.encode(q.prompt) for q in questions]
length = max(map(len, tokens))
batch = torch.tensor([t + [base.tokenizer.end] * (length - len(t)) for t in tokens])  # padded on the right
theirs = [trainable(m) for m in whose]
mixed = {name: torch.stack([own[name] for own in theirs])[:, None] for name in scales}  # (b, 1, n)
with torch.no_grad():
    together = torch.func.functional_call(tuned, mixed, (batch,))
    for i, (question, model) in enumerate(zip(questions, whose, strict=True)):
        alone = model(batch[i : i + 1, : len(tokens[i])])[0]
        off = (together[i, : len(tokens[i])] - alone).abs().max()
        word = base.tokenizer.decode([together[i, len(tokens[i]) - 1].argmax().item()]).strip()
        print(f"{question.prompt[-40:]:>40} → {word:10} (right: {question.completion}; off its own model by {off:.0e})")

# %% [markdown]
# Each text got the answer of its own task's model, up to rounding, from one batch and one base. A server could keep the vectors
# of hundreds of tasks in memory: these are 5.6 kB each.
#
# ## Its nearest relatives
#
# | | (IA)³ | BitFit ([lesson 10](10_bitfit.ipynb)) | LoRA, rank $r$ ([lesson 15](15_lora.ipynb)) |
# |---|---|---|---|
# | what it does | multiplies by a vector | adds a vector | adds a thin product |
# | numbers for a Linear | $d_\text{out}$ or $d_\text{in}$ | $d_\text{out}$ | $r\,(d_\text{in} + d_\text{out})$ |
# | rank of the change | full | no matrix changes | $r$ at most |
# | can make something new | no: it weighs what is there | no: it shifts what is there | yes, $r$ directions |
# | on a LLaMA | as it is | only with added biases | as it is |
# | folds into the base | yes, exactly | is the base | yes, exactly |
# | other tasks in the same batch | one multiplication | one addition | thin products for each text |
#
# On the same task and model, from the committed table (three seeds; `python benchmarks/tasks_table.py` made it, and
# [docs/tasks.md](../docs/tasks.md) has all of it), with our run beside it:

# %%
import csv

with open("data/tasks.csv", newline="") as file:
    row = next(r for r in csv.DictReader(file) if r["model"] == base_name and r["task"] == task.name)
names = {"bitfit": "BitFit, added biases", "rank1": "LoRA, rank 1", "lora": "LoRA, rank 8", "full": "full fine-tuning"}
sizes = {
    "bitfit": "3,584",
    "rank1": "1,344",
    "lora": "10,752",
    "full": f"{sum(p.numel() for p in base.parameters()):,}",
}
rows = [
    {"": "(IA)³, the run above", "trains": f"{counts(tuned).trainable:,}", "accuracy": f"{100 * reached.accuracy:.1f}"}
]
draw.table(rows + [{"": names[key], "trains": sizes[key], "accuracy": row[key]} for key in names])

# %% [markdown]
# All are within a point of each other: this task on this model does not tell the methods apart. LoRA of rank 1 trains
# about as many numbers as (IA)³ and does as well. Our (IA)³ is one run with one seed, so a difference of one point
# means nothing.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/ia3.py`](../exercises/ia3.py) beside this notebook. Each function has its equation, its shapes and its
# points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck? `hint("09.1")`.

# %%
ask("09.1")

# %%
check("09.1")

# %%
check("09.2")

# %%
check("09.3")

# %% [markdown]
# 09.4 counts, and asks for a prediction.

# %%
check("09.4")

# %% [markdown]
# ### Your MLP in the mini GPT
#
# As soon as `check("09.1")` passes, the cell below trains a model in which every MLP is *your* `ia3_mlp`; autograd finds its
# way to $l_\text{ff}$ through your code. Until then it uses the library's, and says so.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

yours = learner("09.1")


class Yours(Wrapper):
    """A LLaMA's MLP whose forward is the learner's function."""

    def __init__(self, mlp):
        super().__init__(mlp)
        self.scale = torch.nn.Parameter(torch.ones(mlp.up.out_features))

    def forward(self, x):
        return yours(x, self.base.gate.weight, self.base.up.weight, self.base.down.weight, self.scale)


class YourIA3(Method):
    lr = IA3.lr

    def insert(self, model):
        wrap(model, ["attn.k", "attn.v"], ia3.ScaleOut)
        wrap(model, "mlp", Yours)


model = copy.deepcopy(base)
fit(model, YourIA3(), task, steps=200, seed=0)
print("before:                ", before)
print("after, with yours:     ", evaluate(model, task))
print("after, the library's:  ", reached)

# %% [markdown]
# ## What to remember
#
# 1. (IA)³ multiplies keys, values and the MLP's hidden layer by learned vectors, all of them one at the start.
# 2. The hidden layer is scaled *after* the activation, the keys *before* they are rotated, the queries not at all.
# 3. All three fold into the weights: rows of $W_k$ and $W_v$ (and their biases), columns of $W_\text{down}$. Nothing stays.
# 4. Few numbers, full rank: $\Delta W = \text{diag}(l - 1)\,W$ is tied to $W$, not low in rank.
# 5. Unmerged, one batch can hold many tasks, each text with its own vectors.
#
# **The paper's headline**, quoted from it: T-Few, with (IA)³ in T0 of 11 billion numbers, reaches 72.4 % on held-out
# tasks, where GPT-3 175B with examples in its prompt reaches 66.6 %; on RAFT it reaches 75.8 %, people 73.5 %. In its
# figure 2, on T0-3B, (IA)³ is the only parameter-efficient method above full fine-tuning. Our toy agrees in part: with
# 0.3 % of the numbers (IA)³ comes within a point of full fine-tuning on `opposite`. That it is *better* than other
# methods is not seen here, and cannot be: the paper has few examples and a large model, the toy a thousand examples and
# a small model, and nothing can be better than 100 %.
#
# **Further reading.** Section 3.3 of the paper for the method, 3.2 and 3.4 for what else T-Few is made of. In the library,
# `minipeft/additive/ia3.py` is the method, and `tests/test_ia3.py` compares it with Hugging Face `peft`.
#
# **Next:** [lesson 10, BitFit](10_bitfit.ipynb), which adds a vector where (IA)³ multiplies by a vector. Or go back to
# [the start](00_start_here.ipynb).
