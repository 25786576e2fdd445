"""DiffPruning's search, and other places for its last stage: lessons/data/diff_pruning.csv, which lesson 11 reads.

    python benchmarks/diff_places.py

mini-gpt2 on the task `where`: 100 steps of 16 examples for the search, with a gate for each tensor and without, and 100
for what is left.  Then the last stage alone, from zero: at the places that the search with tensors' gates has found,
at those of FISH Mask, and at random ones.  Started again, the command does what is missing.
"""

import copy
from pathlib import Path

import torch

from minipeft import GPT, DiffPruning, FishMask, evaluate, merge, tasks
from minipeft.runs import carry_on
from minipeft.selective.diff_pruning import diffs
from minipeft.selective.fishmask import fisher
from minipeft.sparse import budget, largest
from minipeft.tasks.task import batches, collate, encode
from minipeft.train import train

RUNS = Path(__file__).resolve().parents[1] / "lessons" / "data" / "diff_pruning.csv"
FIELDS = ("what", "seed", "expected", "searched", "accuracy", "loss")
STEPS, SEEDS = 100, 3


def run(job: tuple[str, int]) -> dict:
    """`expected` changes and accuracy when it has `searched`, where it has; then accuracy and loss in the end."""
    what, seed = job
    task, base = tasks.load("where"), GPT.from_pretrained("mini-gpt2").eval()
    rows, end = [encode(example, base.tokenizer) for example in task.train], base.tokenizer.end
    k, line = budget(base, DiffPruning.density), dict.fromkeys(("expected", "searched"), "")
    method, model, data = (
        DiffPruning(structured=what != "single gates alone"),
        copy.deepcopy(base),
        batches(rows, 16, end, seed),
    )
    torch.manual_seed(seed)
    if what == "FISH Mask's, from zero":
        method.attach(model, largest(fisher(FishMask(), model, [collate(rows[:256], end)], 256), k))
    elif what == "random, from zero":
        method.attach(model, largest({name: torch.rand(p.shape) for name, p in base.named_parameters()}, k))
    else:
        for _ in method.stages(model, ()):
            if gates := diffs(model):
                train(model, method, data, steps=STEPS, lr=method.lr, progress=False)
                line["expected"] = round(sum(gate.expected().item() for gate in gates.values()))
                line["searched"] = evaluate(model, task).accuracy
        if what == "the search's, from zero":
            changes = {name: p - base.get_parameter(name) for name, p in merge(model).named_parameters()}
            where = {name: c.flatten().nonzero().squeeze(1) for name, c in changes.items() if c.any()}
            method.attach(model := copy.deepcopy(base), where)
    train(model, method, data, steps=STEPS, lr=method.lr, progress=False)
    score = evaluate(model, task)
    return {"what": what, "seed": seed} | line | {"accuracy": score.accuracy, "loss": round(score.loss, 4)}


if __name__ == "__main__":
    kinds = (
        "DiffPruning",
        "single gates alone",
        "the search's, from zero",
        "FISH Mask's, from zero",
        "random, from zero",
    )
    jobs = [(what, seed) for seed in range(SEEDS) for what in kinds]
    carry_on(RUNS, FIELDS, jobs, run, "places", workers=1)
