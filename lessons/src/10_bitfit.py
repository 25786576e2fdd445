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
# # 10 · BitFit: train the biases, nothing else
#
# **The question.** Less than one number in a hundred of a GPT-2 is a bias: a constant that is added, whatever the input
# is. Suppose we freeze everything else. Can a model be fine-tuned by constants alone?
#
# | | |
# |---|---|
# | paper | Ben Zaken, Ravfogel and Goldberg, 2021, *BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models*, [arXiv 2106.10199](https://arxiv.org/abs/2106.10199) |
# | survey | section 9.1 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), selective methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02](02_where_memory_goes.ipynb) (where memory goes) |
# | you need | how attention scores become weights; the chain rule |
# | time | 25 minutes to read and run, 45 for the exercises |
#
# At the end you will have written the backward pass that a frozen layer with a trained bias needs, and trained the mini
# GPT with it. You will also know which of a block's eight biases does nothing at all, and which three repeat what others
# can say.

# %%
import copy
import inspect
from collections.abc import Collection
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from torch import nn

from minipeft import GPT, BitFit, Config, LoRA, counts, detach, evaluate, fit, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.surgery import trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("opposite")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()

# %% [markdown]
# ## Where it acts
#
# Everywhere, a little. In a block of GPT-2's style each of the six Linears has a bias, and each of the two norms has
# one. BitFit adds nothing to the model. It lets these constants train where they are.

# %%
model = BitFit().attach(copy.deepcopy(base))
draw.block(model)

# %% [markdown]
# ## The equation
#
# For a Linear and for a norm, with what trains in a brace:
#
# $$ y = W x + \underbrace{b}_{\text{trains}} \qquad\qquad
#    y = g \odot \frac{x - \bar x}{\sigma(x)} + \underbrace{b}_{\text{trains}}
#    \qquad W \in \mathbb{R}^{d_\text{out} \times d_\text{in}},\quad b \in \mathbb{R}^{d_\text{out}} $$
#
# So each part may add a constant vector to what it gives, the same for every token of every text. $W$ and the norm's gain
# $g$ stay. There is no new hyper-parameter, and nothing to initialise: training begins at the biases of the base.
#
# The backward pass is short. With $G = \partial L / \partial y$ of shape $(b, t, d_\text{out})$:
#
# $$ \frac{\partial L}{\partial b} = \sum_{\text{texts, tokens}} G \qquad\qquad \frac{\partial L}{\partial x} = G\, W $$
#
# Neither of the two needs $x$. Remember this: it comes back below when we look at memory.

# %% [markdown]
# **Predict first.** One of a block's eight biases (norm1, q, k, v, o, norm2, up, down) has no gradient in a GPT-2, however
# long you train. Which one? Look at the drawing above, and think of the softmax in `attend`. Then run the cell; beside the
# GPT-2 it shows a LLaMA whose Linears got zero biases.

# %%
g = torch.Generator().manual_seed(0)
x, y = torch.randint(base.c.vocab, (2, 16, 24), generator=g)
llama = GPT.from_pretrained("mini-llama").eval()
kinds = ["norm1", "attn.q", "attn.k", "attn.v", "attn.o", "norm2", "mlp.up", "mlp.down"]
rows = {kind: {"bias of": kind} for kind in kinds}
for style, method, plain in (("GPT-2", BitFit(), base), ("LLaMA", BitFit(add=True), llama)):
    model = method.attach(copy.deepcopy(plain))
    method.loss(model, x, y).backward()
    gradients = {name.removeprefix("trunk.1."): p.grad for name, p in trainable(model).items()}
    for kind in kinds:
        grad = gradients.get(f"{kind}.bias")
        rows[kind][f"|gradient|, {style}"] = "there is none" if grad is None else f"{grad.norm():.0e}"
draw.table(list(rows.values()))

