"""Training: what a fit promises, on a task of a few letters."""

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.additive.adapters import Adapters
from minipeft.gpt import GPT, Trunk
from minipeft.method import IGNORE, FullFineTuning, Method, Stage
from minipeft.reparametrization.lora import LoRA
from minipeft.surgery import attached, base_state, trainable
from minipeft.tasks.task import Example, Task, collate, encode
from minipeft.train import Fit, evaluate, fit, token_loss, train


class Letters:
    """A tokenizer of small letters and the space: 27 tokens, a start and an end."""

    start, end = [27], 28

    def encode(self, text: str) -> list[int]:
        return [26 if letter == " " else ord(letter) - 97 for letter in text]

    def decode(self, ids) -> str:
        return "".join(" " if i == 26 else chr(97 + i) for i in ids)


def examples(n: int, seed: int) -> list[Example]:
    """The last letter, as often as it takes: answers of one to three tokens, after prompts of two to five."""
    draws = torch.Generator().manual_seed(seed)

    def some(high: int) -> int:
        return torch.randint(high, (), generator=draws).item()

    prompts = ["".join("abcdef"[some(6)] for _ in range(2 + some(4))) for _ in range(n)]
    return [Example(p, p[-1] * (1 + "abcdef".index(p[-1]) % 3)) for p in prompts]


TASK = Task("last letter", "say the last letter", examples(48, 0), examples(16, 1), examples(24, 2))
CHOICE = Task(
    "which", "the last letter, of two", *([Example(f"{a}{b}", b) for a in "abc" for b in "xy"] for _ in range(3)),
    options=("x", "y"),
)  # fmt: skip


@pytest.fixture(params=["gpt2"])
def style(request):  # the model is no matter here
    return request.param


@pytest.fixture
def model(make) -> GPT:
    model = make(layers=2)
    model.tokenizer = Letters()
    return model


@pytest.fixture
def another(make):
    def another() -> GPT:
        model = make(layers=2)
        model.tokenizer = Letters()
        return model

    return another


def quick(model, method=None, task=TASK, **settings) -> Fit:
    return fit(model, method or LoRA(rank=2), task, **{"steps": 12, "batch": 8, "progress": False, **settings})


def rows(model, split):
    return [encode(e, model.tokenizer) for e in split]


def values(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainable(model).items()}


@dataclass(frozen=True)
class Trouble(LoRA):
    """A LoRA whose loss runs into something at step `at`, counted in a list that the test holds."""

    at: int = 5
    error: object = KeyboardInterrupt

    def __post_init__(self):
        object.__setattr__(self, "seen", [])

    def loss(self, model, x, y):
        self.seen.append(values(model))
        if len(self.seen) == self.at:
            if self.error is None:
                return super().loss(model, x, y) * math.nan
            raise self.error
        return super().loss(model, x, y)


@pytest.fixture
def steps_of(monkeypatch):
    """Record, at each step of AdamW: its learning rate, its groups' decay, and the norm of the gradient."""
    record = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            grads = [p.grad for group in self.param_groups for p in group["params"]]
            record.append(
                {
                    "lr": [group["lr"] for group in self.param_groups],
                    "decay": {
                        tuple(p.shape): group["weight_decay"] for group in self.param_groups for p in group["params"]
                    },
                    "norm": torch.stack([g.norm() for g in grads]).norm().item(),
                }
            )
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    return record


# -- the loss ---------------------------------------------------------------------------------------------------------


def test_loss_is_of_the_labels_alone(model):
    """The same number as cross-entropy over all positions that ignores the unlabelled ones; prompts don't count."""
    x, y = collate(rows(model, TASK.train[:7]), pad=28)
    full = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=IGNORE)
    assert_close(LoRA().loss(model, x, y), full)
    assert (y != IGNORE).sum() == sum(len(e.completion) + 2 for e in TASK.train[:7])  # a space and the end
    assert_close(token_loss(model, rows(model, TASK.train[:7]), 28, batch=3), full.item())


