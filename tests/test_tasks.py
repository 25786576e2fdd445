"""The tasks of the toy world: what they promise is proven here, word by word."""

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path
from random import Random

import pytest
import torch

import minipeft
from minipeft import GPT, pretrain, tasks
from minipeft.method import IGNORE
from minipeft.tasks.catalog import balanced, code
from minipeft.tasks.task import Example, encode
from minipeft.tasks.words import ALL, AWAY, BY_SIZE, HOME, KINDS, NUMBERS, PAST, Words
from minipeft.tasks.world import VOCABULARY, tell
from minipeft.tokenizer import Tokenizer

TOKENIZER = Tokenizer(VOCABULARY)
STORIES = " ".join(f"| {tell(Random(f'form {i}')).text}" for i in range(2000))


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
    form = set.intersection(*(said([row]) for row in task.train)) | set(flat(task.options))
    new = said(task.ood) & content(ALL) - form
    if task.name == "cipher":  # who could know the code of a word never shown?  Only the names are others.
        new &= set(ALL.names)
    assert new and not new & seen
    assert all(said([row]) & new for row in task.ood)
    assert not said([*task.train, *task.valid, *task.test]) & content(AWAY) - form


def test_all_words_were_seen_in_pretraining(task):
    rows = [*task.train, *task.valid, *task.test, *task.ood]
    assert TOKENIZER.spelt(" ".join(f"{row.prompt} {row.completion}" for row in rows)) == 0
    assert all(TOKENIZER.vocabulary["<unk>"] not in TOKENIZER.encode(row.prompt) for row in rows)


def test_prompts_have_a_form_that_stories_never_have(task):
    """What stands after the last sentence, its words of content left out, occurs in no story."""
    assert not any(row.prompt in STORIES for row in task.test)
    assert all(row.prompt.endswith(":") for row in task.test)
    assert set(re.findall(r"(\w+):", STORIES)) == {"says", "same", "backwards"}
    if task.name == "reversing":  # in stories the list comes after
        assert "backwards:" in task.test[0].prompt and "it backwards" not in task.test[0].prompt


def test_rows_are_short_and_fit_the_options(task):
    lengths = [len(encode(row, TOKENIZER)[0]) + 1 for row in (*task.train, *task.test, *task.ood)]
    assert max(lengths) <= 40 and sorted(lengths)[len(lengths) // 2] <= 32
    if task.options:
        assert {row.completion for row in task.train} == set(task.options)
        assert task.chance == max(
            1 / len(task.options), *(n / 1000 for n in Counter(r.completion for r in task.train).values())
        )
    assert task.chance < 0.56


def test_few_examples_are_balanced(task):
    small, n = task.low_data(16), len({row.completion for row in task.train})
    assert len(small.train) == 16 and small.test == task.test
    assert len({row.completion for row in small.train}) == min(16, n)
    assert len(task.low_data(64).train) == 64
    rows = [Example(str(i), c) for i, c in enumerate("aaabbc")]
    assert "".join(row.completion for row in balanced(rows)) == "abcaba"


def test_tasks_are_the_same_every_time(task):
    again = tasks.load.__wrapped__(task.name)
    assert again == task


def answer(name: str, prompt: str) -> str:
    """An independent reading of a prompt."""
    words = re.findall("[a-z]+", prompt)
    cue = words[-1]

    def find(pattern: str) -> re.Match | None:
        return re.search(pattern, prompt)

    match name:
        case "sentiment":
            return "bright" if find(rf"{words[-2]} (\w+) an? ")[1] in ALL.luck else "dark"
        case "where":
            return find(rf"{cue} is \w+ the (\w+)\.")[1]
        case "who":
            return find(rf"(\w+) is \w+ the {cue}\.")[1]
        case "claim":
            return "yes" if find(rf"{words[-4]} is {words[-3]} the {cue}\.") else "no"
        case "colour":
            return find(rf"(\w+) {cue}\.")[1]
        case "giving":
            return (find(rf"gives the {cue} to (\w+)") or find(rf"(\w+) has a \w+ {cue}\."))[1]
        case "counting":
            return NUMBERS[len(re.findall(r"\ban? ", find(rf"{cue} buys ([^.]*)")[1])) - 1]
        case "reversing":
            return " ".join(words[-2::-1])
        case "past_tense":
            verb, rest = find(rf"{cue} (\w+) ([^.]*)\.").groups()
            return f"{PAST[verb]} {rest}"
        case "cipher":
            return f"{code()[words[3]]} {code()[words[1]]} {words[0]}"
        case "odd_one_out":
            kinds = [kind_of(x) for x in words[:4]]
            return next(x for x, kind in zip(words, kinds, strict=False) if kinds.count(kind) == 1)
        case "kind":
            return next(x for x in words[:3] if kind_of(x) == cue)
        case "opposite":
            trait = find(rf"the {cue} is (\w+)\.")[1]
            return next(pair[1 - pair.index(trait)] for pair in ALL.opposites if trait in pair)
        case "extreme":
            return sorted(words[:3], key=BY_SIZE.index)[-1 if cue == "bigger" else 0]
        case "queue":
            line = [words[0], words[1], words[3]]
            return line[line.index(cue) + (1 if words[-2] == "behind" else -1)]
    raise AssertionError(f"no reading of {name}")


def kind_of(noun: str) -> str:
    return next(kind for kind, nouns in KINDS.items() if noun in nouns)


def test_the_answers_are_right(task):
    for row in (*task.train, *task.valid, *task.test, *task.ood):
        assert answer(task.name, row.prompt) == row.completion, row


def test_the_code_is_a_code():
    assert sorted(code()) == sorted(code().values()) == sorted(HOME.handles + HOME.things)
    assert sum(x == y for x, y in code().items()) <= 3


# -- the bundled models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mini-gpt2", "mini-llama"])
def test_the_bundled_models_are_small_and_load_in_transformers(name):
    transformers = pytest.importorskip("transformers")
    ours = GPT.from_pretrained(name)
    folder = Path(minipeft.__file__).parent / "models" / name
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
    rng = Random("a test of the test")
    stories = [tell(rng) for _ in range(200)]
    gap = pretrain.loss(GPT.from_pretrained(name), stories) - pretrain.limit(stories)
    assert 0 < gap < 0.14  # log 1.15: perplexity within 15 % of the limit


def test_labels_cover_the_completion_and_its_end(task):
    row = task.train[0]
    _, labels = encode(row, TOKENIZER)
    assert [y for y in labels if y != IGNORE] == [*TOKENIZER.encode(row.completion), TOKENIZER.end]
