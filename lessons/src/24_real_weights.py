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
# # 24 · Real weights: GPT-2 and LLaMA
#
# **The question.** Everything in this course ran on models of half a million numbers. The methods don't care about
# size. But you will: how do you get at the weights of a real model, will they fit on your machine, in which number
# format, and what is different on a GPU?
#
# | | |
# |---|---|
# | before this | [lesson 01, the mini GPT](01_mini_gpt.ipynb); [02, where memory goes](02_where_memory_goes.ipynb); [15, LoRA](15_lora.ipynb) |
# | you need | what a bit is; powers of two |
# | time | 35 minutes to read and run, 45 for the exercises |
#
# No download is needed: the small checkpoints of this lesson are written on the spot, by `transformers`, in the format
# of the real ones. If you have a folder of real weights, the lesson loads that too. There is no GPU here either.
# Everything about GPUs below is **arithmetic**, and says so; what was **measured** was measured on a processor, on
# small models.
#
# One GB is $10^9$ bytes.

# %%
import copy
import inspect
import json
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from minipeft import (
    GPT,
    IA3,
    Adapters,
    BitFit,
    Config,
    FullFineTuning,
    LoRA,
    PrefixTuning,
    checkpoint,
    delta,
    evaluate,
    families,
    fit,
    merge,
    tasks,
)
from minipeft.course import ask, check, draw, learner
from minipeft.measure import kept_bytes
from minipeft.surgery import trainable
from minipeft.train import train

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress")  # its progress bars, which we don't want, lack a package
    import transformers
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)  # for models as small as these, one core is quickest
task = tasks.load("where")

# %% [markdown]
# # The files
#
# ## A checkpoint, written on the spot
#
# We let `transformers` write two folders, one in GPT-2's style and one in LLaMA's. Each gets the weights of a bundled
# model, so that what we load can also talk. The tokenizer's file comes with it.

# %%
scratch = tempfile.TemporaryDirectory()
folders = {style: Path(scratch.name) / f"my-{style}" for style in ("gpt2", "llama")}
theirs = {}
for style, folder in folders.items():
    bundled = checkpoint.locate(f"mini-{style}")
    theirs[style] = transformers.AutoModelForCausalLM.from_pretrained(bundled)
    theirs[style].save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((bundled / "tokenizer.json").read_bytes())
for file in sorted(folders["gpt2"].iterdir()):
    print(f"{file.name:24} {file.stat().st_size / 1e3:9,.1f} kB")

# %% [markdown]
# | file | what it holds |
# |---|---|
# | `config.json` | the shape: family, layers, widths, heads, and how positions are done |
# | `model.safetensors` | the weights. Large models come in several such files, *shards*, with an index |
# | `tokenizer.json` | how text becomes numbers. A model is useless with another model's tokenizer |
# | `generation_config.json` | how its authors like to sample from it |
#
# That is all there is to "a model" on the hub.

