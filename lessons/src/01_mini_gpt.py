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
# # 01 · The mini GPT: what everything is done to
#
# **The question.** Every method of this course changes a transformer somewhere. Where is there to change something? What goes in, what comes out, what flows in between, and which numbers make it so?
#
# | | |
# |---|---|
# | papers | Radford et al., 2019, *Language Models are Unsupervised Multitask Learners* (GPT-2); Touvron et al., 2023, *LLaMA*, [arXiv 2302.13971](https://arxiv.org/abs/2302.13971) |
# | survey | section 2 of [arXiv 2303.15647](https://arxiv.org/abs/2303.15647), background |
# | before this | [lesson 00](00_start_here.ipynb) |
# | you need | matrix products, softmax, what a trained network is |
# | time | 30 minutes to read and run, 70 for the exercises |
#
# At the end you will be able to follow a word through the model, say what each part is for and how many numbers it has, explain how GPT-2 and LLaMA differ, and say what a KV cache is: the one opening through which some of the methods enter.

# %%
import copy
import inspect
import time

import matplotlib.pyplot as plt
import torch
from einops import rearrange

from minipeft import GPT, Config, gpt
from minipeft.course import check, draw, learner
from minipeft.generate import cached, generate

torch.set_num_threads(1)  # for models as small as these, one core is quickest
model = GPT.from_pretrained("mini-gpt2").eval().requires_grad_(False)
llama = GPT.from_pretrained("mini-llama").eval().requires_grad_(False)
slanted = {"rotation": 60, "ha": "right", "fontsize": 8}  # how words stand below a picture

# %% [markdown]
# ## The map
#
# On the left the whole model, from the tokens at the bottom to the prediction at the top; beside it one of its blocks. This drawing opens the lesson of every method, with the trained parts in red. Today nothing trains: we only look. Each word in it is explained below.

# %%
draw.block(model, 0)

# %% [markdown]
# ## Text becomes numbers
#
# A model computes with numbers, so a **tokenizer** cuts the text into **tokens** and gives each its **id**, the number of its row in a table. Here a token is a word, together with the space before it (written `▁`); a word that the tokenizer does not know is spelt with letters. Every text starts with a special token.

# %%
tokenizer = model.tokenizer
text = "every day tom runs to the forest. yesterday he ran to the"
ids = tokenizer.start + tokenizer.encode(text)
words = [tokenizer.pieces[i].replace("▁", "").replace("<|endoftext|>", "start") for i in ids]
print(ids)
print([tokenizer.pieces[i] for i in ids])
print([tokenizer.pieces[i] for i in tokenizer.encode("a zebra")])

# %% [markdown]
# This text is the example of the whole lesson. You know how it goes on. So does the model:

# %%
print(tokenizer.decode(generate(model, [ids], 2)[0]))

# %% [markdown]
# ## A token becomes a vector
#
# The **embedding** has one vector of $d$ numbers, a row, for each token of the vocabulary. Taking the rows of our ids gives $t$ vectors, one a token. A word says nothing about where it stands, so GPT-2 adds a second vector, one for each position.
#
# Shapes are written as in the whole course: $b$ texts at once, $t$ tokens each, $d$ numbers for each token.

# %%
idx = torch.tensor([ids])
place = torch.arange(len(ids))
x = model.tokens(idx) + model.positions(place)
print("ids              b t   ", tuple(idx.shape))
print("token table      v d   ", tuple(model.tokens.weight.shape))
print("position table         ", tuple(model.positions.weight.shape))
print("x                b t d ", tuple(x.shape))

# %% [markdown]
# ## The residual stream
#
# These $t$ vectors now run through the model. Each **block** reads them and *adds* something to them, and never does anything else. That is why the line of vectors is called the **residual stream**: what you see at its end is the embedding plus what each part of each block has written to it.

# %%
print(inspect.getsource(gpt.Block))

# %% [markdown]
# A block has two parts that read and write: **attention**, where a token looks at other tokens, and an **MLP**, where each token is worked on alone. Both read a normalised copy (`norm1`, `norm2`) and add to the original.
#
# After the last block comes one more norm, and then the **head**, which turns each vector into $v$ numbers, the **logits**: a score for every token of the vocabulary. In GPT-2 the head is the embedding again, read backwards: the logit of a token is the product of the vector with the token's own row. This is called *tied*.
#
# **Predict first.** What is the shape of the logits for our text? Why is it more than the $v$ numbers of one prediction?

# %%
stream = [x]
for block in model.trunk:
    stream.append(block(stream[-1]))
logits = model.norm(stream[-1]) @ model.tokens.weight.T
print("logits  b t v ", tuple(logits.shape))
print("the same as model(idx):", torch.allclose(logits, model(idx), atol=1e-5))

# %% [markdown]
# Each token's vector predicts the token that *follows it*. All $t$ predictions are made at once; in training, each of them is a lesson. A softmax turns logits into probabilities:

