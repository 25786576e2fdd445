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
# # 08 · Ladder-Side Tuning: learn beside the model, not through it
#
# **The question.** Lesson 02 ended with a disappointment. LoRA and adapters do away with nearly all gradients and
# optimizer states, but most of the *activations* stay: the gradient has to travel down to the lowest part that trains,
# through everything that is frozen. Could we put all that trains where no gradient has to pass through the model at
# all?
#
# | | |
# |---|---|
# | paper | Sung, Cho and Bansal, 2022, *LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning*, [arXiv 2206.06522](https://arxiv.org/abs/2206.06522) |
# | survey | section 8.1 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), additive methods |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02, where memory goes](02_where_memory_goes.ipynb), [lesson 03, adapters](03_adapters.ipynb) |
# | you need | what autograd keeps for the backward pass ([lesson 02](02_where_memory_goes.ipynb)) |
# | time | 30 minutes to read and run, 45 for the exercises |
#
# At the end you will have written a rung of the ladder, and you will be able to say exactly which tensors of a frozen model
# a training step has to keep, and why. You will also see what the saving is paid with.

# %%
import copy
import inspect
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from torch import nn

from minipeft import GPT, Adapters, FullFineTuning, LoRA, counts, detach, evaluate, fit, merge, tasks
from minipeft.additive import ladder_side
from minipeft.additive.ladder_side import LadderSide
from minipeft.course import ask, check, draw, learner
from minipeft.measure import kept_bytes

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("opposite")
base_name = "mini-gpt2"
base = GPT.from_pretrained(base_name).eval()
c = base.c

# %% [markdown]
# ## Where it acts
#
# Nowhere in the model. Beside it stands a second, thin network, the ladder's *side*. It has a **rung** for each block of the
# model; the rung reads what comes out of the block. At the end the side hands its result to the model's own head. The
# model's last norm has nothing to do any more. (The number on the ladder's foot counts all that trains.)

# %%
model = copy.deepcopy(base)
LadderSide().attach(model)
draw.block(model)

# %% [markdown]
# ## The equation
#
# Let $h_0$ be the embedding of a token and $h_i \in \mathbb{R}^{d}$ the residual stream after block $i$, all frozen. The side
# has a state $s_i$ of width $d / r$, with $r = 8$ in the paper and 4 here:
#
# $$ s_0 = D_0 h_0 + d_0 \qquad\qquad s_i = \mathrm{block}_i\big(\,g_i\, s_{i-1} + (1 - g_i)\,(D_i h_i + d_i)\,\big),
# \qquad g_i = \mathrm{sigmoid}(\alpha_i / T) $$
#
# $$ \text{logits} = \mathrm{head}\big(U\,\mathrm{norm}(s_L) + u\big) $$
#
# - $\mathrm{block}_i$ is a Transformer block like those of the model, with everything $r$ times thinner: width, hidden width,
#   width of a head. It trains.
# - $D_i \in \mathbb{R}^{d/r \times d}$ makes the model's state as thin as the side. Each rung has its own.
# - $g_i$ is one number for each rung, the **gate**. At $\alpha_i = 0$ it is a half. $T = 0.1$ is fixed.
# - The head is the model's own and stays frozen.
#
# Now look at the arrows backwards. The loss reaches the head, $U$, the side blocks, the gates, the $D_i$. And there it stops:
# $h_i$ came from a frozen model out of frozen parts, and nothing below it wants a gradient. The model is *read*, and never
# passed through.
#
# ## The survey's listing, and what to mind in it
#
# In PyTorch, as the survey's pseudocode says it, and then as the paper means it. `blocks` are the side's blocks, `h` the
# model's states, from the embedding to the last block.


# %%
def survey_listing(x, h, blocks, W_down, alpha):
    for i, block in enumerate(blocks):
        g = torch.sigmoid(alpha[i])
        x = block(g * x + (1 - g) * (h[i + 1] @ W_down.T))
    return x


def paper(h, blocks, D, alpha, norm, U, head, temperature=0.1):
    s = D[0](h[0])
    for i, block in enumerate(blocks):
        g = torch.sigmoid(alpha[i] / temperature)
        s = block(g * s + (1 - g) * D[i + 1](h[i + 1]))
    return head(U(norm(s)))


ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(task.test[0].prompt)])
with torch.no_grad():
    h = [base.embed(ids)]
    h += list(base.trunk.states(h[0]))
