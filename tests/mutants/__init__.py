"""Wrong implementations that run and train, one file for each file of the package; `tests/test_mutants.py` tries them.

FILE      the real file, below minipeft/
MUTANTS   what is wrong with each, the text it replaces, and the test that catches it
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    wrong: str  # what a reader would say is wrong with it
    changes: dict[str, str]  # text of the real file, which occurs once -> what stands there instead; at most 5 lines
    caught_by: str  # test_lora.py::test_formula[gpt2]
    settings: dict = {}  # of the method, where its defaults don't reach the changed lines
    file: str | None = None  # the changed one, where it isn't FILE but one that FILE relies on
