from . import Mutant

FILE = "reparametrization/krona.py"
MUTANTS = [
    Mutant(
        "x is cut by the other factor's side",
        {"x.reshape(-1, a_in, b_in)": "x.reshape(-1, b_in, a_in).mT"},
        "test_krona.py::test_formula[None]",
    ),
    Mutant(
        "the product in the wrong order when merged",
        {"torch.kron(self.A, self.B)": "torch.kron(self.B, self.A)"},
        "test_every_method.py::test_merge[gpt2-krona]",
    ),
    Mutant(
        "the scale counts twice in what is merged",
        {"return self.scale * torch.kron": "return self.scale**2 * torch.kron"},
        "test_krona.py::test_formula[factor1]",
        {"scale": 2.0},
    ),
    Mutant(
        "both factors start random",
        {"nn.Parameter(torch.zeros(a_out, a_in))": "nn.Parameter(torch.randn(a_out, a_in))"},
        "test_every_method.py::test_start[llama-krona]",
    ),
]