# %%
wanted = ("model_type", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
wanted += ("num_key_value_heads", "vocab_size", "max_position_embeddings", "tie_word_embeddings", "dtype")
raw = json.loads((folders["llama"] / "config.json").read_text())
print(json.dumps({key: raw.get(key) for key in wanted}, indent=2))

# %% [markdown]
# ## The file of weights, opened by hand
#
# A safetensors file is as plain as can be: 8 bytes that say how long the table of contents is; the table, in JSON; then
# the numbers of all tensors, one after the other. Older files (`.bin`) are pickles: programs that run when they are
# opened. `minipeft` reads no pickles.


# %%
def contents(path):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table = json.loads(file.read(length))
    table.pop("__metadata__", None)
    return table


models = {style: GPT.from_pretrained(folder) for style, folder in folders.items()}
for style, folder in folders.items():
    print(f"{style}, the first block:")
    ours = families.layout(models[style])
    for name, entry in contents(folder / "model.safetensors").items():
        plain = name.removeprefix(families.PREFIX[families.STYLES.index(style)])
        if ".0." in name and name.endswith("weight"):
            parts = ", ".join(n.removeprefix("trunk.0.").removesuffix(".weight") for n in ours[plain])
            turned = "transposed" if families.transposed(plain) else ""
            print(f"  {name:46} {entry['dtype']} {str(entry['shape']):11} {parts:24} {turned}")

# %% [markdown]
# On the left the names in the file, on the right ours. The two families say the same things in other words, and GPT-2
# has two habits of its own:
#
# - **queries, keys and values are one tensor**, `c_attn`;
# - **its matrices are transposed.** Its layers compute $x W$, where `nn.Linear` and nearly everybody else compute
#   $x W^\top$.
#
# A third difference does not show: LLaMA's file has no table of positions. It turns queries and keys by an angle
# instead, and the angles follow from `config.json`.

# %% [markdown]
# ## The same model?
#
# The test is always the same: the same tokens in, the same logits out.

# %%
# NBVAL_CHECK_OUTPUT
tokenizer = models["gpt2"].tokenizer
ids = torch.tensor([tokenizer.start + tokenizer.encode(task.test[0].prompt)])
with torch.no_grad():
    for style, model in models.items():
        difference = (model(ids) - theirs[style](ids).logits).abs().max()
        print(f"{style:6} logits as transformers computes them, to 0.0001: {bool(difference < 1e-4)}")

# %% [markdown]
# **Predict first.** In this GPT-2 the matrix behind attention, `attn.c_proj.weight`, is 96 × 96. Suppose we had
# forgotten to transpose it, in all four layers. Will loading fail? And what becomes of the loss on a text that the
# model knows well?

# %%
lily = torch.tensor([tokenizer.start + tokenizer.encode(text) for text in [task.train[3].prompt]])


def text_loss(model):
    with torch.no_grad():
        return F.cross_entropy(model(lily)[0, :-1], lily[0, 1:]).item()


careless = copy.deepcopy(models["gpt2"])
for block in careless.trunk:
    block.attn.o.weight.data = block.attn.o.weight.data.T.contiguous()
print(f"as it should be {text_loss(models['gpt2']):.2f} nats per token, careless {text_loss(careless):.2f}")
print(f"guessing among {careless.c.vocab} words: {torch.tensor(careless.c.vocab).log():.2f}")

# %% [markdown]
# Nothing fails: a square matrix has the same shape either way. The model just talks nonsense; it does worse than
# guessing. Hence the comparison of logits: **shapes prove nothing**. Exercise 24.1 is a mistake of this kind.
#
# ## Shards, formats, and what is refused
#
# Large models come in pieces, with an index that says which tensor is in which file. `dtype` says what the numbers
# become in memory. They are copied tensor by tensor from the mapped file straight to their place, so loading takes
# little more memory than the weights themselves.

# %%
shards = Path(scratch.name) / "in-shards"
theirs["llama"].save_pretrained(shards, max_shard_size="600KB")
print(*(f"{file.name:36} {file.stat().st_size / 1e3:7,.0f} kB" for file in sorted(shards.glob("model*"))), sep="\n")
pieces = GPT.from_pretrained(shards)
print("the same weights:", all(map(torch.equal, pieces.parameters(), models["llama"].parameters())))
halves = GPT.from_pretrained(shards, dtype="bf16")
print(
    "in bf16:",
    f"{sum(p.nbytes for p in halves.parameters()) / sum(p.nbytes for p in pieces.parameters()):.2f} of the bytes",
)

# %% [markdown]
# What the library doesn't do, it refuses by name. A wrong model that loads is worse than none.


# %%
def attempt(**changes):
    """Load the LLaMA with another config.json, and say what comes of it."""
    odd = Path(scratch.name) / "odd"
    odd.mkdir(exist_ok=True)
    (odd / "model.safetensors").write_bytes((folders["llama"] / "model.safetensors").read_bytes())
    (odd / "config.json").write_text(json.dumps(raw | changes))
    try:
        GPT.from_pretrained(odd)
    except ValueError as error:
        print(f"{changes}\n    {str(error).replace(str(odd), 'odd')}")


attempt(hidden_act="relu")
attempt(num_key_value_heads=4)
attempt(num_hidden_layers=3)
attempt(sliding_window=64)

# %% [markdown]
# ## There and back
#
# Fine-tune what was loaded, fold the change in, write the folder, and let `transformers` read it. What you train here
# runs wherever a GPT-2 or a LLaMA runs.

# %%
tuned = copy.deepcopy(models["llama"])
before = evaluate(tuned, task)
fit(tuned, LoRA(rank=8), task, steps=100, seed=0)
print("before:", before)
print("after: ", evaluate(tuned, task))
delta.save(tuned, Path(scratch.name) / "delta")
checkpoint.save(merge(tuned), Path(scratch.name) / "merged")
again = transformers.AutoModelForCausalLM.from_pretrained(Path(scratch.name) / "merged")
with torch.no_grad():
    print("the same logits in transformers:", torch.allclose(again(ids).logits, tuned(ids), atol=1e-3))

# %% [markdown]
# ## Your own folder
#
# Do you have a folder with a GPT-2 or a LLaMA in it? Set the environment variable `MINIPEFT_REAL` to it before you
# start Jupyter, or write it below, and run the cell. A hub id such as `openai-community/gpt2` works as well, and
# downloads 0.5 GB.

# %%
REAL = os.environ.get("MINIPEFT_REAL", "")

if REAL:
    from minipeft.generate import generate

    real = GPT.from_pretrained(REAL, dtype="fp32")
    print(real.c)
    prompt = real.tokenizer.start + real.tokenizer.encode("The best way to learn is")
    print(real.tokenizer.decode(prompt + generate(real, [prompt], 20)[0]))
    few = LoRA(rank=8)
    history = fit(real, few, tasks.load("sentiment"), steps=10, batch=4, recompute=True, validate=0)
    print(history)
else:
    print("no folder given: nothing to load")

# %% [markdown]
# # The arithmetic
#
# ## How many numbers
#
# Shapes are public, and a shape is all that arithmetic needs. From the papers: GPT-2 (Radford et al., 2019, table 2),
# LLaMA (Touvron et al., [arXiv 2302.13971](https://arxiv.org/abs/2302.13971), table 2), Llama 2 ([arXiv
# 2307.09288](https://arxiv.org/abs/2307.09288)), Llama 3 ([arXiv 2407.21783](https://arxiv.org/abs/2407.21783), table
# 3); from the published `config.json` files: the hidden widths of LLaMA and Llama 2, and Llama 3.2.
#
# $$ N_\text{GPT-2} = (v + t_\text{max})\,d + L\,(12 d^2 + 13 d) + 2 d $$
#
# $$ N_\text{LLaMA} = 2 v d + L\,(2 d^2 + 2 d\, d_{kv} + 3 d f + 2 d) + d \qquad \text{(tied: } v d \text{ once)} $$

# %%
# NBVAL_CHECK_OUTPUT
GPT2 = dict(style="gpt2", vocab=50257, context=1024)
LLAMA = dict(style="llama", vocab=32000, context=2048)
LLAMA3 = dict(style="llama", vocab=128256, context=8192, kv_heads=8)
shapes = {
    "GPT-2 small": Config(**GPT2, layers=12, heads=12, width=768),
    "GPT-2 medium": Config(**GPT2, layers=24, heads=16, width=1024),
    "GPT-2 large": Config(**GPT2, layers=36, heads=20, width=1280),
    "GPT-2 XL": Config(**GPT2, layers=48, heads=25, width=1600),
    "Llama 3.2 1B": Config(**LLAMA3, layers=16, heads=32, width=2048, hidden=8192, tied=True),
    "LLaMA 7B": Config(**LLAMA, layers=32, heads=32, width=4096, hidden=11008),
    "Llama 3 8B": Config(**LLAMA3, layers=32, heads=32, width=4096, hidden=14336),
    "LLaMA 13B": Config(**LLAMA, layers=40, heads=40, width=5120, hidden=13824),
    "LLaMA 33B": Config(**LLAMA, layers=60, heads=52, width=6656, hidden=17920),
    "LLaMA 65B": Config(**LLAMA, layers=80, heads=64, width=8192, hidden=22016),
    "Llama 2 70B": Config(**LLAMA, layers=80, heads=64, width=8192, hidden=28672, kv_heads=8),
}


def formula(c):
    d, kv, v = c.width, c.kv_heads * c.head_width, c.vocab
    if c.style == "gpt2":
        return (v + c.context) * d + c.layers * (12 * d * d + 13 * d) + 2 * d
    return v * d * (1 if c.tied else 2) + c.layers * (2 * d * d + 2 * d * kv + 3 * d * c.hidden + 2 * d) + d


sizes = {name: sum(p.numel() for p in checkpoint.skeleton(c).parameters()) for name, c in shapes.items()}
rows = []
for name, c in shapes.items():
    assert sizes[name] == formula(c)  # counted in the model's shapes, and by the formula
    row = {"": name, "layers": c.layers, "width": c.width, "hidden": c.hidden, "heads": c.heads, "kv heads": c.kv_heads}
    rows.append(row | {"numbers": sizes[name]})
draw.table(rows)

# %% [markdown]
# The names are round. And the GPT-2 paper's own table says 117M, 345M, 762M and 1542M: its authors corrected these
# counts later. A count is quickly wrong, so count in the model.
#
# ## What each method trains

# %%
methods = {
    "full fine-tuning": FullFineTuning(),
    "adapters, m = 64": Adapters(size=64),
    "prefix, n = 20": PrefixTuning(length=20, hidden=None),
    "(IA)³": IA3(),
    "BitFit": BitFit(add=True),
    "LoRA, r = 8": LoRA(rank=8),
    "LoRA, r = 64, all of attention": LoRA(rank=64, to=["attn.q", "attn.k", "attn.v", "attn.o"]),
}
three = ("GPT-2 small", "LLaMA 7B", "Llama 2 70B")


def count(method, c):
    """How many numbers train: counted with one block and with two, for each further block adds as many again."""
    small = [method.attach(checkpoint.skeleton(replace(c, layers=n))) for n in (1, 2)]
    one, two = (sum(p.numel() for p in trainable(model).values()) for model in small)
    return one + (c.layers - 1) * (two - one)


trains = {(way, name): count(method, shapes[name]) for way, method in methods.items() for name in three}
rows = []
for method_name in methods:
    row = {"millions of numbers that train": method_name}
    for name in three:
        n = trains[method_name, name]
        row[name] = f"{n / 1e6:,.2f} ({n / sizes[name]:.3%})"
    rows.append(row)
draw.table(rows)

# %% [markdown]
# LLaMA has no biases, so BitFit adds some there. The percentages fall from left to right: for most methods what trains
# grows with the width, the model with the width's square.
#
# ## How much memory
#
# Lesson 02 took a training step apart. In short, with a base that is frozen in bf16:
#
# $$ \text{bytes} \;=\; \underbrace{2\,N}_{\text{frozen base}} \;+\; \underbrace{16\,n}_{\text{weights, gradients, Adam of what trains}}
# \;+\; \underbrace{\text{activations}}_{\text{by tokens, not by method}} $$
#
# In 4 bits the base takes about $0.5\,N$. In full fine-tuning the base *is* what trains: $16\,N$.
#
# The activations below are those of 2,048 tokens in bf16, with recomputation: each block keeps its input, and one block
# at a time keeps the rest. The loss is cheaper than in [lesson 02](02_where_memory_goes.ipynb): with a frozen head the library takes the loss's
# gradient on the way forward, and keeps $d$ numbers for each token instead of $v$ (`minipeft/cross_entropy.py`). And
# LLaMA's MLP keeps two hidden layers, and computes again what comes after them (`MLP` in `minipeft/gpt.py`).
# Both are done for large tensors alone, so the small models, on which we measure, are reckoned with `small=True`.


# %%
def activations(c, tokens, trains=False, size=2, recompute=True, small=False):
    """Bytes kept for the backward pass, `size` bytes a number; lesson 02 has the terms of a block."""
    q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    block = 2 * c.width + 2 * q + 2 * kv + c.hidden * (1 if c.style == "gpt2" else 3 if small else 2)
    block += c.width
    if trains:
        block += c.width + (c.hidden if c.style == "gpt2" or small else 0)
    blocks = c.layers * c.width + block if recompute else c.layers * block
    loss = 4 * c.vocab if trains or small else size * c.width
    return tokens * (size * (blocks + c.width) + loss)


ids_16, labels_16 = torch.randint(models["gpt2"].c.vocab, (2, 16, 24))
for style, model in models.items():
    lora, model = LoRA(rank=8), copy.deepcopy(model)
    real = kept_bytes(lambda: lora.loss(model, ids_16, labels_16), lora.attach(model))  # noqa: B023
    paper = activations(model.c, 16 * 24, size=4, recompute=False, small=True)
    print(f"mini-{style}: on paper {paper / 1e6:.2f} MB, measured {real / 1e6:.2f} MB: {paper / real - 1:+.1%}")


# %%
def gigabytes(name, trained, base_bytes):
    """GB of a step; `trained` None: everything trains."""
    kept = activations(shapes[name], 2048, trained is None)
    return (16 * sizes[name] if trained is None else base_bytes * sizes[name] + 16 * trained) / 1e9 + kept / 1e9


rows = []
for method_name in methods:
    trained = None if method_name == "full fine-tuning" else trains[method_name, "LLaMA 7B"]
    n = trains[method_name, "LLaMA 7B"]
    row = {"LLaMA 7B, GB": method_name, "frozen base": "–" if trained is None else f"{2 * sizes['LLaMA 7B'] / 1e9:.1f}"}
    row |= {"what trains": f"{16 * n / 1e9:.2f}"}
    row |= {"activations": f"{activations(shapes['LLaMA 7B'], 2048, trained is None) / 1e9:.1f}"}
    rows.append(row | {"together": f"{gigabytes('LLaMA 7B', trained, 2):.1f}"})
draw.table(rows)

# %% [markdown]
# Between full fine-tuning and any of the others there is a factor of seven or eight. Among the others there is next to
# nothing: the base decides. (The column of activations is a little rough: where a method reads and writes changes it
# somewhat, and a prefix or a prompt makes texts longer. [The comparison](../docs/comparison/comparison.md) has it
# measured for all twenty, on small models.)
#
# **Predict first.** Which is the largest model in the table above that fits on a card of 24 GB: with full fine-tuning,
# with LoRA on a base in bf16, and with LoRA on a base in 4 bits?

# %%
loras = {name: count(LoRA(rank=8), c) for name, c in shapes.items()}
ways = {
    "full fine-tuning": [gigabytes(name, None, 4) for name in shapes],
    "LoRA, base in bf16": [gigabytes(name, loras[name], 2) for name in shapes],
    "LoRA, base in 4 bits": [gigabytes(name, loras[name], 0.5) for name in shapes],
}
cards = (8, 24, 80)
order = sorted(range(len(shapes)), key=lambda i: list(sizes.values())[i])
numbers = [list(sizes.values())[i] for i in order]
fig, ax = plt.subplots(figsize=(9, 4))
styles = ({"color": "black", "marker": "o"}, {"color": "C3", "marker": "s"}, {"color": "C3", "marker": "^", "ls": "--"})
for (way, need), style in zip(ways.items(), styles, strict=True):
    ax.loglog(numbers, [need[i] for i in order], ms=4, label=way, **style)
for card in cards:
    ax.axhline(card, color="0.5", lw=0.8, ls=":")
    ax.text(1.02e8, card * 1.08, f"{card} GB", size=8, color="0.3")
shown = ("GPT-2 small", "GPT-2 medium", "GPT-2 XL", "LLaMA 7B", "LLaMA 13B", "LLaMA 33B", "Llama 2 70B")
ax.set_xticks([sizes[name] for name in shown], shown, rotation=30, ha="right", size=8)
ax.minorticks_off()
ax.set(ylabel="GB in a training step", xlabel="numbers in the model", xlim=(1e8, 9e10))
ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
ax.legend(frameon=False, loc="upper left")
draw.show(
    fig,
    "Memory of a training step against the size of the model, both logarithmic. Three nearly parallel lines: full fine-tuning on "
    "top, LoRA on a base in bf16 far below, LoRA on a base in 4 bits lower still. Dotted lines mark cards of 8, 24 and 80 GB.",
)
for way, need in ways.items():
    fits = {card: [name for name, gb in zip(shapes, need, strict=True) if gb <= card] for card in cards}
    largest = {card: max(names, key=sizes.get) if names else "none" for card, names in fits.items()}
    print(f"{way:22}", *(f"{card} GB: {name:13}" for card, name in largest.items()))

# %% [markdown]
# With 24 GB: full fine-tuning of a model of one billion numbers, LoRA on one of eight, and LoRA on one of thirty-three
# if its base is stored in 4 bits. The lines are nearly straight and parallel: at this many tokens the base decides
# everything, and 16, 2 and 0.5 bytes a number are what sets them apart.
#
# This is arithmetic. On a real card some more goes to the driver and to the gaps between tensors; leave ten per cent or
# so. A 13B model on 8 GB is true on paper alone: in 4 bits it needs some scales besides. And this library has no 4
# bits; a folder in such a format, as in [QLoRA](https://arxiv.org/abs/2305.14314), is refused.
#
# One thing more is the library's own: `fit` keeps two copies of what trains, in fp32, the start and the best state so
# far. For LoRA that is nothing. For full fine-tuning it is another $8\,N$.
#
# ## Writing takes memory as well
#
# While a model writes, it keeps the keys and values of all tokens so far. `cache_bytes` is **exercise 24.3**: yours, as
# soon as it passes its check.

# %%
cache_bytes = learner("24.3")
rows = []
for name in ("GPT-2 XL", "LLaMA 7B", "LLaMA 65B", "Llama 2 70B"):
    c = shapes[name]
    cache = cache_bytes(c.layers, c.kv_heads, c.head_width, 4096, 8, 2) / 1e9
    row = {"": name, "heads that keep": c.kv_heads, "cache of 8 texts of 4,096 tokens, GB": f"{cache:.1f}"}
    rows.append(row | {"weights in bf16, GB": f"{2 * sizes[name] / 1e9:.1f}"})
draw.table(rows)

# %% [markdown]
# LLaMA 65B and Llama 2 70B have the same width and as many layers. The second shares each key and value among eight
# heads of queries, and its cache is an eighth. (GPT-2's table of positions ends at 1,024; the row is there for
# comparison.)
#
# # Precision
#
# ## Three formats
#
# A floating-point number is a sign, an exponent, and the bits after the leading 1. More exponent: a wider range. More
# bits after the 1: finer steps. With sixteen bits you can't have both.

# %%
# NBVAL_CHECK_OUTPUT
rows = []
for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
    info = torch.finfo(dtype)
    after = round(-torch.tensor(info.eps).log2().item())
    row = {"": name, "bits": info.bits, "exponent": info.bits - 1 - after, "after the 1": after}
    row |= {
        "gap after 1": f"{info.eps:.1e}",
        "largest": f"{info.max:.1e}",
        "smallest (full precision)": f"{info.tiny:.1e}",
    }
    rows.append(row)
draw.table(rows)

# %% [markdown]
# bf16 is fp32 with the last 16 bits cut off: the same range, but only two or three decimal digits. fp16 has finer
# steps, and ends at 65,504.
#
# ## The picture: how far is the next number?
#
# The lines show the gap from a number to the next one. Training takes small steps, and a step that is less than half a
# gap is rounded away: the weight stays where it was. `gap` is **exercise 24.5**.

# %%
gap = learner("24.5")
BITS = {"fp32": 23, "fp16": 10, "bf16": 7}
weights = torch.cat([p.detach().flatten() for n, p in models["gpt2"].named_parameters() if p.ndim > 1]).abs()
low, high = weights.quantile(torch.tensor([0.05, 0.95])).tolist() if len(weights) < 2**24 else (0, 0)
fig, ax = plt.subplots(figsize=(8, 3.8))
powers = [2.0**k for k in range(-24, 17)]
for (name, bits), style in zip(BITS.items(), ("k:", "k--", "k-"), strict=True):
    xs = [x for x in powers if name != "fp16" or 2**-14 <= x < 65504]
    ax.step(xs, [gap(x, bits) for x in xs], style, where="post", lw=1.2)
    ax.text(xs[-1] * 1.3, gap(xs[-1], bits), name, va="center", size=9)
ax.axhline(2e-4, color="C3", lw=1.5)
ax.text(2e-8, 3e-4, "above this line a step of 0.0001 is lost", color="C3", size=9)
ax.axvspan(low, high, color="0.88", zorder=0)
ax.text((low * high) ** 0.5, 1e-14, "nine tenths of\nmini-gpt2's\nweights", ha="center", size=8)
ax.set(xscale="log", yscale="log", xlabel="size of the number", ylabel="gap to the next number", xlim=(1e-8, 1e6))
draw.show(
    fig,
    "The gap to the next number against the number's size, as rising staircases: fp32 lowest, fp16 in the middle and ending at "
    "65504, bf16 highest. A line marks twice a step of 0.0001; most of mini-gpt2's weights are marked by a grey band, in which the "
    "line crosses the staircase of bf16.",
)

# %% [markdown]
# Adam's step is about as large as the learning rate, whatever the gradient. With a rate of 0.0001, many weights lie
# where the staircase of bf16 is above the red line.
#
# **Predict first.** A weight of 0.05 gets a step of 0.0001, a thousand times, so it should end near 0.15. Where does it
# end in fp32, in bf16, and in fp16?

# %%
# NBVAL_CHECK_OUTPUT
for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
    x = torch.tensor(0.05, dtype=dtype)
    for _ in range(1000):
        x = x + torch.tensor(1e-4, dtype=dtype)
    print(f"{name}: {x:.4f}")
print(f"the gap of bf16 at 0.05: {gap(0.05, 7):.1e}")

# %% [markdown]
# In bf16 the weight never moves: the step is less than half a gap, and every single one is rounded away. In fp16 it
# moves, but by a wrong amount: each step is rounded to a whole number of gaps, first down, later up.
#
# And in a whole model? Here is how many of the mini GPT's weights one step leaves exactly where they were.

# %%
rows = []
for step in (1e-5, 1e-4, 1e-3, 1e-2):
    row = {"a step of": f"{step:g}"}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        here = weights.to(dtype)
        row[f"stay in {name}"] = f"{((here.float() + step).to(dtype) == here).double().mean():.0%}"
    rows.append(row)
draw.table(rows)

# %% [markdown]
# ## Master copies
#
# The remedy is old: keep a **master copy** of the weights in fp32. The steps add up there. The model gets a rounded
# copy, anew after every step. `master_step` is **exercise 24.6**.
#
# We train all weights of the mini GPT three times with the same batches: in fp32; with weights that are bf16 and
# nothing else; and with weights in bf16 and a master copy. So that only the rounding differs, everything else is
# computed in fp32.

# %%
from minipeft.tasks.task import batches, encode

master_step = learner("24.6")


def train_rounded(way, lr, steps=100):
    """The losses of Adam on all weights, which are rounded to bf16 after every step unless the way is 'fp32'."""
    model = copy.deepcopy(models["gpt2"]).train()
    params = list(model.parameters())
    with torch.no_grad():
        master = [p.clone().flatten() for p in params]
        for p in params:
            p.copy_(p if way == "fp32" else p.bfloat16())
    first, second = ([torch.zeros_like(p) for p in params] for _ in range(2))
    data = batches([encode(e, model.tokenizer) for e in task.train], 16, model.tokenizer.end, seed=0)
    losses = []
    for step in range(1, steps + 1):
        loss = FullFineTuning().loss(model, *next(data))
        losses.append(loss.item())
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(params, torch.autograd.grad(loss, params), strict=True)):
                first[i].lerp_(g, 0.1)
                second[i].lerp_(g * g, 0.001)
                size = (second[i] / (1 - 0.999**step)).sqrt() + 1e-8
                update = lr * first[i] / (1 - 0.9**step) / size
                if way == "bf16 and a master copy":
                    rounded, master[i] = master_step(master[i], update.flatten())
                    p.copy_(rounded.view_as(p))
                else:
                    p.copy_(p - update if way == "fp32" else (p - update).bfloat16())
    return losses


