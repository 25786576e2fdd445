"""SparseAdapter at several sparsities and sizes, by each score, three seeds each: lessons/data/sparse_adapter.csv.

    python benchmarks/sparse_adapters.py

One task and one model.  Adapters of size 32 are cut more and more; and adapters of three sizes so that as many weights
stay.  Learning rates are those that the search of docs/comparison chose for this task and model.
"""

import copy
import csv
from pathlib import Path

import torch

from minipeft import GPT, counts, evaluate, fit, tasks
from minipeft.hybrid.sparse_adapter import SparseAdapter

DATA = Path(__file__).resolve().parents[1] / "lessons" / "data" / "sparse_adapter.csv"
MODEL, TASK, STEPS, SEEDS = "mini-gpt2", "odd_one_out", 200, (0, 1, 2)
DENSE, CUT = 0.01, 0.03  # learning rates: of adapters, and of SparseAdapter
PLANS = [(16, 0.0, "random"), (32, 0.0, "random"), (64, 0.75, "snip")]  # (size, sparsity, score)
PLANS += [(32, sparsity, s) for sparsity in (0.5, 0.8, 0.9) for s in ("snip", "magnitude", "random")]


def main() -> None:
    torch.set_num_threads(1)
    base, task = GPT.from_pretrained(MODEL), tasks.load(TASK)
    with open(DATA, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["size", "sparsity", "score", "seed", "trains", "loss", "accuracy"])
        for seed in SEEDS:
            for size, sparsity, score in PLANS:
                model, rate = copy.deepcopy(base), CUT if sparsity else DENSE
                fit(model, SparseAdapter(size, sparsity, score), task, steps=STEPS, lr=rate, seed=seed, progress=False)
                result, trains = evaluate(model, task), counts(model).trainable
                found = [f"{result.loss:.3f}", f"{100 * result.accuracy:.1f}"]
                rows.writerow([size, sparsity, score, seed, trains, *found])
                print(seed, size, sparsity, score, result, flush=True)


if __name__ == "__main__":
    main()
