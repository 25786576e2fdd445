from . import Mutant

FILE = "additive/ladder_side.py"
GATED = "return self.block(g * s + (1 - g) * self.down(h), turn, mask)"
MUTANTS = [
    Mutant(
        "the gate is the wrong way round",
        {GATED: "return self.block((1 - g) * s + g * self.down(h), turn, mask)"},
        "test_ladder_side.py::test_gates[gpt2]",
        {"reduction": 2},
    ),
    Mutant(
        "the gate stands after the side block",
        {GATED: "return g * self.block(s, turn, mask) + (1 - g) * self.down(h)"},
        "test_ladder_side.py::test_by_hand[gpt2-settings0]",
        {"reduction": 2},
    ),
    Mutant(
        "no temperature",
        {"torch.sigmoid(self.alpha / self.temperature)": "torch.sigmoid(self.alpha)"},
        "test_ladder_side.py::test_gates[llama]",
        {"reduction": 2},
    ),
    Mutant(
        "each rung reads the embedding",
        {"self.rungs[str(i)](s, h, turn, mask)": "self.rungs[str(i)](s, x, turn, mask)"},
        "test_ladder_side.py::test_by_hand[gpt2-settings2]",
        {"reduction": 2},
    ),
    Mutant(
        "the base's last norm stays in",
        {'            wrap(model, "norm", Unused)\n': ""},
        "test_ladder_side.py::test_by_hand[llama-settings1]",
        {"reduction": 2},
    ),
]