def test_learns(another):
    """Every method lowers the loss; full fine-tuning gets most unseen examples right, where the base got none."""
    for method in (LoRA(rank=2), Adapters(size=4), FullFineTuning()):
        model = another()
        before = evaluate(model, TASK)
        full = isinstance(method, FullFineTuning)
        history = quick(model, method, steps=100 if full else 20, batch=16, lr=2e-2)
        after = evaluate(model, TASK)
        assert after.loss < before.loss and history.losses[-1] < history.losses[0]
        assert attached(model) == (method,) and after.n == 24
    assert before.accuracy < 0.1 and after.accuracy > 0.5


# -- chance -----------------------------------------------------------------------------------------------------------


def test_seed_decides_everything(another):
    """The start of the method, the order, the dropout: same seed, same bits, whatever was drawn before."""
    results = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        model, dice = another(), torch.get_rng_state()
        history = quick(model, LoRA(rank=2, dropout=0.3), seed=seed)
        assert torch.equal(torch.get_rng_state(), dice)  # nor does it move the caller's dice
        results.append((history.losses, history.validations, values(model)))
    (first, valid, state), again, other = results
    assert (first, valid) == again[:2] and all(torch.equal(t, again[2][n]) for n, t in state.items())
    assert first != other[0]


def test_accumulation_is_a_bigger_batch(another):
    """Four pieces of four with unequal numbers of labels: the same steps as sixteen at once."""
    whole, pieces = another(), another()
    one, four = quick(whole, batch=16), quick(pieces, batch=16, accumulate=4)
    assert_close(torch.tensor(four.losses), torch.tensor(one.losses), rtol=0, atol=1e-4)
    for name, p in values(whole).items():
        assert_close(values(pieces)[name], p, rtol=0, atol=1e-4)


def test_recompute_is_the_same_training(another):
    plain, again = another(), another()
    assert_close(quick(again, recompute=True).losses, quick(plain).losses, rtol=0, atol=1e-5)
    assert not any(m.recompute for m in again.modules() if isinstance(m, Trunk))


# -- the optimizer ----------------------------------------------------------------------------------------------------


def test_schedule(model, steps_of):
    """Up in a line over the warm-up, to the peak, down in a line to almost nothing; the same for all groups."""
    quick(model, steps=20, warmup=0.2, lr=0.5)
    rates = torch.tensor([step["lr"][0] for step in steps_of])
    assert_close(rates[:5], 0.5 * torch.arange(1, 6) / 5)
    assert_close(rates[4:], 0.5 * torch.arange(16, 0, -1) / 16)
    assert all(len(set(step["lr"])) == 1 for step in steps_of)


def test_no_warmup(model, steps_of):
    quick(model, steps=4, warmup=0, lr=0.5)
    assert_close([step["lr"][0] for step in steps_of], [0.5, 0.375, 0.25, 0.125])


