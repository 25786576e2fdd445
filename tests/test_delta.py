"""Deltas: what is in the files, what an interrupted save leaves, and what a load refuses."""

import json
import os
import subprocess
import sys
from hashlib import sha256

import pytest
import safetensors.torch
import torch

from minipeft import delta
from minipeft.additive.adapters import Adapters
from minipeft.gpt import GPT
from minipeft.reparametrization.lora import LoRA
from minipeft.selective.bitfit import BitFit
from minipeft.surgery import attached, merge, trainable


@pytest.fixture(params=["llama"])
def style(request):  # one will do: tests/test_every_method.py saves and loads all methods on both
    return request.param


@pytest.fixture
def saved(make, shake, tmp_path):
    """A folder with the delta of a LoRA of rank 3."""
    delta.save(shake(LoRA(rank=3, to=["attn.q", "mlp.up"]).attach(make())), tmp_path)
    return tmp_path


def edit(folder, change) -> None:
    """Rewrite delta.json."""
    about = json.loads((folder / "delta.json").read_text())
    change(about)
    (folder / "delta.json").write_text(json.dumps(about))


def swap(folder, change) -> None:
    """Rewrite the tensors, and their hash in delta.json with them."""
    tensors = safetensors.torch.load_file(folder / "delta.safetensors")
    data = safetensors.torch.save(change(tensors) or tensors)
    (folder / "delta.safetensors").write_bytes(data)
    edit(folder, lambda about: about.update(tensors=sha256(data).hexdigest()))


def refused(make, folder, reason, error=ValueError) -> None:
    """The load says why, in one sentence that names no internals, and the model stays plain."""
    model = make()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    dice = torch.get_rng_state()
    with pytest.raises(error, match=reason) as caught:
        delta.load(model, folder)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    assert attached(model) == () and all(p.requires_grad for p in model.parameters())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), dice)


# -- what is in the files ---------------------------------------------------------------------------------------------


def test_files(make, saved):
    about = json.loads((saved / "delta.json").read_text())
    numbers = {"rank": 3, "alpha": 16, "to": ["attn.q", "mlp.up"], "dropout": 0.0, "layers": None}
    assert about["format"] == 1
    assert about["methods"] == [{"name": "LoRA", "numbers": numbers}]
    assert about["counts"] == {"trainable": 3 * 3 * (20 + 32 + 20 + 36), "changed": 3 * 20 * (32 + 36), "rank": 3}
    tensors = safetensors.torch.load_file(saved / "delta.safetensors")
    assert tensors.keys() == trainable(LoRA(rank=3, to=["attn.q", "mlp.up"]).attach(make())).keys()
    assert {file.name for file in saved.iterdir()} == {"delta.json", "delta.safetensors"}


def test_numbers_come_back(make, shake, tmp_path):
    """Tuples, None, words and truth values: the method that is loaded equals the one that was saved."""
    methods = LoRA(rank=2, alpha=0.5, to=("mlp.gate",), layers=range(2)), Adapters(size=4, norms=False, start="zero")
    model = make()
    for m in methods:
        m.attach(model)
    delta.save(shake(model), tmp_path)
    assert attached(delta.load(make(), tmp_path)) == methods


def test_training_goes_on(make, saved, idx):
    """A loaded delta trains on from where it was, and its base is frozen."""
    model = delta.load(make(), saved)
    model(idx).mean().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == trainable(model).keys() == {n for n, _ in model.named_parameters() if ".branch." in n}


def test_load_draws_nothing(make, saved):
    """The random start that a load overwrites doesn't move the caller's dice."""
    model, dice = make(), torch.get_rng_state()
    delta.load(model, saved)
    assert torch.equal(torch.get_rng_state(), dice)


