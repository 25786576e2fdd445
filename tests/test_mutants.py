"""The tests find what is wrong: each mutant of `tests/mutants/` runs, trains, and fails the test that is named for it.

The real file is changed in a copy of the package, and a process of its own trains the mutant and runs its test there.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = [
    pytest.param(module.FILE, mutant, id=f"{module.__name__.rpartition('.')[2]}: {mutant.wrong}")
    for path in sorted((ROOT / "tests" / "mutants").glob("[!_]*.py"))
    for module in [importlib.import_module(f"tests.mutants.{path.stem}")]
    for mutant in module.MUTANTS
]
# a mutant that does not train is no wrong implementation, only a broken one
TRAIN = """
import math, sys, torch
from minipeft import GPT
from minipeft.catalog import CATALOG
from minipeft.gpt import Config
from minipeft.surgery import trainable

torch.set_num_threads(1)
torch.manual_seed(0)
model = GPT(Config("gpt2", vocab=41, context=32, layers=3, heads=3, width=24, hidden=40, head_width=6))
method, = (row.method for row in CATALOG if row.method.__module__ == f"minipeft.{MODULE}")
method = method(**SETTINGS)
x = torch.randint(41, (4, 11))
for stage in method.stages(model, [(x, x)] * 2):
    optimizer = torch.optim.AdamW(trainable(model).values(), 1e-3)
    for _ in range(2):
        loss = method.loss(model, x, x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert math.isfinite(loss.item())
print("TRAINED", flush=True)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/" + TEST]))
"""


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("file, mutant", MUTANTS)
def test_mutant_is_caught(file, mutant, tmp_path):
    changed = mutant.file or file
    text = (ROOT / "minipeft" / changed).read_text(encoding="utf-8")
    for old, new in mutant.changes.items():
        assert text.count(old) == 1, f"{changed} holds this {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    assert sum(max(old.count("\n"), new.count("\n")) + 1 for old, new in mutant.changes.items()) <= 5
    for path in (ROOT / "minipeft").rglob("*"):  # all of the package but this file is the real one
        copy = tmp_path / path.relative_to(ROOT)
        if path.suffix in (".py", ".json", ".safetensors"):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    (tmp_path / "minipeft" / changed).unlink()
    (tmp_path / "minipeft" / changed).write_text(text, encoding="utf-8")
    for name in ("tests", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    module = file.removesuffix(".py").replace("/", ".")
    code = f"MODULE, SETTINGS, TEST = {module!r}, {mutant.settings!r}, {mutant.caught_by!r}\n{TRAIN}"
    env = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "TRAINED" in run.stdout, f"it does not train:\n{run.stdout}{run.stderr}"
    assert run.returncode == 1 and "1 failed" in run.stdout, f"not caught:\n{run.stdout}{run.stderr}"
    assert "AssertionError" in run.stdout or "DID NOT RAISE" in run.stdout, f"it broke:\n{run.stdout}"
