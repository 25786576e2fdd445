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
# # 05 · Prompt tuning: words that are in no dictionary
#
# **The question.** A good prompt can make a frozen model do a new task. But finding one is guesswork: change a word, try
# again. To the model, a word is only a vector, one of a few hundred or some ten thousand points in a wide space. Why
# choose among these points? Could gradient descent find the vectors themselves?
#
# | | |
# |---|---|
# | paper | Lester et al., 2021, *The Power of Scale for Parameter-Efficient Prompt Tuning*, [arXiv 2104.08691](https://arxiv.org/abs/2104.08691) |
# | survey | section 7.1 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), soft prompts |
# | before this | [lesson 01](01_mini_gpt.ipynb) (the mini GPT), [lesson 02](02_where_memory_goes.ipynb) (where memory goes) |
# | you need | embeddings; the causal mask; cosine similarity |
# | time | 25 minutes to read and run, 30 for the exercises |
#
# At the end you will have put a prompt of your own into the mini GPT, and you will be able to say what a prompt is for
# the layers above it, what it costs, and whether its vectors can be read as words.

# %%
import copy
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import GPT, LoRA, PrefixTuning, PromptTuning, counts, detach, evaluate, fit, merge, tasks
from minipeft.course import ask, check, draw, learner
from minipeft.surgery import inner, make_room, trainable

torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")
base_name = "mini-llama"
base = GPT.from_pretrained(base_name).eval()
c, table = base.c, base.tokens.weight.detach()

# %% [markdown]
# ## Where it acts
#
# In one place of the whole model: between the embedding and the first block. The vectors go in at the bottom, run through
# all blocks beside the text, and are taken off at the top. In the blocks themselves nothing is new.

# %%
model = copy.deepcopy(base)
PromptTuning(length=20).attach(model)
draw.block(model)

# %% [markdown]
# ## The equation
#
# $$ \text{logits} \;=\; \text{head}\big(\text{blocks}([P; X])_{n:}\big) \qquad
# \underbrace{P \in \mathbb{R}^{n \times d}}_{\text{trains}}, \quad X \in \mathbb{R}^{t \times d} \text{ the embedded text} $$
#
# $[P; X]$ has $n + t$ rows, and so has what comes out of the blocks; the first $n$ belong to no token and are dropped. Four
# details carry it:
#
# - **The prompt stands in front.** In a causal model a token sees only what came before it.
# - **All else grows with it:** the mask by $n$ times True, and the positions. The prompt has the positions 0 to
#   $n - 1$, the text begins at $n$. (GPT-2 adds a learned vector for each position; a LLaMA rotates queries and keys.)
# - **There is one prompt for all texts.** Its gradient is the sum over the batch.
# - **The prompt changes on its way up.** In every block its rows have queries, keys, values and an MLP, as words have.
#
# **Predict first.** What if the prompt stands *behind* the text? What are the logits of the text then, and what is the
# gradient of the prompt?

