"""The page of a comparison: comparison.md with its tables, and its plots, of the lines that `compare` has written."""

import math
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch

from . import tasks
from .catalog import CATALOG
from .compare import COST, FEW, METHODS, RATES, RUN, SPACE, STORIES, TRIAL, Plan
from .runs import Job, cell, key, mean, read, spread


class Results:
    """The lines of a plan's jobs, and what they say of a model's methods."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.full, self.few = (self._those("runs.csv", RUN, plan.runs(few)) for few in (False, True))
        self.lines = self.full + self.few
        self.all = str(len(tasks.load(plan.tasks[0]).train))
        costs = self._those("costs.csv", COST, plan.costs())
        self.costs = {(line["model"], line["method"]): line for line in costs}
        self.trials = self._those("search.csv", TRIAL, plan.trials())
        self.spaces = self._those("subspaces.csv", SPACE, plan.spaces())

    def _those(self, file: str, columns: Sequence[str], jobs: Sequence[Job]) -> list[dict[str, str]]:
        lines = read(self.plan.out / file, len(columns))
        return [lines[key(job)] for job in jobs if key(job) in lines]

    def numbers(self, column: str, model: str, method: str, task: str | None = None, n: int | None = None) -> list:
        """A column's numbers over all seeds: of one task or all, from all examples or n."""
        examples = ("0", self.all) if n is None else (str(n),)
        return [
            float(line[column])
            for line in self.lines
            if (line["model"], line["method"]) == (model, method) and line["examples"] in examples
            if task in (None, line["task"]) and line[column] != ""
        ]

    def per_cent(self, *of: Any, column: str = "accuracy") -> list[float]:
        return [100 * x for x in self.numbers(column, *of)]

    def average(self, model: str, method: str) -> list[float]:
        """[the mean accuracy over the tasks], or [] as long as one is missing."""
        each = [self.per_cent(model, method, task) for task in self.plan.tasks]
        return [mean(list(map(mean, each)))] if all(each) else []

    def gains(self, model: str, method: str) -> list[str]:
        """The tasks on which a method is more than 10 points and two spreads over seeds above the base."""

        def gain(task: str) -> bool:
            base, mine = (self.per_cent(model, m, task) for m in ("base", method))
            return bool(base and mine) and mean(mine) - mean(base) > max(10, 2 * spread(mine))

        return [task for task in self.plan.tasks if gain(task)]

    def note(self, model: str, method: str) -> str:
        """Why there are no numbers, or what went wrong on the way to them."""
        mine = [line["note"] for line in self.lines if (line["model"], line["method"]) == (model, method)]
        return next(filter(None, mine), "")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write(plan: Plan) -> Path:
    """comparison.md and its plots, of the lines there are.  Without matplotlib, the page alone."""
    found, path = Results(plan), plan.out / "comparison.md"
    plan.out.mkdir(parents=True, exist_ok=True)
    text = [*about(found)]
    if find_spec("matplotlib") and found.lines:
        text += [f"![{alt}]({draw(found, file)})\n" for file, alt in PLOTS.items()]
        if found.few:
            alt = (
                "For each model, accuracy of the methods from few examples, from all, and on words that they never saw"
            )
            text += [f"![{alt}]({draw_few(found)})\n"]
    for model in plan.models:
        text += [f"## {model}\n", *sections(found, model)]
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def about(found: Results) -> Iterator[str]:
    plan = found.plan
    chosen = {"--models": plan.models, "--tasks": plan.tasks, "--seeds": map(str, plan.seeds)}
    if tuple(plan.methods) != METHODS:
        chosen["--methods"] = plan.methods
    command = " ".join(f"{flag} {' '.join(names)}" for flag, names in chosen.items())

    def minutes(these: Sequence[dict[str, str]]) -> str:
        return f"{sum(float(line['seconds'] or 0) for line in these) / 60:.1f} minutes of one thread"

    yield "# The methods, compared\n"
    yield (
        f"Made by `minipeft compare {command} --steps {plan.steps} --batch {plan.batch}` on {platform.machine()}, "
        f"torch {torch.__version__.split('+')[0]}, in processes of one thread each. Every run is a line of `runs.csv`: "
        f"{len(found.full)} of {len(plan.runs())} are done"
        + (f", and {len(found.few)} of {len(plan.runs(few=True))} from few examples" if found.few else "")
        + f", {minutes(found.lines)} in all.\n"
    )
    yield (
        f"{plan.steps} steps of {plan.batch} examples over all stages of a method's recipe; the state of the lowest "
        "loss on 100 validation examples is the one that is tested. Test accuracy is exact match, in per cent; all "
        f"numbers are means ± standard deviations over seeds {', '.join(map(str, plan.seeds))}. A method *gains* on a "
        "task where it is more than 10 points and more than two of these deviations above the frozen base"
        + ("; one seed shows no deviation, so here the 10 points alone count.\n" if len(plan.seeds) == 1 else ".\n")
    )
    if found.trials:
        yield (
            f"Learning rates come from a search: {len(RATES)} trials for each method, task and model, "
            f"{', '.join(f'{rate:g}' for rate in RATES)}, of which the lowest validation loss is taken, with a seed "
            f"that no run has; {len(found.trials)} of {len(plan.trials())} trials are done, {minutes(found.trials)}. "
            "Where they aren't all done, and for all its other numbers, a method has its own defaults.\n"
        )
    else:
        yield "Nothing was searched for: each method has its own defaults, and may only want other ones.\n"
    if found.spaces:
        more = mean([float(line["steps_done"]) for line in found.spaces]) / plan.steps
        yield (
            "Intrinsic Prompt Tuning (`ipt`) first learns a subspace from all other tasks, once for each task, in "
            f"{more:.0f} times the steps ({minutes(found.spaces)}, not counted above); a run then finds its few "
            "numbers in it.\n"
        )