# %% [markdown]
# It is the bias of the **keys**. Query $i$ and key $j$ have the score
#
# $$ \frac{q_i \cdot (k_j + b_k)}{\sqrt e} = \frac{q_i \cdot k_j}{\sqrt e} + \frac{q_i \cdot b_k}{\sqrt e}, $$
#
# and the second term is the same for every key $j$. A softmax does not see what is added to all its inputs alike. What
# the table shows for it is rounding error, less than a millionth of the others.
#
# In a LLaMA it is otherwise. There a key is rotated by its position *after* the bias was added, so the second term depends
# on $j$, and the bias of the keys can learn.

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey gives BitFit as two lines, which say in PyTorch:


# %%
def survey_listing(model):
    params = [p for name, p in model.named_parameters() if "bias" in name]
    return torch.optim.AdamW(params, lr=1e-2)


def minipeft_way(model):
    BitFit().attach(model)
    return torch.optim.AdamW(trainable(model).values(), lr=1e-2)


from minipeft.measure import kept_bytes

after = {}
for name, make in (("the listing", survey_listing), ("BitFit().attach", minipeft_way)):
    model = copy.deepcopy(base)
    optimizer = make(model)
    kept = kept_bytes(lambda model=model: BitFit().loss(model, x, y), model)
    BitFit().loss(model, x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
    left = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    after[name] = torch.cat([p.detach().flatten() for p in model.parameters()])
    print(f"{name:16} kept for backward {kept / 1e6:5.2f} MB · gradients left after zero_grad() {left / 1e6:.2f} MB")
print(
    f"largest difference of a number after the step: {(after['the listing'] - after['BitFit().attach']).abs().max():.0e}"
)

# %% [markdown]
# The step is the same, to the last bit. The cost is not. The listing chooses what the *optimizer* moves, but **freezes nothing**. Autograd
# computes the gradient of every weight and keeps what it needs for that. These gradients also stay: `optimizer.zero_grad()`
# clears only what the optimizer knows, so the rest is summed up step after step. With `requires_grad_(False)` all of this
# is gone.
#
# The other line to mind is the filter, `"bias" in name`.

# %%
# NBVAL_CHECK_OUTPUT
try:
    survey_listing(copy.deepcopy(llama))
except ValueError as error:
    print("on a LLaMA:", error)

t5 = nn.ModuleDict({"q": nn.Linear(8, 8, bias=False), "relative_attention_bias": nn.Embedding(32, 4)})
print("on T5's attention:", [name for name, _ in t5.named_parameters() if "bias" in name])

with torch.device("meta"):  # numbers without memory
    small = BitFit().attach(GPT(Config("gpt2", vocab=50257, context=1024, layers=12, heads=12, width=768)))
trains, numbers = (sum(p.numel() for p in ps) for ps in (trainable(small).values(), small.parameters()))
print(f"GPT-2 small: {trains:,} biases of {numbers:,} numbers, {trains / numbers:.3%}")

# %% [markdown]
# - **A LLaMA has no biases.** The listing finds nothing; PyTorch's optimizer refuses an empty list, which is luck. Where a
#   new classifier trains beside the biases, as in the paper, the list is not empty, and nobody notices that the classifier
#   trains alone.
# - **A name is not a kind.** T5's attention has a table of relative positions, a full matrix with "bias" in its name.
#   It would train, and nothing else would.
# - The survey says that BitFit trains about 0.05 % of a model. On GPT-2 small it is 0.08 %. On BERT-base the same count
#   gives 102,912 of 109.5 million numbers, 0.09 %.
# - It speaks of the biases of linear and convolutional layers. The norms' biases belong to it as well.
#
# What to do with a LLaMA? `BitFit()` refuses, and says what you can ask for instead.

# %%
# NBVAL_CHECK_OUTPUT
try:
    BitFit().attach(copy.deepcopy(llama))
except ValueError as error:
    print(error)
print(counts(BitFit(add=True).attach(copy.deepcopy(llama))))

# %% [markdown]
# ## The implementation
#
# All of it. `thaw` lets a parameter train where it stands and keeps its first value, so that `detach` can give it back.

# %%
from minipeft.selective import bitfit

print(inspect.getsource(bitfit.BitFit))

# %% [markdown]
# ## It starts as the base
#
# Nothing was added, so this is no surprise. What trains is called `bias`, and nothing else is.

# %%
# NBVAL_CHECK_OUTPUT
model = BitFit().attach(copy.deepcopy(base))
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
print("same logits as the base:", torch.equal(model(ids), base(ids)))
print("trains:", sorted({name.removeprefix("trunk.").lstrip("0123.") for name in trainable(model)}))

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
history = fit(tuned, BitFit(), task, steps=200, seed=0)
reached = evaluate(tuned, task)
print("before:", before)
print("after: ", reached)

# %% [markdown]
# ## What it costs, on the survey's axes
#
# The three counts. A layer has five biases of width $d$ (norm1, q, o, norm2, down), two as wide as its keys and values, and
# one as wide as the MLP's hidden layer; then there is the last norm.

# %%
# NBVAL_CHECK_OUTPUT
c = base.c
print("predicted:", c.layers * (5 * c.width + 2 * c.kv_heads * c.head_width + c.hidden) + c.width)
print("measured: ", counts(tuned))

# %% [markdown]
# Each number that trains is also a number of the base that changes. The rank is a dash, and it has to be: no weight
# matrix has changed, so there is no $\Delta W$ whose rank we could ask for.
#
# **Predict first.** Now memory. Against LoRA of rank 8 on queries and values: LoRA stands at two Linears of a block, BitFit
# at all six and at both norms. Which of the two keeps more activations for its backward pass?

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {"full fine-tuning": FullFineTuning(), "LoRA, rank 8": LoRA(rank=8), "BitFit": BitFit()}
draw.table(costs(base, candidates))

# %% [markdown]
# BitFit keeps **less** than LoRA, although it trains in more places. You saw the reason in the equation: the gradient of a
# bias is a sum of what comes from above, and the gradient of $x$ needs only the frozen $W$. LoRA's matrix $A$ multiplies
# its input, so LoRA has to keep that input.
#
# But it keeps a good deal. The gradient still travels through the softmax, the GELU and the norms, and these need what
# they computed on the way up: two thirds of what full fine-tuning keeps is still there. And a step takes about three
# quarters of full fine-tuning's time, not a hundredth of it.
#
# ## What is stored, and what there is to merge
#
# One file with the biases per task, beside one base for all. There is nothing to merge: the tuned model *is* a plain GPT
# with other constants in it, exactly as fast as before. And `detach` gives the base back.

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    delta.save(tuned, Path(folder) / "opposite")
    size = sum(f.stat().st_size for f in (Path(folder) / "opposite").iterdir())
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "opposite").eval()
everything = sum(p.numel() * p.element_size() for p in base.parameters())
print(f"the delta: {size / 1e3:.0f} kB, the whole model: {everything / 1e6:.1f} MB")
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), tuned.eval()(ids)))
given_back = detach(copy.deepcopy(tuned))
print("detached, the base:", all(map(torch.equal, given_back.parameters(), base.parameters())))