curves = {way: train_rounded(way, lr=1e-4) for way in ("fp32", "bf16 alone", "bf16 and a master copy")}
fig, ax = plt.subplots(figsize=(8, 3))
for (way, losses), style in zip(
    curves.items(), ({"color": "0.6", "lw": 4}, {"color": "black"}, {"color": "C3", "lw": 1}), strict=True
):
    ax.plot(torch.tensor(losses).unfold(0, 10, 1).mean(1), label=way, **style)
ax.set(xlabel="step", ylabel="loss, mean of ten steps\n(nats per token)", ylim=(0, None))
ax.legend(frameon=False)
draw.show(
    fig,
    "Loss against steps for three ways of training. In fp32, and in bf16 with a master copy, the curves lie on each other and fall "
    "to almost nothing within sixty steps. In bf16 alone the loss falls several times more slowly.",
)
for way, losses in curves.items():
    print(f"{way:23} the last ten steps: {sum(losses[-10:]) / 10:.3f} nats per token")

# %% [markdown]
# With a master copy the training is that of fp32; the two curves can't be told apart. With bf16 alone it goes on, but
# most steps of most weights are lost. Nothing fails, no error is raised: it only looks like a learning rate that is too
# small.
#
# That is why [lesson 02](02_where_memory_goes.ipynb) counted 16 bytes for a number that trains: 4 of them are the master copy (where the model's own
# number is in bf16, its 2 bytes come on top). And it is one more reason why PEFT is cheap: **only what trains needs
# one.** A frozen base takes no steps, so nothing of it gets lost in 16 bits. `train` does it for every method; these
# are its lines:

# %%
print(*(line for line in inspect.getsource(train).splitlines() if "exact" in line), sep="\n")

# %% [markdown]
# ## What fp16 does to gradients
#
# fp16 has the finer steps, and still bf16 has won for training. The reason is the other end of the range: gradients.

# %%
model = copy.deepcopy(models["gpt2"])
data = batches([encode(e, model.tokenizer) for e in task.train], 16, model.tokenizer.end, seed=0)
loss = FullFineTuning().loss(model, *next(data))
gradients = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
gradients = gradients[gradients != 0]  # words that don't occur in the batch
for scale in (1, 1e-2, 1e-4):
    some = scale * gradients
    print(
        f"gradients × {scale:g}: half of them below {some.abs().median():.1e}; "
        f"zero in fp16 {(some.half() == 0).double().mean():.1%}, in bf16 {(some.bfloat16() == 0).double().mean():.1%}"
    )
try:
    fit(GPT.from_pretrained(folders["gpt2"], dtype="fp16"), FullFineTuning(), task, steps=1)
except ValueError as error:
    print(error)

# %% [markdown]
# In our small model hardly a gradient is lost. But make them smaller by a factor of ten thousand, and a tenth of them
# is zero in fp16, while bf16 doesn't mind. Those who train in fp16 multiply the loss by a large number before the
# backward pass and divide the gradients by it afterwards (*loss scaling*). bf16 needs none of this. The library takes
# the simple way and refuses to train weights in fp16; as a format to write text with, fp16 is fine.
#
# ## Merging into a base in bf16
#
# A last place where rounding may bite. Merged into a base that is kept in bf16, a part of LoRA's change is rounded
# away; beside the base, in fp32, nothing is. How much is lost depends on how large the change is against the weights.
# So we look at the change of our LoRA, and at the same change made smaller.
#
# **Predict first.** A change of one part in a thousand of the weights: how many weights will move at all?

