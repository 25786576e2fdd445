from . import Mutant

FILE = "selective/far.py"
MUTANTS = [
    Mutant(
        "differences that cancel: the sum, not the sum of absolute values",
        {"(value - before[name]).abs().sum(1)": "(value - before[name]).sum(1)"},
        "test_far.py::test_nodes_that_moved_most[gpt2]",
    ),
    Mutant(
        "the largest weights, not those that moved",
        {"(value - before[name]).abs().sum(1)": "value.abs().sum(1)"},
        "test_far.py::test_nodes_that_moved_most[gpt2]",
    ),
    Mutant(
        "biases are left behind, frozen as a whole",
        {'for n in (name, f"{part}.bias") if n in primed': "for n in [name]"},
        "test_far.py::test_nodes_that_moved_most[gpt2]",
    ),
    Mutant(
        "priming is forgotten outside the MLPs",
        {"                    p.copy_(primed[name])": "                    pass"},
        "test_far.py::test_reconfigured_is_primed[gpt2]",
    ),
    Mutant(
        "the values go to the first rows, not to their own",
        {"index_copy(0, self.rows, self.values)": "index_copy(0, self.rows.argsort(), self.values)"},
        "test_far.py::test_reconfigured_is_primed[gpt2]",
    ),
    Mutant(
        "the frozen rows are a parameter as well: they have gradients, and weight decay moves them",
        {'self.register_buffer("others", others)': "self.others = None if others is None else nn.Parameter(others)"},
        "test_far.py::test_frozen_rows_keep_every_bit[gpt2-False]",
    ),
]
