from . import Mutant

FILE = "hybrid/unipelt.py"
MUTANTS = [
    Mutant(
        "the gates are averaged over the text: they see the future",
        {'g.mean(1, keepdim=True) if self.over == "text" else g': "g.mean(1, keepdim=True)"},
        "test_every_method.py::test_causal[gpt2-unipelt]",
    ),
    Mutant(
        "the mean is taken before the sigmoid",
        {
            "g = super().forward(x).sigmoid()": "g = super().forward(x)",
            'return g.mean(1, keepdim=True) if self.over == "text" else g': (
                'return (g.mean(1, keepdim=True) if self.over == "text" else g).sigmoid()'
            ),
        },
        "test_unipelt.py::test_gate",
    ),
    Mutant(
        "the gate and alpha / r",
        {"shape(m)), Gate(d, self.gates))), self": "shape(m)), Gate(d, self.gates)), lora.alpha / self.rank), self"},
        "test_unipelt.py::test_gates_shut_and_open[gpt2]",
    ),
    Mutant(
        "the prefix's values are not gated",
        {"rearrange(text + g * prefix,": "rearrange(text + prefix,"},
        "test_unipelt.py::test_gated_prefix_by_hand[gpt2]",
    ),
    Mutant(
        "the text's own keys are gated too",
        {"torch.cat([q, g * q], -1)": "torch.cat([g * q, g * q], -1)"},
        "test_unipelt.py::test_equals_adapterhub[gpt2]",
    ),
]