# %%
prompt, answer = task.test[0]
ids = torch.tensor([base.tokenizer.start + base.tokenizer.encode(prompt)])
t = ids.shape[1]
x = base.embed(ids).detach()
for where in ("in front", "behind"):
    P = torch.randn(20, c.width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rows = [P[None], x] if where == "in front" else [x, P[None]]
    out = base.trunk(torch.cat(rows, 1))
    out = base.logits(base.norm(out[:, 20:] if where == "in front" else out[:, :t]))
    out.logsumexp(-1).sum().backward()
    change = (out - base(ids)).abs().max()
    print(f"{where:8}: the logits change by {change:.1e}, and the prompt's gradient is {P.grad.norm():.1e}")

# %% [markdown]
# Behind the text it does nothing, and learns nothing: a mistake that raises no error.

# %% [markdown]
# ## What it starts as: words
#
# No prompt starts as the base, since any vector in front is seen. But there is an exact identity: let $P$ be the embeddings
# of real words, and the model does what it does behind these words. So prompt tuning begins where prompt *writing* ends.
# Here the story goes into the prompt, and only the question is given as text.

# %%
story, question = prompt.rsplit(". ", 1)
story = "<|endoftext|>" + story + "."  # the token that every text begins with, written out
n = len(base.tokenizer.encode(story))
tail = ids[:, n:]
print(f"in the prompt: {story!r}, {n} tokens;  given as text: {question!r}, {tail.shape[1]} tokens")
told = copy.deepcopy(base)
PromptTuning(length=n, text=story).attach(told)
print(f"largest difference to the logits behind the text: {(told(tail) - base(ids)[:, n:]).abs().max():.1e}")

# %% [markdown]
# ## The survey's listing, and what to mind in it
#
# The survey's pseudocode puts the prompt in front of the embedded text and calls the model. In PyTorch:


# %%
def survey_listing(blocks, x, soft_prompt, mask):
    x = torch.cat([soft_prompt.expand(len(x), -1, -1), x], 1)
    return blocks(x, 0, mask)


with torch.no_grad():
    P = told.trunk.prompt.P
    print("rows out for", tail.shape[1], "tokens:", survey_listing(base.trunk, base.embed(tail), P, None).shape[1])
    mask = torch.ones(1, tail.shape[1], dtype=torch.bool)
    try:
        survey_listing(base.trunk, base.embed(tail), P, mask)
    except RuntimeError as error:
        print("with the mask of a padded batch:", error)

# %% [markdown]
# It stops at the concatenation. The mask has to grow too (here it stops the program; a mask that is filled up at the
# wrong end would not), and $n$ rows have to come off, or every label is compared with the output of another token.
# Exercises 05.1 and 05.3 are about that. Some numbers in that section are wrong as well. To check them, here is how
# many numbers a prompt has:

# %%
# NBVAL_CHECK_OUTPUT
widths = {"T5 Small": 512, "T5 Base": 768, "T5 Large": 1024, "T5 XL": 2048, "T5 XXL": 4096}
draw.table([{"": name, "5 vectors": 5 * d, "20 vectors": 20 * d, "100 vectors": 100 * d} for name, d in widths.items()])

# %% [markdown]
# - "T5-XL with 5 vectors, 20K parameters": 5 vectors are 10,240 numbers for XL; 20,480 is XXL with 5, or Large with 20.
# - The study of prompt lengths (1, 5, 20, 100, 150) and model sizes is in the paper itself, its figure 3. The survey
#   credits it to Su et al.
# - "10M to 11B": the smallest T5 has 77M.
# - "Only the largest models catch up with full fine-tuning": this holds for a T5 that was first trained further, as a
#   plain language model ("LM-adapted"). Without that, models of medium size can score 0.

# %% [markdown]
# ## The implementation
#
# A parameter, a wrapper around the blocks, and a start.

# %%
from minipeft.additive import prompt_tuning

for part in (prompt_tuning.Prompt, prompt_tuning.Prompted, prompt_tuning.placed, prompt_tuning.PromptTuning):
    print(inspect.getsource(part))

# %% [markdown]
# In `forward`, `start` is the number of tokens that came earlier. It is not zero when a text is generated word by word:
# the prompt is then in the cache already.
#
# ## What trains
#
# **Predict first.** 20 vectors, a model of width 96 with 4 layers. How many numbers train? How many with 40 layers?

# %%
# NBVAL_CHECK_OUTPUT
print(counts(model))
print("predicted:", 20 * c.width)
print("trains:", list(trainable(model)))

# %% [markdown]
# The depth plays no part. "Changed" counts what stands beside the model; no weight of it changes, so there is no rank.
#
# ## It learns
#
# The task: a few people go to places, and we ask for one of them. Two hundred steps of 16 examples, twenty vectors. They
# start as random words of the vocabulary, the library's default.

# %%
print(prompt, "→", answer)
print("the base:                ", evaluate(base, task))
model = copy.deepcopy(base)
history = fit(model, PromptTuning(), task, steps=200, seed=0)

# %%
print("started from words:      ", evaluate(model, task))

# %% [markdown]
# **Predict first.** The other start is random: uniform between -0.5 and 0.5, in no direction that means anything. Does it
# matter?

# %%
other = copy.deepcopy(base)
history_random = fit(other, PromptTuning(start="random"), task, steps=200, seed=0)

# %%
print("started from random:     ", evaluate(other, task))

# %%
fig, ax = plt.subplots(figsize=(6.5, 2.6))
for h, colour, style, label in (
    (history_random, "0.55", "s--", "started from random"),
    (history, "C3", "o-", "started from words"),
):
    ax.plot(*zip((0, h.losses[0]), *h.validations, strict=True), style, color=colour, ms=5, label=label)
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log", xlim=(0, 208))
ax.legend(frameon=False)
draw.show(
    fig,
    "Loss against steps: of the first batch, then of the validation set. Started from words it falls from 9 to 0.2. Started "
    "from random numbers it falls to about 1.5 within 50 steps and stays there.",
)

# %% [markdown]
# (The point at step 0 is the loss of the first batch; the others are losses on the validation set.) It matters a great
# deal: 89.5 % against 8.0 %. From random numbers, the model learns little more than that the answer is one of the
# task's 16 places: 8.0 % is about what guessing one of them would give. A likely reason: a random vector points where
# no word ever pointed, so the frozen blocks have never learned what to do with it; among the words, the prompt starts
# where the model knows its way. The paper finds the same order, words before random numbers, and a gap that closes in
# its largest model. (Ours is one task, one seed and one learning rate.)
#
# ## The picture: can one read it?
#
# The vectors started as words. Where have they gone? For each of the twenty we look for the word whose embedding points
# most nearly in the same direction, as the paper does, and we look at how long the vector has become.

# %%
with torch.random.fork_rng():
    torch.manual_seed(0)  # the same start as in the training
    start = PromptTuning().first(base).detach()
P = model.trunk.prompt.P.detach()


def cosines(P):
    return F.normalize(P) @ F.normalize(table).T  # (n, v)


def word(i):
    return base.tokenizer.decode([int(i)]).strip() or "space"


first, nearest = cosines(start).argmax(1), cosines(P).argmax(1)
kept, best = cosines(P)[range(20), first], cosines(P).amax(1)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6), width_ratios=[1.5, 1], layout="constrained")
slots = range(20)
left.hlines(slots, kept.minimum(torch.zeros(())), best, color="0.85", lw=1)
left.plot(kept, slots, "o", color="0.5", ms=5, label="with the word it started from")
left.plot(best, slots, "D", color="C3", ms=5, label="with the word that is nearest now")
left.set_yticks(slots, [f"{word(a)} → {word(b)}" for a, b in zip(first, nearest, strict=True)], fontsize=8)
left.invert_yaxis()
left.set(xlabel="cosine of the trained vector", xlim=(min(0, float(kept.min())) - 0.03, 1), title="directions")
left.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.1), ncols=2)
right.hist(table.norm(dim=1), bins=30, color="0.75", label="words of the vocabulary")
for values, colour, label in (
    (start.norm(dim=1), "0.2", "prompt, at the start"),
    (P.norm(dim=1), "C3", "prompt, trained"),
):
    right.plot(values, [-4 if colour == "C3" else -1.5] * 20, "|", color=colour, ms=10, mew=1.5, label=label)
