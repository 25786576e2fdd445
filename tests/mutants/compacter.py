from . import Mutant

FILE = "hybrid/compacter.py"
MUTANTS = [
    Mutant(
        "each layer has its own copy of A",
        {'del self.A\n        vars(self)["A"] = owner.A': "self.A = nn.Parameter(owner.A.detach().clone())"},
        "test_compacter.py::test_shared_factors[gpt2]",
    ),
    Mutant(
        "the product's factors are swapped: B (x) A",
        {
            '"i a c, i o r -> a o c i r"), "a o c i r': '"i a c, i o r -> a o c i r"), "o a c i r',
            '"... (c k) -> ... c k", c=self.n': '"... (k c) -> ... c k", c=self.n',
        },
        "test_compacter.py::test_sum_of_kronecker_products[1]",
    ),
    Mutant(
        "A starts at zero, to start as the base: dead",
        {"nn.Parameter(std * torch.randn(n, n, n))": "nn.Parameter(torch.zeros(n, n, n))"},
        "test_every_method.py::test_recipe[gpt2-compacter]",
    ),
    Mutant(
        "the bias is left out",
        {'"... c ir -> ... (c ir)"), rest, self.bias)': '"... c ir -> ... (c ir)"), rest)'},
        "test_compacter.py::test_equals_adapterhub[gpt2-compacter]",
    ),
    Mutant(
        "a size that n does not divide is cut",
        {"or self.size % self.n:": "or self.size < self.n:"},
        "test_compacter.py::test_refuses_numbers[settings0-size must be a multiple of n]",
    ),
]
