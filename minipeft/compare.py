"""Every method on the same tasks, models and seeds, with the numbers that the survey misses in most comparisons.

    runs.csv        a line a run: accuracy, loss, the three counts, bytes, what the model still knows of its stories
    costs.csv       a line for each model and method: bytes kept for the backward pass, seconds of a step
    search.csv      a line a trial of the search for learning rates, if there was one; runs use what it found
    subspaces.csv   what Intrinsic Prompt Tuning learnt from other tasks beforehand, and how long that took
Each stage does only what is missing in its file; `report` makes tables and plots of them.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch

from . import delta, pretrain, tasks
from .additive.ipt import IPT
from .catalog import CATALOG, entry
from .generate import evaluating
from .gpt import GPT
from .measure import counts, kept_bytes, times, training_step
from .method import FullFineTuning, Method
from .runs import Job, carry_on, key, mean, read
from .surgery import merge
from .tasks.task import collate, encode
from .train import evaluate, fit

METHODS = tuple(row.name for row in CATALOG)
# by docs/tasks.md: one that nearly everything learns, and differs out of domain; two that a few numbers learn in part;
# one where most stay behind; and code words that the base has never seen, which hardly anything but full learns
TASKS = ("opposite", "reversing", "past_tense", "odd_one_out", "cipher")
OPTIONS = {("mini-llama", "bitfit"): {"add": True}}  # it has no biases of its own
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # the same trials for everything that trains
TRIAL_SEED = 1000  # none of the runs'
FEW = (16, 64)  # examples
STORIES = 300  # that no training has seen, of at most 62 tokens: every model has room for them

QUICK = {"models": ("mini-llama",), "tasks": ("opposite", "reversing"), "seeds": (0,), "steps": 50}

RUN = ("model", "method", "task", "seed", "examples", "steps", "batch", "lr")
FOUND = ("accuracy", "loss", "ood", "trainable", "changed", "rank", "saved_bytes", "perplexity", "steps_done")
TRIAL = ("model", "method", "task", "steps", "batch", "lr")
COST = ("model", "method", "task", "batch")
SPENT = ("kept_bytes", "step", "full_ms", "inference", "base_ms", "merges")
SPACE = ("model", "task", "steps", "batch")


def make(model: str, name: str, subspace: Path | None = None) -> Method:
    """The method as it is compared: its own numbers, except where the model asks for others."""
    if name == "full":
        return FullFineTuning()
    if name == "ipt":
        return IPT(subspace=str(subspace)) if subspace else IPT(sources=())
    return entry(name).method(**OPTIONS.get((model, name), {}))


# -- what is done ------------------------------------------------------------------------------------------------------


@cache
def stories() -> list:
    return pretrain.held_out()[:STORIES]


def run(job: Job, out: Path) -> dict:
    """Fine-tune and look: a line of runs.csv.  A method that refuses gives its reason, and no numbers."""
    line, began = dict(zip(RUN, job, strict=True)) | {"note": ""}, time.monotonic()
    name, method, task, seed, examples, steps, batch, lr = job
    model, task = GPT.from_pretrained(name), tasks.load(task)
    if method != "base":
        try:
            method = make(name, method, space(out, (name, task.name, steps, batch)))
            history = fit(
                model, method, task.low_data(examples), steps=steps, batch=batch, lr=lr, seed=seed, progress=False
            )
        except FloatingPointError as error:  # the best state before that is in place
            line["note"] = str(error)
        except ValueError as error:
            return line | {"note": str(error), "seconds": round(time.monotonic() - began, 1)}
        else:
            if history.interrupted:
                raise KeyboardInterrupt
            line |= {"steps_done": len(history.losses), "fit_seconds": round(history.seconds, 2)}
        now = counts(model)
        line |= {"trainable": now.trainable, "changed": now.changed, "rank": now.rank}
        with tempfile.TemporaryDirectory() as folder:
            line["saved_bytes"] = delta.save(model, folder)
    test, ood = (evaluate(model, task, split) for split in ("test", "ood"))
    line |= {"accuracy": test.accuracy, "loss": round(test.loss, 4), "ood": ood.accuracy}
    line["perplexity"] = round(torch.tensor(pretrain.loss(model.eval(), stories())).double().exp().item(), 4)
    return line | {"seconds": round(time.monotonic() - began, 1)}


def trial(job: Job, out: Path) -> dict:
    """One learning rate, judged by the validation loss alone: a line of search.csv."""
    name, method, task, steps, batch, lr = job
    model, task, began, loss = GPT.from_pretrained(name), tasks.load(task), time.monotonic(), math.inf
    try:
        method = make(name, method, space(out, (name, task.name, steps, batch)))
        history = fit(model, method, task, steps=steps, batch=batch, lr=lr, seed=TRIAL_SEED, progress=False)
        if history.interrupted:
            raise KeyboardInterrupt
        loss = evaluate(model, task, "valid").loss
    except (FloatingPointError, ValueError):
        pass  # a rate that wrecks the training, or a method that refuses the model: not the one to choose
    return dict(zip(TRIAL, job, strict=True)) | {"loss": loss, "seconds": round(time.monotonic() - began, 1)}


def cost(job: Job, rounds: int = 31) -> dict:
    """What a step and an inference cost, in turns with full fine-tuning and the plain base: a line of costs.csv.

    Of a recipe in stages, the time is the mean over its steps and the memory that of its largest stage.
    """
    line, (name, method, task, batch) = dict(zip(COST, job, strict=True)) | {"note": ""}, job
    base, model, other = (GPT.from_pretrained(name) for _ in range(3))
    rows = [encode(example, model.tokenizer) for example in tasks.load(task).train[: 4 * batch]]
    some = [collate(rows[i : i + batch], model.tokenizer.end) for i in range(0, len(rows), batch)]
    x, y = some[0]
    full = FullFineTuning()
    full.attach(other)
    reference = training_step(partial(full.loss, other, x, y), other)
    shares, kept, ratios, seconds = [], [], [], []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            method = make(name, method)
            for stage in method.stages(model.train(), some):
                loss = partial(method.loss, model, x, y)
                kept.append(kept_bytes(loss, model))
                mine, theirs = times(training_step(loss, model), reference, rounds=rounds)
                ratios.append((mine / theirs).median().item())
                shares.append(stage.share)
                seconds.append(theirs.median().item())
        except ValueError as error:
            return line | {"note": str(error)}
    merge(model)
    with torch.no_grad(), evaluating(model), evaluating(base):
        after, before = times(lambda: model(x), lambda: base(x), rounds=rounds)
    ratio = sum(share * r for share, r in zip(shares, ratios, strict=True)) / sum(shares)
    return line | {
        "kept_bytes": max(kept),
        "step": round(ratio, 3),
        "full_ms": round(1000 * mean(seconds), 2),
        "inference": round((after / before).median().item(), 3),
        "base_ms": round(1000 * before.median().item(), 2),
        "merges": "no" if method.why_not_merge else "yes",
    }


def space(out: Path, job: Job) -> Path:
    """Where the subspace for a (model, task, steps, batch) is."""
    return out / "subspaces" / "-".join(map(str, job))


def subspace(job: Job, out: Path) -> dict:
    """What IPT learns from all other tasks before it meets this one: a line of subspaces.csv, and a delta."""
    name, task, steps, batch = job
    model, began = GPT.from_pretrained(name), time.monotonic()
    history = fit(model, IPT(), tasks.load(task), steps=steps, batch=batch, progress=False)
    if history.interrupted:
        raise KeyboardInterrupt
    delta.save(model, space(out, job))
    line = dict(zip(SPACE, job, strict=True))
    return line | {"steps_done": len(history.losses), "seconds": round(time.monotonic() - began, 1)}


# -- what there is to do -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is compared, as lists of jobs; the frozen base and full fine-tuning always are."""

    out: Path  # a folder
    models: Sequence[str] = tuple(pretrain.MODELS)
    methods: Sequence[str] = METHODS
    tasks: Sequence[str] = TASKS
    seeds: Sequence[int] = (0, 1, 2)
    steps: int = 200
    batch: int = 16

    def __post_init__(self) -> None:
        """Raises ValueError for names that aren't there."""
        named = {
            "model": (self.models, pretrain.MODELS),
            "method": (self.methods, METHODS),
            "task": (self.tasks, tasks.NAMES),
            "seed": (self.seeds, self.seeds),
        }
        for what, (asked, known) in named.items():
            if unknown := [name for name in asked if name not in known]:
                raise ValueError(f"no {what} to compare is called {unknown[0]!r}; there are {', '.join(known)}")
            if len(set(asked)) < len(asked):
                raise ValueError(f"each {what} is compared once: {', '.join(map(str, asked))} names one twice")
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"steps and batch are at least 1, not {self.steps} and {self.batch}")

    def pairs(self) -> list[tuple[str, str]]:
        """(model, method) of all that trains."""
        return [(model, method) for model in self.models for method in ("full", *self.methods)]

    def runs(self, few: bool = False) -> list[Job]:
        """All runs, or those from few examples; the first seed's first, so a table is there early."""
        rates = self.rates()
        sizes = FEW if few else (len(tasks.load(self.tasks[0]).train),)
        base = [(m, "base", task, 0, 0, 0, 0, 0) for m in self.models for task in self.tasks]
        return ([] if few else base) + [
            (*pair, task, seed, n, self.steps, self.batch, rates[*pair, task])
            for seed in self.seeds for pair in self.pairs() for task in self.tasks for n in sizes
        ]  # fmt: skip

    def trials(self) -> list[Job]:
        return [(*pair, t, self.steps, self.batch, r) for pair in self.pairs() for t in self.tasks for r in RATES]

    def costs(self) -> list[Job]:
        return [(*pair, self.tasks[0], self.batch) for pair in self.pairs()]

    def spaces(self) -> list[Job]:
        """The subspaces that IPT needs."""
        models = self.models if "ipt" in self.methods else ()
        return [(model, task, self.steps, self.batch) for model in models for task in self.tasks]

    def rates(self) -> dict[tuple[str, str, str], float]:
        """{(model, method, task): learning rate}: of the lowest validation loss where all have been tried, else the
        method's own."""
        tried, rates = read(self.out / "search.csv", len(TRIAL)), {}
        for pair in self.pairs():
            for task in self.tasks:
                lines = [tried.get(key((*pair, task, self.steps, self.batch, rate))) for rate in RATES]
                losses = [float(line["loss"]) for line in lines if line]
                found = len(losses) == len(RATES) and min(losses) < math.inf
                rates[*pair, task] = RATES[losses.index(min(losses))] if found else make(*pair).lr
        return rates


