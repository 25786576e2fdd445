from . import Mutant

FILE = "reparametrization/krona_res.py"
MUTANTS = [
    Mutant(
        "it reads the MLP's result",
        {"lambda mlp: Parallel(": "lambda mlp: Serial(", "import Parallel, wrap": "import Serial, wrap"},
        "test_krona_res.py::test_dense[gpt2-res]",
    ),
    Mutant(
        "x is added whole",
        {"self.product(x) + self.r * x": "self.product(x) + x + 0 * self.r"},
        "test_every_method.py::test_start[gpt2-krona-res]",
    ),
    Mutant(
        "the residual joins the product's result, not x",
        {"return self.product(x) + self.r * x": "return (1 + self.r) * self.product(x)"},
        "test_krona_res.py::test_dense[llama-res]",
    ),
    Mutant(
        "an activation in the branch",
        {"self.product(x) + self.r": "self.product(x).relu() + self.r"},
        "test_krona_res.py::test_linear[gpt2]",
    ),
]
