from . import Mutant

FILE = "hybrid/mam.py"
MUTANTS = [
    Mutant(
        "the adapter reads what the MLP reads, the normalised stream",
        {"self.branch(u)": "self.branch(block.norm2(u))"},
        "test_mam.py::test_reads_the_stream_itself[gpt2]",
    ),
    Mutant(
        "the adapter stands behind the MLP",
        {
            "return u + block.mlp(block.norm2(u)) + self.scale * self.branch(u)": (
                "h = block.mlp(block.norm2(u))\n        return u + h + self.scale * self.branch(h)"
            )
        },
        "test_mam.py::test_equals_adapterhub[gpt2-parallel-0-0.7]",
    ),
    Mutant(
        "the scale multiplies the adapter's input, which only its biases show",
        {"self.scale * self.branch(u)": "self.branch(self.scale * u)"},
        "test_mam.py::test_linear_in_the_scale[gpt2]",
    ),
    Mutant(
        "the MLP is scaled too",
        {
            "block.mlp(block.norm2(u)) + self.scale * self.branch(u)": (
                "self.scale * (block.mlp(block.norm2(u)) + self.branch(u))"
            )
        },
        "test_mam.py::test_block_by_hand[llama]",
    ),
    Mutant(
        "the text begins behind the prefix",
        {"layers=self.layers).put(model)": "layers=self.layers).insert(model)"},
        "test_mam.py::test_equals_adapterhub[gpt2-mam-3-4.0]",
    ),
    Mutant(
        "the adapter has a skip of its own",
        {"self.scale * self.branch(u)": "self.scale * (u + self.branch(u))"},
        "test_mam.py::test_adapter_alone_starts_as_its_base[gpt2]",
    ),
]
