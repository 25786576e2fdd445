from . import Mutant

FILE = "additive/prefix_tuning.py"
MUTANTS = [
    Mutant(
        "the network's values are taken for its keys",
        {
            "return tuple(rearrange(self.out(self.source()),": "return reversed(rearrange(self.out(self.source()),",
        },
        "test_prefix_tuning.py::test_equals_peft[gpt2-7]",
    ),
    Mutant(
        "the network's output is cut up in another order of axes",
        {'"n (two h e) -> two h n e", two=2': '"n (h two e) -> two h n e", two=2'},
        "test_prefix_tuning.py::test_equals_peft[llama-7]",
    ),
    Mutant(
        "the text begins at position 0",
        {"make_room(model, self.length)": "make_room(model, 0)"},
        "test_prefix_tuning.py::test_equals_peft[gpt2-None]",
    ),
    Mutant(
        "one prefix for all layers",
        {
            "for attn, link in list(self.links(model)):": "_, link = next(self.links(model))\n"
            "        for attn, _ in list(self.links(model)):",
        },
        "test_prefix_tuning.py::test_text_is_that_context[gpt2-None]",
    ),
    Mutant(
        "the text that a prefix starts from stands where the other text begins",
        {"start=-len(ids)": "start=0"},
        "test_prefix_tuning.py::test_text_is_that_context[llama-None]",
    ),
    Mutant(
        "what the network says is not what stays",
        {"return Prefix(*(p.clone() for p in self.rows()))": "return Prefix(*map(torch.randn_like, self.rows()))"},
        "test_prefix_tuning.py::test_drop[gpt2]",
    ),
    Mutant(
        "the network stays after training, and is saved as well",
        {"        drop(model)\n": ""},
        "test_prefix_tuning.py::test_drop[llama]",
    ),
]
