"""The table of methods: what the command line, the comparison, the shared tests and the README know of each.

A method joins all of them by one row here.
"""

from typing import NamedTuple

from .additive.adamix import AdaMix
from .additive.adapters import Adapters
from .additive.ia3 import IA3
from .additive.ipt import IPT
from .additive.ladder_side import LadderSide
from .additive.prefix_tuning import PrefixTuning
from .additive.prompt_tuning import PromptTuning
from .hybrid.compacter import Compacter
from .hybrid.mam import MAM
from .hybrid.s4 import S4
from .hybrid.sparse_adapter import SparseAdapter
from .hybrid.unipelt import UniPELT
from .method import Method
from .reparametrization.intrinsic_said import IntrinsicSAID
from .reparametrization.krona import KronA
from .reparametrization.krona_res import KronARes
from .reparametrization.lora import LoRA
from .selective.bitfit import BitFit
from .selective.diff_pruning import DiffPruning
from .selective.far import FAR
from .selective.fishmask import FishMask


class Entry(NamedTuple):
    name: str  # on the command line
    method: type[Method]
    family: str  # additive, selective, reparametrization or hybrid
    section: str  # of the survey, arXiv 2303.15647
    lesson: int
    paper: str
    about: str


CATALOG = (
    Entry("adapters", Adapters, "additive", "6.1", 3, "arXiv 1902.00751", "a small network after each sub-layer"),
    Entry("adamix", AdaMix, "additive", "6.2", 4, "arXiv 2205.12410", "adapters drawn at random, averaged later"),
    Entry("prompt-tuning", PromptTuning, "additive", "7.1", 5, "arXiv 2104.08691", "learned vectors before the text"),
    Entry("prefix-tuning", PrefixTuning, "additive", "7.2", 6, "arXiv 2101.00190", "a learned KV cache in each block"),
    Entry("ipt", IPT, "additive", "7.3", 7, "arXiv 2110.07867", "a prompt from a small space that other tasks share"),
    Entry(
        "ladder-side", LadderSide, "additive", "8.1", 8, "arXiv 2206.06522", "a thin network that reads the frozen one"
    ),
    Entry("ia3", IA3, "additive", "8.2", 9, "arXiv 2205.05638", "scales of keys, values and the MLP's hidden layer"),
    Entry("bitfit", BitFit, "selective", "9.1", 10, "arXiv 2106.10199", "the biases and nothing else"),
    Entry(
        "diff-pruning", DiffPruning, "selective", "9.2", 11, "arXiv 2012.07463", "a change of everything, made sparse"
    ),
    Entry("far", FAR, "selective", "9.3", 12, "arXiv 2205.01541", "of the MLPs, the rows that move most; and the rest"),
    Entry("fishmask", FishMask, "selective", "9.4", 13, "arXiv 2111.09839", "the numbers that matter most to the data"),
    Entry(
        "intrinsic-said", IntrinsicSAID, "reparametrization", "10.1", 14, "arXiv 2012.13255", "a few random directions"
    ),
    Entry("lora", LoRA, "reparametrization", "10.2", 15, "arXiv 2106.09685", "a change of low rank"),
    Entry("krona", KronA, "reparametrization", "10.3", 16, "arXiv 2212.10650", "a change that is a Kronecker product"),
    Entry(
        "krona-res", KronARes, "reparametrization", "10.3", 17, "arXiv 2212.10650", "a Kronecker product beside the MLP"
    ),
    Entry("sparse-adapter", SparseAdapter, "hybrid", "11.1", 18, "arXiv 2210.04284", "adapters cut before training"),
    Entry("mam", MAM, "hybrid", "11.2", 19, "arXiv 2110.04366", "a prefix, and an adapter beside the MLP"),
    Entry("unipelt", UniPELT, "hybrid", "11.3", 20, "arXiv 2110.07577", "a prefix, LoRA and adapters behind gates"),
    Entry("compacter", Compacter, "hybrid", "11.4", 21, "arXiv 2106.04647", "adapters of shared Kronecker products"),
    Entry("s4", S4, "hybrid", "11.5", 22, "arXiv 2301.01821", "which method in which layers, as found by search"),
)


def entry(name: str) -> Entry:
    """The row of that name.  Raises ValueError with the names there are."""
    for row in CATALOG:
        if row.name == name.lower():
            return row
    raise ValueError(f"no method is called {name!r}; there are {', '.join(row.name for row in CATALOG)}")
