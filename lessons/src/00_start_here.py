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
# # 00 · Start here
#
# **The question.** You have a language model that cost somebody millions to train, and a task it does not do yet. Training
# all of it again, for your task alone, takes a machine you may not have and leaves a copy as large as the model itself.
# *Can you get the same result by training one per cent of it, or less?*
#
# You can, in about twenty ways that people have found so far. This course builds them, each from an empty file, inside a
# GPT that is small enough to train on a laptop and real enough to load the weights of GPT-2 and LLaMA. The field's name is
# **parameter-efficient fine-tuning**, PEFT. The map we follow is the survey *Scaling Down to Scale Up* by Lialin, Deshpande
# and Rumshisky ([arXiv 2303.15647](https://arxiv.org/abs/2303.15647)), and its twenty methods are lessons 03 to 22.

# %% [markdown]
# ## Two minutes, the whole idea
#
# The mini GPT has read a hundred thousand little stories about people, places and things. It goes on like this:

# %%
import copy

import torch

from minipeft import GPT, LoRA, counts, evaluate, fit, tasks
from minipeft.generate import generate

torch.set_num_threads(1)  # for models as small as these, one core is quickest
base = GPT.from_pretrained("mini-gpt2")


def complete(model, text, n=16):
    tokenizer = model.tokenizer
    ids = tokenizer.start + tokenizer.encode(text)
    return tokenizer.decode(ids[len(tokenizer.start) :] + generate(model, [ids], n, stop=tokenizer.end)[0])


print(complete(base, "anna is in the kitchen. tom is in the garden."))

# %% [markdown]
# Now a task that it has never seen in this form: a few sentences, then a question, and a one-word answer is wanted.

# %%
task = tasks.load("where")
prompt, answer = task.test[0]
print("asked:     ", prompt)
print("wanted:    ", answer)
print("it says:   ", complete(base, prompt)[len(prompt) :])
print(f"on the test: {evaluate(base, task).accuracy:.0%} right")

# %% [markdown]
# The right word may well be in there: the stories taught it to look things up. What it does not know is what we want, one
# word and then nothing more. LoRA, the method of [lesson 15](15_lora.ipynb), adds two thin matrices beside eight of the model's weights and trains those alone.

# %%
model = copy.deepcopy(base)
fit(model, LoRA(rank=8), task, steps=150)
print(f"on the test: {evaluate(model, task).accuracy:.0%} right")
print(counts(model))
print(f"of {sum(p.numel() for p in base.parameters()):,} in the model")

# %% [markdown]
# That is the promise of the whole field in three lines of output. The rest of the course is about how it can be, in how
# many ways, and what each of them costs.
#
# ## What you will be able to do
#
# - explain each of the survey's twenty methods by its equation, say what trains, what changes and of which rank, and where
#   in the model it acts;
# - write each of them yourself, in a few lines of PyTorch, and have them checked;
# - predict how much memory a fine-tuning takes, and which part of it a method saves and which it does not;
# - read a paper's comparison and see what it leaves out;
# - choose a method for a task, a model and a machine, and run it on real weights.
#
# ## What you need
#
# | | |
# |---|---|
# | Python and PyTorch | you have written and trained a small network; you know what `loss.backward()` does |
# | mathematics | matrix products, rank, gradients; everything else is explained where it is used |
# | transformers | you have heard of them; [lesson 01](01_mini_gpt.ipynb) builds the one we use |
# | a machine | any laptop; two processor cores are enough, no GPU, no network |
# | time | 20 to 35 minutes to read a lesson, 30 to 70 for its exercises; about 30 hours for everything |
#
# ## How a lesson works
#
# Read a little, run a cell (**Shift + Enter**), look at the picture. Where it says **Predict first**, do: write your answer
# down before you run the next cell. You remember what surprised you.
#
# The exercises live in the folder `exercises/`, one Python file a method. Each is a function with its equation, its shapes
# and a `raise NotImplementedError` where your code goes. Open the file beside the notebook (**File → Open**, drag the tab to
# the right), fill it in, save, and run the check in the notebook:

# %%
from minipeft.course import check, progress

check("01.1")