# %%
tuned = copy.deepcopy(models["gpt2"])
fit(tuned, LoRA(rank=8), task, steps=100, seed=0)
parts = [part for block in tuned.trunk for part in (block.attn.q, block.attn.v)]
W = torch.stack([part.base.weight.detach().bfloat16() for part in parts])
change = torch.stack([part.branch.matrix().detach() for part in parts])
rows = []
for scale in (1, 0.1, 0.01, 0.001):
    merged = (W.float() + scale * change).bfloat16()
    row = {
        "the change, times": f"{scale:g}",
        "change / weights (norms)": f"{scale * change.norm() / W.float().norm():.2g}",
    }
    row["weights that did not move"] = f"{(merged == W).double().mean():.0%}"
    error = (merged.float() - W.float() - scale * change).norm() / (scale * change).norm()
    rows.append(row | {"error of the change": f"{error:.1%}"})
draw.table(rows)

# %% [markdown]
# Here next to nothing is lost, for our LoRA has moved these weights by half of their own size: a small model, and a
# large learning rate. Of a change a hundred times smaller, a third is lost; of one a thousand times smaller, nearly
# all. The lines above tell you which case is yours. If it is the second, merge into a base in fp32 and keep it there,
# or leave LoRA beside the base.
#
# # On a GPU
#
# ## What changes in the code
#
# One argument: `GPT.from_pretrained(folder, dtype="bf16", device="cuda")`; everything else follows the model. On the
# command line:
#
# ```sh
# minipeft finetune --model my-llama --data my.jsonl --method lora --set rank=16 \
#     --device cuda --dtype bf16 --recompute --batch 16 --accumulate 4 --out runs/mine
# ```
#
# ## What changes in the arithmetic
#
# Two numbers describe a card: how many operations it does in a second, and how many bytes it reads from its memory in a
# second. For an NVIDIA A100 with 80 GB its data sheet says 312 · 10¹² operations in bf16, and 2,039 · 10⁹ bytes.
#
# - **Training** puts thousands of tokens through every weight that was read, so operations decide: 2 for each weight,
#   token and product. `step_operations` is **exercise 24.4**. Nobody reaches all of the 312; we reckon with 40 %.
# - **Writing**, one text at a time, puts a single token through every weight. Reading the weights decides: no card
#   writes more tokens in a second than it can read the whole model.
#
# **Predict first.** LoRA on LLaMA 7B trains 0.06 % of the numbers. What share of full fine-tuning's time does its step
# take, by this arithmetic? And with recomputation?