# %%
p = logits[0, -1].softmax(-1)
for value, i in zip(*p.topk(4), strict=True):
    print(f"{value:6.1%}  {tokenizer.decode([i.item()])}")

# %% [markdown]
# Because blocks only add, we may look at the stream halfway: apply the last norm and the head after each block, and ask what the model would say there. The picture shows the probability that it gives to the word that really comes next. Rows are depths, from the embedding below to the output on top; columns are places in the text.
#
# **Predict first.** After the embedding alone, no token has seen another one. What can the lowest row know?

# %%
target = torch.tensor(ids[1:] + tokenizer.encode("forest"))
right = torch.stack([model.logits(model.norm(x))[0].softmax(-1).gather(1, target[:, None])[:, 0] for x in stream])

fig, ax = plt.subplots(figsize=(9.5, 2.9))
image = ax.imshow(right, cmap="Greys", vmin=0, vmax=1, origin="lower", aspect="auto")
ax.set_xticks(place, [f"{w} → {n}" for w, n in zip(words, [*words[1:], "forest"], strict=True)], **slanted)
ax.set_yticks(range(len(stream)), ["embedding", *(f"after block {i}" for i in range(model.c.layers))])
ax.add_patch(plt.Rectangle((len(ids) - 1.5, -0.5), 1, len(stream), fill=False, ec=draw.TRAINS, lw=2, clip_on=False))
fig.colorbar(image, label="probability of the next word", pad=0.01)
draw.show(
    fig,
    "A grid of depths and words. In the lowest rows hardly any word is expected; towards the top the words that follow from the text become certain, and two of them, ran and forest, become certain only in the upper blocks.",
)

# %% [markdown]
# The lowest row is white: the head is the embedding read backwards, so the embedding of a word predicts the word itself once more. What follows from the word before (after *every* comes *day*) is there after the first block. The two interesting columns grow with the depth. *ran* takes two steps: find what Tom does every day, then put it into the past. *forest*, in the red frame, has to be found far back in the text.
#
# ## How good is it?
#
# The bundled models have read stories from a **toy world**: a program that makes up people and places and tells consistent stories about them. The world knows the true probability of every word, so we know the lowest loss that any model can have. The **surprise** of a word is $-\log p(\text{word} \mid \text{the words before})$, measured in *nats*: a fair choice among 20 words surprises by $\log 20 = 3.0$. The **loss** is the mean surprise.

# %%
from random import Random

from minipeft.tasks import world


def surprise(story):
    """-log p of each token of a story, as the model sees it: (t,)"""
    ids = tokenizer.start + tokenizer.encode(story.text) + [tokenizer.end]
    logp = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return -logp.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


story = world.tell(Random(26))
print(story.text)

# %%
fig, ax = plt.subplots(figsize=(9.5, 2.6))
truth = -torch.tensor(story.logp)
n = range(len(truth))
ax.bar(n, surprise(story), color="0.8", label="the model")
ax.plot(n, truth, "_", color=draw.TRAINS, ms=11, mew=2.5, label="the world itself")
ax.set_xticks(n, [t.replace("▁", "").replace("<|endoftext|>", "end") for t in story.tokens], **slanted)
ax.set(ylabel="surprise (nats)", xlim=(-0.7, len(truth) - 0.3))
ax.legend(frameon=False)
draw.show(
    fig,
    "Bars, one for each word of a story: high where the story makes a choice, such as a name or a place, and near zero where it has none. A mark on each bar shows the surprise of the world itself; at most words the two agree.",
)

# %%
stories = [world.tell(Random(10**6 + i)) for i in range(200)]
loss = torch.cat([surprise(s) for s in stories]).mean()
limit = -torch.tensor([logp for s in stories for logp in s.logp]).mean()
print(f"the model's loss {loss:.3f} nats, the world's limit {limit:.3f}")

# %% [markdown]
# Where the story makes a choice, nobody can know, and a good model's bar is as high as the mark, not lower. Where the mark is at zero the text decides, and what is left of the bar is what the model has not learnt. The same holds for the loss as a whole.

# %% [markdown]
# ## Attention: a token looks at other tokens
#
# From a token's vector three Linears make three shorter ones: a **query** (what am I looking for?), a **key** (what have I to offer?) and a **value** (what do I hand over?). The score of a query with a key is their product. A softmax makes the scores of one query into weights that add up to 1, and the result is the average of the values with these weights:
#
# $$ \text{attend}(q, k, v) = \operatorname{softmax}\!\Big(\frac{q\,k^\top}{\sqrt{e}}\Big)\, v \qquad q, k, v \in \mathbb{R}^{t \times e}, \quad q\,k^\top \in \mathbb{R}^{t \times t} $$
#
# - **Why $\sqrt e$?** The product of two random vectors of $e$ numbers has a size of about $\sqrt e$. Divided by it, the scores are of size 1 for every $e$, and the softmax starts neither flat nor with all weight on one token.
# - **Heads.** This is done $h$ times side by side with other, smaller Linears: $h$ heads of width $e$, usually $h\,e = d$. Each can look for something else. A fourth Linear, `o`, mixes what they found.
# - **Causal.** A token must not see those after it. Their scores are set to $-\infty$, so that their weights are 0.

