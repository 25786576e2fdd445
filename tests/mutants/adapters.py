from . import Mutant

FILE = "additive/adapters.py"
MUTANTS = [
    Mutant(
        "no skip: the adapter's result replaces the sub-layer's",
        {"return self.up(self.act(self.down(x)))": "return self.up(self.act(self.down(x))) - x"},
        "test_adapters.py::test_equals_adapterhub[gpt2-houlsby-gelu]",
    ),
    Mutant(
        "the skip is added twice",
        {"return self.up(self.act(self.down(x)))": "return self.up(self.act(self.down(x))) + x"},
        "test_adapters.py::test_houlsby_by_hand[llama]",
    ),
    Mutant(
        "Houlsby's second adapter stands behind the addition to the stream",
        {'places = ("attn", "mlp") if': 'places = ("attn", "block") if'},
        "test_adapters.py::test_houlsby_by_hand[gpt2]",
    ),
    Mutant(
        "Pfeiffer's adapter reads the MLP's result, not the stream",
        {'else ("block",)': 'else ("mlp",)'},
        "test_adapters.py::test_pfeiffer_by_hand[gpt2]",
        {"placement": "pfeiffer"},
    ),
    Mutant(
        "both matrices start at zero: dead",
        {
            "nn.init.zeros_(bottleneck.up.weight)": "nn.init.zeros_(bottleneck.up.weight)\n"
            "            nn.init.zeros_(bottleneck.down.weight)"
        },
        "test_adapters.py::test_zero_start_is_the_base[gpt2]",
        {"start": "zero"},
    ),
    Mutant(
        "one adapter for all places",
        {
            "lambda part: Serial(part, self.branch(model.c.width))": (
                "lambda part, one=self.branch(model.c.width): Serial(part, one)"
            )
        },
        "test_adapters.py::test_each_place_has_its_own[gpt2]",
    ),
    Mutant(
        "no gradient passes through the frozen sub-layers",
        {
            "self.branch(model.c.width)), self.layers)": "self.branch(model.c.width)), self.layers)\n"
            "        for part in (m.base for m in model.modules() if isinstance(m, Serial)):\n"
            "            part.forward = __import__('torch').no_grad()(part.forward)"
        },
        "test_adapters.py::test_bias_gradient_by_finite_differences[llama]",
    ),
]
