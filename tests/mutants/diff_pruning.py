from . import Mutant

FILE = "selective/diff_pruning.py"
MUTANTS = [
    Mutant(
        "the mask is on the weights, not on their change",
        {
            "return weight + self.diff(sample=self.training)": (
                "z = self.gates(lambda alpha: gate(alpha, self.training))\n        return z * (weight + self.w)"
            )
        },
        "test_diff_pruning.py::test_formula[True]",
    ),
    Mutant(
        "a wrong sign of log(-l / r)",
        {"alpha - math.log(-LOW / HIGH)": "alpha + math.log(-LOW / HIGH)"},
        "test_diff_pruning.py::test_gate_against_its_distribution[3.0--0.1-1.1]",
    ),
    Mutant(
        "no stretch: z is never exactly zero",
        {"(torch.sigmoid(noise + alpha) * (HIGH - LOW) + LOW).clamp(0, 1)": "torch.sigmoid(noise + alpha)"},
        "test_diff_pruning.py::test_gate_against_its_distribution[0.5--1.5-1.5]",
    ),
    Mutant(
        "the gates' probabilities are added",
        {
            "return self.gates(likely).sum()": (
                "return sum(likely(OPEN + self.speed * a).sum() for a in (self.a, self.group) if a is not None)"
            )
        },
        "test_diff_pruning.py::test_penalty[gpt2-True]",
    ),
    Mutant(
        "draws in evaluation too",
        {"self.diff(sample=self.training)": "self.diff(sample=True)"},
        "test_diff_pruning.py::test_draws_in_training_alone[gpt2]",
    ),
    Mutant(
        "pruned by the gates instead of by the change",
        {
            "largest({name: d.abs() for name, d in change.items()}, min(most, alive))": (
                "largest({name: d.a.detach() for name, d in diffs(model).items()}, min(most, alive))"
            )
        },
        "test_diff_pruning.py::test_projection[gpt2-True]",
    ),
    Mutant(
        "alpha moves no faster than w: the mask never closes",
        {"value(OPEN + self.speed * self.a)": "value(OPEN + self.a)"},
        "test_diff_pruning.py::test_gates_move_faster[gpt2]",
    ),
    Mutant(
        "the same share of every tensor stays",
        {
            "where = largest({name: d.abs() for name, d in change.items()}, min(most, alive))": (
                "ks = {name: max(1, most * d.numel() // 13000) for name, d in change.items()}\n"
                "        where = {name: d.flatten().abs().topk(ks[name]).indices for name, d in change.items()}"
            )
        },
        "test_diff_pruning.py::test_projection[gpt2-True]",
    ),
]
