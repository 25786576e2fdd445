"""Who wrote the same: copies are found however they are dressed up, and right answers by themselves are not."""

import re
from hashlib import blake2b
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from minipeft.grading import similarity
from minipeft.grading.handed_in import Handed, Source
from minipeft.grading.similarity import hashes, similar, similarity_csv, similarity_page, winnowed

EXERCISES = [
    SimpleNamespace(topic="lora", name="lora_linear", id="15.1", title="The <layer>"),
    SimpleNamespace(topic="lora", name="lora_gradients", id="15.5", title="=Find the mistake"),
]

STUB = '''
import torch

def lora_linear(x, W, bias, A, B, alpha):
    """A Linear with LoRA beside it."""
    raise NotImplementedError("exercise 15.1")

def lora_gradients(x, G, A, B, alpha):
    s = alpha / A.shape[0]
    h = x @ A.T                         # (n, r), what B reads
    dA = s * (G @ B).T @ x
    dB = G.T @ h
    return dA, dB
'''
SOLUTION = """
def lora_linear(x, W, bias, A, B, alpha):
    # BEGIN SOLUTION
    r = A.shape[0]
    return x @ W.T + bias + alpha / r * (x @ A.T @ B.T)
    # END SOLUTION

def lora_gradients(x, G, A, B, alpha):
    s = alpha / A.shape[0]
    h = x @ A.T
    dA = s * (G @ B).T @ x
    dB = s * G.T @ h
    return dA, dB
"""
WRONG = """
@wrong("lora_linear", "the scale is missing")
def no_scale(x, W, bias, A, B, alpha):
    frozen, thin = torch.einsum("btd,ed->bte", x, W) + bias, torch.einsum("btd,rd->btr", x, A)
    return frozen + torch.einsum("btr,er->bte", thin, B)
"""

ADA = '''
import torch
import torch.nn.functional as F

def scaled(change, alpha, rank):
    """Ada's helper."""
    return change.mul(alpha).div(rank).clone()

def lora_linear(x, W, bias, A, B, alpha):
    """A Linear with LoRA beside it."""
    frozen = F.linear(x, W, bias)           # what the base does
    rank, width = A.size(0), B.size(0)
    change = torch.zeros(*x.shape[:-1], width)
    for i in range(rank):
        change = change + torch.outer((x @ A[i]).flatten(), B[:, i]).view_as(change)
    return frozen + scaled(change, alpha, rank)

def lora_gradients(x, G, A, B, alpha):
    with torch.enable_grad():
        A1, B1 = A.clone().requires_grad_(), B.clone().requires_grad_()
        y = alpha / len(A1) * (x @ A1.t()) @ B1.t()
        (y * G).sum().backward()
    return A1.grad, B1.grad
'''
COPY = """# all my own work
from torch.nn import functional as func
import torch as t
from torch import Tensor


def lora_gradients(inputs: Tensor, grad_out, P, Q, factor):
    with t.enable_grad():
        first: Tensor
        first, second = P.clone().requires_grad_(), Q.clone().requires_grad_()
        out: Tensor = (factor / len(first)) * (inputs @ first.t()) @ second.t()
        ((out * grad_out).sum()).backward()
    return (first.grad, second.grad)


def lora_linear(inputs: Tensor, M: Tensor, shift, P, Q, factor) -> Tensor:
    'Quite another docstring.'
    base = func.linear(inputs, M, shift)
    n, e = P.size(0), Q.size(0)
    d = t.zeros(*inputs.shape[:-1], e)
    for j in range(n):
        # one rank after the other
        d = d + t.outer((inputs @ P[j]).flatten(), Q[:, j]).view_as(d)
    return base + my_scale(d, factor, n)


def my_scale(z, a, r):
    return z.mul(a).div(r).clone()
"""


@pytest.fixture
def root(tmp_path):
    for folder, text in (("exercises", STUB), ("solutions", SOLUTION), ("tests/exercises/wrong", WRONG)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "lora.py").write_text(text)
    return tmp_path


def handed(text: str | bytes) -> Handed:
    text = text if isinstance(text, bytes) else text.encode()
    return Handed("x", "file", "0" * 64, {"lora": Source(text, "lora.py")}, ())


