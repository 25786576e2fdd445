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
from torch import Tensor, nn

from .gpt import GPT, Config
from .method import IGNORE, Method
from .progress import Progress
from .tasks.task import collate
from .tasks.world import VOCABULARY, Story, tell
from .tokenizer import END, SPACE, Tokenizer

SHAPE = dict(vocab=len(VOCABULARY), context=96, layers=4, heads=4, width=96)
MODELS = {
    "mini-gpt2": Config("gpt2", **SHAPE),
    "mini-llama": Config("llama", **SHAPE, kv_heads=2, hidden=256),
}
STEPS, DRILLS, BATCH, LR = 9_000, 1_500, 24, 2e-3
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


def drills(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of exercises in looking things up, which stories ask for only once in twenty words.

    A list of words to be said again, w1 w2 w3 w1 w2 w3, or pairs that are asked for in another order, k1 v1 k2 v2 k2 v2
    k1 v1.  Labels stand only where the answer can be known.
    """
    rng, words = Random(seed), [i for token, i in VOCABULARY.items() if token.startswith(SPACE) and token != SPACE]
    while True:
        rows, n, pairs = [], rng.randint(4, 8), rng.random() < 0.5
        for _ in range(size):
            said = rng.sample(words, 2 * n)
            again = [w for k in rng.sample(range(n), n) for w in said[2 * k : 2 * k + 2]] if pairs else said
            known = [w if not pairs or i % 2 else IGNORE for i, w in enumerate(again)]
            rows.append(([VOCABULARY[END], *said, *again[:-1]], [IGNORE] * len(said) + known))
        yield collate(rows, VOCABULARY[END])


def batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
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
            yield collate(group, VOCABULARY[END])


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
    """The model before training.  GPT's 0.02 suits a width of 768; narrower, the same scale needs larger numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT(MODELS[name])
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p *= math.sqrt(768 / model.c.width)
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
    data = chain(islice(drills(seed, BATCH), steps * DRILLS // STEPS), batches(seed, BATCH))
    bar, began, tokens = Progress(steps, name, progress), time.monotonic(), 0
    for x, y in islice(data, steps):
        now = Method().loss(model, x, y)
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