# %% [markdown]
# ## The picture: which biases moved, and which of them mattered
#
# On the left, how far each bias has moved from its value in the base: the root mean square over its numbers. On the right
# an experiment: put *one kind* of bias back to its old values, in all layers, and ask the task's 200 test questions again.
#
# Before you look: what do you expect for the keys, left and right?

# %%
old, new = base.state_dict(), tuned.state_dict()
moved = torch.tensor(
    [
        [(new[n] - old[n]).square().mean().sqrt() for n in (f"trunk.{i}.{kind}.bias" for i in range(c.layers))]
        for kind in kinds
    ]
)


@torch.no_grad()
def put_back(kind):
    model = copy.deepcopy(tuned)
    for i in range(c.layers):
        name = f"trunk.{i}.{kind}.bias"
        model.get_parameter(name).copy_(old[name])
    return evaluate(model, task)


without = {kind: put_back(kind) for kind in kinds}

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, gridspec_kw={"width_ratios": [1, 1.3]})
left.imshow(moved, cmap="Greys", vmin=0, aspect="auto")
for row in range(len(kinds)):
    for i in range(c.layers):
        dark = moved[row, i] > 0.6 * moved.max()
        left.text(i, row, f"{moved[row, i]:.3f}", ha="center", va="center", color="white" if dark else "black", size=8)