def class_of(root, **texts):
    return similar({name: handed(text) for name, text in texts.items()}, root, EXERCISES)


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_copy_in_other_clothes_is_found(root):
    (pair,) = class_of(root, ada=ADA, bob=COPY, eve=SOLUTION)
    assert pair.names == ("ada", "bob") and pair.score == 1.0 and pair.shared >= 15
    assert [(a.exercise, a.title, a.score) for a in pair.exercises] == [
        ("15.1", "The <layer>", 1.0),
        ("15.5", "=Find the mistake", 1.0),
    ]
    ada, bob = pair.exercises[0].codes
    assert ada.startswith("def scaled(") and "what the base does" in ada and ada.rstrip().endswith("rank)")
    assert (
        bob.startswith("def lora_linear(inputs: Tensor") and "my_scale(z, a, r)" in bob and "lora_gradients" not in bob
    )


def test_a_copy_with_lines_put_in_is_found(root):
    more = ADA.replace("    rank, width", "    print('hello', x.shape, W.shape)\n    rank, width")
    (pair,) = class_of(root, ada=ADA, bob=more)
    assert 0.5 < pair.score < 1


def test_one_exercise_that_was_copied_is_named(root):
    half = COPY[: COPY.index("def lora_linear")] + SOLUTION[: SOLUTION.index("def lora_gradients")]
    (pair,) = class_of(root, ada=ADA, bob=half)
    assert [a.exercise for a in pair.exercises] == ["15.5"] and pair.score == 1.0


def test_any_13_tokens_in_a_row_leave_a_common_trace():
    shared = [f"t{i}" for i in range(similarity.K + similarity.WINDOW - 1)]
    for before in range(0, 12, 3):
        one = [f"a{i}" for i in range(before)] + shared + ["a"] * 7
        other = [f"b{i}" for i in range(20)] + shared
        assert winnowed(hashes(one, "1.1")) & winnowed(hashes(other, "1.1"))


# -- what is not ------------------------------------------------------------------------------------------------------


def test_stub_and_worked_answer_are_no_trace(root):
    reference = SOLUTION.replace("(x,", "(inputs,").replace(" x ", " inputs ").replace("(x ", "(inputs ")
    body = "return x @ W.T + bias + alpha / A.shape[0] * B @ A"
    other = f'def lora_linear(x, W, bias, A, B, alpha):\n    """Mine."""\n    {body}\n'
    assert class_of(root, ada=SOLUTION, bob=reference, carl=STUB, dora=other, eve=STUB + other) == []


def test_a_known_mistake_is_no_trace(root):
    mistake = WRONG[WRONG.index("def") :].replace("no_scale", "lora_linear").replace("thin", "narrow")
    assert class_of(root, ada=mistake, bob=mistake) == []
    (root / "tests/exercises/wrong/lora.py").unlink()
    assert len(class_of(root, ada=mistake, bob=mistake)) == 1


def test_independent_answers_are_not_told(root):
    answers = {
        "ada": ADA,
        "bob": "import torch\ndef lora_linear(x, W, bias, A, B, alpha):\n    delta = B @ A * (alpha / A.shape[0])\n"
        "    return torch.nn.functional.linear(x, W + delta, bias)\n",
        "carl": "def lora_linear(x, W, bias, A, B, alpha):\n    r, _ = A.shape\n    low = x.matmul(A.transpose(0, 1))\n"
        "    high = low.matmul(B.transpose(0, 1))\n    y = x.matmul(W.transpose(0, 1))\n    y = y + bias\n"
        "    return y + high * alpha / r\n",
        "dora": SOLUTION,
    }
    assert class_of(root, **answers) == []


def test_what_many_have_counts_less(root):
    (two,) = class_of(root, a=ADA, b=ADA, c=SOLUTION, d=STUB, e=SOLUTION)
    four = class_of(root, a=ADA, b=ADA, c=ADA, d=ADA, e=SOLUTION)
    assert len(four) == 6 and all(pair.shared == pytest.approx(two.shared / 10) for pair in four)
    assert all(pair.score == 1.0 for pair in four)
    ten = class_of(root, **{f"s{i}": ADA for i in range(10)} | {f"t{i}": SOLUTION for i in range(30)})
    assert len(ten) == 45 and len({pair.shared for pair in ten}) == 1  # a large group of copies is still seen


