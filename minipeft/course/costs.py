"""The table of costs that the lessons show: what a method trains, stores and keeps, and how long a step of it takes."""

import copy
from collections.abc import Mapping
from functools import partial

import safetensors.torch
import torch

from ..gpt import GPT
from ..measure import kept_bytes, times, training_step
from ..method import Method
from ..surgery import added, merge, trainable

TEXTS = (16, 24)  # the tokens that are trained on, and read


def costs(base: GPT, methods: Mapping[str, Method], rounds: int = 11) -> list[dict[str, str]]:
    """A row for each method, and for each stage of one that trains in several: `draw.table` shows them.

    The data are random tokens, 16 texts of 24.  All rows take turns, and the time of each is its shortest: what other
    programs do meanwhile can only make it longer.  The forward pass is that of the model as it is used after training:
    merged, where the method merges.
    """
    draws = torch.Generator().manual_seed(0)
    x, y = batch = tuple(torch.randint(base.c.vocab, TEXTS, generator=draws) for _ in range(2))
    rows, steps, ready = [], [], []
    for name, method in methods.items():
        model = copy.deepcopy(base).train()
        stages = []
        for stage in method.stages(model, [batch]):
            stages.append((stage.name, copy.deepcopy(model)))
            training_step(partial(method.loss, model, x, y), model)()  # or the next stage would find nothing changed
        for stage, training in stages:
            loss = partial(method.loss, training, x, y)
            trains = sum(p.numel() for p in trainable(training).values())
            file = safetensors.torch.save({name: t.detach().contiguous() for name, t in added(model).items()})
            rows.append({
                "": name if len(stages) == 1 else f"{name}: {stage}",
                "trains": f"{trains:,}",
                "gradients and Adam": f"{12 * trains / 1e6:.2f} MB",
                "activations kept": f"{kept_bytes(loss, training) / 1e6:.2f} MB",
                "a step": "",
                "a file": f"{len(file) / 1e3:,.0f} kB",
                "forward": " (merged)" if not (method.why_not_merge or method.in_place) else "",
            })  # fmt: skip
            steps.append(training_step(loss, training))
            ready.append(merge(copy.deepcopy(model)).eval())
    with torch.no_grad():
        forward = times(*(partial(model, x) for model in ready), rounds=3 * rounds).amin(1)
    for row, seconds, reading in zip(rows, times(*steps, rounds=rounds).amin(1), forward, strict=True):
        row["a step"] = f"{1000 * seconds:.1f} ms"
        row["forward"] = f"{1000 * reading:.1f} ms" + row["forward"]
    return rows
