"""What the tests share: small models of both styles, with unequal sizes and weights that matter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.testing import assert_close

from minipeft.gpt import GPT, Config
from minipeft.method import Method
from minipeft.surgery import trainable

STYLES = {  # hardly two sizes alike: a transposed or a mistaken one shows
    "gpt2": Config(style="gpt2", vocab=41, context=32, layers=3, heads=3, width=24, hidden=40, head_width=6),
    "llama": Config(
        style="llama", vocab=41, context=32, layers=3, heads=4, kv_heads=2, width=20, hidden=36, head_width=8
    ),
}
RECORDED = {  # the bases that tests/oracles/ have drawn
    "gpt2": Config(style="gpt2", vocab=31, context=16, layers=2, heads=4, width=20, hidden=28),
    "llama": Config(style="llama", vocab=31, context=16, layers=2, heads=4, kv_heads=2, width=24, hidden=28),
}


def pytest_configure() -> None:
    torch.set_num_threads(1)  # on small tensors threads only wait for each other


def shaken(model: nn.Module, std: float = 0.3, seed: int = 0) -> nn.Module:
    """Add a random number to each one that trains, so that nothing hides behind a zero or a one."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += std * torch.randn(p.shape, generator=draws)
    return model


@pytest.fixture
def shake() -> Callable[..., nn.Module]:
    return shaken


@pytest.fixture(params=STYLES)
def style(request) -> str:
    return request.param


@pytest.fixture
def make(style: str) -> Callable[..., GPT]:
    """make(): the same plain model each time, its logits of a deviation above 1, in evaluation mode.

    Another seed makes another one, and numbers of the Config can be given: make(layers=1).
    """

    def make(seed: int = 0, **numbers) -> GPT:
        torch.manual_seed(seed)
        return shaken(GPT(replace(STYLES[style], **numbers)), seed=seed).eval()

    return make


@pytest.fixture
def model(make) -> GPT:
    return make()


@pytest.fixture
def equals_adapterhub(style: str) -> Callable[[Method, str, str], None]:
    """equals_adapterhub(method, file, case): the outputs and gradients of AdapterHub's `adapters` 1.3.

    They are recorded in tests/fixtures/FILE_STYLE.safetensors, with the base and all weights, which are copied in.
    """

    def check(method: Method, file: str, case: str) -> None:
        recorded = load_file(Path(__file__).parent / "fixtures" / f"{file}_{style}.safetensors")
        model, idx = GPT(RECORDED[style]), recorded["idx"]
        model.load_state_dict({n.removeprefix("base/"): t for n, t in recorded.items() if n.startswith("base/")})
        parts = trainable(method.attach(model))
        assert {f"{case}/part/{n}" for n in parts} == {n for n in recorded if n.startswith(f"{case}/part/")}
        for name, p in parts.items():
            p.data.copy_(recorded[f"{case}/part/{name}"])
        logits = model(idx)
        assert_close(logits, recorded[f"{case}/logits"], rtol=0, atol=1e-5)
        F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten()).backward()
        for name, p in parts.items():
            assert_close(p.grad, recorded[f"{case}/grad/{name}"], rtol=0, atol=1e-5)

    return check


@pytest.fixture
def idx() -> Tensor:
    """Tokens of two texts: (b, t) = (2, 11)."""
    return torch.randint(41, (2, 11), generator=torch.Generator().manual_seed(1))
