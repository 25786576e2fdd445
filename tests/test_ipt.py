"""Intrinsic Prompt Tuning: its three trainings, one by one, and what each leaves alone."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from minipeft import GPT, delta, fit, tasks
from minipeft.additive.ipt import IPT, Autoencoder, Decoder
from minipeft.additive.prompt_tuning import Prompted, PromptTuning
from minipeft.gpt import Config
from minipeft.measure import counts
from minipeft.method import Method
from minipeft.surgery import attached, base_state, trainable

WORDS = SimpleNamespace(encode=lambda text: [int(word) for word in text.split()], end=0, start=[0])
NEW = [(torch.tensor([[0, 5, 6, 7]]), torch.tensor([[-100, -100, 7, 0]]))] * 2  # the task to learn afterwards
SPACE = {"first.weight", "first.bias", "last.weight", "last.bias"}


@pytest.fixture
def sources(tmp_path) -> list[str]:
    """Two tasks as files: the first number said again, and the second."""
    paths = []
    for name, which in (("first", 0), ("second", 1)):
        rows = [[i, i + 9] for i in range(1, 9)]
        lines = [json.dumps({"prompt": " ".join(map(str, r)), "completion": str(r[which])}) for r in rows]
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("\n".join(lines))
    return [str(path) for path in paths]


@pytest.fixture
def speaking(make):
    def speaking() -> GPT:
        model = make()
        model.tokenizer = WORDS
        return model

    return speaking


def trained(model, method, stage, steps: int = 3, lr: float = 1e-2) -> list[float]:
    optimizer, losses = torch.optim.AdamW(trainable(model).values(), lr, weight_decay=0.1), []
    for _ in range(steps):
        loss = method.loss(model, *(next(stage.data) if stage.data else NEW[0]))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def test_recipe(speaking, sources):
    """A prompt for each source task, then the subspace, then z: at each stage that alone moves, the model never."""
    model, method = speaking(), IPT(length=4, size=3, hidden=5, sources=sources)
    before = {name: t.clone() for name, t in base_state(model).items()}
    what, prompts = [], []
    for stage in method.stages(model, NEW):
        place, names = model.trunk, {n.removeprefix("trunk.prompt.") for n in trainable(model)}
        what.append((stage.name, names))
        if isinstance(place.prompt, Autoencoder):
            assert torch.equal(place.prompt.prompts, torch.stack([p.detach() for p in prompts]))
            kept = place.prompt.prompts.clone()
            trained(model, method, stage)
            assert torch.equal(place.prompt.prompts, kept)
        else:
            frozen = {n: t.clone() for n, t in model.state_dict().items() if n not in trainable(model)}
            trained(model, method, stage)
            assert all(torch.equal(t, model.state_dict()[n]) for n, t in frozen.items())
            if names == {"P"}:
                prompts.append(place.prompt.P)
    space = {"encoder.weight", "encoder.bias"} | {f"decoder.{name}" for name in SPACE}
    assert what == [("prompt for first", {"P"}), ("prompt for second", {"P"}), ("subspace", space), ("z", {"z"})]
    assert not torch.equal(*prompts)
    assert all(torch.equal(t, before[n]) for n, t in base_state(model).items())
    assert counts(model).trainable == 3
    assert not any(isinstance(m, Autoencoder) for m in model.modules())  # the encoder is gone


@pytest.mark.parametrize("step", [1, 3, 5])
def test_broken_off(speaking, sources, step, idx, tmp_path, monkeypatch):
    """In a source's prompt or in the subspace: what there is can be saved and loaded, and its subspace used again."""
    model, method, steps, loss = speaking(), IPT(length=4, size=3, hidden=5, sources=sources), [], IPT.loss

    def pressed(*args):
        steps.append(args)
        if len(steps) > step:
            raise KeyboardInterrupt
        return loss(*args)

    monkeypatch.setattr(IPT, "loss", pressed)
    rows = [tasks.Example("3 4", " 7"), tasks.Example("5 6", " 11")]
    new = tasks.Task("new", rows, rows, rows, rows)
    assert fit(model, method, new, steps=2, batch=2, progress=False).interrupted
    assert trainable(model).keys() == {"trunk.prompt.z"}
    delta.save(model, tmp_path)
    assert torch.equal(delta.load(speaking(), tmp_path)(idx), model(idx))
    again = speaking()
    next(IPT(length=4, size=3, hidden=5, subspace=str(tmp_path)).stages(again, NEW))
    assert all(torch.equal(again.state_dict()[n], model.state_dict()[n]) for n in (f"trunk.prompt.{s}" for s in SPACE))


def at_the_subspace(model, method):
    """Before the subspace is learnt: its autoencoder, with random prompts; the stage; the recipe, not to be dropped."""
    recipe = method.stages(model, NEW)
    for stage in recipe:
        if stage.name == "subspace":
            torch.nn.init.normal_(model.trunk.prompt.prompts)
            return model.trunk.prompt, stage, recipe
        torch.nn.init.normal_(model.trunk.prompt.P)