right.set(xlabel="length of the vector", ylabel="words", title="lengths")
right.legend(frameon=False, fontsize=8)
draw.show(
    fig,
    "Left: for each of 20 vectors, the cosine with the word it started from and with the word that is nearest after training, mostly "
    "another one; the highest are between 0.3 and 0.8. Right: the vocabulary's vectors and the prompt at the start are "
    "about 1.2 long; the trained prompt's are between 2.4 and 3.8 long, longer than any word.",
)

# %%
same = int((first == nearest).sum())
between = cosines(table).fill_diagonal_(-1).amax(1).median()
print(f"nearest to the word it started from: {same} of 20")
print(
    f"mean cosine with the nearest word: {best.mean():.2f};  between a word and its own nearest word (median): {between:.2f}"
)
print(f"length of a word's vector: {table.norm(dim=1).mean():.2f};  of the prompt's: {P.norm(dim=1).mean():.2f}")

# %% [markdown]
# One can't read it. 3 of 20 are still nearest to their first word. The others have new neighbours, which make no
# sentence and mention no question; and a neighbour is not near: on average the cosine is 0.51, where a typical word of
# the vocabulary has another word at 0.57. Above all, the trained vectors are longer than any word, on average 3.08
# against 1.17. They have left the dictionary. (A norm takes the length away before each sub-layer. On the residual
# stream the length stays, and what a block adds can turn a long row *less* than a short one. The small group of words
# at 0.5 are digits and signs that the stories never use.) The paper, with T5's large vocabulary, finds groups of
# related words near a vector; we don't.
#
# ## What it costs
#
# Hardly any numbers train. But **the prompt lies at the very bottom**, so the gradient goes through the whole model, and
# every layer works on $n$ more rows.
#
# **Predict first.** Which of these steps keeps the most activations?

