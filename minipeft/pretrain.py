"""Pre-training: the bundled models, from random weights, on stories that nobody has told before.

    minipeft pretrain --out DIR         both models, one process and one thread each, bit-identical from the seed

Every batch is fresh from the generator, so nothing can be learnt by heart but the world itself; and since the generator
knows the probability of each of its words, the lowest loss any model can have is known as well.
"""

import math
import multiprocessing
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gpt import GPT, Config
from .method import IGNORE, Method
from .progress import Progress
from .tasks.task import collate
from .tasks.words import ALL
from .tasks.world import TRAITS, VOCABULARY, Story, tell, tokens
from .tokenizer import END, SPACE, Tokenizer

SHAPE = dict(vocab=len(VOCABULARY), context=96, layers=4, heads=4, width=96)
MODELS = {
    "mini-gpt2": Config("gpt2", **SHAPE),
    "mini-llama": Config("llama", **SHAPE, kv_heads=2, hidden=256),
}
DRILLS, STEPS, BATCH, LR = 1_500, 6_000, 24, 2e-3  # of the steps, the first are drills
HELD_OUT = 2000  # stories


class Report(NamedTuple):
    """How near a model is to the world: nats per token on held-out stories."""

    name: str
    parameters: int
    tokens: int  # seen in training
    seconds: float
    limit: float  # the generator's own loss: none can be lower
    loss: float

    def __str__(self) -> str:
        limit, found = math.exp(self.limit), math.exp(self.loss)
        return (
            f"{self.name}: {self.parameters:,} parameters · {self.tokens / 1e6:.1f} M tokens · "
            f"{self.seconds / 60:.1f} min · perplexity {found:.3f}, limit {limit:.3f}, {found / limit - 1:.1%} above it"
        )


def row(*stories: Story) -> tuple[list[int], list[int]]:
    """(tokens, labels) of one story or several in a row; the first token is to be told from the start token alone."""
    ids = [VOCABULARY[token] for story in stories for token in story.tokens]
    return [VOCABULARY[END], *ids[:-1]], ids


