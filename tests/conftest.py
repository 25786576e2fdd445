"""What the tests share: small models of both styles, with unequal sizes and weights that matter."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from minipeft.gpt import GPT, Config

STYLES = {  # hardly two sizes alike: a transposed or a mistaken one shows
    "gpt2": Config(style="gpt2", vocab=41, context=32, layers=3, heads=3, width=24, hidden=40, head_width=6),
    "llama": Config(
        style="llama", vocab=41, context=32, layers=3, heads=4, kv_heads=2, width=20, hidden=36, head_width=8
    ),
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
def idx() -> Tensor:
    """Tokens of two texts: (b, t) = (2, 11)."""
    return torch.randint(41, (2, 11), generator=torch.Generator().manual_seed(1))