# %%
print(inspect.getsource(gpt.Attention.forward))

# %% [markdown]
# `turn`, `past` and `mask` come later; without them this is the equation. To *see* the weights, we use a trick: if the values are the rows of the identity matrix, the averages of the values are the weights themselves.


# %%
def looks(model, idx):
    """The attention weights of a text, in every block and head of a GPT-2: (1, t) -> (L, h, t, t)."""
    c, x, found = model.c, model.embed(idx), []
    for block in model.trunk:
        read = block.norm1(x)
        q, k = (rearrange(part(read), "b t (h e) -> b h t e", e=c.head_width) for part in (block.attn.q, block.attn.k))
        found.append(gpt.attend(q, k, torch.eye(idx.shape[1]).expand(1, c.heads, -1, -1), None)[0])
        x = block(x)
    return torch.stack(found)


weights = looks(model, idx)
print(tuple(weights.shape), "each row adds up to 1:", torch.allclose(weights.sum(-1), torch.ones(1)))

# %% [markdown]
# The last token, *the*, is to be continued with *forest*. Which heads look from there at the *forest* of the first sentence? On the left, one number for each head of each block; on the right the strongest of these heads in full. Each row is a token, and shows where it looks.

# %%
forest = words.index("forest")
there = weights[:, :, -1, forest]  # (L, h)
by_strength = [divmod(i, model.c.heads) for i in there.flatten().argsort(descending=True).tolist()]  # (block, head)

fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), width_ratios=(1, 1.25))
axes[0].imshow(there, cmap="Greys", vmin=0, vmax=1, origin="lower", aspect="auto")
for i, h in torch.cartesian_prod(torch.arange(model.c.layers), torch.arange(model.c.heads)).tolist():
    w = there[i, h].item()
    axes[0].text(h, i, f"{w:.0%}", ha="center", va="center", color="white" if w > 0.5 else "black")
axes[0].set(
    xlabel="head", ylabel="block", title="weight of “forest” for the last word", xticks=range(4), yticks=range(4)
)
block, head = by_strength[0]
axes[1].imshow(weights[block, head], cmap="Greys", vmin=0, vmax=1)
axes[1].set_xticks(place, words, **slanted)
axes[1].set_yticks(place, words, fontsize=8)
axes[1].set(xlabel="is looked at (key)", ylabel="looks (query)", title=f"block {block}, head {head}")
axes[1].add_patch(plt.Rectangle((forest - 0.5, len(ids) - 1.5), 1, 1, fill=False, ec=draw.TRAINS, lw=2.5))
fig.tight_layout()
draw.show(
    fig,
    "Left: a table of blocks and heads; in block 1 three heads give half their weight and more to forest, all others next to none. Right: the map of one of these heads, empty above the diagonal; the last row is dark at forest, which is marked.",
)

# %% [markdown]
# The upper right half of the map is empty: that is the causal mask. And three heads of block 1 find the word that followed *the* the last time; a few rows higher *he* finds *runs*, to put it into the past. A head that looks for what came next when the text was here before is called an **induction head** (Olsson et al., 2022, [arXiv 2209.11895](https://arxiv.org/abs/2209.11895)); large models have them too. It cannot do this alone: for *forest* to be found as "what comes after *tom runs to the*", its vector must say so, and somebody below must have written that into it.
#
# A picture of where a head looks is not yet a proof of what it is good for. So we switch heads off: the Linear `o` reads the heads side by side, and the columns that read one head are set to zero.
#
# **Predict first.** What happens to *ran* and to *forest* without the strongest of these heads? Without all three? Without the heads of block 0, none of which looks at *forest* from the last word? And without those of the last block?


# %%
def without(model, heads):
    """A copy of the model in which some heads, (block, head) each, have nothing to say."""
    model, e = copy.deepcopy(model), model.c.head_width
    for block, head in heads:
        model.trunk[block].attn.o.weight[:, head * e : (head + 1) * e] = 0
    return model


ran, said, last = words.index("ran"), tokenizer.encode("forest")[0], model.c.layers - 1
trials = {
    "with every head": [],
    "without the strongest": by_strength[:1],
    "without the two strongest": by_strength[:2],
    "without the three strongest": by_strength[:3],
    "without those of block 0": [(0, i) for i in range(model.c.heads)],
    f"without those of block {last}, the last": [(last, i) for i in range(model.c.heads)],
}
for name, heads in trials.items():
    p = without(model, heads)(idx)[0].softmax(-1)
    print(f"{name:36}  ran {p[ran - 1, ids[ran]]:6.1%}   forest {p[-1, said]:6.1%}")

