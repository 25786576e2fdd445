from . import Mutant

FILE = "selective/fishmask.py"
MUTANTS = [
    Mutant(
        "the square of a batch's gradient, not the mean of each example's squares",
        {
            "rows = [(x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(len(x))][:examples]": (
                "rows = batches"
            )
        },
        "test_fishmask.py::test_fisher[gpt2]",
    ),
    Mutant(
        "the gradient of a mean over tokens: a long answer counts less",
        {"-method.loss(model, x, y) * (y != IGNORE).sum()": "-method.loss(model, x, y)"},
        "test_fishmask.py::test_fisher[gpt2]",
    ),
    Mutant(
        "the absolute value instead of the square",
        {"grad.float().square()": "grad.float().abs()"},
        "test_fishmask.py::test_fisher_by_hand",
    ),
    Mutant(
        "the same share of every tensor",
        {
            "        self.attach(model, largest(fisher(self, model, batches, self.examples), k))": (
                "        scores = fisher(self, model, batches, self.examples)\n"
                "        parts = (largest({n: s}, max(1, k * s.numel() // 13000)) for n, s in scores.items())\n"
                "        self.attach(model, {n: w for part in parts for n, w in part.items()})"
            )
        },
        "test_fishmask.py::test_mask_is_the_largest_of_all[gpt2]",
    ),
    Mutant(
        "whole tensors thaw instead of the chosen numbers",
        {
            "        sparsify(model, where)": (
                "        for name, _, _, p in originals(model):\n            p.requires_grad_(name in where)"
            )
        },
        "test_fishmask.py::test_nothing_else_moves[gpt2]",
    ),
    Mutant(
        "gradients are never reset, as in the survey: the squares are of a running sum",
        {
            "            total[name] += grad.float().square() / len(rows)": (
                "            p = params[name]\n"
                "            p.grad = grad if p.grad is None else p.grad + grad\n"
                "            total[name] += p.grad.float().square() / len(rows)"
            )
        },
        "test_fishmask.py::test_fisher[gpt2]",
    ),
]
