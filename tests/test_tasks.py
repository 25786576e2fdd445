"""The tasks of the toy world: what they promise is proven here, word by word."""

import re
from collections import Counter
from dataclasses import fields
from random import Random

import pytest
import torch

from minipeft import GPT, tasks
from minipeft.method import IGNORE
from minipeft.tasks.catalog import balanced, code
from minipeft.tasks.task import Example, encode
from minipeft.tasks.words import ALL, AWAY, BY_SIZE, HOME, KINDS, NUMBERS, PAST, Words
from minipeft.tasks.world import VOCABULARY, tell
from minipeft.tokenizer import Tokenizer

TOKENIZER = Tokenizer(VOCABULARY)


@pytest.fixture(params=tasks.NAMES)
def task(request):
    return tasks.load(request.param)


def flat(x) -> list[str]:
    """All words in nested lists."""
    if isinstance(x, str):
        return x.split()
    return [word for part in (x.values() if isinstance(x, dict) else x) for word in flat(part)]


def content(words: Words) -> set[str]:
    return {word for field in fields(words) for word in flat(getattr(words, field.name))} - {"in", "at", "on", "the"}


def said(rows) -> set[str]:
    return {word for row in rows for word in re.findall("[a-z]+", f"{row.prompt} {row.completion}")}


def test_there_are_enough_of_them():
    assert len(tasks.NAMES) == len(set(tasks.NAMES)) >= 12
    with pytest.raises(ValueError, match="no task is called 'sentimant': there are sentiment, "):
        tasks.load("sentimant")


def test_splits_are_disjoint_and_full(task):
    splits = [task.train, task.valid, task.test, task.ood]
    prompts = [row.prompt for split in splits for row in split]
    assert len(set(prompts)) == len(prompts)
    assert [len(split) for split in splits[:3]] == [1000, 100, 200] and 50 <= len(task.ood) <= 100


def test_the_ood_split_is_made_of_other_words(task):
    """Of the world's nouns, names, verbs, ..., none in the ood split stands in train or valid; labels may."""
    seen = said([*task.train, *task.valid])
    new = said(task.ood) & content(ALL) - set(flat(task.options))
    if task.name == "cipher":       # who could know the code of a word never shown?  Only the names are others.
        new &= set(ALL.names)
    assert new and not new & seen
    assert all(said([row]) & new for row in task.ood)
    assert not said([*task.train, *task.valid, *task.test]) & content(AWAY) - set(flat(task.options))


def test_all_words_were_seen_in_pretraining(task):
    rows = [*task.train, *task.valid, *task.test, *task.ood]
    assert TOKENIZER.spelt(" ".join(f"{row.prompt} {row.completion}" for row in rows)) == 0
    assert all(TOKENIZER.vocabulary["<unk>"] not in TOKENIZER.encode(row.prompt) for row in rows)


def test_prompts_have_a_form_that_stories_never_have(task):
    """What stands after the last sentence, its words of content left out, occurs in no story."""
    rng = Random(1)
    stories = " ".join(f"| {tell(rng).text}" for _ in range(2000))
    assert not any(row.prompt in stories for row in task.test)
    assert all(row.prompt.endswith(":") for row in task.test)
    assert set(re.findall(r"(\w+):", stories)) == {"says", "same", "backwards"}
    if task.name == "reversing":    # in stories the list comes after
        assert "backwards:" in task.test[0].prompt and "it backwards" not in task.test[0].prompt