def test_in_a_class_a_pair_has_to_stand_out(root, monkeypatch):
    monkeypatch.setattr(similarity, "COMMON", similarity.RARE)  # as if what they share were rare
    lines = [f"    y = torch.cat([x, W]).sum().add({i}).mul(A[{i}]).max().sub(B[{i}]).exp().log()\n" for i in range(12)]

    def answer(some):
        return "import torch\ndef lora_linear(x, W, bias, A, B, alpha):\n" + "".join(some) + "    return y\n"

    usual = {f"s{i}": answer([lines[0], lines[1], lines[i % 5 + 2]]) for i in range(10)}
    told = class_of(root, **usual, thief=answer(lines), victim=answer(lines))
    assert [pair.names for pair in told] == [("thief", "victim")]
    assert len(class_of(root, s0=usual["s0"], s5=usual["s5"])) == 1  # only two: all there is


@pytest.mark.parametrize(
    "text",
    [
        b"def lora_linear(x)\n",
        b"\0",
        ADA.encode("utf-16"),
        b"# coding: punycode\n" + ADA.encode(),
        b"def lora_linear(x):\n    return x" + b".a" * 5000,
        b"def lora_linear(x):\n    return 0x" + b"f" * 9999,
        b"x = 1\n" * 30_000,
        b"def lora_linear(): pass\n",
    ],
)
def test_what_cant_be_read_takes_no_part(root, text):
    (pair,) = class_of(root, ada=ADA, bob=COPY, eve=text, fay=text)
    assert pair.names == ("ada", "bob")


def test_a_long_answer_is_cut(root, monkeypatch):
    monkeypatch.setattr(similarity, "TOKENS", 500)
    long = "def lora_linear(x):\n" + "".join(f"    x = x + {i}\n" for i in range(1000))
    (pair,) = class_of(root, ada=long, bob=long)
    assert pair.shared < 500 and all(len(code) <= similarity.EXCERPT < len(long) for code in pair.exercises[0].codes)


def test_without_worked_answers(tmp_path):
    (pair,) = similar({"a": handed(ADA), "b": handed(COPY)}, tmp_path, EXERCISES)
    assert pair.score == 1.0


# -- always the same --------------------------------------------------------------------------------------------------


def test_symmetric_and_stable(root):
    mixed = ADA.replace("change + torch", "change - torch")
    texts = {"ada": ADA, "bob": mixed, "eve": COPY}
    pairs = class_of(root, **texts)
    assert pairs == class_of(root, **dict(reversed(texts.items())))
    (one,), (other,) = class_of(root, a=ADA, b=mixed), class_of(root, b=ADA, a=mixed)
    assert (one.score, one.shared) == (other.score, other.shared)
    assert [a.codes for a in one.exercises] == [a.codes[::-1] for a in other.exercises]
    assert [pair.shared for pair in pairs] == sorted([pair.shared for pair in pairs], reverse=True)
    assert hashes(["a"], "15.1") == [int.from_bytes(blake2b(b"15.1\0a", digest_size=8).digest(), "big")]


# -- what a teacher sees ----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Which elements and attributes a page has, and whether all are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.seen += [tag, *(name for name, _ in attributes)]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def hostile(root):
    evil = ADA.replace("what the base does", "</dd><script>alert(1)</script>\x1b[2J\u202e")
    names = ("=cmd()", "<img src=x onerror=alert(1)>")
    return similar({name: handed(evil) for name in names}, root, EXERCISES)


def test_the_page_is_escaped(root):
    text = similarity_page(hostile(root))
    page = Page(text)
    assert not {"script", "img", "onerror", "style=", "iframe"} & set(page.seen)
    assert "<script>alert(1)</script>" in page.text and "The <layer>" in page.text
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "\x1b" not in text and "\u202e" not in text
    assert "no proof" in page.text and "Content-Security-Policy" in text
    assert "http" not in re.sub("http-equiv", "", text)


def test_a_page_of_none():
    assert "No pair stands out" in Page(similarity_page([])).text


def test_a_page_shows_some_code_and_names_the_rest(root, monkeypatch):
    monkeypatch.setattr(similarity, "SHOWN", 1)
    text = Page(similarity_page(class_of(root, ada=ADA, bob=COPY))).text
    assert "my_scale(z, a, r)" in text and "requires_grad_" not in text
    assert "They share code in these as well, with the score in brackets: 15.5 (1.00)." in text


def test_the_csv(root):
    head, *lines = similarity_csv(hostile(root)).removeprefix("\ufeff").splitlines()
    assert head == "one,other,score,shared,exercise,title,score of the exercise"
    assert len(lines) == 2 and all(line.startswith("<img src=x onerror=alert(1)>,'=cmd(),1.0000,") for line in lines)
    assert lines[1].split(",")[4:] == ["15.5", "'=Find the mistake", "1.0000"]
