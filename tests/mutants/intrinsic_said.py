from . import Mutant

FILE = "reparametrization/intrinsic_said.py"
MUTANTS = [
    Mutant(
        "no permutation: the directions are those of a convolution",
        {'order = torch.randperm(n, generator=draws, device="cpu")': "order = torch.arange(n)"},
        "test_intrinsic_said.py::test_fastfood_is_its_matrices[shape1-20]",
    ),
    Mutant(
        "the scale of P forgets the length of the tensor",
        {"(weight.numel() * normal.square().sum()).sqrt()": "normal.square().sum().sqrt()"},
        "test_intrinsic_said.py::test_every_tensor_moves_as_far[gpt2]",
    ),
    Mutant(
        "a tensor smaller than z sees only the first numbers of z",
        {
            "n = max(power_of_two(weight.numel()), m)": "n = power_of_two(weight.numel())",
            "z = self.signs * z.to": "z = self.signs * (torch.arange(len(z)) < len(self.normal)) * z.to",
        },
        "test_intrinsic_said.py::test_fastfood_is_its_matrices[shape2-12]",
    ),
    Mutant(
        "the same directions for all tensors of a size",
        {
            'draws = torch.Generator("cpu").manual_seed(self.seed)\n': "draws = None\n",
            "lambda name, weight: Fastfood(weight, z, self.scales, draws)": (
                'lambda name, weight: Fastfood(weight, z, self.scales, torch.Generator("cpu").manual_seed(0))'
            ),
        },
        "test_intrinsic_said.py::test_tensors_move_apart[gpt2]",
    ),
    Mutant(
        "other directions in each step",
        {
            "spread(x, self.order, self.normal)": (
                "spread(x, self.order, self.normal[torch.randperm(len(self.normal))])"
            )
        },
        "test_intrinsic_said.py::test_linear_and_fixed",
    ),
    Mutant(
        "the scales come on top of the budget",
        {"directions = self.dims - self.scales * len(weights)": "directions = self.dims"},
        "test_intrinsic_said.py::test_budget[gpt2-True]",
    ),
    Mutant(
        "the scales start at zero, as z does: nothing ever moves",
        {"nn.Parameter(torch.ones(()))": "nn.Parameter(torch.zeros(()))"},
        "test_intrinsic_said.py::test_first_gradients[gpt2]",
    ),
]