# %% [markdown]
# Before you have written anything it says so. Afterwards a check calls your function with fresh random inputs and compares
# what comes back with the right answer. If they differ, it tells you what it called, what came back and how wrong it is,
# and, if it knows your mistake, which one it probably is. You can check as often as you like.
#
# | in a notebook | in a terminal | |
# |---|---|---|
# | `check("15.1")` | `minipeft check 15.1` | check one exercise; `15` means the whole lesson |
# | `hint("15.1")` | `minipeft hint 15.1` | the next of three hints: a question, the idea, half a line |
# | `progress()` | `minipeft progress` | what is done and what is open |
# | | `minipeft next` | the next open exercise |
# | | `minipeft watch` | check again whenever you save |
# | | `minipeft reset 15` | the empty exercise back; your own file is kept beside it with the date |
#
# Nothing you write is ever overwritten.

# %%
progress()

# %% [markdown]
# ## Paths through the course
#
# | you want | lessons | hours |
# |---|---|---|
# | the idea, and the method everybody uses | 01, 02, 15 | 4 |
# | to understand what the methods have in common | 01, 02, 03, 06, 10, 15, 19, 23 | 10 |
# | to train a large model on a small machine | 02, 08, 15, 24 | 5 |
# | everything | 01 to 24, in order | 30 |
#
# The methods have the survey's order and its families. The exercises of each part give 100 points; `minipeft list`
# shows all of them.
#
# | part | lessons |
# |---|---|
# | foundations | [01 the mini GPT](01_mini_gpt.ipynb), [02 where memory goes](02_where_memory_goes.ipynb), [23 comparing](23_comparing.ipynb), [24 real weights](24_real_weights.ipynb) |
# | additive | [03 adapters](03_adapters.ipynb), [04 AdaMix](04_adamix.ipynb), [05 prompt tuning](05_prompt_tuning.ipynb), [06 Prefix-Tuning](06_prefix_tuning.ipynb), [07 IPT](07_ipt.ipynb), [08 Ladder-Side Tuning](08_ladder_side.ipynb), [09 (IA)³](09_ia3.ipynb) |
# | selective | [10 BitFit](10_bitfit.ipynb), [11 DiffPruning](11_diff_pruning.ipynb), [12 FAR](12_far.ipynb), [13 FISH Mask](13_fishmask.ipynb) |
# | reparametrization | [14 Intrinsic SAID](14_intrinsic_said.ipynb), [15 LoRA](15_lora.ipynb), [16 KronA](16_krona.ipynb), [17 KronA beside the MLP](17_krona_res.ipynb) |
# | hybrid | [18 SparseAdapter](18_sparse_adapter.ipynb), [19 MAM](19_mam.ipynb), [20 UniPELT](20_unipelt.ipynb), [21 Compacter](21_compacter.ipynb), [22 S4](22_s4.ipynb) |
#
# ## Notation
#
# One alphabet in all lessons, all exercises and the library.
#
# | letter | meaning | in the mini GPT |
# |---|---|---|
# | $b$ | batch: texts at once | |
# | $t$ | tokens of a text | 96 at most |
# | $s$ | tokens seen: those in a cache and learned ones included | |
# | $d$ | width: numbers for each token (`d_in`, `d_out` of a Linear) | 96 |
# | $f$ | hidden width of the MLP | 384 |
# | $h$, $e$ | heads, and the width of one | 4, 24 |
# | $v$ | vocabulary | 420 |
# | $L$ | layers, or blocks | 4 |
# | $r$ | rank of a change (LoRA), $\alpha$ its scale | |
# | $m$ | bottleneck of an adapter | |
# | $n$ | length of a learned prompt or prefix | |
# | $W$, $\Delta W$ | a weight, `(d_out, d_in)` as in PyTorch, and its change | |
# | $x$, $y$ | what goes into a module, `(b, t, d)`, and what comes out | |
# | $\theta$ | all parameters of the model together | |
#
# The numbers on the right are mini-gpt2's, and the next cell asks the model itself:

# %%
# NBVAL_CHECK_OUTPUT
c = GPT.from_pretrained("mini-gpt2").c
print(f"t {c.context}, d {c.width}, f {c.hidden}, h {c.heads}, e {c.head_width}, v {c.vocab}, L {c.layers}")

# %% [markdown]
# **Next:** [lesson 01, the mini GPT](01_mini_gpt.ipynb), the transformer that everything is done to.
