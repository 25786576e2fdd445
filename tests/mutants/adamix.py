from . import Mutant

FILE = "additive/adamix.py"
MUTANTS = [
    Mutant(
        "training mixes all experts instead of drawing one",
        {"if not self.training:": "if True:"},
        "test_adamix.py::test_train_is_one_expert",
    ),
    Mutant(
        "every layer and both passes draw the same expert",
        {"torch.randint(len(weights), ()).item()": "torch.initial_seed() % len(weights)"},
        "test_adamix.py::test_one_draw_for_a_layer_and_a_pass[gpt2]",
    ),
    Mutant(
        "one of the experts stays instead of the mean of all",
        {"linear.weight.copy_(weights.mean(0))": "linear.weight.copy_(weights[0])"},
        "test_adamix.py::test_averaged_after_training[gpt2]",
    ),
    Mutant(
        "the biases are left out of the mean",
        {"return weights.mean(0), biases.mean(0)": "return weights.mean(0), biases[0]"},
        "test_adamix.py::test_eval_is_the_mean_of_the_weights[gpt2]",
    ),
    Mutant(
        "the KL is divided by the number of classes too",
        {'reduction="batchmean"': 'reduction="mean"'},
        "test_adamix.py::test_disagreement",
    ),
    Mutant(
        "cross-entropy on both passes",
        {"F.nll_loss(first, y[labelled]) +": "F.nll_loss(torch.cat([first, second]), y[labelled].repeat(2)) +"},
        "test_adamix.py::test_loss[gpt2]",
    ),
    Mutant(
        "the targets of the KL move too",
        {"(first, second.detach()), (second, first.detach())": "(first, second), (second, first)"},
        "test_adamix.py::test_disagreement",
    ),
    Mutant(
        "the experts are saved after training, all of them",
        {"        average(model)\n\n    def restore": "\n    def restore"},
        "test_adamix.py::test_averaged_after_training[gpt2]",
    ),
]