def drills(seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """So many batches of exercises in looking things up, which stories ask for only once in twenty words.

    Some facts are said, and said again in another order; labels stand where the answer can be known:

        w1 w2 w3 w4 | w1 w2 w3 w4                                       one long fact, a list
        k1 v1 k2 v2 k3 v3 | k3 v3 k1 v1 k2 v2                           pairs
        tom is in the hall. eva is at the farm. | eva is at the farm. tom is in the hall.

    First lists and pairs of any words, in large batches and from any position on (the third value): what depends on
    where the text stands is no lookup.  Then sentences.
    """
    rng = Random(seed)
    words = [token for token in VOCABULARY if token.startswith(SPACE) and token != SPACE]

    def sentences(kind: int, n: int) -> list[list[str]]:
        if kind == 0:
            parts = [[x, "is", y] for x, y in zip(rng.sample(ALL.names, n), rng.sample(ALL.places, n), strict=True)]
        elif kind == 1:
            people, colours, things = (rng.sample(x, n) for x in (ALL.names, ALL.colours, ALL.things))
            parts = [[x, "has a", c, y] for x, c, y in zip(people, colours, things, strict=True)]
        else:
            parts = [["the", x, "is", y] for x, y in zip(rng.sample(ALL.things, n), rng.sample(TRAITS, n), strict=True)]
        return [[token for phrase in (*part, ".") for token in tokens(phrase)] for part in parts]

    for step in range(steps):
        if step < 0.6 * steps:
            n, kind = rng.randint(2, 8), step % 2
            draws = (rng.sample(words, 2 * n) for _ in range(128))
            groups = [[w] if kind else [w[i : i + 2] for i in range(0, 2 * n, 2)] for w in draws]
            given = 1
        else:
            n, kind = rng.randint(2, 4), rng.randrange(3)
            groups = [sentences(kind, n) for _ in range(64)]
            given = 2
        x, y = collate([again(facts, rng.sample(facts, len(facts)), given) for facts in groups], VOCABULARY[END])
        yield x, y, rng.randrange(SHAPE["context"] - x.shape[1]) if given == 1 else 0


def again(facts: list[list[str]], order: list[list[str]], given: int) -> tuple[list[int], list[int]]:
    """(tokens, labels): the facts, then the facts in another order, to be known from their first `given` tokens."""
    ids = [VOCABULARY[token] for fact in (*facts, *order) for token in fact]
    known = [i >= given for fact in order for i in range(len(fact))]
    silent = len(ids) - len(known)
    return [VOCABULARY[END], *ids[:-1]], [IGNORE] * silent + [
        label if k else IGNORE for label, k in zip(ids[silent:], known, strict=True)
    ]


def batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Endless batches of new stories; rows of about one length go together, so that little is padding.

    One row in sixteen is filled with stories up to the context, so that no position stays untrained.
    """
    rng = Random(seed)

    def fresh() -> list[Story]:
        stories = [tell(rng)]
        if rng.random() < 1 / 16:
            while sum(len(s.tokens) for s in stories) < SHAPE["context"]:
                stories.append(tell(rng))
            stories.pop()
        return stories

    while True:
        rows = sorted((row(*fresh()) for _ in range(8 * size)), key=lambda r: len(r[0]))
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(groups)
        for group in groups:
            yield *collate(group, VOCABULARY[END]), 0


def held_out() -> list[Story]:
    """Stories from a seed that no training uses."""
    rng = Random("held out")
    return [tell(rng) for _ in range(HELD_OUT)]


def limit(stories: list[Story]) -> float:
    """The generator's mean -log p of a token: what no model can beat but by luck."""
    logp = [x for story in stories for x in story.logp]
    return -math.fsum(logp) / len(logp)


@torch.no_grad()
def loss(model: GPT, stories: list[Story]) -> float:
    """The model's mean -log p of a token."""
    rows = sorted(map(row, stories), key=lambda r: len(r[0]))
    total, n = 0.0, sum(len(y) for _, y in rows)
    for i in range(0, len(rows), 64):
        x, y = collate(rows[i : i + 64], VOCABULARY[END])
        total += Method().loss(model, x, y).item() * (y != IGNORE).sum().item()
    return total / n


def fresh(name: str, seed: int = 0) -> GPT:
    """The model before training.  GPT's 0.02 suits a width of 768; narrower, the same scale needs larger numbers.

    The factor for GPT-2 is larger still, found by a few short trials: with it the drills went further.

    GPT-2's learned positions start as sines, so that "the token before" is the same turn everywhere, as in LLaMA.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT(MODELS[name])
    c = model.c
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p *= 5.0 if c.style == "gpt2" else math.sqrt(768 / c.width)
        if model.positions is not None:
            turn = torch.arange(c.context)[:, None] * 100.0 ** (-torch.arange(0, c.width, 2) / c.width)
            model.positions.weight.copy_(0.05 * torch.cat([turn.sin(), turn.cos()], 1))
    model.tokenizer = Tokenizer(VOCABULARY)
    return model


def train(name: str, steps: int = STEPS, seed: int = 0, progress: bool = True) -> tuple[GPT, Report]:
    """One model, trained on one thread: the same seed gives the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = fresh(name, seed)
    optimizer = torch.optim.AdamW(model.parameters(), LR, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    slope = lambda step: min(1, (step + 1) / 100, 2 * (1 - step / steps))  # noqa: E731 - up, level, down to 0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, slope)
    data = chain(drills(seed, steps * DRILLS // STEPS), batches(seed, BATCH))
    bar, began, tokens = Progress(steps, name, progress), time.monotonic(), 0
    for x, y, start in islice(data, steps):
        labelled = y != IGNORE
        now = F.cross_entropy(model.logits(model.features(x, start)[labelled]), y[labelled])
        now.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        tokens += (y != IGNORE).sum().item()
        bar.step(f"loss {now.item():.3f}")
    seconds, stories = time.monotonic() - began, held_out()
    size = sum(p.numel() for p in model.parameters())
    report = Report(name, size, tokens, seconds, limit(stories), loss(model.eval(), stories))
    torch.set_num_threads(threads)
    bar.close(str(report))
    return model, report


def pretrain(out: str | Path) -> None:
    """Train every bundled model, each in a process of its own, write them to out/NAME and print how good they are."""
    with multiprocessing.get_context("spawn").Pool(len(MODELS)) as pool:
        for report in pool.imap(_one, [(name, str(out)) for name in MODELS]):
            print(report)


def _one(job: tuple[str, str]) -> Report:
    name, out = job
    model, report = train(name)
    model.save_pretrained(Path(out) / name)
    return report
