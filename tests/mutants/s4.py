from . import Mutant

FILE = "hybrid/s4.py"
SMALL = {"plan": ("AL", "APB", "PBL"), "share": 0.15}
MUTANTS = [
    Mutant(
        "the share is divided among the groups, not among the layers",
        {"part = (self.share * total / c.layers - bias)": "part = (self.share * total / 3 / len(layers) - bias)"},
        "test_s4.py::test_every_layer_gets_the_same[gpt2]",
        SMALL,
    ),
    Mutant(
        "the groups are counted from the top",
        {"zip(self.plan, groups, strict=True)": "zip(self.plan, groups[::-1], strict=True)"},
        "test_s4.py::test_each_layer_has_what_the_plan_says[gpt2]",
        SMALL,
    ),
    Mutant(
        "every bias of the model trains",
        {"BitFit(add=True, layers=layers)": "BitFit(add=True)"},
        "test_s4.py::test_each_layer_has_what_the_plan_says[gpt2]",
        SMALL,
    ),
    Mutant(
        "every prefix moves the text by its length",
        {"method.put(model)": "method.insert(model)"},
        "test_s4.py::test_prefixes_stand_in_their_layers_alone[gpt2]",
        SMALL,
    ),
    Mutant(
        "a layer's biases are not taken off its part",
        {'bias = letters.replace("B", ""), biases(model) * ("B" in letters)': 'bias = letters.replace("B", ""), 0'},
        "test_s4.py::test_every_layer_gets_the_same[gpt2]",
        SMALL,
    ),
]
