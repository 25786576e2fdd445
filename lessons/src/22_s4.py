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
# # 22 · S4: which method in which layers
#
# **The question.** You have met nineteen methods, and nearly all of them do the same in every layer. Why should they?
# The lower layers do other work than the upper ones. Perhaps an adapter is right here and a prefix there. Who decides?
# S4 is the answer of a *search*: a plan that says which methods stand in which layers, and how much each layer may
# train.
#
# | | |
# |---|---|
# | paper | Chen et al., 2023, *Parameter-Efficient Fine-Tuning Design Spaces*, [arXiv 2301.01821](https://arxiv.org/abs/2301.01821) |
# | survey | section 11.5 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), hybrid methods |
# | before this | [lesson 03, adapters](03_adapters.ipynb); [06, Prefix-Tuning](06_prefix_tuning.ipynb); [10, BitFit](10_bitfit.ipynb); [15, LoRA](15_lora.ipynb) |
# | you need | nothing new: S4 has no module of its own |
# | time | 30 minutes to read and run, 50 for the exercises |
#
# At the end you will be able to turn a share of a model's numbers into a plan of your own. You will also have seen how
# much such a plan is worth once it leaves the place where it was found.

# %%
import copy
import csv
import inspect
from collections import defaultdict

import matplotlib.pyplot as plt
import torch

from minipeft import GPT, S4, Config, LoRA, counts, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.hybrid import s4
from minipeft.surgery import base_state, find, trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("odd_one_out")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## The plan
#
# The layers, from the input up, form four groups. Each group has its own methods, out of four: **A** adapters, **L**
# LoRA, **P** prefix, **B** biases.
#
# | group | layers | methods |
# |---|---|---|
# | G1 | next to the input | A, L |
# | G2 | | A, P |
# | G3 | | A, P, B |
# | G4 | next to the output | P, B, L |
#
# The groups in the middle are longer than those at the ends; the paper calls this a **spindle**. Every layer trains
# about as many numbers as every other.
#
# Our mini GPT has four layers, so each group is a single layer. Here is the first one and the last one.

# %%
model = copy.deepcopy(base)
S4().attach(model)
draw.block(model, 0)

# %%
draw.block(model, 3)

# %% [markdown]
# Everything in these drawings you know already. S4 adds no gate and no connection: the methods of a layer stand side by
# side, each as if it were alone. What is new is the arithmetic behind the numbers in the red boxes.
#
# ## From a share to sizes
#
# Let the model have $N$ numbers in $L$ layers, and let a share $\rho$ of them train. Every layer gets
#
# $$ \beta = \frac{\rho N}{L} $$
#
# whatever its group. If its group has B, its $c_B$ biases come off first, since nobody can choose how many there are.
# The other methods of the group get equal parts, $p = (\beta - c_B) / (\text{how many they are})$, and each takes the
# largest size that fits:
#
# | | counts | so the size is |
# |---|---|---|
# | A: a bottleneck of $m$ after the block | $2 d m + m + d$ | $m = \lfloor (p - d) / (2 d + 1) \rfloor$ |
# | L: rank $r$ beside `attn.q` and `attn.v` | $r\,(2 d + d_q + d_{kv})$ | $r = \lfloor p / (2 d + d_q + d_{kv}) \rfloor$ |
# | P: $n$ keys and values | $2 n\, d_{kv}$ | $n = \lfloor p / (2 d_{kv}) \rfloor$ |
#
# $d$ is the model's width, $d_q$ and $d_{kv}$ those of the queries and of the keys and values. The paper gives half a
# per cent of the model, $\rho = 0.005$.

# %% [markdown]
# ## The picture: the plan on a model of twelve layers
#
# The shape of GPT-2 small, built without memory, since a plan needs shapes alone. Each bar is a layer, and its parts
# are the methods in it.

# %%
KINDS = {"A": "adapter", "L": "LoRA", "P": "prefix", "B": "biases"}
LOOKS = {"A": {"color": "0.35"}, "L": {"color": "C3"}, "P": {"color": "0.75"}}
LOOKS["B"] = {"color": "white", "edgecolor": "0.4", "hatch": "////", "lw": 0.6}