def sections(found: Results, model: str) -> Iterator[str]:
    """The tables of one model."""
    plan, ways = found.plan, ("base", "full", *found.plan.methods)
    heads = [f"{name} (chance {100 * tasks.load(name).chance:.0f})" for name in plan.tasks]

    def by_task(column: str, last: Callable[[str], list[str]] = lambda way: [], digits: int = 0) -> list[list[str]]:
        scale = 100 if column in ("accuracy", "ood") else 1
        return [
            [way, *(cell([scale * z for z in found.numbers(column, model, way, t)], digits) for t in plan.tasks)]
            + last(way)
            for way in ways
        ]

    def summary(way: str) -> list[str]:
        gains = f"{len(found.gains(model, way))} of {len(plan.tasks)}" if way != "base" else ""
        return [cell(found.average(model, way)), gains]

    yield "### Accuracy, %\n"
    yield table(["method", *heads, "mean", "gains on"], by_task("accuracy", summary))
    enough = min(3, len(plan.tasks))
    behind = [m for m in plan.methods if found.per_cent(model, m) and len(found.gains(model, m)) < enough]
    measured = [m for m in plan.methods if found.per_cent(model, m)]
    yield (
        f"{len(measured) - len(behind)} of {len(measured)} methods gain on at least {enough} of the {len(plan.tasks)} "
        "tasks." + (f" Those that don't: {', '.join(behind)}.\n" if behind else "\n")
    )
    for way in ways:
        if note := found.note(model, way):
            yield f"- `{way}`: {note}\n"

    yield "### Numbers, bytes and seconds\n"
    yield (
        f"*Kept* is what a step on {plan.batch} examples of {plan.tasks[0]} keeps for the backward pass; *step* its "
        "time relative to full fine-tuning's, *inference* that of a forward pass relative to the base's, after folding "
        "in what folds; both are medians of turns, and how far those of `full` are from 1 says how exact they are. "
        "*Perplexity* is that of "
        f"{STORIES} stories the base knows how to tell: what fine-tuning makes it forget, as a geometric mean: some "
        f"forget by orders of magnitude. *Steps* is how many times the {plan.steps} the recipe took.\n"
    )
    yield table(
        ["method", "trainable", "changed", "rank", "saved, kB", "kept, MB", "step", "inference", "folds", "perplexity",
         "steps", "fit, s"],
        [costs(found, model, way) for way in ways],
    )  # fmt: skip
    yield "### Out of domain: accuracy on words that the training data don't hold, %\n"
    yield table(["method", *plan.tasks], by_task("ood"))
    yield "### Test loss, nats per token\n"
    yield table(["method", *plan.tasks], by_task("loss", digits=2))
    if found.few:
        yield f"### Accuracy from {' and '.join(map(str, FEW))} examples, %\n"
        yield table(
            ["method", *(f"{task}, {n}" for task in plan.tasks for n in FEW)],
            [[way, *(cell(found.per_cent(model, way, t, n)) for t in plan.tasks for n in FEW)] for way in ways[1:]],
        )
    if found.trials:
        yield "### Learning rates\n"
        rates = plan.rates()
        rows = [[way, *(f"{rates[model, way, task]:g}" for task in plan.tasks)] for way in ways[1:]]
        yield table(["method", *plan.tasks], rows)


