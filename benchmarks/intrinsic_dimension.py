"""How many random directions does a task need?  lessons/data/intrinsic_dimension.csv, for lesson 14.

    python benchmarks/intrinsic_dimension.py

Intrinsic SAID with budgets from 16 to 1,024 numbers, with scales (SAID, where the budget allows) and without (DID),
each with two learning rates: the same steps and batches for all.  Every run is a line of the file as soon as it is
done; started again, the command does what is missing.
"""

from pathlib import Path

from minipeft import GPT, IntrinsicSAID, evaluate, fit, tasks
from minipeft.runs import carry_on

RUNS = Path(__file__).resolve().parents[1] / "lessons" / "data" / "intrinsic_dimension.csv"
FIELDS = ("model", "task", "way", "dims", "lr", "seed", "accuracy")
MODEL, TASKS, RATES, STEPS = "mini-gpt2", ("where", "reversing"), (0.01, 0.1), 200
DIMS = {"did": (16, 32, 64, 128, 256, 512, 1024), "said": (128, 256, 512, 1024)}  # the model has 68 scales


def run(job: tuple[str, str, str, int, float, int]) -> dict:
    """One line of the file: a budget on a task."""
    name, task_name, way, dims, lr, seed = job
    task, model = tasks.load(task_name), GPT.from_pretrained(name)
    fit(model, IntrinsicSAID(dims, scales=way == "said"), task, steps=STEPS, lr=lr, seed=seed, progress=False)
    return dict(zip(FIELDS, job, strict=False)) | {"accuracy": evaluate(model, task).accuracy}


def jobs() -> list[tuple[str, str, str, int, float, int]]:
    ways = [(way, dims) for way, some in DIMS.items() for dims in some]
    return [(MODEL, task, way, dims, lr, 0) for task in TASKS for way, dims in ways for lr in RATES]


if __name__ == "__main__":
    carry_on(RUNS, FIELDS, jobs(), run, "intrinsic dimension")
