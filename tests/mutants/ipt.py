from . import Mutant

FILE = "additive/ipt.py"
RANDOM = {"sources": ()}  # toy models have no source tasks; the tests bring some
MUTANTS = [
    Mutant(
        "the subspace goes on training while z is searched for",
        {"self.requires_grad_(space)": "self.requires_grad_(True)"},
        "test_ipt.py::test_recipe[gpt2]",
        RANDOM,
    ),
    Mutant(
        "reconstruction alone, without the model's loss",
        {"return sum(errors, super().loss(model, x, y))": "return sum(errors) or super().loss(model, x, y)"},
        "test_ipt.py::test_loss_of_the_subspace[llama-0.7]",
        RANDOM,
    ),
    Mutant(
        "the squared error is summed, under the alpha of a mean",
        {"F.mse_loss(self(), self.prompts[self.task])": 'F.mse_loss(self(), self.prompts[self.task], reduction="sum")'},
        "test_ipt.py::test_loss_of_the_subspace[gpt2-0.7]",
        RANDOM,
    ),
    Mutant(
        "every task's batches meet the first task's prompt",
        {"self.task = task\n": "self.task = 0\n"},
        "test_ipt.py::test_loss_of_the_subspace[llama-0.0]",
        RANDOM,
    ),
    Mutant(
        "the decoder's numbers are cut into vectors along the other axis",
        {'"(n d) -> n d"': '"(d n) -> n d"'},
        "test_ipt.py::test_autoencoder_by_hand[llama]",
        RANDOM,
    ),
    Mutant(
        "the task itself is among the sources",
        {"for name, its in rows if name not in held_out]": "for name, its in rows]"},
        "test_ipt.py::test_fit_holds_the_new_task_out[gpt2]",
        RANDOM,
    ),
]