ladder = model.trunk
rungs = list(ladder.rungs.values())
blocks = [rung.block for rung in rungs]
alpha = [rung.alpha for rung in rungs]
try:
    survey_listing(h[0], h, blocks, rungs[0].down.weight, alpha)
except RuntimeError as error:
    print("the listing, from the embedding:", error)
thin = survey_listing(ladder.down(h[0]), h, blocks, rungs[0].down.weight, alpha)
print("the listing, from D_0 h_0:", tuple(thin.shape))
D = [ladder.down, *(rung.down for rung in rungs)]
logits = paper(h, blocks, D, alpha, ladder.norm, ladder.up, base.logits)
print("the paper:", tuple(logits.shape), "· the same as the library's:", torch.allclose(logits, model(ids), atol=1e-5))

# %% [markdown]
# - **The beginning is missing.** The listing starts from the input itself, which is $d$ wide; the side's blocks are not.
# - **The end is missing**: norm, $U$, and the model's head. What the listing returns is as thin as the side.
# - **$W_\text{down}$ looks like one matrix** for all rungs. Each has its own.
# - **The temperature is missing.** We come back to it: it decides whether the gates move at all.
# - In prose, the survey says that the side has two or four times fewer *layers*. The authors' code keeps 9 of 12, 12 of 24,
#   and for the largest model 1 of 24. If you leave out rungs, take care that rung and state still belong together.
#
# Two traps that no listing shows, if you build it with `transformers`: its `hidden_states` has one entry more than there are
# blocks (the first is the embedding), and the last entry has gone through the final norm already.
#
# ## The implementation
#
# A rung and the ladder, read from the library. (What is left out here fills in the first values of the side's blocks.)

# %%
print(inspect.getsource(ladder_side.Rung))
print(inspect.getsource(ladder_side.Ladder))

# %% [markdown]
# ## How it starts
#
# The side's blocks start as the model's own blocks, cut down: of each matrix the rows are kept that matter most, by their
# Fisher information on the task's data ([lesson 13](13_fishmask.ipynb)), and of the next matrix the columns that go with them. But a quarter of
# a model is not the model.
#
# **Predict first.** All methods so far started at the base, or as near as you could wish. What is the loss of this one before
# training, compared with the base's?


# %%
def loss(model):
    return f"{evaluate(model, task, 'valid').loss:.2f} nats per token"


torch.manual_seed(0)
print("the base:                   ", loss(base))
print("LST, attached:              ", loss(LadderSide().attach(copy.deepcopy(base))))
print("LST with the base's last h: ", loss(LadderSide(identity=True).attach(copy.deepcopy(base))))
print("a guess, all tokens alike:  ", f"{torch.tensor(c.vocab).log():.2f} nats per token")

# %% [markdown]
# It starts as a guess. The model that has read thousands of stories is still there, and the side can read it, but at the
# start it says nothing of what it reads. (The base's own loss is even higher than a guess: it doesn't know this form of
# question, and is sure of something else.) With LoRA and adapters, training began at the base and went on from there; here
# all that the base can say has to be said anew by the side.
#
# The third line is a later idea (QST, Zhang et al., 2024, [arXiv 2401.07159](https://arxiv.org/abs/2401.07159)): add the
# model's last state to the side's result, and let $U$ start at zero. Then the start is the base, exactly. In the library it
# is `identity=True`.
#
# ## It learns
#
# The task: name the opposite of a word. The ladder's first values are found on 128 of the examples; the paper takes 1,024.

# %%
prompt, answer = task.test[0]
print(prompt, "→", answer)
model = copy.deepcopy(base)
before = evaluate(model, task)
history = fit(model, LadderSide(examples=128), task, steps=200, seed=0)
after = evaluate(model, task)
print("before:", before)
print("after: ", after)

# %%
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(history.losses, color="0.6", lw=1, label="training, each step")
ax.plot(*zip(*history.validations, strict=True), "ko-", ms=4, label="validation")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend(frameon=False)
draw.show(fig, "The training loss and the validation loss fall within 200 steps from six nats to a hundredth.")