def kind(name):
    """The letter of the method to which a trained tensor belongs."""
    if ".past." in name:
        return "P"
    if name.endswith((".branch.A", ".branch.B")):
        return "L"
    return "A" if ".branch." in name else "B"


def by_layer(model):
    """For each layer, how many numbers of each kind train."""
    layers = [defaultdict(int) for _ in model.trunk]
    for name, p in trainable(model).items():
        layers[int(name.split(".")[1])][kind(name)] += p.numel()
    return layers


with torch.device("meta"):
    small = GPT(Config("gpt2", vocab=50257, context=1024, layers=12, heads=12, width=768))
total = sum(p.numel() for p in small.parameters())
published = S4(share=0.005)
sizes = {}
for part in published.parts(small):
    letter = {"Adapters": "A", "LoRA": "L", "PrefixTuning": "P", "BitFit": "B"}[type(part).__name__]
    size = {"A": "m = {0.size}", "L": "r = {0.rank}", "P": "n = {0.length}", "B": ""}[letter].format(part)
    sizes |= {(layer, letter): size for layer in part.layers}
with torch.device("meta"):
    planned = by_layer(published.attach(small))

fig, ax = plt.subplots(figsize=(9, 4.6))
for i, layer in enumerate(planned):
    left = 0
    for letter in "ALPB":
        if n := layer.get(letter, 0):
            ax.barh(i, n, left=left, height=0.8, label=KINDS[letter] if i in (0, 8) else None, **LOOKS[letter])
            tone = "black" if letter in "PB" else "white"
            box = {"fc": "white", "ec": "none", "pad": 1} if letter == "B" else None
            text = ": ".join(filter(None, (letter, sizes[i, letter])))
            ax.text(left + n / 2, i, text, ha="center", va="center", size=8, color=tone, bbox=box)
            left += n
budget = 0.005 * total / 12
for g, run in enumerate(s4.spindle(12, 4)):
    ax.text(1.02 * budget, (run[0] + run[-1]) / 2, f"G{g + 1}: {len(run)} layers", va="center")
    if g:
        ax.axhline(run[0] - 0.5, color="black", lw=0.8, ls=":")
ax.set(xlabel="numbers that train", ylabel="layer, from the input (0) up", yticks=range(12), xlim=(0, 1.18 * budget))
handles, labels = ax.get_legend_handles_labels()
unique = dict(zip(labels, handles, strict=True))
ax.legend(unique.values(), unique, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.45, 1.0))
draw.show(
    fig,
    "Twelve bars of nearly equal length, one for each layer of GPT-2 small. Layers 0 and 1 have an adapter and LoRA; 2 to 5 an "
    "adapter and a prefix; 6 to 9 an adapter, a prefix and biases; 10 and 11 a prefix, biases and LoRA.",
)

# %%
# NBVAL_CHECK_OUTPUT
print(f"{total:,} numbers; 0.5 % of them: {0.005 * total:,.0f}; a layer's part: {budget:,.0f}")
print("trains in layers 0, 2, 6 and 10:", *(f"{sum(planned[i].values()):,}" for i in (0, 2, 6, 10)))
print("trains in all:", f"{sum(sum(layer.values()) for layer in planned):,}")

# %% [markdown]
# All bars end just below the same value, a layer's part of 51,850 numbers: that is "uniform over layers". The rounding
# down costs a little. Half a per cent of a model is not much, once it is divided: a rank of 8, a bottleneck of 13 to
# 16, a prefix of 7 to 16.
#
# ## What to mind in the survey's section
#
# The survey gives no listing here, only the plan. Five things to know when you read it:
#
# - **It tells the groups as if they were given.** They are the outcome of the search, like everything else in the plan.
#   Equal, growing and shrinking groups were tried as well (so it is usually described; not checked against the paper).
# - **"Uniformly across the layers (not groups)"** is right, and easy to misread. The cell below shows the difference.
# - **The plan is one for T5-base.** The authors' search on T5-3B is said to have given another one: P L, A L, P B L, A
#   P B (not checked either).
# - **"Automated search"** is a greedy choice in four stages, from random samples, guided by people: the groups first,
#   then how much each layer gets, then which groups train, and the methods last.
# - It says neither how long the groups are, nor how a layer's part is divided among its methods, nor which end G1 is.
#   The authors' published code does not hold the grouping either. The weights 1, 2, 2, 1 and the equal parts are a
#   choice of this library.