# %% [markdown]
# Without the strongest head hardly anything happens: the others do the same work. Only when all three are gone is *forest* gone with them. The heads of block 0 never look there, and nothing works without them: they tell the tokens what stands around them. The last block's attention is not needed at all here. Keep this experiment in mind: for what a part does, take it away and measure, and remember that others may stand in for it.
#
# Is it really *looked up*, and not learnt by heart that Tom is fond of forests? Change the facts, and see.

# %%
for fact in ("tom runs to the forest", "tom runs to the market", "tom sleeps in the barn"):
    ask = tokenizer.start + tokenizer.encode(f"every day {fact}. yesterday he")
    print(fact, "→ yesterday he", tokenizer.decode(generate(model, [ask], 4)[0]))

# %% [markdown]
# **Predict first.** One token in the middle of the text, *forest*, is exchanged for *river*. Which of the logits change: those before it, its own, those after it?

# %%
# NBVAL_CHECK_OUTPUT
other = idx.clone()
other[0, forest] = tokenizer.encode("river")[0]
moved = (model(other) - model(idx)).abs().amax(-1)[0] > 1e-5
print(" ".join(word.upper() if change else word for word, change in zip(words[1:], moved[1:], strict=True)))

# %% [markdown]
# Nothing before it moves (the words in capitals are those whose logits did). That is the purpose of the mask: when position $i$ is trained to predict token $i + 1$, that token must be out of sight, or the task would be to copy it. It also means that the vectors of a text's beginning stay as they are when the text grows, and this will save a lot of work below.

# %% [markdown]
# ## The MLP: a token works alone
#
# The second half of a block widens each vector to $f$ numbers, bends them with a nonlinearity, and comes back to $d$. In GPT-2 that is $f = 4d$ and GELU. LLaMA multiplies with a second widened vector, the **gate**:
#
# $$ \text{GPT-2:}\quad W_\text{down}\,\operatorname{gelu}(W_\text{up}\,x) \qquad\qquad \text{LLaMA:}\quad W_\text{down}\,\big(\operatorname{silu}(W_\text{gate}\,x) \odot W_\text{up}\,x\big) $$
#
# with $W_\text{up}, W_\text{gate} \in \mathbb{R}^{f \times d}$ and $W_\text{down} \in \mathbb{R}^{d \times f}$. Three matrices instead of two would be more numbers, so LLaMA takes a smaller $f$, about $\tfrac83 d$. The two nonlinearities are nearly the same curve, a soft form of "keep what is positive":

# %%
u = torch.linspace(-5, 4, 200)
fig, ax = plt.subplots(figsize=(4.4, 2.5))
ax.plot(u, u.relu(), color="0.75", label="relu")
ax.plot(u, torch.nn.functional.gelu(u), "k--", label="gelu(u) = u · normal cdf(u)")
ax.plot(u, torch.nn.functional.silu(u), color=draw.TRAINS, label="silu(u) = u · sigmoid(u)")
ax.set(xlabel="u", ylabel="what is passed on")
ax.legend(frameon=False, fontsize=8)
draw.show(
    fig,
    "Three curves: relu is zero and then a straight line; gelu and silu follow it in smooth bends that dip a little below zero.",
)

# %% [markdown]
# ## Norms: every part reads numbers of one size
#
# Parts keep adding to the stream, so its vectors grow. Before a part reads one, a **norm** brings it to a common size:
#
# $$ \text{LayerNorm (GPT-2):}\quad \frac{x - \operatorname{mean}(x)}{\sqrt{\operatorname{var}(x) + \epsilon}}\odot g + \beta \qquad\qquad \text{RMSNorm (LLaMA):}\quad \frac{x}{\sqrt{\operatorname{mean}(x^2) + \epsilon}}\odot g $$
#
# Mean and variance are those of the $d$ numbers of *one token*; $g$ and $\beta$ (of $d$ numbers each) are learnt. RMSNorm leaves out the mean and the bias, and works as well.

# %%
for i, (x, block) in enumerate(zip(stream, model.trunk, strict=False)):
    print(
        f"block {i}: the stream has size {x.square().mean().sqrt():.2f}, what it reads {block.norm1(x).square().mean().sqrt():.2f}"
    )

# %% [markdown]
# **Where the norm stands.** Our block is *pre-norm*: `x + part(norm(x))`, as in GPT-2, LLaMA and nearly all models since. The survey's listings, and many of its papers, describe BERT's *post-norm* block: `norm(x + part(x))`, where the stream itself is normalised again and again. A method's paper that says "after the feed-forward layer, before the layer norm" has to be translated; the lessons do so, and say how.

# %% [markdown]
# ## Positions: added, or turned
#
# GPT-2 learns a vector for each position and adds it once, at the bottom. LLaMA adds nothing: inside every attention it *turns* queries and keys. The $e$ numbers of a head are seen as $e/2$ pairs, each a point in a plane, and at position $m$ pair $i$ is turned by the angle
#
# $$ m\,\omega_i, \qquad \omega_i = \text{base}^{-2i/e} \quad\text{radians} $$
#
# so the first pair turns fast and the last very slowly, like the hands of a clock. This is called **rotary position embedding**, RoPE (Su et al., 2021). What is it good for? The product of two vectors depends on their lengths and the angle *between* them. Turn both by the same angle, and it stays.
#
# **Predict first.** The same query and the same key are placed at positions (10, 7), then at (30, 27), then at (30, 7). Which of the three scores are equal?

