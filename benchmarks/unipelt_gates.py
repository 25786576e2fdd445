"""UniPELT with gates that learn, and with gates that stand open or half open: lesson 20's second picture.

    python benchmarks/unipelt_gates.py       writes lessons/data/unipelt.csv; 18 runs, two minutes on one quiet core

From all 1,000 examples and from the first 100 of them: the paper's gates are to help most where data are few.
"""

import copy
import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from minipeft import GPT, UniPELT, evaluate, fit, tasks
from minipeft.hybrid.unipelt import Gate

TO = Path(__file__).parents[1] / "lessons" / "data" / "unipelt.csv"
RATE = 1e-2  # what docs/comparison's search found for UniPELT on this task and model


@dataclass(frozen=True)
class Held(UniPELT):
    """UniPELT whose gates say the same for every token, from the first step to the last."""

    logit: float = 0.0  # sigmoid(logit): 0 is half open, 200 is open

    def insert(self, model: nn.Module) -> None:
        super().insert(model)
        for gate in model.modules():
            if isinstance(gate, Gate):
                nn.init.zeros_(gate.weight)
                nn.init.constant_(gate.bias, self.logit)
                gate.requires_grad_(False)


WAYS = {"learn": UniPELT(), "held half open": Held(), "held open": Held(logit=200.0)}


def main() -> None:
    torch.set_num_threads(1)
    base, task = GPT.from_pretrained("mini-gpt2"), tasks.load("odd_one_out")
    with TO.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["gates", "examples", "seed", "accuracy", "new words"])
        for seed in (0, 1, 2):
            for examples in (1000, 100):
                for way, method in WAYS.items():
                    model = copy.deepcopy(base)
                    fit(model, method, task.low_data(examples), steps=200, lr=RATE, seed=seed)
                    scores = (evaluate(model, task, split).accuracy for split in ("test", "ood"))
                    out.writerow([way, examples, seed, *scores])
                    file.flush()


if __name__ == "__main__":
    main()