# %%
step_operations = learner("24.4")
rows = []
for name in ("GPT-2 small", "Llama 3.2 1B", "LLaMA 7B", "LLaMA 13B", "Llama 2 70B"):
    c = shapes[name]
    linears = sizes[name] - (
        c.vocab * c.width if not c.tied else 0
    )  # an embedding that isn't the head as well is only read
    seconds = [
        step_operations(linears, 8192, *how) / (0.4 * 312e12) for how in ((True, False), (False, False), (False, True))
    ]
    row = {"8,192 tokens a step": name}
    row |= dict(zip(("full, s", "LoRA, s", "LoRA, recomputation, s"), (f"{s:.2f}" for s in seconds), strict=True))
    rows.append(row | {"writes at most, tokens/s": f"{2039e9 / (2 * sizes[name]):,.0f}"})
draw.table(rows)

# %% [markdown]
# Two thirds, as [lesson 02](02_where_memory_goes.ipynb) found on a processor: the frozen base saves one product of three. With recomputation a fourth
# one is added, and LoRA's step is as long as full fine-tuning's without it. (The products of attention itself are left
# out; they matter for long texts.)
#
# The last column is an upper limit for one text. Several texts at once share the reading, so together they write more.
# And a base in fewer bits is read faster: that is why 4 bits make writing quicker, and training not.
#
# ## What else changes
#
# - **Time is harder to measure.** A call returns before the card has done the work. `minipeft.measure.times` waits for
#   it (`torch.cuda.synchronize`) before it reads the clock.
# - **Small models gain little.** Every operation has to be started, which takes some microseconds whatever its size. We
#   have not measured our mini models on a GPU; don't expect much.
# - **Memory is held back.** PyTorch keeps what was freed for the next tensor, so other programs see more in use than
#   there is. `torch.cuda.max_memory_allocated` says what was really needed.
# - **The last digits differ.** Sums are taken in another order. Runs are alike, not equal.
# - **Not every card has bf16.** NVIDIA's do from the generation of the A100 on.
#
# If there is a GPU where you run this, the next cell measures a step of LoRA on GPT-2 small with random weights, to be
# compared with the arithmetic. For the outputs that you see here there was none.