def test_autoencoder_by_hand(speaking, sources):
    """A prompt's rows one after another, through one matrix to k numbers, through two with a tanh back to its rows."""
    model = speaking()
    part, *_ = at_the_subspace(model, IPT(length=4, size=3, hidden=5, sources=sources))
    part.task, d = 1, model.c.width
    P, e, first, last = part.prompts[1], part.encoder, part.decoder.first, part.decoder.last
    middle = sum(e.weight[:, i * d : (i + 1) * d] @ P[i] for i in range(4)) + e.bias
    hidden = torch.tanh(first.weight @ middle + first.bias)
    rows = [last.weight[i * d : (i + 1) * d] @ hidden + last.bias[i * d : (i + 1) * d] for i in range(4)]
    assert_close(part(), torch.stack(rows), rtol=0, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_loss_of_the_subspace(speaking, sources, alpha):
    """The model's loss behind the rebuilt prompt, plus alpha times the mean squared error: both, for its own task."""
    model, method = speaking(), IPT(length=4, size=3, hidden=5, sources=sources, alpha=alpha)
    part, stage, _recipe = at_the_subspace(model, method)
    for task in (0, 1, 0):
        x, y = next(stage.data)
        assert part.task == task
        assert y[:, 2].tolist() == x[:, 1 + task].tolist()  # the batch is of this task
        loss = method.loss(model, x, y)
        prompted = speaking()
        PromptTuning(length=4).attach(prompted).trunk.prompt.P.data.copy_(part())
        expected = Method.loss(method, prompted, x, y)
        assert_close(loss, expected + alpha * (part() - part.prompts[task]).square().sum() / part().numel())
        grads = torch.autograd.grad(loss, list(trainable(model).values()))
        assert all(grad.count_nonzero() for grad in grads)


def test_z_is_prompt_tuning_with_what_it_decodes_to(make, idx, shake):
    model = shake(IPT(length=4, size=3, sources=[]).attach(make()))
    plain = PromptTuning(length=4).attach(make())
    plain.trunk.prompt.P.data.copy_(model.trunk.prompt())
    assert torch.equal(model(idx), plain(idx))
    assert trainable(model).keys() == {"trunk.prompt.z"}


def test_prompts_lie_in_a_small_space(make):
    """Less b_2, all prompts lie in the span of W_2's columns; and near one z, in k directions."""
    decoder = Decoder(3, 7, 4, 10).double()
    z = torch.randn(50, 3).double()
    decoded = torch.stack([decoder(one).flatten() for one in z]) - decoder.last.bias
    assert torch.linalg.matrix_rank(decoded).item() == 7
    assert torch.linalg.matrix_rank(torch.autograd.functional.jacobian(decoder, z[0]).reshape(40, 3)).item() == 3


def test_sizes_in_the_paper():
    """100 vectors of 768 through 250 numbers: the survey's 78 million, and 250 for a task afterwards."""
    with torch.device("meta"):
        model = GPT(Config(vocab=100, context=512, layers=1, heads=1, width=768))
        IPT(length=100, size=250).attach(model)
        part = Autoencoder(torch.empty(2, 100, 768), model.trunk.prompt)
    assert sum(p.numel() for p in trainable(model).values()) == 250
    assert sum(p.numel() for p in part.parameters()) - 250 == 78_452_218


# -- source tasks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["gpt2"], indirect=True)
def test_fit_holds_the_new_task_out(monkeypatch, style, tmp_path):
    """By default, all the toy world's tasks but the one that is fitted; the subspace of a saved one is used again."""
    names = ("kind", "sentiment", "extreme")
    monkeypatch.setattr("minipeft.additive.ipt.NAMES", names)
    model = GPT.from_pretrained("mini-gpt2")
    history = fit(model, IPT(length=4, size=3), tasks.load("kind"), steps=2, batch=4, progress=False)
    assert len(history.losses) == 2 * (2 + 2 + 1)  # prompts for the other two, the subspace, z
    assert [at for at, _ in history.validations][0] > 8  # measured on the task itself, in its own stage alone
    delta.save(model, tmp_path)
    other = GPT.from_pretrained("mini-gpt2")
    history = fit(other, IPT(length=4, size=3, subspace=str(tmp_path)), tasks.load("where"), steps=2, progress=False)
    assert len(history.losses) == 2
    for name in SPACE:
        key = f"trunk.prompt.{name}"
        assert torch.equal(other.state_dict()[key], model.state_dict()[key])
    with pytest.raises(ValueError, match="holds no subspace of these sizes: first.weight is"):
        fit(GPT.from_pretrained("mini-gpt2"), IPT(length=4, size=5, subspace=str(tmp_path)), tasks.load("kind"))


def test_refuses_what_is_no_subspace(make, tmp_path):
    """The model stays as it was."""
    model = make()
    (tmp_path / "delta.safetensors").write_text("nothing of the kind")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="holds no saved IPT"):
            next(IPT(length=4, subspace=str(path)).stages(model, NEW))
        assert attached(model) == () and not isinstance(model.trunk, Prompted)


def test_refuses_to_know_the_task(speaking, sources):
    model = speaking()
    rows = [(torch.tensor([[0, 1, 10, 1, 0, 0]]), torch.tensor([[-100, -100, 1, 0, -100, -100]]))]  # of the first file
    rows[0] = rows[0][0][:, :4], rows[0][1][:, :4]
    with pytest.raises(ValueError, match="leave first out of sources"):
        next(IPT(length=4, sources=sources).stages(model, rows * 9))
    assert attached(model) == () and not isinstance(model.trunk, Prompted)


@pytest.mark.parametrize(
    "settings, match",
    [({"length": 0}, "length"), ({"size": 0}, "size"), ({"hidden": 0}, "hidden"), ({"sources": 3}, "sources")]
    + [({"sources": ["kind"], "subspace": "folder"}, "one of the two")],
)
def test_refuses(settings, match):
    with pytest.raises(ValueError, match=match):
        IPT(**settings)


def test_refuses_to_guess_sources(speaking):
    with pytest.raises(ValueError, match=r"sources=\[\.\.\.\] names tasks or files"):
        next(IPT(length=4).stages(speaking(), NEW))