def test_clipping(another, steps_of):
    """The gradient that the optimizer sees is as it was, or shortened to the limit."""
    quick(another(), clip=0)
    free = [step["norm"] for step in steps_of]
    limit = sorted(free)[len(free) // 2]
    steps_of.clear()
    quick(another(), clip=limit)
    clipped = [step["norm"] for step in steps_of]
    assert max(free) > 1.05 * limit and max(clipped) <= 1.001 * limit
    assert_close(clipped[0], min(free[0], limit), rtol=1e-4, atol=0)


def test_weight_decay_and_the_frozen(model, steps_of):
    """It pulls at the matrices that train, not at vectors, and at nothing that is frozen."""
    before = {name: t.clone() for name, t in base_state(model).items()}
    quick(model, Adapters(size=3, norms=False), weight_decay=0.5)
    assert all(decay == (0.5 if len(shape) == 2 else 0.0) for shape, decay in steps_of[0]["decay"].items())
    assert len(steps_of[0]["decay"]) == 4  # D, U and their biases
    frozen = {n: p for n, p in model.named_parameters() if not p.requires_grad}
    assert len(frozen) == len(before)
    assert all(torch.equal(t, before[name]) for name, t in base_state(model).items())


# -- precision --------------------------------------------------------------------------------------------------------


def test_autocast(another):
    """bf16 arithmetic on fp32 weights: near the exact training, and the weights stay fp32."""
    exact, mixed = another(), another()
    one, two = quick(exact), quick(mixed, dtype=torch.bfloat16)
    assert_close(two.losses, one.losses, rtol=0, atol=0.1)
    assert one.losses != two.losses
    assert {p.dtype for p in mixed.parameters()} == {torch.float32}


def test_small_steps_on_a_bf16_model(make):
    """A thousandth of a bf16 step, a few hundred times: the optimizer's fp32 copy adds up what bf16 would lose."""

    @dataclass(frozen=True)
    class Up(FullFineTuning):
        def loss(self, model, x, y):
            return -model.norm.bias.float().sum()  # Adam moves by the learning rate each step

    model = make(layers=1).bfloat16()
    with torch.no_grad():
        model.norm.bias.fill_(1.0)
    data = iter([(torch.zeros(1, 1).long(), torch.zeros(1, 1).long())] * 200)
    train(model=Up().attach(model), method=Up(), data=data, steps=200, lr=1e-3, warmup=0, clip=0, progress=False)
    assert model.norm.bias.dtype == torch.bfloat16
    assert_close(model.norm.bias.float(), torch.full((24,), 1.1), rtol=0, atol=0.01)


def test_fp16_is_refused(model):
    with pytest.raises(ValueError, match="bf16 or fp32"):
        quick(model.half())


# -- the best state ---------------------------------------------------------------------------------------------------


def test_best_state_stays(model):
    """Training goes on past its best, at a rate that wrecks it; the best of its validations is what is left."""
    history = quick(model, FullFineTuning(), lr=0.1, warmup=0.9, steps=16, validate=8, clip=0)
    losses = [loss for _, loss in history.validations]
    assert [step for step, _ in history.validations] == list(range(2, 17, 2))
    assert losses[-1] > min(losses) + 0.03
    assert_close(token_loss(model, rows(model, TASK.valid), 28), min(losses), rtol=0, atol=1e-6)


@pytest.mark.parametrize("at", [1, 5, 11])
def test_interrupted(model, at):
    """Ctrl-C ends it early and in order: the best validated state, or before any the last one; nothing left on."""
    method = Trouble(rank=2, at=at)
    history = quick(model, method, validate=3, recompute=True)  # looks after steps 4, 8, 12
    assert history.interrupted and "interrupted" in str(history)
    assert len(history.losses) == at - 1
    looks = [loss for _, loss in history.validations]
    assert len(looks) == (at - 1) // 4
    if looks:
        assert_close(token_loss(model, rows(model, TASK.valid), 28), min(looks), rtol=0, atol=1e-6)
    else:
        assert all(torch.equal(p, method.seen[-1][name]) for name, p in values(model).items())
    assert not model.training and not model.trunk.recompute and all(p.grad is None for p in model.parameters())
    assert attached(model) == (method,)


def test_interrupted_between_stages(model):
    """The stages that were to come don't start."""

    @dataclass(frozen=True)
    class Two(Trouble):
        def stages(self, model, batches):
            self.attach(model)
            yield Stage("first", 0.5)
            yield Stage("second", 0.5)

    method = Two(rank=2, at=3)
    assert quick(model, method).interrupted and len(method.seen) == 3


@pytest.mark.parametrize("at", [1, 7])
def test_not_a_number(model, at):
    """It says at which step and what to try, and the state is the best there was, or the start."""
    method = Trouble(rank=2, at=at, error=None)
    with pytest.raises(FloatingPointError, match=f"the loss is nan at step {at}: try a learning rate below 0.01"):
        quick(model, method, validate=3)
    assert all(p.isfinite().all() for p in model.parameters())
    if at == 1:
        assert all(torch.equal(p, method.seen[0][name]) for name, p in values(model).items())
    else:  # the look after step 4: what step 5 began with
        assert all(torch.equal(p, method.seen[4][name]) for name, p in values(model).items())
    assert not model.training


def test_divergence(model):
    """A learning rate from another world: a clear end instead of a ruined model."""
    with pytest.raises(FloatingPointError, match="learning rate below"):
        quick(model, FullFineTuning(), lr=1e30, steps=20, clip=0)
    assert all(torch.equal(t, p) for t, p in zip(base_state(model).values(), model.parameters(), strict=True))


def test_other_errors_pass(model):
    """And leave the model in its mode, without gradients."""
    with pytest.raises(RuntimeError, match="something else"):
        quick(model, Trouble(rank=2, at=3, error=RuntimeError("something else")))
    assert not model.training and all(p.grad is None for p in model.parameters())


# -- a recipe of several stages ---------------------------------------------------------------------------------------


def test_stages_share_the_steps(model):
    """Each trains what is trainable when it is its turn, for its share of the steps; the history is one."""

    @dataclass(frozen=True)
    class Relay(Method):
        def stages(self, model, batches):
            assert sum(len(x) for x, _ in batches) == len(TASK.train)
            LoRA(rank=1).attach(model)
            start = values(model)
            yield Stage("lora", 0.25)
            assert not all(torch.equal(p, start[n]) for n, p in values(model).items())
            for p in trainable(model).values():
                p.requires_grad_(False)
            model.norm.requires_grad_(True)
            norm = model.norm.weight.detach().clone()
            yield Stage("norm", 0.75)
            assert not torch.equal(model.norm.weight, norm)

    history = quick(model, Relay(), steps=16, validate=2)
    assert len(history.losses) == 16
    assert [step for step, _ in history.validations] == [2, 4, 10, 16]


# -- the score --------------------------------------------------------------------------------------------------------


def test_accuracy_by_hand(another):
    """Exact match of greedy text up to the end token, one by one; and of options, the likeliest."""
    model = another()
    quick(model, FullFineTuning(), steps=25, lr=1e-2)
    right = 0
    for prompt, completion in TASK.test:
        ids, said = model.tokenizer.start + model.tokenizer.encode(prompt), []
        while len(said) < 6 and (not said or said[-1] != 28):
            said.append(model(torch.tensor([ids + said]))[0, -1].argmax().item())
        right += said == [*model.tokenizer.encode(" " + completion), 28]
    score = evaluate(model, TASK, batch=5)
    assert 0 < right < 24 and score.accuracy == right / 24

    model = another()
    right = 0
    for example in CHOICE.test:
        losses = [token_loss(model, rows(model, [Example(example.prompt, o)]), 28) for o in CHOICE.options]
        right += CHOICE.options[losses.index(min(losses))] == example.completion
    assert evaluate(model, CHOICE, batch=5).accuracy == right / 6
    quick(model, FullFineTuning(), CHOICE, steps=40, lr=1e-2)
    assert evaluate(model, CHOICE).accuracy == 1


def test_texts_have_no_accuracy(model):
    texts = [Example("", "abc"), Example("", "fed")]
    score = evaluate(model, Task("texts", "", texts, texts, texts))
    assert score.accuracy is None and str(score) == f"loss {score.loss:.3f}"


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"steps": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"accumulate": 3}, "batch a multiple of accumulate"),
        ({"task": Task("none", "", [], TASK.valid, TASK.test)}, "no train examples"),
        ({"task": Task("long", "", [Example("a" * 40, "b")], TASK.valid, TASK.test)}, "train example 1 of long has 44"),
    ],
)
def test_refuses(model, settings, reason):
    with pytest.raises(ValueError, match=reason):
        quick(model, **settings)
    assert attached(model) == () and all(p.requires_grad for p in model.parameters())


def test_refuses_a_model_that_carries_a_method(model):
    LoRA().attach(model)
    with pytest.raises(ValueError, match="carries LoRA: merge or detach"):
        quick(model)


def test_refuses_a_model_without_a_tokenizer(make):
    with pytest.raises(ValueError, match="no tokenizer"):
        quick(make())