left.set(xlabel="layer", title="how far it moved (rms)", xticks=range(c.layers), yticks=range(len(kinds)))
left.set_yticklabels([kind.removeprefix("attn.").removeprefix("mlp.") for kind in kinds])
right.barh(range(len(kinds)), [100 * without[kind].accuracy for kind in kinds], color="0.6", height=0.65)
right.axvline(100 * reached.accuracy, color="C3", lw=1.5)
right.text(100 * reached.accuracy - 1, -0.62, "all of them tuned", color="C3", ha="right", va="bottom", size=8)
right.set(xlabel="accuracy (%)", title="after this kind was put back", xlim=(0, 100), ylim=(7.5, -1.1))
fig.tight_layout()
draw.show(
    fig,
    "Left: a map of how far the eight kinds of bias moved in each layer; all moved, the keys' the least. Right: the "
    "accuracy after one kind was put back; for the keys it stays where it was, for the two norms it falls most.",
)

# %%
names = ["attn.k", "attn.q"]
sizes = {
    kind: torch.stack([old[f"trunk.{i}.{kind}.bias"].square().mean().sqrt() for i in range(c.layers)]) for kind in names
}
for kind in names:
    row = moved[kinds.index(kind)]
    print(f"{kind}: moved {row.mean():.3f} on average, its old values are {sizes[kind].mean():.3f} in size")

# %% [markdown]
# The keys' bias **moved**, by more than its own size, and that was worth exactly **nothing**: with the old values the
# accuracy is the same. Why did it move without a gradient? Adam divides each gradient by the size that it has had
# lately. So even a rounding error is blown up to steps that look like learning. A number that moved is not yet a number
# that matters: keep this in mind when a paper shows you which parameters changed most.
#
# The two norms, which the survey does not mention, matter most here: with the biases of either put back, the accuracy
# falls from 69.5 % to about 42 %. The bias of `up` moved further than both and is worth less. But we can say more about
# the norms.

# %% [markdown]
# ## Eight kinds, where four would do
#
# Let the bias of `norm1` move by $u$. Then the queries get $W_q u$ more, which the bias of the queries could have done
# alone; the keys get a constant, which nobody sees; and the values get $W_v u$ more. Attention takes averages of values,
# with weights that sum to one. So a constant in the values comes out as it went in, and $W_o$ carries it to the output,
# where the bias of `o` could have been moved instead. The bias of `norm2` can be said by that of `up`.
#
# **Predict first.** If you fold `norm1`, `v` and `norm2` into `q`, `o` and `up`, and put `k` back: how many biases still
# differ from the base?


# %%
@torch.no_grad()
def fold(tuned):
    """The same function of the tokens, said by the biases of q, o, up and down (and of the last norm) alone."""
    model = copy.deepcopy(tuned)
    for block, was in zip(model.trunk, base.trunk, strict=True):
        u1, u2 = block.norm1.bias - was.norm1.bias, block.norm2.bias - was.norm2.bias
        w = block.attn.v.bias - was.attn.v.bias
        block.attn.q.bias += block.attn.q.weight @ u1
        block.attn.o.bias += block.attn.o.weight @ (block.attn.v.weight @ u1 + w)
        block.mlp.up.bias += block.mlp.up.weight @ u2
        for part, before in (
            (block.norm1, was.norm1),
            (block.attn.k, was.attn.k),
            (block.attn.v, was.attn.v),
            (block.norm2, was.norm2),
        ):
            part.bias.copy_(before.bias)
    return model


folded = fold(tuned)
print(
    f"largest difference of a logit: {(folded(ids) - tuned(ids)).abs().max():.0e}, of logits up to {tuned(ids).max():.0f}"
)
print("changed before:", counts(tuned).changed, "· after:", counts(folded).changed)