def costs(found: Results, model: str, way: str) -> list[str]:
    """A row of the table of costs."""
    spent = found.costs.get((model, way), {})

    def whole(column: str, unit: float = 1, digits: int = 0) -> str:
        values = found.numbers(column, model, way)
        return f"{mean(values) / unit:,.{digits}f}" if values else "–"

    kept = f"{float(spent['kept_bytes']) / 1e6:.2f}" if spent.get("kept_bytes") else "–"
    ratios = [f"{float(spent[c]):.2f}" if spent.get(c) else "–" for c in ("step", "inference")]
    took = found.numbers("steps_done", model, way)
    return [
        way, *(whole(column) for column in ("trainable", "changed")),
        f"{max(ranks):.0f}" if (ranks := found.numbers("rank", model, way)) else "–",
        whole("saved_bytes", 1000, 1), kept, *ratios, spent.get("merges") or "–",
        f"{geometric_mean(told):.3g}" if (told := found.numbers("perplexity", model, way)) else "–",
        f"{mean(took) / found.plan.steps:.2g}" if took else "–", whole("fit_seconds", digits=1),
    ]  # fmt: skip


# -- plots -------------------------------------------------------------------------------------------------------------

PLOTS = {
    "accuracy.png": "For each model, mean accuracy of the methods against how many numbers they train",
    "memory.png": "For each model, memory that a step of each method keeps against the time it takes",
}
ROUND = [(math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)) for turn in range(16)]
PLACES = [(far, *side) for far in (8, 16, 26, 38, 52, 68, 86, 106, 128) for side in ROUND]  # points, right and up
MARKS = {"additive": "o", "selective": "s", "reparametrization": "^", "hybrid": "D", "full fine-tuning": "*"}


def points(found: Results, model: str, file: str) -> dict[str, tuple[float, float]]:
    """{method: (x, y)} of a plot."""
    if file == "memory.png":
        spent = {way: line for (m, way), line in found.costs.items() if m == model and line["step"]}
        return {way: (float(line["step"]), float(line["kept_bytes"]) / 1e6) for way, line in spent.items()}
    return {
        way: (mean(found.numbers("trainable", model, way)), *found.average(model, way))
        for way in ("full", *found.plan.methods)
        if found.average(model, way) and found.numbers("trainable", model, way)
    }