def compare(plan: Plan, search: bool = False, few: bool = False, workers: int = 2) -> None:
    """Do what is missing of one stage: the search, the runs from few examples, else the comparison itself.

    Raises ValueError if subspaces that are listed as done have been taken away, as in a clone of the committed results.
    """
    out = plan.out
    learnt = read(out / "subspaces.csv", len(SPACE))
    if lost := [job for job in plan.spaces() if key(job) in learnt and not space(out, job).is_dir()]:
        raise ValueError(
            f"{out / 'subspaces.csv'} names {space(out, lost[0])}, which isn't there: delete the file, and the "
            "subspaces are learnt again, or leave ipt out of --methods"
        )

    def do(file: str, fields: Sequence[str], jobs: Sequence[Job], work: Callable[[Job], dict], label: str) -> None:
        carry_on(out / file, fields, jobs, work, label, workers)

    do("subspaces.csv", (*SPACE, "steps_done", "seconds"), plan.spaces(), partial(subspace, out=out), "subspaces")
    if search:
        do("search.csv", (*TRIAL, "loss", "seconds"), plan.trials(), partial(trial, out=out), "trials")
    else:
        fields = (*RUN, *FOUND, "fit_seconds", "seconds", "note")
        do("runs.csv", fields, plan.runs(few), partial(run, out=out), "runs")
        if not few:
            do("costs.csv", (*COST, *SPENT, "note"), plan.costs(), cost, "costs")