# %%
from minipeft.course.costs import costs
from minipeft.method import FullFineTuning

candidates = {"full fine-tuning": FullFineTuning(), "LoRA": LoRA(), "Prefix-Tuning": PrefixTuning()}
candidates |= {f"prompt tuning, n = {n}": PromptTuning(length=n) for n in (5, 20)}
draw.table(costs(base, candidates))

# %% [markdown]
# Twenty vectors keep **more than full fine-tuning**, and their step takes longer than any other in the table, though
# they train far fewer numbers. The texts of this measurement have 24 tokens; behind the prompt they are 44 rows, in
# every layer, and the gradient goes all the way down. Five vectors cost a little more than LoRA. The paper's default is
# 100 of them. Lesson 02 said it: what counts is how low the lowest trained number lies, not how many there are.
#
# ## At inference: the prompt is a prefix
#
# It does not merge into a weight. But nothing comes before the prompt, so its rows are the same whatever the text is: run
# them through the model *once*, keep their keys and values, and never compute them again. What is kept is a prefix, as in
# [lesson 06](06_prefix_tuning.ipynb); one that was not learned freely.

# %%
try:
    merge(copy.deepcopy(model), whole=True)
except ValueError as error:
    print(error)

from minipeft.generate import cached
from minipeft.measure import times

x = torch.randint(c.vocab, (16, 24))
prefixed, n = copy.deepcopy(base), len(P)
PrefixTuning(length=n, hidden=None).attach(prefixed)
with torch.no_grad():
    with cached(base):
        base.trunk(P[None], start=-n)  # so that the text begins at position 0 (rotary positions see differences alone)
        caches = [block.attn.past[-1].kept for block in base.trunk]
    for block, (k, v) in zip(prefixed.trunk, caches, strict=True):
        inner(block.attn).past[0].write(k[0], v[0])
    ms = 1000 * times(lambda: base(x), lambda: model(x), lambda: prefixed(x), rounds=9).median(1).values
    print(f"the prompt as a prefix: the logits differ by {(prefixed(ids) - model(ids)).abs().max():.1e}")
print(f"kept: {counts(model).trainable:,} numbers as vectors, {counts(prefixed).trainable:,} as keys and values")
print(
    f"forward, 16 texts of 24 tokens: base {ms[0]:.0f} ms, with the prompt {ms[1]:.0f} ms, as a prefix {ms[2]:.0f} ms"
)
print(f"room for text: base {base.room} tokens, with the prompt {model.room}")

# %% [markdown]
# So each text of 24 tokens costs as much as 44 tokens or, with the keys and values kept, as 24 tokens that look at up
# to 44. And $n$ tokens of the context are gone.
#
# ## One base, many tasks

# %%
import tempfile
from pathlib import Path

from minipeft import delta

with tempfile.TemporaryDirectory() as folder:
    size = delta.save(model, Path(folder) / "where")
    again = delta.load(GPT.from_pretrained(base_name), Path(folder) / "where").eval()
numbers = sum(p.numel() for p in base.parameters())
print(f"the delta: {size / 1e3:.0f} kB, the whole model: {4 * numbers / 1e6:.1f} MB")
print(f"numbers stored, as a share of the model's: {counts(model).trainable / numbers:.2%}")
print("loaded on a fresh base, the same logits:", torch.equal(again(ids), model.eval()(ids)))
print("detached, the base again:", torch.equal(detach(copy.deepcopy(model))(ids), base(ids)))

