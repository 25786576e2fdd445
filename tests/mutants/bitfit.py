from . import Mutant

FILE = "selective/bitfit.py"
THAW = '        for part in biased:\n            thaw(part, "bias")'
MUTANTS = [
    Mutant(
        "the norms' gains train too",
        {THAW: f'{THAW}\n            if not isinstance(part, nn.Linear):\n                thaw(part, "weight")'},
        "test_bitfit.py::test_names_and_count[gpt2]",
    ),
    Mutant(
        "the biases of the norms are left out",
        {'if getattr(p, "bias", None) is not None]': "if isinstance(p, nn.Linear) and p.bias is not None]"},
        "test_bitfit.py::test_names_and_count[gpt2]",
    ),
    Mutant(
        "the weights are not frozen: the optimizer is trusted to leave them out",
        {THAW: f"{THAW}\n            part.requires_grad_(True)"},
        "test_bitfit.py::test_brute_force[gpt2]",
    ),
    Mutant(
        "biases that are added start random: the start is not the base",
        {"torch.zeros(len(part.weight))": "torch.randn(len(part.weight))"},
        "test_bitfit.py::test_brute_force_on_llama[llama]",
        {"add": True},
    ),
    Mutant(
        "a LLaMA gets biases without being asked",
        {"if not biased and not self.add:": "if not biased and not bare:", "in bare if self.add else []": "in bare"},
        "test_bitfit.py::test_llama_has_none[llama]",
    ),
]
