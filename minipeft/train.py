"""Training and scoring, the same for every method."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .generate import evaluating, generate
from .gpt import GPT, Trunk
from .method import IGNORE, Method
from .progress import Progress
from .surgery import attached, trainable
from .tasks.task import Example, Task, batches, collate, encode


@dataclass(frozen=True)
class Score:
    loss: float  # mean cross-entropy of the labelled tokens, nats
    accuracy: float | None  # share of exact answers; None for plain texts
    n: int  # examples

    def __str__(self) -> str:
        return f"loss {self.loss:.3f}" + ("" if self.accuracy is None else f" · accuracy {self.accuracy:.1%}")


@dataclass
class Fit:
    """What happened in a training: filled in as it goes, so an interrupted one is there to look at."""

    losses: list[float] = field(default_factory=list)  # of each step, nats
    validations: list[tuple[int, float]] = field(default_factory=list)  # (steps done, validation loss)
    seconds: float = 0.0
    interrupted: bool = False

    def __str__(self) -> str:
        first, last = (f"{x:.2f}" for x in (self.losses[0], self.losses[-1])) if self.losses else ("–", "–")
        valid = f" · validation {min(v for _, v in self.validations):.3f}" if self.validations else ""
        stop = " · interrupted" if self.interrupted else ""
        return f"{len(self.losses)} steps · {self.seconds:.1f} s · loss {first} → {last}{valid}{stop}"


def fit(
    model: GPT,
    method: Method,
    task: Task,
    *,
    steps: int = 200,
    batch: int = 16,
    lr: float | None = None,
    warmup: float = 0.06,
    accumulate: int = 1,
    clip: float = 1.0,
    weight_decay: float = 0.0,
    dtype: torch.dtype | None = None,
    recompute: bool = False,
    validate: int = 4,
    seed: int = 0,
    progress: bool = True,
) -> Fit:
    """The method's whole recipe, on a plain model, which carries the method afterwards.

    steps          over all stages of the recipe together
    batch          examples a step; computed in `accumulate` equal pieces, which gives the same gradient in less memory
    lr             None: the method's own; up from 0 over the first `warmup` share of the steps, then down to 0
    clip           the gradient's norm is held below this; 0: not held
    weight_decay   of matrices only, as usual
    dtype          torch.bfloat16: compute in it (autocast), keep the weights as they are
    recompute      keep only the input of each block for the backward pass, and compute the rest again
    validate       so many times a stage the validation loss is measured; the best state is the one that stays.  Not in
                   a stage that trains on data of its own
    seed           decides everything random: the method's start, the order of examples, dropout

    Ctrl-C (or a notebook's stop) ends training early and keeps the best state so far.  Raises FloatingPointError, with
    the best state in place, if the loss is no longer a number; ValueError for a model that already carries a method.
    """
    if attached(model):
        names = ", ".join(type(m).__name__ for m in attached(model))
        raise ValueError(f"fit wants a plain model, this one carries {names}: merge or detach it, or use train")
    if steps < 1 or batch < 1 or accumulate < 1 or batch % accumulate:
        given = f"{steps}, {batch} and {accumulate}"
        raise ValueError(f"steps, batch and accumulate are at least 1, batch a multiple of accumulate; not {given}")
    rows, valid = (_rows(model, task, split) for split in ("train", "valid"))
    pad, device = model.tokenizer.end, next(model.parameters()).device
    data = batches(rows, batch, pad, seed)
    some = [tuple(z.to(device) for z in collate(rows[i : i + batch], pad)) for i in range(0, len(rows), batch)]
    history = Fit()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for stage in method.stages(model, some):
            train(
                model, method, *((data, valid) if stage.data is None else (stage.data, ())),
                steps=max(1, round(steps * stage.share)), lr=stage.lr * (method.lr if lr is None else lr),
                warmup=warmup, accumulate=accumulate, clip=clip, weight_decay=weight_decay, dtype=dtype,
                recompute=recompute, validate=validate, history=history, progress=progress,
                label=f"{type(method).__name__} · {task.name} · {stage.name}",
            )  # fmt: skip
            if history.interrupted:
                break
    return history


def train(
    model: GPT,
    method: Method,
    data: Iterator[tuple[Tensor, Tensor]],
    valid: Sequence[tuple[list[int], list[int]]] = (),
    *,
    steps: int,
    lr: float,
    warmup: float = 0.06,
    accumulate: int = 1,
    clip: float = 1.0,
    weight_decay: float = 0.0,
    dtype: torch.dtype | None = None,
    recompute: bool = False,
    validate: int = 4,
    label: str = "train",
    history: Fit | None = None,
    progress: bool = True,
) -> Fit:
    """One stage, on a model that carries the method: lower its loss over whatever is trainable now.  See `fit`."""
    history, params = history if history is not None else Fit(), trainable(model)
    device, pad = next(model.parameters()).device, model.tokenizer.end if model.tokenizer else 0
    if any(p.dtype == torch.float16 for p in params.values()):
        raise ValueError("gradients in fp16 are rounded to zero: train with the weights in bf16 or fp32")
    # the optimizer moves fp32 numbers: a small step on a bf16 one is lost in rounding.  Of fp32 ones this is no copy
    exact = {n: nn.Parameter(p.detach().float()) for n, p in params.items()}
    matrices, vectors = ([p for p in exact.values() if (p.ndim > 1) == m] for m in (True, False))
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _slope(step, steps, round(warmup * steps)))
    looks = {round(steps * i / validate) for i in range(1, validate + 1)} if valid and validate else set()
    lowest, best, note = math.inf, None, ""
    bar, began, before = Progress(steps, label, progress), time.monotonic(), history.seconds

    @torch.no_grad()
    def put(values: dict[str, Tensor]) -> None:
        for n, p in params.items():
            if values[n].data_ptr() != p.data_ptr():
                p.copy_(values[n])

    start = {n: p.detach().clone() for n, p in exact.items()}
    try:
        with _training(model, recompute):
            for step in range(1, steps + 1):
                x, y = (z.to(device) for z in next(data))
                loss = _backward(model, method, x, y, accumulate, dtype)
                if not math.isfinite(loss):
                    best = best or start
                    raise FloatingPointError(f"the loss is {loss} at step {step}: try a learning rate below {lr:g}")
                for n, p in params.items():
                    exact[n].grad, p.grad = None if p.grad is None else p.grad.float(), None
                if clip:
                    nn.utils.clip_grad_norm_(exact.values(), clip)
                optimizer.step()
                schedule.step()
                put(exact)
                history.losses.append(loss)
                if step in looks:
                    now = token_loss(model, valid, pad)
                    history.validations.append((len(history.losses), now))
                    note = f" · validation {now:.3f}"
                    if now < lowest:
                        lowest, best = now, {n: p.detach().clone() for n, p in exact.items()}
                history.seconds = before + time.monotonic() - began
                bar.step(f"loss {loss:.3f}{note}")
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        put(best or exact)
        for p in params.values():
            p.grad = None
        history.seconds = before + time.monotonic() - began
        bar.close(f"{label} · {history}")
    return history


def _backward(model: GPT, method: Method, x: Tensor, y: Tensor, pieces: int, dtype: torch.dtype | None) -> float:
    """Add the gradient of the method's loss, computed in so many pieces; returns the loss."""
    total, labels = 0.0, (y != IGNORE).sum()
    for xs, ys in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            loss = method.loss(model, xs, ys) * (ys != IGNORE).sum() / labels  # by its share of the labels
        loss.backward()
        total += loss.item()
    return total


def _slope(step: int, steps: int, warmup: int) -> float:
    """The learning rate's share of its peak at this step (from 0): up in a line, then down in a line."""
    return min((step + 1) / (warmup + 1), (steps - step) / (steps - warmup))


@contextmanager
def _training(model: nn.Module, recompute: bool) -> Iterator[None]:
    """Inside, dropout is on and the trunk recomputes if asked to; afterwards all is as it was."""
    was, trunks = model.training, [m for m in model.modules() if isinstance(m, Trunk)]
    kept = [t.recompute for t in trunks]
    try:
        model.train()
        for t in trunks:
            t.recompute = recompute
        yield
    finally:
        model.train(was)
        for t, k in zip(trunks, kept, strict=True):
            t.recompute = k


# -- score ------------------------------------------------------------------------------------------------------------


def evaluate(model: GPT, task: Task, split: str = "test", batch: int = 64) -> Score:
    """Loss and exact-match accuracy on a split: "train", "valid", "test" or "ood".

    An answer is the likeliest of the task's options, else the greedy completion up to the end token.
    Raises ValueError for an empty split.
    """
    examples, rows = getattr(task, split), _rows(model, task, split)
    loss = token_loss(model, rows, model.tokenizer.end, batch)
    if not all(e.prompt for e in examples):
        return Score(loss, None, len(examples))
    right = _choose(model, task, examples, batch) if task.options else _complete(model, examples, batch)
    return Score(loss, right / len(examples), len(examples))


@torch.no_grad()
def token_loss(model: GPT, rows: Sequence[tuple[list[int], list[int]]], pad: int, batch: int = 64) -> float:
    """Mean cross-entropy, in nats, of all labelled tokens of the rows."""
    total, n = 0.0, sum(label != IGNORE for _, y in rows for label in y)
    for some in _by_length(rows, batch):
        total += _row_losses(model, [rows[i] for i in some], pad).sum().item()
    return total / n


def _row_losses(model: GPT, rows: Sequence[tuple[list[int], list[int]]], pad: int) -> Tensor:
    """-log p of each row's labels: (b,), in nats."""
    x, y = (z.to(next(model.parameters()).device) for z in collate(rows, pad))
    with evaluating(model):
        logits = model(x).float()
    return F.cross_entropy(logits.transpose(1, 2), y, ignore_index=IGNORE, reduction="none").sum(1)


@torch.no_grad()
def _choose(model: GPT, task: Task, examples: Sequence[Example], batch: int) -> int:
    """How many examples have the right one of the options as their likeliest."""
    asked = [encode(Example(e.prompt, option), model.tokenizer) for e in examples for option in task.options]
    losses = torch.empty(len(asked))
    for some in _by_length(asked, batch):
        losses[some] = _row_losses(model, [asked[i] for i in some], model.tokenizer.end).cpu()
    said = losses.view(len(examples), len(task.options)).argmin(1).tolist()
    return sum(task.options[i] == e.completion for i, e in zip(said, examples, strict=True))


def _complete(model: GPT, examples: Sequence[Example], batch: int) -> int:
    """How many examples the model completes greedily, to the letter and to the end."""
    rows = [encode(e, model.tokenizer) for e in examples]
    answers = [[label for label in y if label != IGNORE] for _, y in rows]
    prompts = [x[: len(x) + 1 - len(a)] for (x, _), a in zip(rows, answers, strict=True)]
    right = 0
    for some in _by_length(rows, batch):
        longest = max(len(answers[i]) for i in some)
        said = generate(model, [prompts[i] for i in some], longest, stop=model.tokenizer.end)
        right += sum([*s, model.tokenizer.end] == answers[i] for i, s in zip(some, said, strict=True))
    return right


def _by_length(rows: Sequence[tuple[list[int], list[int]]], batch: int) -> list[list[int]]:
    """The rows' numbers in groups of about equal length, so that little is padding."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    return [order[i : i + batch] for i in range(0, len(order), batch)]


def _rows(model: GPT, task: Task, split: str) -> list[tuple[list[int], list[int]]]:
    if model.tokenizer is None:
        raise ValueError("this model has no tokenizer: load it with GPT.from_pretrained, or set model.tokenizer")
    examples = getattr(task, split)
    if not examples:
        raise ValueError(f"task {task.name} has no {split} examples")
    rows = [encode(e, model.tokenizer) for e in examples]
    for i, (x, _) in enumerate(rows):
        if len(x) + 1 > model.room:
            long = f"{len(x) + 1} tokens, more than the model's context of {model.room}"
            raise ValueError(f"{split} example {i + 1} of {task.name} has {long}")
    return rows
