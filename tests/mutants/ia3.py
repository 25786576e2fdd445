from . import Mutant

FILE = "additive/ia3.py"
MUTANTS = [
    Mutant(
        "the weight is merged, its bias is not",
        {"            self.base.bias *= self.scale\n": "            pass\n"},
        "test_every_method.py::test_merge[gpt2-ia3]",
    ),
    Mutant(
        "the hidden layer is scaled before the activation",
        {'wrap(model, ["mlp.down"], ScaleIn, self.layers)': 'wrap(model, ["mlp.up"], ScaleOut, self.layers)'},
        "test_ia3.py::test_hidden_layer_after_the_activation[gpt2]",
    ),
    Mutant(
        "the scales start at zero",
        {"torch.ones(shape(base)[0])": "torch.zeros(shape(base)[0])"},
        "test_every_method.py::test_start[gpt2-ia3]",
    ),
    Mutant(
        "the MLP's result is scaled, not its hidden layer",
        {'wrap(model, ["mlp.down"], ScaleIn, self.layers)': 'wrap(model, ["mlp.down"], ScaleOut, self.layers)'},
        "test_ia3.py::test_hidden_layer_after_the_activation[gpt2]",
    ),
]