# %% [markdown]
# The same model, with 2,784 changed numbers instead of 4,320: of what BitFit stores, more than a third is not needed.
# Does it then help to *train* all eight? The paper looked at a smaller choice too, the biases of `q` and `up` alone.
#
# **Predict first.** The four kinds can say all that the eight can. Trained alone, with the same steps and the same learning
# rate, will they reach the same accuracy?


# %%
@dataclass(frozen=True)
class SomeBiases(BitFit):
    """BitFit, with these kinds of bias alone."""

    kinds: Collection[str] = ()

    def insert(self, model):
        super().insert(model)
        for name, p in trainable(model).items():
            p.requires_grad_(name.removesuffix(".bias").split(".", 2)[-1] in self.kinds)


choices = {
    "q, o, up, down, last norm": ["attn.q", "attn.o", "mlp.up", "mlp.down", "norm"],
    "q, up": ["attn.q", "mlp.up"],
}
rows = [{"trained": "all eight, last norm", "numbers": counts(tuned).trainable, "accuracy": f"{reached.accuracy:.1%}"}]
for name, some in choices.items():
    model = copy.deepcopy(base)
    fit(model, SomeBiases(kinds=some), task, steps=200, seed=0)
    rows.append(
        {"trained": name, "numbers": counts(model).trainable, "accuracy": f"{evaluate(model, task).accuracy:.1%}"}
    )
draw.table(rows)

# %% [markdown]
# No, far from it. The model that answers 69.5 % *can* be written with the four kinds, but training did not find it in two
# hundred steps. What a model can say and how quickly it learns to say it are two questions. A step of
# `norm1`'s bias is a step of many numbers of the other biases together, so with all eight kinds the model moves faster. A
# higher learning rate might make up for it. We have not tried: you could.
#
# With `q` and `up` alone almost nothing is learnt here. On BERT the paper finds these two close to all biases (as it is
# usually quoted; not checked against the paper's tables). This toy does not agree.
#
# ## What constants can do, and what they cannot
#
# The table is read from a committed file (test accuracy in per cent, mean over three seeds; mini-gpt2, 200 steps);
# `python benchmarks/tasks_table.py` made it, and [docs/tasks.md](../docs/tasks.md) has all of it.
#
# **Predict first.** LoRA of rank 1 trains 1,536 numbers here, BitFit 4,320. On which kind of task will BitFit stay behind?

# %%
import csv

shown = {"task": "task", "base": "untuned", "bitfit": "BitFit", "rank1": "LoRA, rank 1", "full": "full fine-tuning"}
with open("data/tasks.csv", newline="") as file:
    results = [row for row in csv.DictReader(file) if row["model"] == base_name]
results.sort(key=lambda row: float(row["bitfit"]))
draw.table([{head: row[key] for key, head in shown.items()} for row in results])

# %% [markdown]
# Read it from the bottom. Where the task asks for something that the base does already (look up who is where),
# constants are enough: they seem to tell the model *which* of its abilities is wanted. Where the answer has to be put
# together in a new way (`reversing`, `odd_one_out`) or learnt by heart (`cipher`), they are not enough. That fits the
# equation: a constant adds the same vector for every token. A change of $W_q$ gives each token something of its own.
#
# LoRA of rank 1, with little more than a third of the numbers, is nowhere behind in this table, and far ahead on
# `reversing`, `opposite` and `odd_one_out`. **How many** numbers train says less than **which**. But mind the learning
# rate. In this table it was set once, 0.01 for BitFit. In [docs/comparison](../docs/comparison/comparison.md) a search
# took 0.1, the largest that it tried, and with it BitFit answers 93 % of `reversing` and of `opposite`, 44 % of
# `odd_one_out`, and still nothing of `cipher` (LoRA of rank 8: 100, 100, 80 and 5 %). So much of what looks here like
# "constants cannot" is "not yet, with steps as small as these". The order of the tasks stays.
#
# ## Its nearest relatives
#
# | | BitFit | (IA)³ ([lesson 09](09_ia3.ipynb)) | LoRA ([lesson 15](15_lora.ipynb)) | DiffPruning, FISH Mask (lessons 11, 13) |
# |---|---|---|---|---|
# | what it does to $W x + b$ | another $b$ | rows or columns of $W$ scaled | $W$ gets a change of low rank | single numbers of $W$ change |
# | who chooses what trains | the architecture | the method | you: rank and targets | the data |
# | on a LLaMA | only with added biases | as it is | as it is | as it is |
# | folds into the base | is the base | yes | yes | yes |
# | kept for its own gradient | nothing | what it scales | its input, and $A x$ | the inputs of its Linears |

