from . import Mutant

FILE = "reparametrization/lora.py"
MUTANTS = [
    Mutant(
        "the scale is left out of what is merged",
        {"+= self.scale * self.branch.matrix()": "+= self.branch.matrix()"},
        "test_every_method.py::test_merge[gpt2-lora]",
        file="surgery.py",
    ),
    Mutant(
        "the scale is left out",
        {"self.branch(*shape(linear)), scale)": "self.branch(*shape(linear)))"},
        "test_lora.py::test_equals_peft[gpt2-to0]",
    ),
    Mutant(
        "both matrices start random: the start is not the base",
        {"self.B = nn.Parameter(torch.zeros(d_out, rank))": "self.B = nn.Parameter(0.02 * torch.randn(d_out, rank))"},
        "test_every_method.py::test_start[gpt2-lora]",
    ),
    Mutant(
        "the scale is alpha alone",
        {"scale = self.alpha / self.rank": "scale = self.alpha"},
        "test_lora.py::test_equals_peft[gpt2-to0]",
    ),
    Mutant(
        "dropout while evaluating",
        {"F.dropout(x, self.dropout, self.training)": "F.dropout(x, self.dropout, True)"},
        "test_lora.py::test_dropout_on_the_branch_alone[gpt2]",
        {"dropout": 0.1},
    ),
    Mutant(
        "the product is formed in every step",
        {"return F.linear(F.linear(x, self.A), self.B)": "return F.linear(x, self.matrix())"},
        "test_lora.py::test_never_forms_the_product",
    ),
    Mutant(
        "both matrices start at zero: nothing ever moves",
        {"nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))": "nn.init.zeros_(self.A)"},
        "test_lora.py::test_starts_as_its_base[gpt2]",
    ),
]
