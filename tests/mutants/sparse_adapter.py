from . import Mutant

FILE = "hybrid/sparse_adapter.py"
MUTANTS = [
    Mutant(
        "the sparsity is the share that stays",
        {"round((1 - self.sparsity) *": "round(self.sparsity *"},
        "test_sparse_adapter.py::test_density[gpt2-snip]",
    ),
    Mutant(
        "what is cut keeps its first value instead of being zero",
        {
            "self.weight = Sparse(": "self.first, self.weight = linear.weight.detach(), Sparse(",
            "self.weight(self.bias.new_zeros(self.shape))": "self.weight(self.first)",
        },
        "test_sparse_adapter.py::test_forward_is_the_masked_adapter[gpt2]",
    ),
    Mutant(
        "every matrix is cut by the same share",
        {
            "where = largest(self.scores(model, weights, batches), count)": (
                "s, keep = self.scores(model, weights, batches), 1 - self.sparsity\n"
                "            where = {n: largest({n: s[n]}, round(keep * s[n].numel()))[n] for n in s}"
            )
        },
        "test_sparse_adapter.py::test_equals_torch_pruning[llama-magnitude]",
    ),
    Mutant(
        "snip is the gradient alone",
        {"(w.detach() * total[name]).abs()": "total[name].abs()"},
        "test_sparse_adapter.py::test_equals_torch_pruning[gpt2-snip]",
    ),
    Mutant(
        "snip sums absolute values of batches",
        {"total[name] += grad": "total[name] += grad.abs()"},
        "test_sparse_adapter.py::test_equals_torch_pruning[gpt2-snip]",
    ),
    Mutant(
        "the data are not looked at: snip cuts at random",
        {"self.attach(model, batches)": "self.attach(model)"},
        "test_sparse_adapter.py::test_equals_torch_pruning[gpt2-snip]",
    ),
]