def test_save_refuses(make, shake, tmp_path):
    """A plain model has no delta, and one whose LoRA was folded in carries none any more; nothing is written."""
    for model in (make(), merge(shake(LoRA().attach(make())))):
        with pytest.raises(ValueError, match="carries no method"):
            delta.save(model, tmp_path / "new")
    model = shake(LoRA().attach(make()))
    del model.trunk[1].attn.q.branch.A
    with pytest.raises(ValueError, match="trunk.1.attn.q.branch.A"):
        delta.save(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


# -- one base, not another --------------------------------------------------------------------------------------------


def test_fingerprint(make, shake):
    """Of the base alone: neither a method on it nor the precision it is loaded in changes it, any weight does."""
    here = delta.fingerprint(make())
    carrying = shake(BitFit(add=True).attach(shake(Adapters(size=3).attach(make()))))
    assert delta.fingerprint(carrying) == here
    assert delta.fingerprint(make().bfloat16()) == delta.fingerprint(make().bfloat16().float()) == here
    other = make()
    with torch.no_grad():
        other.trunk[2].mlp.down.weight[3, 4] += 0.1
    assert delta.fingerprint(other) != here
    turned = make()  # the same numbers in another shape
    turned.positions = torch.nn.Embedding(0, 20)
    assert delta.fingerprint(turned) != here


def test_another_base(make, saved):
    refused(lambda: make(seed=1), saved, "another base")
    refused(lambda: make(layers=2), saved, "another base")


def test_a_model_that_carries_something(make, saved, idx):
    model = BitFit(add=True).attach(make())
    with pytest.raises(ValueError, match="carries BitFit: detach"):
        delta.load(model, saved)
    assert len(attached(model)) == 1


# -- files that are no delta ------------------------------------------------------------------------------------------


def test_missing(make, saved):
    refused(make, saved / "nowhere", "no delta in .*nowhere", FileNotFoundError)
    (saved / "delta.safetensors").unlink()
    refused(make, saved, "delta.safetensors is missing")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_tensors(make, saved, keep):
    file = saved / "delta.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(make, saved, "delta.safetensors is damaged")


@pytest.mark.parametrize("data", [b"", b"x" * 40, b"\xff" * 8, (10**6).to_bytes(8, "little") + b"{}"])
def test_not_safetensors(make, saved, data):
    """Even if delta.json vouches for it."""
    (saved / "delta.safetensors").write_bytes(data)
    edit(saved, lambda about: about.update(tensors=sha256(data).hexdigest()))
    refused(make, saved, "no safetensors file")


def test_a_pickle_is_not_opened(make, saved):
    """What torch.load would run stays unread."""

    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the pickle was opened",)

    torch.save({"trunk.0.attn.q.branch.A": Trap()}, saved / "delta.safetensors")
    data = (saved / "delta.safetensors").read_bytes()
    edit(saved, lambda about: about.update(tensors=sha256(data).hexdigest()))
    refused(make, saved, "no safetensors file")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "is not JSON"),
        ("1" * 5000, "is not JSON"),  # more digits than Python reads
        (" " * 1_000_001, "1,000,001 bytes"),
        ("[]", "format 1"),
        ("null", "format 1"),
        ('{"format": 2}', "format 1, not 2"),
        ('{"format": "1"}', "format 1"),
        ('{"format": 1}', "delta.safetensors is damaged"),
    ],
)
def test_hostile_json(make, saved, text, reason):
    (saved / "delta.json").write_text(text, encoding="latin-1")
    refused(make, saved, reason)


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        (None, "methods should be a list"),
        ({}, "methods should be a list"),
        ([], "methods should be a list"),
        (["LoRA"], "not None"),
        ([{"name": "Lora", "numbers": {}}], "no method is called 'Lora'"),
        ([{"name": "__import__", "numbers": {}}], "no method is called"),
        ([{"name": ["LoRA"], "numbers": {}}], "no method is called"),
        ([{"name": "LoRA"}], "LoRA has rank, alpha, to, dropout, layers; not None"),
        ([{"name": "LoRA", "numbers": {"rank": 3, "r": 3}}], "not r$"),
        ([{"name": "LoRA", "numbers": {"__class__": 3}}], "not __class__"),
        ([{"name": "LoRA", "numbers": {"rank": "3"}}], "rank should be int"),
        ([{"name": "LoRA", "numbers": {"rank": 3.0}}], "rank should be int"),
        ([{"name": "LoRA", "numbers": {"rank": None}}], "rank should be int"),
        ([{"name": "LoRA", "numbers": {"rank": -3}}], "rank must be at least 1"),
        ([{"name": "LoRA", "numbers": {"rank": 10**9, "to": ["attn.q", "mlp.up"]}}], "should be of shape"),
        ([{"name": "LoRA", "numbers": {"rank": 10**30}}], "cannot be attached"),
        ([{"name": "LoRA", "numbers": {"rank": 3, "alpha": 10**400}}], "alpha should be float"),
        ([{"name": "LoRA", "numbers": {"alpha": [1]}}], "alpha should be float"),
        ([{"name": "LoRA", "numbers": {"rank": 3, "to": "attn.q"}}], "to should be a list"),
        ([{"name": "LoRA", "numbers": {"rank": 3, "to": ["attn.q", "system"]}}], "no part called system"),
        ([{"name": "LoRA", "numbers": {"rank": 3, "layers": [10**9]}}], "no layer 1000000000"),
        ([{"name": "LoRA", "numbers": {"rank": 3}}], "6 of 12 tensors are missing"),
        ([{"name": "BitFit", "numbers": {}}], "no biases"),
        ([{"name": "LoRA", "numbers": {"rank": 3, "to": ["attn.q", "mlp.up"]}}] * 2, "already carries LoRA"),
    ],
    ids=lambda x: None,
)
def test_hostile_methods(make, saved, methods, reason):
    edit(saved, lambda about: about.update(methods=methods))
    refused(make, saved, reason)