# %% [markdown]
# ## Your turn
#
# Open [`exercises/bitfit.py`](../exercises/bitfit.py) beside this notebook. Each function has its equation, its shapes and
# its points in the docstring. Save the file, then run the check; it reads the file anew every time. Stuck? `hint("10.1")`.

# %%
ask("10.1")

# %%
check("10.1")

# %%
check("10.2")

# %%
check("10.3")

# %% [markdown]
# 10.4 is a counting question, 10.5 a mistake to find in given code.

# %%
check("10.4")

# %%
check("10.5")

# %% [markdown]
# ### Your backward pass in the mini GPT
#
# As soon as `check("10.1")` passes, the cell below trains the mini GPT with *your* `bitfit_backward`: every Linear of every
# block asks your function for its gradients, and keeps nothing but its weight. Until then it uses the library's, and says
# so.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

yours = learner("10.1")


class YourLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(weight)  # and not x
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, G):
        (weight,) = ctx.saved_tensors
        of_bias, of_x = yours(G, weight)
        return of_x, None, of_bias


class Yours(Wrapper):
    def forward(self, x):
        return YourLinear.apply(x, self.base.weight, self.base.bias)


class YourBitFit(Method):
    lr = 1e-2

    def insert(self, model):
        BitFit().insert(model)
        wrap(model, [kind for kind in kinds if "norm" not in kind], Yours)


model = copy.deepcopy(base)
fit(model, YourBitFit(), task, steps=200, seed=0)
print("before:            ", before)
print("after, with yours: ", evaluate(model, task))
print("after, with torch's:", reached)

# %% [markdown]
# ## What to remember
#
# 1. BitFit trains the biases and freezes the rest: each part may add one constant vector, the same for every input.
# 2. Freeze with `requires_grad_(False)`. Choosing what the optimizer moves gives the same step, at full cost.
# 3. The gradient of a bias needs no input, so BitFit keeps fewer activations than LoRA.
# 4. The keys' bias does nothing in a GPT-2; norm1, norm2 and the values repeat what other biases can say, and help to learn.
# 5. A LLaMA has no biases. Look at what your filter selects before you train.
#
# **The paper's headline**, as it is usually quoted (not checked against the paper's tables): on GLUE, BitFit with 0.08
# % of BERT-large is on par with DiffPruning at 0.5 % and adapters at 3.6 %, and near full fine-tuning. The (IA)³ paper
# ([arXiv 2205.05638](https://arxiv.org/abs/2205.05638), figure 2) finds it clearly below (IA)³ on T0-3B. Our toy agrees
# in part: with 0.9 % of the numbers BitFit comes within a point of full fine-tuning on six of fifteen tasks, stays six
# to eleven points behind on five more, and far behind on `opposite`, `reversing`, `odd_one_out` and `cipher`. With a
# learning rate ten times as high, as we saw, it comes near on the first two of these four as well.
#
# **Further reading.** Section 3 of the paper. In the library, `minipeft/selective/bitfit.py` is the method, and
# `tests/test_bitfit.py` has the laws of this lesson as tests: the key's bias, the value's, the brute-force step.
#
# **Next:** [lesson 11, DiffPruning](11_diff_pruning.ipynb), which lets the data choose what trains. Or go back to [the start](00_start_here.ipynb).
