"""The exercises of lesson 05, Prompt Tuning, and their checks.  The right answers come from the library's modules."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from minipeft.additive.prompt_tuning import Prompt, Prompted, PromptTuning
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.generate import cached
from minipeft.gpt import GPT, Config
from minipeft.surgery import find, trainable


class Seen(nn.Module):
    """In the place of the blocks: remembers what they are given."""

    def forward(self, x: Tensor, start: int, mask: Tensor) -> Tensor:
        self.given = x, mask
        return x


def reference_with_prompt(x: Tensor, mask: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
    blocks = Seen()
    torch.func.functional_call(Prompted(blocks, Prompt(torch.empty(P.shape)), len(P)), {"prompt.P": P}, (x, 0, mask))
    return blocks.given


@exercise(
    "05.1",
    "In front of the text",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_with_prompt,
    hints=(
        "Two things grow by n: what is seen, and what says what may be seen. At which end, and with what?",
        "P goes in front along the tokens, expanded to all b texts. A prompt is never padding: n times True in front "
        "of the mask.",
        "return torch.cat([P.expand(len(x), -1, -1), x], 1), torch.cat([...], 1)",
    ),
)
def test_with_prompt(submission, cases):
    for case in cases("b t n d"):
        arguments = dict(x=case("b t d"), mask=case("b t") > 0, P=case("n d"))
        same(submission.with_prompt, reference_with_prompt, **arguments)


def reference_from_labels(table: Tensor, labels: list[list[int]]) -> Tensor:
    spoken = SimpleNamespace(encode=lambda text: [int(word) for word in text.split()])
    model = SimpleNamespace(tokens=SimpleNamespace(weight=table), positions=None, tokenizer=spoken)
    text = [" ".join(map(str, ids)) for ids in labels]
    return PromptTuning(length=len(labels), text=text).first(model)


@exercise(
    "05.2",
    "A start from labels",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_from_labels,
    hints=(
        "How many rows of the table belong to a label of three tokens, and how many vectors may it have in the prompt?",
        "table[ids] are the rows of one label, (its tokens, d). Their mean is its one vector.",
        "return torch.stack([table[ids]... for ids in labels])",
    ),
)
def test_prompt_from_labels(submission, cases):
    for case in cases("d", v=20):
        labels = [[case.integer(0, 19) for _ in range(tokens)] for tokens in (3, 1, 2, 4)]
        same(submission.prompt_from_labels, reference_from_labels, table=case("v d"), labels=labels)


def reference_loss(logits: Tensor, y: Tensor) -> Tensor:
    """One label after the other, each looked up in the row that is its own."""
    n = logits.shape[1] - y.shape[1]
    labelled = [(row, i) for row, i in (y != -100).nonzero().tolist()]
    return -torch.stack([logits[row, n + i].log_softmax(0)[y[row, i]] for row, i in labelled]).mean()


@exercise(
    "05.3",
    "Find the mistake: the rows of the loss",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_loss,
    hints=(
        "Row 0 of the logits comes out behind the first vector of the prompt. Which row comes out behind token 0?",
        "The prompt stands in front, so its n rows come first, and the text's rows are the last t.",
        "rows = logits[:, ... :]",
    ),
)
def test_prompt_loss(submission, cases):
    for case in cases("b t n v"):
        y = case("b t v").argmax(-1)
        y[:, :2] = -100  # the loss looks at answers alone
        logits = torch.cat([case("b n v"), case("b t v")], 1)
        same(submission.prompt_loss, reference_loss, logits=logits, y=y)
        same_gradients(submission.prompt_loss, reference_loss, wrt="logits", logits=logits, y=y)


def reference_nearest(P: Tensor, table: Tensor) -> Tensor:
    """By the angle, word by word."""
    return torch.stack([torch.stack([(p @ w / (p @ p * (w @ w)).sqrt()).acos() for w in table]).argmin() for p in P])


@exercise(
    "05.4",
    "The nearest words",
    difficulty=1,
    minutes=5,
    points=2,
    reference=reference_nearest,
    hints=(
        "What is the product of two vectors if both have the length 1?",
        "Bring the rows of both to the length 1. One matrix product then holds all cosines, (n, v), and the nearest "
        "word of each row is where it is largest.",
        "return (F.normalize(P) @ F.normalize(table).T)...",
    ),
)
def test_nearest_words(submission, cases):
    for case in cases("d", n=12, v=50):
        same(submission.nearest_words, reference_nearest, P=case("n d"), table=case("v d"))


def reference_counts(layers: int, d: int, d_kv: int, n: int) -> tuple[int, int]:
    """Counted in a real model, and in its cache."""
    sizes = dict(layers=layers, width=d, heads=d // 2, kv_heads=d_kv // 2, head_width=2, hidden=8)
    model = PromptTuning(length=n).attach(GPT(Config("llama", vocab=7, context=n + 2, **sizes)))
    with torch.no_grad(), cached(model):
        model(torch.zeros(1, 1, dtype=torch.long))
        kept = [x[:, :, :n] for attn in find(model, "attn").values() for x in attn.past[-1].kept]
    return sum(p.numel() for p in trainable(model).values()), sum(x.numel() for x in kept)


@exercise(
    "05.5",
    "Vectors, or keys and values",
    difficulty=1,
    minutes=5,
    points=2,
    reference=reference_counts,
    hints=(
        "Where does the prompt enter, and where are keys and values made?",
        "It enters once, at the bottom: n vectors of d numbers. Every layer makes a key and a value of each.",
        "return n * d, layers * ...",
    ),
)
def test_prompt_counts(submission, cases):
    for case in cases():
        d_kv = 2 * case.integer(2, 4)
        sizes = dict(layers=case.integer(3, 5), d=d_kv * case.integer(2, 3), d_kv=d_kv, n=case.integer(3, 9))
        same(submission.prompt_counts, reference_counts, **sizes)