# %%
# NBVAL_CHECK_OUTPUT
backbone = model.trunk.base
print("a parameter of the backbone wants a gradient:", any(p.requires_grad for p in backbone.parameters()))
print("a state of it does:", any(state.requires_grad for state in backbone.states(model.embed(ids))))
same = all(torch.equal(p, q) for p, q in zip(backbone.parameters(), base.trunk.parameters(), strict=True))
print("it is what it was before training:", same)

# %% [markdown]
# ## The picture: memory against depth
#
# What a step keeps for the backward pass, for models of the same width with 1 to 16 blocks. (Random weights do: memory
# does not look at values.) The batch is 16 texts of 24 tokens.
#
# **Predict first.** With full fine-tuning it is a straight line that rises with every block. And for LoRA? For LST?

# %%
x = torch.randint(c.vocab, (16, 24), generator=torch.Generator().manual_seed(0))
depths = [1, 2, 4, 8, 12, 16]
methods = {
    "full fine-tuning": FullFineTuning(),
    "adapters": Adapters(),
    "LoRA": LoRA(),
    "LST, a rung for each block": LadderSide(),
    "LST, a rung for every fourth": None,
}


def kept(depth, method):
    """MB that a step keeps in a model of this depth."""
    deep = GPT(replace(c, layers=depth))
    if method is None:
        method = LadderSide(layers=sorted({*range(3, depth, 4), depth - 1}))
    method.attach(deep)
    return kept_bytes(lambda: method.loss(deep, x, x), deep) / 1e6


torch.manual_seed(0)
memory = {name: [kept(depth, method) for depth in depths] for name, method in methods.items()}

# %%
styles = [
    {"color": "black", "marker": "s"},
    {"color": "0.35", "marker": "^", "ls": "--"},
    {"color": "0.6", "marker": "D", "ls": "--"},
    {"color": "C3", "marker": "o"},
    {"color": "C3", "marker": "o", "mfc": "white", "ls": ":"},
]
fig, ax = plt.subplots(figsize=(6.8, 3.6))
for (name, values), style in zip(memory.items(), styles, strict=True):
    ax.plot(depths, values, ms=4, lw=1.3, label=name, **style)
ax.set(xlabel="blocks of the model", ylabel="kept for the backward pass (MB)", xticks=depths, ylim=(0, None))
ax.legend(frameon=False)
draw.show(
    fig,
    "Memory kept against the number of blocks: straight lines. Full fine-tuning is the steepest, adapters and LoRA are not far "
    "below it, LST has about a third of its slope, and LST with a rung for every fourth block rises hardly at all.",
)
per_block = {name: (values[-1] - values[2]) / (depths[-1] - depths[2]) for name, values in memory.items()}
for name, slope in per_block.items():
    print(f"{name:28} {slope:.2f} MB for each further block")
stream = x.numel() * c.width * 4 / 1e6
print(f"the stream of this batch, b t d numbers: {stream:.2f} MB")

# %% [markdown]
# All lines are straight: that is [lesson 02](02_where_memory_goes.ipynb). But look at the slopes. Adapters and LoRA save about a fifth and a third of
# what full fine-tuning keeps for each block, and a smaller rank would not help much: they keep what the frozen model's
# attention and gelu need for their backward pass, because the gradient has to come through. LST's slope is about a
# third of full fine-tuning's. And of that, the frozen model has only the stream, 0.15 MB for each rung: a rung has a
# $D_i$ that trains, and a Linear that trains keeps what it has read. All the rest belongs to the side, and it shrinks
# with $r$.
#
# With a rung at every fourth block, nothing at all is kept of the other three. They are computed and forgotten.
#
# ## The gates
#
# Each rung decides with one number how much of the model's state it takes in. $g = 1$: it reads only what the side has
# below it. $g = 0$: it reads only the model.
#
# **Predict first.** $\alpha$ starts at 0, and Adam moves any number by about the learning rate in each step, however large
# its gradient is. The learning rate is 0.003 at its highest, and there are 200 steps. How far can a gate get from a half, if
# $T$ is 0.1? And if there is no temperature, as in the survey's listing?