def draw(found: Results, file: str) -> str:
    """A panel for each model; a family has a shape, so that grey paper is enough.  Returns the file's name."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullLocator

    families = {row.name: row.family for row in CATALOG} | {"full": "full fine-tuning"}
    figure = Figure(figsize=(6 * len(found.plan.models), 5.5), layout="constrained")
    axes = figure.subplots(1, len(found.plan.models), squeeze=False)[0]
    for ax, model in zip(axes, found.plan.models, strict=True):
        for way, (x, y) in points(found, model, file).items():
            ax.plot(x, y, MARKS[families[way]], color="0.2", ms=6)
        ax.set_title(model)
        ax.margins(0.15)
        ax.grid(color="0.9")
        if file == "memory.png":
            ax.set(xscale="log", xlabel="time of a step, relative to full fine-tuning")
            ax.set(yscale="log", ylabel="kept for the backward pass, MB")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_locator(NullLocator())
        else:
            ax.set(xscale="log", xlabel="numbers that train", ylabel="test accuracy, mean over tasks, %")
    shapes = [Line2D([], [], marker=mark, color="0.2", ls="", label=family) for family, mark in MARKS.items()]
    figure.legend(handles=shapes, loc="outside lower center", ncols=len(MARKS), fontsize=8)
    figure.draw_without_rendering()  # or nobody knows yet where the points are
    for ax, model in zip(axes, found.plan.models, strict=True):
        label(ax, points(found, model, file))
    figure.savefig(found.plan.out / file, dpi=120, metadata={"Software": None})
    return file


def draw_few(found: Results) -> str:
    """A panel for each model, with a row for each method, the best from the fewest examples on top."""
    from matplotlib.figure import Figure

    models, ways = found.plan.models, ("full", *found.plan.methods)

    def over_tasks(model: str, way: str, n: int | None, column: str = "accuracy") -> float:
        return mean(found.per_cent(model, way, None, n, column=column))

    ways = sorted(ways, key=lambda way: mean([over_tasks(model, way, FEW[0]) for model in models]))
    marks = {f"{n} examples": (n, "accuracy", mark) for n, mark in zip(FEW, "ov", strict=True)}
    marks |= {"all examples": (None, "accuracy", "D"), "all, on words never seen": (None, "ood", "x")}
    figure = Figure(figsize=(5 * len(models) + 1, 0.25 * len(ways) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for ax, model in zip(axes, models, strict=True):
        for name, (n, column, mark) in marks.items():
            ax.plot(
                [over_tasks(model, way, n, column) for way in ways], range(len(ways)), mark, color="0.2", ms=5,
                mfc="white" if n else "0.2", label=name,
            )  # fmt: skip
        ax.set(title=model, xlabel="accuracy, mean over tasks, %", yticks=range(len(ways)), yticklabels=ways)
        ax.grid(color="0.9")
        ax.set_axisbelow(True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(marks), fontsize=8)
    figure.savefig(found.plan.out / "few.png", dpi=120, metadata={"Software": None})
    return "few.png"


def label(ax: Any, here: dict[str, tuple[float, float]]) -> None:
    """Write each name inside the panel, where no other name or mark is, as near to its mark as can be."""
    from matplotlib.text import Text

    frame, taken = ax.bbox, [ax.transData.transform(point) for point in here.values()]
    boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in taken]
    for name, point in sorted(here.items(), key=lambda item: item[1][::-1]):
        for far, right, up in PLACES:
            text = ax.annotate(
                name, point, (far * right, far * up), textcoords="offset points", fontsize=7,
                ha=("right", "center", "left")[round(right) + 1], va=("top", "center", "bottom")[round(up) + 1],
                arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.5} if far > 8 else None,
            )  # fmt: skip
            text.get_window_extent()  # puts it where it belongs, and says how large it is with its line
            left, low, wide, high = Text.get_window_extent(text).bounds  # without
            box = (left, low, left + wide, low + high)
            free = all(box[0] > b[2] or b[0] > box[2] or box[1] > b[3] or b[1] > box[3] for b in boxes)
            if free and frame.x0 < left and left + wide < frame.x1 and frame.y0 < low and low + high < frame.y1:
                break
            if (far, right, up) != PLACES[-1]:
                text.remove()
        boxes.append(box)