# %% [markdown]
# A task is a handful of vectors, and every row of a batch may have other ones in front: one server, many tasks.
#
# ## Its nearest relatives
#
# | | prompt tuning | Prefix-Tuning ([lesson 06](06_prefix_tuning.ipynb)) | IPT ([lesson 07](07_ipt.ipynb)) |
# |---|---|---|---|
# | what is learned | vectors before the embedded text | keys and values in every layer | a few numbers, from which a frozen decoder makes the prompt |
# | keys and values of the upper layers | the model makes them | free | the model makes them |
# | numbers stored | $n d$ | $2 L n d_{kv}$ | $k$, and the shared decoder |
# | starts as | any text | any text | what the decoder says to zeros, nearly |
# | numbers that train | the same | many more: a network writes it | $k$ |
# | rows that run through the blocks | $n + t$ | $t$ | $n + t$ |
#
# Every prompt is a prefix, as we have just seen; few prefixes are prompts.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/prompt_tuning.py`](../exercises/prompt_tuning.py) beside this notebook. Save the file, then run the
# check; it reads the file anew every time. Stuck? `hint("05.1")`.

# %%
ask("05.1")

# %%
check("05.1")

# %%
check("05.2")

# %% [markdown]
# 05.3 is a mistake to find in given code, 05.5 a question of counting.

# %%
ask("05.3")

# %%
check("05.3")

# %%
check("05.4")

# %%
check("05.5")

# %% [markdown]
# ### Your prompt in the mini GPT
#
# As soon as 05.1 passes, the cell below trains with *your* `with_prompt`, and reads the result with *your* `nearest_words`
# once 05.4 passes. Until then it uses the library's, and says so. It starts from the same words as above, and takes 150
# steps.

# %%
from minipeft.method import Method
from minipeft.surgery import Wrapper, wrap

your_prompt, your_words = learner("05.1"), learner("05.4")


class Yours(Wrapper):
    """The blocks behind a prompt that the learner's function puts in front."""

    def __init__(self, trunk):
        super().__init__(trunk)
        self.P = torch.nn.Parameter(start.clone())

    def forward(self, x, earlier=0, mask=None):
        mask = torch.ones(x.shape[0], earlier + x.shape[1], dtype=torch.bool) if mask is None else mask
        if earlier:  # generating: the prompt is in the cache already
            return self.base(x, earlier + 20, F.pad(mask, (20, 0), value=True))
        both, mask = your_prompt(x, mask, self.P)
        return self.base(both, 0, mask)[:, 20:]


class YourPrompt(Method):
    lr = PromptTuning.lr

    def insert(self, model):
        make_room(model, 20)
        wrap(model, "trunk", Yours)


yours = copy.deepcopy(base)
history = fit(yours, YourPrompt(), task, steps=150, seed=0)

# %%
print("before:", evaluate(base, task))
print("after: ", evaluate(yours, task))
print("its nearest words:", ", ".join(map(word, your_words(yours.trunk.P.detach(), table))))

# %% [markdown]
# ## What to remember
#
# 1. $[P; X]$: learned vectors in front of the embedded text, one set for all texts; mask and positions grow with it, and
#    $n$ rows come off at the top.
# 2. Made of the embeddings of words, a prompt *is* these words; trained, it is no text any more.
# 3. $n d$ numbers, whatever the depth: among the smallest deltas there are.
# 4. Cheap to store is not cheap to run: the gradient goes down to the bottom, and all layers work on $n$ more rows.
# 5. It never merges, but its keys and values can be kept: it is then a prefix.
#
# **The paper's headline**, quoted: on SuperGLUE's development sets, with T5-XXL, five prompts score 90.5 on average and
# 91.3 as an ensemble. That matches tuning the whole model on all tasks together, with over 20,000 times fewer numbers
# for a task; smaller models stay behind. Our toy agrees with the second half: on this small model the prompt answers
# 89.5 % of the questions, where LoRA and full fine-tuning answer all ([docs/tasks.md](../docs/tasks.md)). The first
# half can't be seen on a model of half a million numbers.
#
# **Further reading.** The paper's sections on other domains (trained on SQuAD, 12.5 points of F1 more on TextbookQA than
# tuning the whole model) and on what prompts say. In the library, `minipeft/additive/prompt_tuning.py` is the method, and
# `tests/test_prompt_tuning.py` compares it with Hugging Face `peft`.
#
# **Next:** [lesson 06, Prefix-Tuning](06_prefix_tuning.ipynb), which gives every layer keys and values of its own. Or go
# back to [the start](00_start_here.ipynb).