# %%
listing = copy.deepcopy(base)
fit(listing, LadderSide(examples=128, temperature=1.0), task, steps=200, seed=0)


def gates(model):
    return [torch.sigmoid(rung.alpha / rung.temperature).item() for rung in model.trunk.rungs.values()]


def forced(i, alpha):
    """The trained model with the gate of rung i shut to one side: its accuracy in per cent."""
    other = copy.deepcopy(model)
    other.trunk.rungs[str(i)].alpha.data.fill_(alpha)
    return 100 * evaluate(other, task).accuracy


fig, (ax, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for shift, tuned, label, colour in (
    (-0.2, model, "T = 0.1, the paper's", "C3"),
    (0.2, listing, "T = 1, the listing's", "0.6"),
):
    ax.bar([i + shift for i in range(c.layers)], gates(tuned), width=0.38, color=colour, label=label)
ax.axhline(0.5, color="black", lw=0.8, ls=":")
ax.set(
    xticks=range(c.layers), xlabel="rung", ylabel="g (0: model, 1: side)", ylim=(0, 1), title="the gates after training"
)
ax.legend(frameon=False, loc="upper left")
for shift, alpha, label, colour in (
    (-0.2, 100.0, "g = 1: deaf to the model", "0.35"),
    (0.2, -100.0, "g = 0: deaf to the side", "0.7"),
):
    right.bar(
        [i + shift for i in range(c.layers)],
        [forced(i, alpha) for i in range(c.layers)],
        width=0.38,
        color=colour,
        label=label,
    )
right.set(
    xticks=range(c.layers), xlabel="rung that is forced", ylabel="accuracy, %", ylim=(0, 135), yticks=range(0, 101, 25)
)
right.set_title("one gate forced, nothing trained")
right.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)
draw.show(
    fig,
    "Left: the gates of the four rungs after training. With T = 0.1 they lie between 0.4 and 0.6, with T = 1 all at a half. Right: "
    "the accuracy with one gate forced to either side. At rungs 0 and 1 nothing is lost, at rung 2 a little, at rung 3 a "
    "fifth without the model and more than a half without the side.",
)
reach = 0.003 * 200 / 2  # the learning rate rises and falls: about half of it on average
for T in (0.1, 1.0):
    farthest = torch.sigmoid(torch.tensor(reach / T)).item()
    print(f"T = {T}: alpha can come to about {reach:.1f}, so a gate to {farthest:.2f} at the most")
print("T = 0.1:", [round(g, 2) for g in gates(model)], evaluate(model, task))
print("T = 1:  ", [round(g, 2) for g in gates(listing)], evaluate(listing, task))

# %% [markdown]
# With the temperature a gate *could* open nearly all the way; without it, it could not, whatever the data say. But here the
# gates hardly use that freedom. All stay near a half, and the listing's ladder is as good as the paper's. So the missing
# temperature is a mistake in the listing, and on this task it does no harm.
#
# The right picture tells more than the gates do. The three lower rungs can be made deaf to the model, one by one, after
# training, and next to nothing is lost; the last one can't. **What the side needs from the model, it gets at the top.**
# A gate of a half does not mean that what comes through it is needed.
#
# ## What does the ladder bring?
#
# The side is a small language model of its own, made out of the large one. Would it learn the task without the ladder? We
# shut all gates to the model ($g = 1$) and train again, everything else alike.


# %%
class SideAlone(LadderSide):
    def insert(self, model, worth=None):
        super().insert(model, worth)
        for rung in model.trunk.rungs.values():
            rung.alpha.requires_grad_(False).fill_(100.0)


def row(name, model, trains=None):
    score, away = evaluate(model, task), evaluate(model, task, "ood")
    return {
        "": name,
        "trains": counts(model).trainable,
        "accuracy": f"{score.accuracy:.1%}",
        "on other words": f"{away.accuracy:.1%}",
        "test loss": f"{score.loss:.3f}",
    }


