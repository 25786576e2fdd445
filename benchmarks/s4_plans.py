"""Plans of S4 at random, and some on purpose: lessons/data/s4_plans.csv, which lesson 22 reads.

    python benchmarks/s4_plans.py

A plan gives each of the four layers of mini-gpt2 some of the letters A, L, P, B; all plans get the same share of the
numbers, the same steps and the same learning rate, on the task odd_one_out.  64 plans are drawn at random and trained
once; those on purpose are trained with three seeds.  Started again, the command does what is missing.
"""

import random
from pathlib import Path

from minipeft import GPT, S4, counts, evaluate, fit, tasks
from minipeft.runs import carry_on

RUNS = Path(__file__).resolve().parents[1] / "lessons" / "data" / "s4_plans.csv"
FIELDS = ("plan", "seed", "trainable", "accuracy", "loss")
ON_PURPOSE = ("AL-AP-APB-PBL", "PBL-APB-AP-AL", "A-A-A-A", "L-L-L-L", "P-P-P-P", "B-B-B-B", "APBL-APBL-APBL-APBL")
LR = 0.01  # what the search of docs/comparison chose for S4 on this task


def at_random(count: int) -> list[str]:
    """Different plans; each letter is in each group with probability one half, and no group is empty."""
    draw, plans = random.Random(0), []
    words = ["".join(x for i, x in enumerate("APBL") if n >> i & 1) for n in range(1, 16)]
    while len(plans) < count:
        plan = "-".join(draw.choice(words) for _ in range(4))
        if plan not in (*plans, *ON_PURPOSE):
            plans.append(plan)
    return plans


def run(job: tuple[str, int]) -> dict:
    plan, seed = job
    model, task = GPT.from_pretrained("mini-gpt2"), tasks.load("odd_one_out")
    fit(model, S4(plan=tuple(plan.split("-"))), task, steps=200, lr=LR, seed=seed, progress=False)
    score = evaluate(model, task)
    line = {"trainable": counts(model).trainable, "accuracy": score.accuracy, "loss": round(score.loss, 4)}
    return dict(zip(FIELDS, job, strict=False)) | line


if __name__ == "__main__":
    jobs = [(plan, seed) for seed in range(3) for plan in ON_PURPOSE] + [(plan, 0) for plan in at_random(64)]
    carry_on(RUNS, FIELDS, jobs, run, "plans of S4", workers=1)