# %%
# NBVAL_CHECK_OUTPUT
lengths = [len(run) for run in s4.spindle(12, 4)]
draw.table(
    [
        {
            "": f"a layer of G{g + 1}, {n} layers",
            "uniform over layers": f"{0.005 * total / 12:,.0f}",
            "uniform over groups": f"{0.005 * total / 4 / n:,.0f}",
        }
        for g, n in enumerate(lengths)
    ]
)

# %% [markdown]
# Shared out by groups, a layer in the middle would train half as much as one at an end.
#
# ## The implementation
#
# All of it but a check of its settings. `parts` is the arithmetic from above; each part is a method of an earlier
# lesson that is told its layers.

# %%
print(inspect.getsource(s4.spindle))
print(inspect.getsource(s4.S4.parts))
print(inspect.getsource(s4.S4.insert))

# %% [markdown]
# ## Does it start as the base?
#
# **Predict first.** Each of the four methods alone, in all layers. Which of them leave the first logits exactly as they
# were, which nearly, and which not at all?

# %%
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
starts = {"A alone": ("A",), "L alone": ("L",), "P alone": ("P",), "B alone": ("B",), "the plan": S4().plan}
with torch.no_grad():
    for name, plan in starts.items():
        torch.manual_seed(0)
        model = S4(plan=plan).attach(copy.deepcopy(base))
        print(f"{name:8} largest change of a logit: {(model(ids) - base(ids)).abs().max():.1e}")

# %% [markdown]
# L and B start exactly as the base, A nearly. A prefix has no such start: new keys take attention away from the tokens,
# whatever their values are ([lesson 06](06_prefix_tuning.ipynb)). So S4 begins with a model that is somewhat damaged, and training repairs it
# first.
#
# ## A share that is too small
#
# Half a per cent of our mini GPT is less than you might think.

# %%
try:
    S4(share=0.005).attach(copy.deepcopy(base))
except ValueError as error:
    print(error)

# %% [markdown]
# A layer's part is then too small for a bottleneck and a rank of one each. And the biases of one block, which the
# groups G3 and G4 train, are more than the whole part: the smaller a model, the larger the share of its biases. So in
# this lesson $\rho$ is 0.02, the library's default. Even so, the sizes are very small:

# %%
for part in S4().parts(base):
    print(part)

# %% [markdown]
# ## It learns
#
# The task: which of four words is of another kind? It is one of the two on which these methods differ most ([the
# comparison](../docs/comparison/README.md)). The learning rate is the one that the comparison's search chose here.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
tuned = copy.deepcopy(base)
before = evaluate(base, task)
history = fit(tuned, S4(), task, steps=200, lr=0.01, seed=0)
print("before:", before)
print("after: ", evaluate(tuned, task))

# %% [markdown]
# ## Who does the work?
#
# After training we can take one part out again: put zeros where the adapter or LoRA writes, give the biases back their
# old values, or remove the prefix. The higher the loss is then, the more this part has done.
#
# **Predict first.** All parts train about equally many numbers. Will they do about equally much?


# %%
def without(model, layer, letter):
    """A copy of the model that lacks one method in one layer."""
    model = copy.deepcopy(model)
    before = base_state(model)
    for name, p in trainable(model).items():
        if name.startswith(f"trunk.{layer}.") and kind(name) == letter:
            p.detach().copy_(before[name.replace(".base", "")] if letter == "B" else 0 * p)
    if letter == "P":
        (attn,) = find(model, "attn", [layer]).values()
        del attn.past[:]
    return model


whole = evaluate(tuned, task)
missing = {
    (layer, letter): evaluate(without(tuned, layer, letter), task)
    for layer, letters in enumerate(S4().plan)
    for letter in letters
}
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
ticks = [f"layer {layer}: {KINDS[letter]}" for layer, letter in missing]
for i, ((_, letter), score) in enumerate(missing.items()):
    left.barh(i, score.loss, height=0.7, **LOOKS[letter])
    right.barh(i, 100 * score.accuracy, height=0.7, **LOOKS[letter])