rows = [row("LST", model)]
for name, method in {
    "the side alone": SideAlone(examples=128),
    "LST, the last rung alone": LadderSide(examples=128, layers=[c.layers - 1]),
    "LST with the base's last h": LadderSide(examples=128, identity=True),
    "LoRA": LoRA(),
}.items():
    other = copy.deepcopy(base)
    fit(other, method, task, steps=200, seed=0)
    rows.append(row(name, other))
draw.table(rows)

# %% [markdown]
# Four things to read in this table.
#
# - **The side alone fails.** A quarter of a model, cut out of it, doesn't know its words any more. What LST does, it does
#   with what it reads.
# - **One rung does as well as four** on this task, as the picture suggested, with a third of the numbers. (The largest
#   model in the paper, T5-3B, has one rung for its 24 blocks.)
# - **LST has learnt the training words by heart.** Of words that the training data don't hold it names no opposite at
#   all, where LoRA names nearly all. We think: the base knows these words, in its own directions; the side has learnt a
#   map from states to answers, for the words it was shown. And the side can't ask: the frozen model does not know the
#   form of the question, and nothing that trains can tell it what to look for.
# - **Starting at the base brings most of that back.** One more path, from the model's last state to the head, and three
#   quarters of the unseen words are right. So a good part of what was lost was lost at the start.
#
# ## What it costs, on the survey's axes
#
# First the count. A side block of width $e = d / r$ and hidden width $f / r$ is a block of GPT-2; each rung has $D_i$,
# $d_i$ and $\alpha_i$ besides; then there are $D_0$, the last norm and $U$.

# %%
# NBVAL_CHECK_OUTPUT
print(counts(model))
d, e, f = c.width, c.width // 4, c.hidden // 4
block = 4 * (e * e + e) + (f * e + f) + (e * f + e) + 4 * e
print("predicted: trains", c.layers * (block + d * e + e + 1) + (d * e + e) + 2 * e + (e * d + d))

# %% [markdown]
# No number of the base changes, so there is no rank. But it is no small count: three and a half times that of the LoRA above.
# LST is efficient in memory, not in parameters.

# %%
from minipeft.course.costs import costs

candidates = {
    "full fine-tuning": FullFineTuning(),
    "LoRA": LoRA(),
    "adapters": Adapters(),
    "LST": LadderSide(),
    "LST, rungs 1 and 3": LadderSide(layers=[1, 3]),
}
table = costs(base, candidates)
draw.table(table)

# %%
weights = sum(p.numel() for p in base.parameters()) * 4 / 1e6


def piles(line, full=False):
    """MB of activations, and of all four piles of lesson 02."""
    kept, moments = (float(line[key].split()[0]) for key in ("activations kept", "gradients and Adam"))
    added = 0 if full else 4 * int(line["trains"].replace(",", "")) / 1e6
    return kept, weights + added + moments + kept


whole = piles(table[0], full=True)
for line in table[1:4]:
    saved = [1 - part / all_ for part, all_ in zip(piles(line), whole, strict=True)]
    print(f"{line['']:9} saves {saved[0]:.0%} of the activations, {saved[1]:.0%} of all memory of a step")

# %% [markdown]
# Of the activations LST saves twice as much as LoRA. (In the other two piles, gradients and optimizer, LoRA saves
# nearly everything already.) A step is quicker too, since there is no backward pass through the model: about three
# quarters of full fine-tuning's time. It is not less than that, because the forward pass through the model stays.
#
# And then there is a lasting price: at inference both networks run. In [the comparison of all
# methods](../docs/comparison/comparison.md), measured on a quiet machine, a forward pass takes 1.44 times the base's.
# Merged LoRA takes none of that.
#
# ## It cannot be merged
#
# It is a second network. At inference both run, one after the other.

# %%
print("merge changes nothing:", torch.equal(merge(copy.deepcopy(model))(ids), model(ids)))
given_back = detach(copy.deepcopy(model))
same = all(torch.equal(p, q) for p, q in zip(given_back.parameters(), base.parameters(), strict=True))
print("detached, the base as it was:", same)