def test_not_a_number(make, saved):
    text = (saved / "delta.json").read_text()
    (saved / "delta.json").write_text(text.replace('"alpha": 16', '"alpha": NaN'))
    refused(make, saved, "alpha should be float, not nan")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda t: {n: x for n, x in t.items() if n != "trunk.1.attn.q.branch.A"},
            "1 of 12 tensors are missing.*trunk.1.attn.q.branch.A",
        ),
        (lambda t: t.update({"tokens.weight": torch.zeros(41, 20)}), "1 tensors are too many.*tokens.weight"),
        (lambda t: {n: x.T.contiguous() for n, x in t.items()}, "shape"),
        (lambda t: {n: x.flatten() for n, x in t.items()}, "shape"),
        (lambda t: {n: x.long() for n, x in t.items()}, "type"),
        (lambda t: {n: torch.zeros(0) for n in t}, "shape"),
    ],
)
def test_wrong_tensors(make, saved, change, reason):
    swap(saved, change)
    refused(make, saved, reason)


# -- an interrupted save ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", range(6))
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_save(make, shake, tmp_path, idx, monkeypatch, call, error):
    """Whichever step of a save fails, the folder holds the old delta or the new one; the next save works."""
    old, new = shake(LoRA(rank=2).attach(make())), shake(LoRA(rank=2).attach(make()), seed=3)
    delta.save(old, tmp_path)
    steps = 0

    def failing(function):
        def step(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps > call:
                raise error("out of luck")
            return function(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(os.replace))
        patch.setattr(os, "fsync", failing(os.fsync))
        if call < 5:
            with pytest.raises(error):
                delta.save(new, tmp_path)
        else:
            delta.save(new, tmp_path)
    expected = old if call < 4 else new
    assert torch.equal(delta.load(make(), tmp_path)(idx), expected(idx))
    delta.save(new, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), new(idx))
    assert {file.name for file in tmp_path.iterdir()} == {"delta.json", "delta.safetensors"}


def test_killed_between_the_renamings_twice(make, shake, tmp_path, idx, monkeypatch):
    """The worst case: killed just before the last line, and the next save killed while it writes."""
    first, second, third = (shake(LoRA(rank=2).attach(make()), seed=i) for i in range(3))
    delta.save(first, tmp_path)
    replace = os.replace

    def killed(source, target):
        if str(target).endswith("delta.safetensors") and str(source) != str(target):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            delta.save(second, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            delta.save(third, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), second(idx))


def test_other_process(make, saved, idx, tmp_path):
    """What was saved here loads in a fresh Python, on a base with the same weights."""
    base, (here, there) = make(), (str(tmp_path / "in.pt"), str(tmp_path / "out.pt"))
    torch.save((base.state_dict(), idx), here)
    code = f"""
import torch
from minipeft.gpt import GPT, Config
from minipeft import delta
model, (state, idx) = GPT({base.c!r}).eval(), torch.load({here!r})
model.load_state_dict(state)
torch.save(delta.load(model, {str(saved)!r})(idx), {there!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert torch.equal(torch.load(there), delta.load(make(), saved)(idx))


def test_full_size_is_small(make, tmp_path):
    """Twelve layers of width 768, LoRA of rank 8 on q and v: 1.2 MB beside half a gigabyte."""
    with torch.device("meta"):
        model = LoRA(rank=8).attach(GPT(make().c.__class__(vocab=50257, context=1024, layers=12, heads=12, width=768)))
    numbers = sum(p.numel() for p in trainable(model).values())
    assert numbers == 294_912
    assert 4 * numbers < 1.2e6 < 0.01 * sum(4 * p.numel() for p in model.parameters())


def test_save_refuses_what_load_would_not_know(make, tmp_path):
    class Mine(LoRA):
        pass

    with pytest.raises(ValueError, match="not Mine"):
        delta.save(Mine().attach(make()), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