left.axvline(whole.loss, color="black", lw=1, ls=":")
right.axvline(100 * whole.accuracy, color="black", lw=1, ls=":")
left.set(xlabel="test loss without it (nats per token)", yticks=range(len(ticks)), yticklabels=ticks)
right.set(xlabel="test accuracy without it (%)")
left.invert_yaxis()
draw.show(
    fig,
    "Test loss and accuracy when one part is taken out, for the ten parts of the plan; dotted lines: with all parts. "
    + ", ".join(f"without layer {i}'s {KINDS[x]} {100 * s.accuracy:.0f} %" for (i, x), s in missing.items())
    + ".",
)

# %% [markdown]
# Not at all. Without LoRA in layer 0 the model answers nothing right. Without any other part it loses a dozen points at
# most, and without the prefix of layer 1 it loses nothing. Equal shares are not equal work.
#
# Read it with care, though. The picture says on which part the others *rely* after this training. It doesn't say that
# the task could not be learned without that part: further below you will see plans that have no LoRA at all.
#
# ## What it costs, on the survey's axes
#
# **Predict first.** Of all ten parts, which change numbers of the base itself, once merged? What is the largest rank of
# a weight's change?

# %%
# NBVAL_CHECK_OUTPUT
print(counts(tuned))
sizes = {"A": lambda m: 2 * 96 * m + m + 96, "L": lambda r: r * 4 * 96, "P": lambda n: 2 * n * 96}
by_hand = [sizes["A"](5) + sizes["L"](3), sizes["A"](5) + sizes["P"](6)]
by_hand += [sizes["A"](3) + sizes["P"](3) + 11 * 96, sizes["P"](3) + 11 * 96 + sizes["L"](1)]
print("trains, layer by layer:", by_hand, "=", sum(by_hand), f"of {0.02 * 497088:.0f} allowed")
weights, added = 2 * 2 * 96 * 96, sum(by_hand) - sizes["L"](3) - sizes["L"](1)
print("changes:", weights, "in the weights of queries and values,", added, "beside them or in biases")

# %% [markdown]
# As predicted. Of the base's matrices only the queries' and values' in layers 0 and 3 change, and the largest rank is
# that of LoRA in layer 0.

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {"full fine-tuning": FullFineTuning(), "S4": S4(), "LoRA, rank 6": LoRA(rank=6)}
draw.table(costs(base, candidates))

# %% [markdown]
# The rows of S4 and of LoRA train about as many numbers. S4 costs a little more to run: it keeps some more for the
# backward pass, and what stays beside the base has to be computed at inference too. The comparison of all methods says
# the same: a step of S4 takes 0.89 of full fine-tuning's, and a forward pass 1.12 of the base's
# ([docs/comparison](../docs/comparison/comparison.md), this model).
#
# ## Merging, as far as it goes

# %%
logits = tuned(ids)
merged = merge(copy.deepcopy(tuned))
print(merged.trunk[0])
print(f"largest difference of a logit after merging: {(merged(ids) - logits).abs().max():.1e}")

# %% [markdown]
# LoRA has gone into the queries' and values' weights, and the biases have stood in their place all along. Adapters and
# prefixes stay: `merge` folds what can be folded.
#
# ## Is the plan any good here?
#
# Now be the search. `S4(plan=...)` takes any plan, so we can do what the authors did, in small: draw plans at random,
# train each for a short while, and look. All get the same share of the numbers, the same 200 steps and the same
# learning rate.
#
# **Predict first.** 64 random plans, the published plan, and the published plan upside down. Where among the 64 will
# the published one be? And which of the four methods, alone in all layers, comes out best?
#
# The runs are read from a file, which `python benchmarks/s4_plans.py` made.

# %%
runs = defaultdict(list)
with open("data/s4_plans.csv", newline="") as file:
    for row in csv.DictReader(file):
        runs[row["plan"]].append(100 * float(row["accuracy"]))