# %% [markdown]
# ## Its nearest relatives
#
# | | last layer alone | adapters | LoRA | LST |
# |---|---|---|---|---|
# | lesson | – | 03 | 15 | 08 |
# | what trains reads | the last state | a sub-layer's result | what a Linear reads | the states after all blocks |
# | it writes | the logits | into the stream | into a Linear's result | the logits |
# | can it change what the model computes? | no | yes | yes | no |
# | gradient passes through the frozen model | no | yes | yes | no |
# | starts at the base | – | nearly | yes | no |
# | folds into the base | – | no | yes | no |
#
# No gradient passes through the frozen model; the price is that LST cannot change what this model computes.
#
# ## Your turn
#
# Open [`exercises/ladder_side.py`](../exercises/ladder_side.py) beside this notebook. Each function has its equation, its
# shapes and its points in the docstring. Save the file, then run the check. Stuck? `hint("08.1")`.

# %%
ask("08.1")

# %%
check("08.1")

# %% [markdown]
# 08.2 is the survey's listing once more, with a mistake added that is easily made.

# %%
check("08.2")

# %%
check("08.3")

# %% [markdown]
# 08.4 is the idea of this lesson as a question.

# %%
check("08.4")

# %% [markdown]
# ### Your rung in the mini GPT
#
# As soon as `check("08.1")` passes, the cell below trains a ladder whose rungs are *yours*. Until then it uses the library's,
# and says so.

# %%
yours = learner("08.1")


class YourRung(nn.Module):
    """The library's parts of a rung, and the learner's function that fuses the two states."""

    def __init__(self, rung):
        super().__init__()
        self.down, self.alpha, self.block, self.temperature = rung.down, rung.alpha, rung.block, rung.temperature

    def forward(self, s, h, turn, mask):
        fused = yours(s, h, self.down.weight, self.down.bias, self.alpha, self.temperature)
        return self.block(fused, turn, mask)


class YourLadder(LadderSide):
    def insert(self, model, worth=None):
        super().insert(model, worth)
        for i, rung in model.trunk.rungs.items():
            model.trunk.rungs[i] = YourRung(rung)


model = copy.deepcopy(base)
fit(model, YourLadder(examples=128), task, steps=100, seed=0)
print("before:         ", before)
print("after 100 steps:", evaluate(model, task))

# %% [markdown]
# ## What to remember
#
# 1. A thin network beside the frozen one: each rung mixes its own state with the state after a block, and a gate of one
#    number says how much of which.
# 2. The model is read, never passed through: of each block that has a rung, one tensor is kept.
# 3. It saves activations, which LoRA and adapters hardly can. It doesn't save parameters, and nothing folds.
# 4. It does not start as the base, and it can't tell the model what to look for: it learns more by heart, and often needs
#    more steps.
# 5. A gate says how much is let through, not how much is needed.
#
# **The paper's headline**, quoted from its abstract: LST saves 69 % of the memory of full fine-tuning, where other
# methods save 26 %; that is 2.7 times as much. The toy agrees about the activations: compare the lines above. In a
# model as small as this, with so short texts, the optimizer's part is large, so LoRA saves more of the whole than in
# the paper.
#
# In accuracy the toy is harder on LST than the paper, which reports higher accuracy than adapters and LoRA where memory
# is scarce. In [docs/comparison](../docs/comparison/README.md), over three seeds with a search for the learning rate,
# 200 steps each, it gains on three of five tasks on mini-gpt2 and on two of five on mini-llama: 36 % and 30 % on
# average, where LoRA reaches 77 %. With five times the steps `reversing` goes from 14 % to 99.5 % on mini-gpt2 (one
# run), but on unseen words only from 0 to 2 %. We believe that two things differ. The paper's tasks ask for a label,
# which the states of T5 may nearly hold; ours ask for words, and the base doesn't know the form of the question. And
# the paper trains on GLUE for ten epochs, which is far more than 200 steps.
#
# **Further reading.** QST ([arXiv 2401.07159](https://arxiv.org/abs/2401.07159)) puts the side beside a quantised model and
# mends the start. In the library, `minipeft/additive/ladder_side.py` is the method; what was left out above, `prune`, cuts
# the side's first values out of the model. `tests/test_ladder_side.py` checks that nothing of the model is kept but the
# stream.
#
# **Next:** [lesson 09, (IA)³](09_ia3.ipynb), the smallest change of all: three vectors a block. Or go back to
# [the start](00_start_here.ipynb).