# %%
if torch.cuda.is_available():
    from functools import partial

    from minipeft.measure import times, training_step

    with torch.device("cuda"):
        big = GPT(shapes["GPT-2 small"])
    lora = LoRA(rank=8)
    big = lora.attach(big.bfloat16()).train()
    x = torch.randint(50257, (16, 512), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    seconds = times(training_step(partial(lora.loss, big, x, x), big)).median()
    print(f"a step of 8,192 tokens: {seconds:.3f} s, at most {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
else:
    print("no GPU here: nothing measured")

# %% [markdown]
# ## Your turn
#
# Open [`exercises/real_weights.py`](../exercises/real_weights.py) beside this notebook. Save the file, then run the
# check. Stuck? `hint("24.1")`. The first one is a mistake to find.

# %%
ask("24.1")

# %%
check("24.1")

# %%
check("24.2")

# %%
check("24.3")

# %%
check("24.4")

# %%
check("24.5")

# %%
check("24.6")

# %% [markdown]
# After a check has passed, the cells above that use your `cache_bytes`, `step_operations`, `gap` and `master_step` run
# with *your* functions: run the lesson again from the top.

# %% [markdown]
# ## What to remember
#
# 1. A model is a folder: the shape in JSON, the weights in safetensors, the tokenizer. Compare logits; shapes prove
#    nothing.
# 2. A step takes $2N$ bytes for a frozen base in bf16, 16 bytes for each number that trains, and the activations. Full
#    fine-tuning takes $16 N$.
# 3. Among PEFT methods memory hardly differs. The base decides: its size, and the bits you keep it in.
# 4. A step of less than half a gap is lost. What trains needs fp32, or a master copy in fp32; what is frozen does not.
# 5. On a GPU, a frozen base saves at most a third of the operations; writing is a matter of reading the weights.
#
# **Further reading.** Micikevicius et al., 2017, *Mixed Precision Training* ([arXiv
# 1710.03740](https://arxiv.org/abs/1710.03740)): master copies and loss scaling. Dettmers et al., 2023, *QLoRA* ([arXiv
# 2305.14314](https://arxiv.org/abs/2305.14314)): a base in 4 bits. In the library: `minipeft/checkpoint.py`,
# `minipeft/families.py`; `benchmarks/load_real.py` loads models of real size and compares their logits with those of
# transformers.
#
# This was the last lesson. Back to [the start](00_start_here.ipynb).

# %%
scratch.cleanup()
