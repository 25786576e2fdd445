"""Which methods can stand on one model, and what the others say: docs/stacking.md.

    python benchmarks/stacking.py

Every ordered pair is attached to both bundled models, the first and then the second, with the numbers that methods have
by default.  `tests/test_every_method.py` tests the same pairs for what must then hold.
"""

from collections import defaultdict
from itertools import permutations
from pathlib import Path

from minipeft import GPT
from minipeft.catalog import CATALOG, Entry
from minipeft.method import Method

PAGE = Path(__file__).resolve().parents[1] / "docs" / "stacking.md"
MODELS = ("mini-gpt2", "mini-llama")
SETTINGS = {("bitfit", "mini-llama"): {"add": True}}  # a LLaMA has no biases of its own


def method_of(row: Entry, model: str) -> Method:
    return row.method(**SETTINGS.get((row.name, model), {}))


def refusal(first: Entry, second: Entry, name: str) -> str | None:
    """What the second method says when it meets the first, if it won't join it."""
    model = method_of(first, name).attach(GPT.from_pretrained(name))
    try:
        method_of(second, name).attach(model)
    except ValueError as reason:
        return str(reason)


def main() -> None:
    said = defaultdict(dict)  # (first, second): {model: reason}
    for first, second in permutations(CATALOG, 2):
        for name in MODELS:
            if reason := refusal(first, second, name):
                said[first.name, second.name][name] = reason
    text = [
        "# Two methods on one model\n",
        "Attach one method, then another, and both train: `LoRA().attach(BitFit().attach(model))`. Where that can't "
        "be, the second says so and leaves the model as it was. Rows were there first, columns come second. "
        "`·` they stack, on both bundled models; `x` refused; `g`, `l` refused on mini-gpt2 or on mini-llama alone. "
        "Made by `python benchmarks/stacking.py`.\n",
        "| first | " + " | ".join(row.name for row in CATALOG) + " |",
        "|---|" + ":-:|" * len(CATALOG),
    ]
    for first in CATALOG:
        cells = []
        for second in CATALOG:
            where = [name for name in MODELS if name in said.get((first.name, second.name), {})]
            cells.append(" " if first is second else "x" if len(where) == 2 else where[0][5] if where else "·")
        text.append(f"| {first.name} | " + " | ".join(cells) + " |")
    pairs = defaultdict(list)  # reason: its pairs
    for (first, second), reasons in said.items():
        for reason in dict.fromkeys(reasons.values()):
            pairs[reason].append(f"{first}, {second}")
    text += ["\n## Why not\n", "| first, second | what the second says |", "|---|---|"]
    text += [f"| {'; '.join(who)} | {reason} |" for reason, who in sorted(pairs.items(), key=lambda x: x[1])]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")
    print(f"{len(CATALOG) * (len(CATALOG) - 1)} pairs, {len(said)} of them refused on at least one model: {PAGE.name}")


if __name__ == "__main__":
    main()