NAMED = {
    "AL-AP-APB-PBL": "the published plan",
    "PBL-APB-AP-AL": "the same, upside down",
    "A-A-A-A": "A everywhere",
    "L-L-L-L": "L everywhere",
    "P-P-P-P": "P everywhere",
    "B-B-B-B": "B everywhere",
    "APBL-APBL-APBL-APBL": "all four everywhere",
}
drawn = {plan: found[0] for plan, found in runs.items() if plan not in NAMED}
effect = torch.zeros(4, 4)
for i in range(4):
    for j, letter in enumerate("ALPB"):
        inside = [a for plan, a in drawn.items() if letter in plan.split("-")[i]]
        outside = [a for plan, a in drawn.items() if letter not in plan.split("-")[i]]
        effect[i, j] = sum(inside) / len(inside) - sum(outside) / len(outside)
effect = effect.round() + 0.0  # no -0

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(2.2, 1), layout="constrained")
spread = torch.rand(len(drawn), generator=torch.Generator().manual_seed(0)) - 0.5
left.plot(list(drawn.values()), 0.5 * spread, "o", color="0.6", ms=4, mew=0)
for row, plan in enumerate(NAMED, 1):
    colour = "C3" if row == 1 else "black"
    left.plot(runs[plan], [row] * len(runs[plan]), "o", color=colour, ms=5)
left.set(yticks=range(len(NAMED) + 1), yticklabels=[f"{len(drawn)} random plans", *NAMED.values()])
left.set(xlabel="test accuracy (%)", xlim=(0, 100))
left.invert_yaxis()
bound = effect.abs().max()
right.imshow(effect, cmap="gray", vmin=-1.6 * bound, vmax=1.6 * bound)
for i in range(4):
    for j in range(4):
        right.text(j, i, f"{effect[i, j]:+.0f}", ha="center", va="center")
right.set(xticks=range(4), xticklabels="ALPB", yticks=range(4), yticklabels=["G1", "G2", "G3", "G4"])
right.set(title="accuracy with it, less\naccuracy without it", xlabel="method", ylabel="group")
draw.show(
    fig,
    "Left: test accuracy of random plans, spread from below 20 to 90 %, and of plans on purpose, three runs each: "
    + ", ".join(f"{name} {sum(runs[plan]) / len(runs[plan]):.0f} %" for plan, name in NAMED.items())
    + ". Right: what each method is worth in each group: "
    + "; ".join(f"G{i + 1} " + ", ".join(f"{x} {effect[i, j]:+.0f}" for j, x in enumerate("ALPB")) for i in range(4)),
)


# %%
means = {name: sum(runs[plan]) / len(runs[plan]) for plan, name in NAMED.items()}
better = sum(accuracy > means["the published plan"] for accuracy in drawn.values())
print(
    f"{better} of {len(drawn)} random plans are better than the published plan's mean, {means['the published plan']:.0f} %"
)
print(f"upside down {means['the same, upside down']:.0f} %, L everywhere {means['L everywhere']:.0f} %")
noise = torch.tensor(list(drawn.values())).std() * (2 / (len(drawn) / 2)) ** 0.5
print(f"a difference of two halves of {len(drawn)} plans is uncertain by about {noise:.0f} points")
print("the best three: ", *sorted(drawn, key=drawn.get)[-3:])
print("the worst three:", *sorted(drawn, key=drawn.get)[:3])

# %% [markdown]
# Look at the left picture first. The published plan is a good one here, better than most that chance would have given
# us, and turned upside down it loses about ten points on average: *where* a method stands seems to matter. But the best
# row is the simplest. LoRA in every layer, at about the same price, is ahead of the published plan by more than the
# spread of the runs, and no random plan reaches its mean.
#
# The right picture is what a search would see. LoRA in the two lower groups is worth some fifteen points, adapters help
# in every group, and prefixes in none. A greedy search on this model would have come to another plan.
#
# Be fair to S4, though:
#
# - There is one learning rate for all plans. Prefixes and biases like larger ones: with rates of their own, but more or
#   fewer numbers, BitFit reaches 44 ± 3 on this task, prefix-tuning 18 ± 10, LoRA 80 ± 9, S4 73 ± 5
#   ([docs/comparison](../docs/comparison/comparison.md)).
# - It is one task and one small model, in which every group is a single layer.
# - The random plans were trained once each. Single points are rough; the last lines above say how rough the averages
#   are.
#
# A plan is an answer to the question that was searched: a model, some tasks, a budget. It is not a law about layers.
# Before you carry a plan to another model, try it against the same method everywhere.
#
# ## Its nearest relatives
#
# | | MAM | UniPELT | S4 |
# |---|---|---|---|
# | lesson | 19 | 20 | 22 |
# | made of | prefix, parallel adapter | prefix, LoRA, adapter | adapter, LoRA, prefix, biases |
# | in which layers | the same in all | the same in all | by groups |
# | who decides what matters | the authors, by comparing forms | a gate, for every text anew | a search, once, for all tasks |
# | how much each part gets | chosen by hand | the parts' own defaults | an equal part of each layer's budget |
# | folds into the base | no | no | LoRA and biases do |
#
# UniPELT and S4 answer the same question, *which method where*, at different times: UniPELT while it reads a text, S4
# before it is trained at all.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/s4.py`](../exercises/s4.py) beside this notebook. Each function has its equation, its shapes and its
# points in the docstring. Save the file, then run the check. Stuck? `hint("22.1")`.