def test_rows_are_short_and_fit_the_options(task):
    lengths = [len(encode(row, TOKENIZER)[0]) + 1 for row in (*task.train, *task.test, *task.ood)]
    assert max(lengths) <= 40 and sorted(lengths)[len(lengths) // 2] <= 32
    if task.options:
        assert {row.completion for row in task.train} == set(task.options)
        assert task.chance == max(1 / len(task.options), *(n / 1000 for n in Counter(r.completion for r in task.train).values()))
    assert task.chance < 0.56


def test_few_examples_are_balanced(task):
    small, n = task.low_data(16), len({row.completion for row in task.train})
    assert len(small.train) == 16 and small.test == task.test
    assert len({row.completion for row in small.train}) == min(16, n)
    assert len(task.low_data(64).train) == 64
    rows = [Example(str(i), c) for i, c in enumerate("aaabbc")]
    assert "".join(row.completion for row in balanced(rows)) == "abcaba"[:3] + "aba"


def test_tasks_are_the_same_every_time(task):
    again = tasks.load.__wrapped__(task.name)
    assert again == task


ANSWERS = {  # an independent reading of each prompt
    "where": lambda p: re.search(rf"{p[:-1].split()[-1]} is \w+ the (\w+)\.", p)[1],
    "who": lambda p: re.search(rf"(\w+) is \w+ the {p[:-1].split()[-1]}\.", p)[1],
    "colour": lambda p: re.search(rf"(\w+) {p[:-1].split()[-1]}\.", p)[1],
    "claim": lambda p: "yes" if re.search(rf"{p.split('. ')[-1].split()[0]} is \w+ \w+ {p[:-1].split()[-1]}\.", p) else "no",
    "sentiment": lambda p: ("dark", "bright")[re.search(rf"{p.split()[-2]} (\w+) an? ", p)[1] in ALL.luck],
    "giving": lambda p: (
        re.search(rf"gives the {p[:-1].split()[-1]} to (\w+)", p) or re.search(rf"(\w+) has a \w+ {p[:-1].split()[-1]}", p)
    )[1],
    "counting": lambda p: NUMBERS[
        len(re.findall(r"\ban? ", re.search(rf"{p[:-1].split()[-1]} buys ([^.]*)", p)[1])) - 1
    ],
    "reversing": lambda p: " ".join(p.split()[-2::-1]),
    "past_tense": lambda p: (lambda m: f"{PAST[m[1]]} {m[2]}")(re.search(rf"{p[:-1].split()[-1]} (\w+) ([^.]*)\.", p)),
    "cipher": lambda p: (lambda w: f"{code()[w[3]]} {code()[w[1]]} {w[0]}")(re.findall("[a-z]+", p)),
    "odd_one_out": lambda p: (lambda row: next(x for x in row if sum(k(x) == k(y) for y in row) == 1))(p.split(":")[0].split(", ")),
    "kind": lambda p: next(x for x in re.findall("[a-z]+", p)[:-1] if k(x) == p[:-1].split()[-1]),
    "opposite": lambda p: (lambda x: next(b for pair in ALL.opposites for a, b in (pair, pair[::-1]) if a == x))(
        re.search(rf"the {p[:-1].split()[-1]} is (\w+)\.", p)[1]
    ),
    "extreme": lambda p: sorted(re.findall("[a-z]+", p)[:3], key=BY_SIZE.index)[-1 if "bigger" in p else 0],
    "queue": lambda p: (lambda w: w[w.index(w[-1]) + (1 if "behind" in p else -1)])(re.sub(" and |, ", " ", p[:-1]).split()),
}


def k(noun: str) -> str:
    return next(kind for kind, nouns in KINDS.items() if noun in nouns)


def test_the_answers_are_right(task):
    for row in (*task.train, *task.valid, *task.test, *task.ood):
        assert ANSWERS[task.name](row.prompt) == row.completion, row


def test_the_code_is_a_code():
    assert sorted(code()) == sorted(code().values()) == sorted(HOME.handles + HOME.things)
    assert sum(x == y for x, y in code().items()) <= 3


# -- the bundled models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mini-gpt2", "mini-llama"])
def test_the_bundled_models_are_small_and_load_in_transformers(name):
    transformers = pytest.importorskip("transformers")
    ours = GPT.from_pretrained(name)
    folder = next(path for path in (GPT.__module__ and __import__("minipeft").__path__)) + f"/models/{name}"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    text = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [text.eos_token_id, *text("Anna is in the kitchen. Zob has a red hat.").input_ids]
    assert ids == [*ours.tokenizer.start, *ours.tokenizer.encode("Anna is in the kitchen. Zob has a red hat.")]
    assert ours.tokenizer.vocabulary == VOCABULARY
    x = torch.randint(len(VOCABULARY), (2, ours.c.context), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = ours(x), theirs(x).logits
    assert (a - b).abs().max() <= 1e-5 * b.abs().max()
    assert sum(p.numel() for p in ours.parameters()) <= 1_000_000


@pytest.mark.parametrize("name", ["mini-gpt2", "mini-llama"])
def test_the_bundled_models_know_the_world(name):
    from minipeft import pretrain

    rng = Random("a test of the test")
    stories = [tell(rng) for _ in range(200)]
    gap = pretrain.loss(GPT.from_pretrained(name), stories) - pretrain.limit(stories)
    assert 0 < gap < 0.14       # log 1.15: perplexity within 15 % of the limit


def test_labels_cover_the_completion_and_its_end(task):
    row = task.train[0]
    _, labels = encode(row, TOKENIZER)
    assert [y for y in labels if y != IGNORE] == [*TOKENIZER.encode(row.completion), TOKENIZER.end]