# %%
# NBVAL_CHECK_OUTPUT
c = llama.c
q, k = torch.randn(2, c.head_width, generator=torch.Generator().manual_seed(0))
turn = gpt.turns(c, torch.arange(c.context), q.dtype)
queries, keys = (gpt.rotate(y.expand(1, c.context, 1, -1), *turn)[0, :, 0] for y in (q, k))
scores = queries @ keys.T  # row: where the query stands; column: where the key stands
for i, j in ((10, 7), (30, 27), (30, 7)):
    print(f"query at {i}, key at {j}: {scores[i, j]:6.2f}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
speed = gpt.frequencies(c, torch.device("cpu"))
for pair, colour, centre in ((0, draw.TRAINS, -1.4), (2, "0.3", 1.4)):
    for m in range(6):
        x, y = torch.cos(m * speed[pair]).item(), torch.sin(m * speed[pair]).item()
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        left.annotate("", (centre + x, y), (centre, 0), arrowprops=arrow)
        left.text(centre + 1.15 * x, 1.15 * y, m, color=colour, ha="center", va="center", fontsize=8)
    left.text(
        centre,
        -1.6,
        f"pair {pair}\n{speed[pair]:.2f} radians a token",
        color=colour,
        ha="center",
        va="center",
        fontsize=9,
    )
left.set(xlim=(-2.8, 2.8), ylim=(-1.9, 1.3), aspect="equal", title="two pairs of a query, at positions 0 to 5")
left.axis("off")
image = right.imshow(scores, cmap="Greys")
right.set(xlabel="where the key stands", ylabel="where the query stands", title="scores of one query and one key")
fig.colorbar(image, label="score")
draw.show(
    fig,
    "Left: arrows from a centre, numbered 0 to 5: one pair turns by a radian from token to token, another much less. Right: a square of scores with the same value along each diagonal.",
)

# %% [markdown]
# Every diagonal has one value: the score depends on the *distance* of the two alone, not on where they stand. And there is no table that ends: the angle of position 100,000 can be computed. (Whether a model trained on short texts does something sensible there is another matter.)

# %% [markdown]
# ## Fewer keys and values
#
# The last difference: in LLaMA, several query heads may share one head of keys and values: **grouped-query attention** (Ainslie et al., 2023). It saves little in weights, and much in the memory that we come to soon.

# %%
# NBVAL_CHECK_OUTPUT
for name, m in (("mini-gpt2", model), ("mini-llama", llama)):
    attn = m.trunk[0].attn
    print(f"{name:11}", *(f"{part} {tuple(getattr(attn, part).weight.shape)}" for part in "qkvo"))

# %% [markdown]
# ## The two styles side by side
#
# Both are the same file, the same classes and, above all, the same *names*: `attn.q`, `mlp.down`, `norm1`. A method that says "put me beside `attn.q`" works on both. The table is read from the two models.


# %%
# NBVAL_CHECK_OUTPUT
def facts(m):
    c, block = m.c, m.trunk[0]
    return {
        "positions": "rotary" if m.positions is None else f"learned, {c.context} × {c.width}",
        "norm": type(m.norm).__name__,
        "query heads": c.heads,
        "key and value heads": c.kv_heads,
        "Linears of the MLP": ", ".join(name for name, _ in block.mlp.named_children()),
        "hidden width f": c.hidden,
        "biases in a block": sum(p.numel() for name, p in block.named_parameters() if name.endswith(".bias")),
        "head": "tied" if m.head is None else f"its own, {c.vocab} × {c.width}",
        "numbers in all": sum(p.numel() for p in m.parameters()),
    }


ours, theirs = facts(model), facts(llama)
draw.table([{"": key, "mini-gpt2": ours[key], "mini-llama": theirs[key]} for key in ours])

# %% [markdown]
# ## Where the numbers are
#
# **Predict first.** In a block of GPT-2, are there more numbers in the attention or in the MLP? By what factor? (Count matrices: q, k, v, o are $d \times d$ each; up and down are $4d \times d$.) And the table of tokens: does its share grow or shrink as real models get larger?
#
# Beside our two models stand two real ones, of which only the shapes are made, on torch's `meta` device, where tensors have no content. Their sizes are quoted from the configurations that their authors published.

# %%
small = Config("gpt2", vocab=50257, context=1024, layers=12, heads=12, width=768)
large = Config(
    "llama", vocab=128256, context=131072, layers=16, heads=32, kv_heads=8, width=2048, hidden=8192, tied=True
)
with torch.device("meta"):
    models = {"mini-gpt2": model, "mini-llama": llama, "GPT-2 small": GPT(small), "Llama 3.2 1B": GPT(large)}

KINDS = ("attn", "mlp", "norm", "positions", "tokens", "head")  # the first that occurs in a parameter's name


def by_part(m):
    """{part: how many numbers}"""
    sizes = dict.fromkeys(KINDS, 0)
    for name, p in m.named_parameters():
        sizes[next(kind for kind in KINDS if kind in name)] += p.numel()
    return sizes


for name, m in models.items():
    print(
        f"{name:13}{sum(by_part(m).values()):15,} numbers, MLP : attention = {by_part(m)['mlp'] / by_part(m)['attn']:.2f}"
    )

# %%
fig, ax = plt.subplots(figsize=(9.5, 2.6))
shades = dict(zip(KINDS, (draw.TRAINS, "0.35", "black", "0.6", "0.78", "0.9"), strict=True))
for y, (_, m) in enumerate(models.items()):
    sizes, x = by_part(m), 0.0
    for kind in KINDS:
        share = sizes[kind] / sum(sizes.values())
        ax.barh(y, share, left=x, color=shades[kind], ec="white", label=kind if y == 0 else None)
        if share > 0.05:
            ax.text(
                x + share / 2,
                y,
                f"{share:.0%}",
                ha="center",
                va="center",
                fontsize=8,
                color="black" if kind in ("tokens", "head") else "white",
            )
        x += share
ax.set_yticks(range(len(models)), models)
ax.set(xlabel="share of all numbers", xlim=(0, 1))
ax.invert_yaxis()
ax.legend(
    *ax.get_legend_handles_labels(), ncols=6, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8
)
draw.show(
    fig,
    "One bar for each of four models, divided into attention, MLP, norms, positions, tokens and head. The MLP is the largest part in all; the token embedding takes a large share too; norms are hardly visible.",
)

# %% [markdown]
# The MLP is two thirds of a block or more, yet most methods that put something beside a weight choose the attention. Keep this in mind when a paper says "we train 0.1 % of the parameters": a per cent of what, and where?
#
# Exercise 01.5 asks you for the formula behind these bars.

# %% [markdown]
# ## Generating: the past need not be computed again
#
# To write a text, the model predicts one token, appends it, and starts again. But the mask says that the vectors of the earlier tokens have not changed. The only thing that a new token needs from them are their **keys and values**. So we keep those: the **KV cache**. From then on only one token goes through the blocks at each step.
#
# In our model the cache is not built in. Attention has one opening, `attn.past`, for *what came before the first token*: an empty list in a plain model, whose members put keys and values in front of the new ones.

# %%
print(inspect.getsource(gpt.Past))

# %% [markdown]
# A cache is one such member. It keeps what it is given, and puts it in front the next time:

# %%
from minipeft.generate import Cache

print(inspect.getsource(Cache.forward))

# %% [markdown]
# By hand: all tokens but the last go in, and then the last one alone. `start` says how many came before, so that it gets its right position. (`mask`, the third argument, is for batches: it says which tokens are only padding that makes a short text as long as its neighbour.)

# %%
# NBVAL_CHECK_OUTPUT
with cached(model):
    model(idx[:, :-1])
    last = model(idx[:, -1:], start=len(ids) - 1)
    kept = model.trunk[0].attn.past[0].kept
print("computed for the last step:", tuple(last.shape))
print("keys kept in each block   :", tuple(kept[0].shape), " b h s e")
print("the same logits           :", torch.allclose(last[:, -1], model(idx)[:, -1], atol=1e-4))

# %% [markdown]
# `generate` does this for you. With and without the cache, the text is the same; the time is not. What the weights are makes no difference to the time, so the cell takes a wider and longer model with random ones. It measures the time of the processor, in which other programs on your machine do not count.
#
# **Predict first.** How does the time for *one more token* grow with the length of the text, without a cache and with one?

# %%
# NBVAL_CHECK_OUTPUT
opening = tokenizer.start + tokenizer.encode("every day lucy comes to the garden.")
print(generate(model, [opening], 24, cache=True) == generate(model, [opening], 24, cache=False))

# %%
wide = GPT(Config(width=256, layers=2, heads=8, context=512)).eval().requires_grad_(False)
long_text = torch.randint(wide.c.vocab, (1, wide.c.context))


def milliseconds(steps):
    """The mean processor time of some steps, each of (tokens, how many came before)."""
    began = time.thread_time()
    for tokens, start in steps:
        wide(tokens, start)
    return 1e3 * (time.thread_time() - began) / len(steps)


lengths = range(64, 513, 64)
whole = [milliseconds(3 * [(long_text[:, :n], 0)]) for n in lengths]
with cached(wide):
    single = [milliseconds([(long_text[:, i : i + 1], i) for i in range(n - 64, n)]) for n in lengths]

# %%
fig, ax = plt.subplots(figsize=(6.5, 3))
ax.plot(lengths, whole, "o-", color="0.5", ms=3, label="without a cache: the whole text again")
ax.plot(lengths, single, "o-", color=draw.TRAINS, ms=3, label="with a cache: one token")
ax.set(xlabel="tokens in the text", ylabel="time of one more token (ms)", ylim=(0, None))
ax.legend(frameon=False)
draw.show(
    fig,
    "Time for one more token against the length of the text: without a cache it climbs steadily, with a cache it stays low and flat.",
)

# %%
print(f"at 512 tokens: {whole[-1]:.1f} ms without a cache, {single[-1]:.1f} ms with one")

# %% [markdown]
# With a cache the line is nearly flat. Not quite: the one query still looks at all keys, but at these lengths that is
# little beside the rest.
#
# ### What the cache costs
#
# Keys and values, of $h_\text{kv}$ heads of width $e$, for $s$ tokens, in $L$ layers: $2\,L\,h_\text{kv}\,e\,s$ numbers for each text.
#
# **Predict first.** Llama 3.1 8B has 32 layers, 8 key and value heads of width 128, and a context of 131,072 tokens, at 2 bytes a number (quoted from its configuration). How large is the cache of *one* full text? And if each of its 32 query heads had keys and values of its own?


# %%
# NBVAL_CHECK_OUTPUT
def cache_bytes(layers, kv_heads, head_width, tokens, bytes_each):
    return 2 * layers * kv_heads * head_width * tokens * bytes_each


print(
    f"mini-gpt2,    {len(ids)} tokens: {cache_bytes(model.c.layers, model.c.kv_heads, model.c.head_width, len(ids), 4):,} bytes"
)
print(f"Llama 3.1 8B, full context: {cache_bytes(32, 8, 128, 131072, 2) / 1e9:.1f} GB")
print(f"  without shared heads:     {cache_bytes(32, 32, 128, 131072, 2) / 1e9:.1f} GB")

# %%
# NBVAL_CHECK_OUTPUT
with cached(model):
    model(idx)
    measured = sum(t.nbytes for block in model.trunk for t in block.attn.past[0].kept)
print(f"measured on mini-gpt2: {measured:,} bytes")

# %% [markdown]
# That is more than the model's own weights, which take 16 GB. Here is why heads share keys and values.
#
# ### The door
#
# Look at `Past` once more. Attention does not ask where the keys and values in front come from. A cache computes them from text. But they are only numbers: what if they came from no text at all, and gradient descent chose them, so that every token looks at them and the model does what we want? That is **prefix-tuning**, [lesson 06](06_prefix_tuning.ipynb), and you now know all of its mechanics but the training.

# %% [markdown]
# ## Choosing the next token
#
# The model gives probabilities; somebody has to choose. **Greedy** takes the likeliest token every time. **Sampling** draws. The **temperature** $T$ stands in between: $p = \operatorname{softmax}(\text{logits} / T)$, sharper for $T < 1$, flatter for $T > 1$, greedy as $T \to 0$.

# %%
open_end = tokenizer.encode("anna is in the kitchen. tom is in the garden.")
after = model(torch.tensor([tokenizer.start + open_end]))[0, -1]
top = after.topk(5).indices
fig, axes = plt.subplots(1, 3, figsize=(9.5, 2.3), sharey=True)
for ax, temperature in zip(axes, (0.5, 1.0, 2.0), strict=True):
    ax.bar(range(5), (after / temperature).softmax(-1)[top], color=draw.TRAINS if temperature == 1 else "0.6")
    ax.set_xticks(range(5), [tokenizer.decode([i]).replace("<|endoftext|>", "end") for i in top.tolist()], **slanted)
    ax.set_title(f"T = {temperature}", fontsize=10)
axes[0].set_ylabel("probability")
draw.show(
    fig,
    "The five likeliest next words at temperatures 0.5, 1 and 2: the lower the temperature, the more the likeliest one takes; the higher, the more even they are.",
)

# %%
begin = tokenizer.start + tokenizer.encode("every day anna")
for seed, temperature in enumerate((0.0, 0.7, 1.0, 2.5)):
    chance = torch.Generator().manual_seed(seed)
    new = generate(model, [begin], 14, temperature=temperature, stop=tokenizer.end, generator=chance)[0]
    print(f"T = {temperature}: every day anna {tokenizer.decode(new)}")

# %% [markdown]
# ## Is it the real thing?
#
# It is. The model is written and read in the format of Hugging Face, and `transformers`, where it is installed, computes the same logits from the same file:
#
# ```python
# from transformers import GPT2LMHeadModel
#
# model.save_pretrained("mini/")
# theirs = GPT2LMHeadModel.from_pretrained("mini/")
# torch.allclose(theirs(idx).logits, model(idx), atol=1e-4)      # True
# ```
#
# `tests/test_parity.py` does this on many random models of both styles. In the other direction, `GPT.from_pretrained` loads the published weights of GPT-2 and LLaMA into the classes that you have just read; [lesson 24](24_real_weights.ipynb) does.

# %% [markdown]
# ## Your turn
#
# Open [`exercises/mini_gpt.py`](../exercises/mini_gpt.py) beside this notebook. You write attention, a norm, a rotation and a cache, and count. Save the file, then run the check; it reads the file anew every time. Stuck? `hint("01.1")`.

# %%
check("01.1")

# %%
check("01.2")

# %%
check("01.3")

# %%
check("01.4")

# %%
check("01.5")

# %%
check("01.6")

# %% [markdown]
# ### Your attention in the mini GPT
#
# As soon as `check("01.1")` passes, the cell below runs the model with *your* attention in every head of every block. Until then it uses the library's, and says so. (It puts something around a part of the model: the smallest case of the surgery that [lesson 02](02_where_memory_goes.ipynb) is about.)

# %%
attention = learner("01.1")


class YourAttention(torch.nn.Module):
    def __init__(self, attn):
        super().__init__()
        self.attn = attn  # its four Linears, with their trained weights

    def forward(self, x, turn=None, mask=None):
        a = self.attn
        q, k, v = (rearrange(part(x), "b t (h e) -> (b h) t e", e=a.head_width) for part in (a.q, a.k, a.v))
        return a.o(rearrange(attention(q, k, v), "(b h) t e -> b t (h e)", b=len(x)))


yours = copy.deepcopy(model)
for block in yours.trunk:
    block.attn = YourAttention(block.attn)
print("the same logits:", torch.allclose(yours(idx), model(idx), atol=1e-4))
print(text, "→", tokenizer.decode(generate(yours, [ids], 2, cache=False)[0]))

# %% [markdown]
# ### A LLaMA from your parts
#
# And here are the other three together: your norm, your rotation and your cache, in the mini LLaMA. It writes a story, one token at a time.

# %%
rms_norm, rotate, attention_with_past = learner("01.2"), learner("01.3"), learner("01.4")


class YourNorm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.gain, self.eps = norm.weight, norm.eps

    def forward(self, x):
        return rms_norm(x, self.gain, self.eps)


class YourCachedAttention(torch.nn.Module):
    def __init__(self, attn, c):
        super().__init__()
        self.attn, self.base, self.shared = attn, c.rope_base, c.heads // c.kv_heads
        self.k = self.v = torch.zeros(c.heads, 0, c.head_width)  # nothing yet

    def forward(self, x, turn=None, mask=None):
        a, seen = self.attn, self.k.shape[1]
        q, k, v = (rearrange(part(x), "1 t (h e) -> h t e", e=a.head_width) for part in (a.q, a.k, a.v))
        q, k = rotate(q, seen, self.base), rotate(k, seen, self.base)
        k, v = k.repeat_interleave(self.shared, 0), v.repeat_interleave(self.shared, 0)
        y, self.k, self.v = attention_with_past(q, k, v, self.k, self.v)
        return a.o(rearrange(y, "h t e -> 1 t (h e)"))


# %%
yours = copy.deepcopy(llama)
for block in yours.trunk:
    block.attn = YourCachedAttention(block.attn, llama.c)
    block.norm1, block.norm2 = YourNorm(block.norm1), YourNorm(block.norm2)
yours.norm = YourNorm(yours.norm)

told, new = list(opening), opening
for _ in range(20):
    logits = yours(torch.tensor([new]), start=len(told) - len(new))
    new = [logits[0, -1].argmax().item()]
    if new == [tokenizer.end]:
        break
    told += new
print(tokenizer.decode(told[1:]))
print("the library writes the same:", told[len(opening) :] == generate(llama, [opening], 20, stop=tokenizer.end)[0])

# %% [markdown]
# ## What to remember
#
# 1. The residual stream: embeddings go in at the bottom, every part reads a normalised copy and adds to it, the head reads it at the top.
# 2. Attention moves information between tokens, and only from earlier to later ones; the MLP works on each token alone, and holds two thirds of a block's numbers.
# 3. GPT-2 and LLaMA differ in norm, positions, MLP, biases and shared key/value heads; in our code they have the same names, so a method is written once.
# 4. Keys and values of the past do not change. Keep them, and a new token costs one token's work; the price is memory that grows with every token.
# 5. `attn.past` does not ask where keys and values come from: text, or training.
#
# **Further reading.** `minipeft/gpt.py`, top to bottom: you have now seen nearly all of it. Vaswani et al. (2017), [arXiv 1706.03762](https://arxiv.org/abs/1706.03762), for attention; Su et al. (2021), [arXiv 2104.09864](https://arxiv.org/abs/2104.09864), for the rotation; Ainslie et al. (2023), [arXiv 2305.13245](https://arxiv.org/abs/2305.13245), for grouped queries; Zhang and Sennrich (2019), [arXiv 1910.07467](https://arxiv.org/abs/1910.07467), for RMSNorm; Shazeer (2020), [arXiv 2002.05202](https://arxiv.org/abs/2002.05202), for gated MLPs. Andrej Karpathy's nanoGPT is the model for how short a GPT can be.
#
# **Next:** [lesson 02, where memory goes](02_where_memory_goes.ipynb): what a training step keeps, and why frozen weights help.