# %%
ask("22.1")

# %%
check("22.1")

# %%
check("22.2")

# %% [markdown]
# 22.3 is the last block of the drawing above, from the inside: three methods in one attention.

# %%
check("22.3")

# %%
check("22.4")

# %% [markdown]
# 22.5 is a mistake to find in given code.

# %%
check("22.5")

# %% [markdown]
# ### Your plan in the mini GPT
#
# As soon as `check("22.2")` passes, the cell below asks *your* `s4_sizes` how large each part may be. Until then it
# uses the library's, and says so. Change `plan` and run it again: can you find a better one?

# %%
from minipeft import Adapters, BitFit, PrefixTuning
from minipeft.method import Method

yours = learner("22.2")
plan = ["AL", "AP", "APB", "PBL"]


class YourS4(Method):
    why_not_merge = S4.why_not_merge

    def insert(self, model):
        total = sum(p.numel() for p in base.parameters())
        for layer, letters in enumerate(plan):
            budget, biases = int(0.02 * total / c.layers), s4.biases(base)
            sizes = yours(letters, budget, c.width, c.heads * c.head_width, c.kv_heads * c.head_width, biases)
            for letter, size in zip(letters, sizes, strict=True):
                if letter == "A":
                    Adapters(size, "pfeiffer", layers=[layer]).insert(model)
                if letter == "L":
                    LoRA(size, layers=[layer]).insert(model)
                if letter == "P":
                    PrefixTuning(size, hidden=None, layers=[layer]).put(model)
                if letter == "B":
                    BitFit(layers=[layer]).insert(model)


model = copy.deepcopy(base)
fit(model, YourS4(), task, steps=200, lr=0.01, seed=0)
print("before:", before)
print("after: ", evaluate(model, task))
print(counts(model))

# %% [markdown]
# ## What to remember
#
# 1. S4 is a plan, not a module: adapters, LoRA, prefixes and biases, each in its layers, without gates.
# 2. The groups are a spindle; every *layer* gets the same budget, so a longer group gets more.
# 3. Biases take a fixed number. The others divide what is left, and each solves its count for its size.
# 4. It does not start as the base, because of the prefixes, and it folds in part.
# 5. A plan that was found by a search belongs to the model, the tasks and the budget of that search.
#
# **The paper's headline**, as it is usually quoted (not checked against the paper's tables): on GLUE with T5-base and
# half a per cent of the numbers, S4 is about 2.4 points above the best single method, and 1.2 above full fine-tuning.
# The toy does not agree. Over the five tasks of [the comparison](../docs/comparison/comparison.md) S4 reaches 76 % on
# mini-gpt2, LoRA 77 %, full fine-tuning 94 %; and on the task of this lesson LoRA in every layer is better at the same
# price.
#
# **Further reading.** The paper's section 4 is the search. Zhou et al., 2023, *AutoPEFT* ([arXiv
# 2301.12132](https://arxiv.org/abs/2301.12132)), lets Bayesian optimisation choose the layers and the sizes. The
# library's is `minipeft/hybrid/s4.py`, and `S4(plan=...)` takes any plan.
#
# **Next:** [lesson 23, all twenty compared](23_comparing.ipynb). Or go back to [the start](00_start_here.ipynb).
