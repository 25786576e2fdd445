"""The toy world: stories make sense, and log p of each of their tokens is exact."""

import math
import re
from collections import Counter, defaultdict
from random import Random

import pytest
import torch

from minipeft import pretrain
from minipeft.method import IGNORE
from minipeft.tasks import world
from minipeft.tasks.words import ALL, BY_SIZE, KINDS, PLURALS, a
from minipeft.tasks.world import MADE_UP, VOCABULARY, Story, spread, tell, tokens
from minipeft.tokenizer import END, LETTERS, MARKS, SPACE, Tokenizer

STORIES = [tell(Random(i)) for i in range(3000)]


# -- log p ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_spread_sums_out_what_the_reader_cannot_know(seed):
    rng = Random(seed)
    options = sorted({tuple(rng.choices("abc", k=3)) for _ in range(12)})  # of one length: none begins another
    weights = [rng.random() for _ in options]
    for chosen, option in enumerate(options):
        logp = spread(options, weights, chosen)
        assert math.isclose(math.exp(math.fsum(logp)), weights[chosen] / sum(weights))
        for i in range(3):  # p(token | before) = p(before and token) / p(before), counted out
            before, after = (
                sum(w for o, w in zip(options, weights, strict=True) if o[:n] == option[:n]) for n in (i, i + 1)
            )
            assert math.isclose(math.exp(logp[i]), after / before)


@pytest.mark.parametrize("chosen", [0, 1])
def test_an_option_that_begins_another_is_refused(chosen):
    with pytest.raises(ValueError, match="beginning of another"):
        spread([("a", "b"), ("a", "b", "c")], [1, 1], chosen)


class Explorer:
    """Stands in for Random: walks through every path of choices, one path after the other."""

    def __init__(self):
        self.path: list[list[int]] = []  # [branch taken, number of branches] of each choice
        self.step, self.p = 0, 1.0

    def choices(self, population, weights):
        live = [i for i in population if weights[i] > 0]
        if self.step == len(self.path):
            self.path.append([0, len(live)])
        i = live[self.path[self.step][0]]
        self.step += 1
        self.p *= weights[i] / sum(weights)
        return [i]

    def next(self) -> bool:
        """On to the next path; False after the last."""
        while self.path and self.path[-1][0] + 1 == self.path[-1][1]:
            self.path.pop()
        if self.path:
            self.path[-1][0] += 1
        self.step, self.p = 0, 1.0
        return bool(self.path)


@pytest.fixture
def small(monkeypatch):
    """The world with two or three words of each sort: small enough to tell every story there is."""
    few = ALL.keep(lambda i: i < 3)
    few.places.append("at the shop")
    few.kinds.clear()
    few.kinds.update({"animal": ["bee", "cow"], "fruit": ["apple"], "toy": ["ball", "doll"]})
    del few.opposites[1:], few.glad[1:], few.sad[1:], few.luck[1:], few.bad_luck[1:], few.places[2:3]
    monkeypatch.setattr(world, "ALL", few)
    monkeypatch.setattr(world, "PEOPLE", {"bab": 0.6, "bac": 0.4})
    monkeypatch.setattr(world, "ANIMALS", ["a bee", "a cow"])
    monkeypatch.setattr(world, "THINGS", ["an apple", "an axe", "a ball", "a doll", "a hat"])
    monkeypatch.setattr(world, "BY_SIZE", ["bee", "cow"])
    monkeypatch.setattr(world, "KINDS", few.kinds | {"toy": ["ball", "doll", "axe", "hat"]})
    monkeypatch.setattr(world, "SAYABLE", ["red", "hat", "tom", "go", "bac"])
    monkeypatch.setattr(world, "JOY", ["sings"])
    monkeypatch.setattr(world, "GRIEF", ["cries"])


KINDS_OF_STORY = {
    "whereabouts": lambda s: world.whereabouts(s, "bab"),
    "possession": lambda s: world.possession(s, "bab"),
    "feelings": lambda s: world.feelings(s, "anna", "lost"),
    "shopping": lambda s: world.shopping(s, "anna"),
    "echo": lambda s: world.echo(s, "bab"),
    "queue": lambda s: world.queue(s, "anna"),
    "habit": lambda s: world.habit(s, "every day"),
    "habit, yesterday": lambda s: world.habit(s, "yesterday"),
    "traits": world.traits,
    "nature": lambda s: world.nature(s, "a bee"),
    "shelf": world.shelf,
}


@pytest.mark.parametrize("kind", KINDS_OF_STORY)
def test_log_p_is_what_telling_every_story_gives(small, kind):
    """Independent of `spread`: a beginning is as probable as all the ways to tell a story that begins so."""
    if kind == "shelf":  # goes over all things four times; the others need this many
        del world.THINGS[3:]
    rng, told, begins = Explorer(), [], defaultdict(float)
    while not told or rng.next():
        s = Story(rng)
        KINDS_OF_STORY[kind](s)
        told.append(s)
        for i in range(len(s.tokens) + 1):
            begins[tuple(s.tokens[:i])] += rng.p
    assert math.isclose(begins[()], 1)
    for s in told:
        for i, x in enumerate(s.logp):
            now, before = tuple(s.tokens[: i + 1]), tuple(s.tokens[:i])
            assert math.isclose(x, math.log(begins[now] / begins[before]), abs_tol=1e-9), (s.text, i)


def test_the_first_words_of_stories_come_as_often_as_they_should():
    seen = Counter((tuple(s.tokens[:2])) for s in STORIES)
    p = {tuple(s.tokens[:2]): math.exp(sum(s.logp[:2])) for s in STORIES}
    chi = sum(
        (n - len(STORIES) * p[text]) ** 2 / (len(STORIES) * p[text])
        for text, n in seen.items()
        if len(STORIES) * p[text] > 5
    )
    cells = sum(len(STORIES) * p[text] > 5 for text in seen)
    assert cells > 50
    assert chi < cells + 4 * math.sqrt(2 * cells)


# -- stories ----------------------------------------------------------------------------------------------------------


def test_stories_are_short_and_the_same_from_the_same_seed():
    lengths = [len(s.tokens) for s in STORIES]
    assert sum(n <= 24 for n in lengths) > 0.6 * len(lengths)
    assert max(lengths) < pretrain.SHAPE["context"]
    assert all(tell(Random(i)).text == s.text for i, s in enumerate(STORIES[:100]))
    assert len({s.text for s in STORIES}) > 0.97 * len(STORIES)


def test_a_storys_tokens_are_those_of_its_text():
    tokenizer = Tokenizer(VOCABULARY)
    for s in STORIES:
        assert s.tokens[-1] == END and END not in s.tokens[:-1]
        assert tokenizer.encode(s.text) == [VOCABULARY[t] for t in s.tokens[:-1]]
        assert tokenizer.decode([VOCABULARY[t] for t in s.tokens[:-1]]) == s.text
    assert tokens(". where is") == (".", "▁where", "▁is")


def test_every_word_of_the_vocabulary_is_used():
    unused = set(VOCABULARY) - {token for s in STORIES for token in s.tokens}
    assert not {t for t in unused if t.startswith(SPACE)} and not unused & set(LETTERS)
    assert len(VOCABULARY) <= 600
    assert all(SPACE + name not in VOCABULARY for name in MADE_UP)


def test_facts_stay_consistent():
    """Read the stories again with a few lines of independent code, and check what they answer."""
    checked = Counter()
    for s in STORIES:
        sentences = re.findall(r"[^.?]+[.?]", s.text)
        asked = [i for i, sentence in enumerate(sentences) if sentence.endswith("?")]
        facts = {}
        for i, sentence in enumerate(sentences):
            if i in asked or i - 1 in asked:
                continue
            match sentence.strip(" .").split():
                case [name, "is" | "stays", ("in" | "at" | "on") as p, "the", spot]:
                    facts[name] = f"{p} the {spot}"
                case ["then", name, "goes", "to", "the", spot]:
                    facts[name] = next(x for x in ALL.places if x.split()[-1] == spot)
                case [name, "has", "a", colour, thing]:
                    facts["colour", thing], facts["owner", thing] = colour, name
                case ["then", _, "gives", "the", thing, "to", name]:
                    facts["owner", thing] = name
                case [name, "buys", *rest] if rest[-1] != "things":
                    facts["list"] = [x.strip(",") for x in rest if x not in ("a", "an", "and")]
                case [name, "buys", number, "things"]:
                    assert world.NUMBERS.index(number) + 1 == len(facts["list"])
                    checked["counted"] += 1
                case ["the", "first" | "last" as which, "is", "the", thing]:
                    assert thing == facts["list"][0 if which == "first" else -1]
                    checked["in order"] += 1
                case ["a" | "an", noun, "is", "a" | "an", kind]:
                    assert noun in KINDS[kind]
                    checked["of its kind"] += 1
                case ["a" | "an", one, "is", "bigger" | "smaller" as how, "than", "a" | "an", other]:
                    assert (BY_SIZE.index(one) > BY_SIZE.index(other)) == (how == "bigger")
                    checked["of its size"] += 1
                case [_, "says:", *words]:
                    facts["said"] = words
                case [_, "says", "it", "backwards:", *words]:
                    assert [x.strip(",") for x in reversed(words)] == [x.strip(",") for x in facts["said"]]
                    checked["backwards"] += 1
        for i in asked:
            answer = sentences[i + 1].strip(" .").split()
            match sentences[i].strip(" ?").split():
                case ["where", "is", name] if name in facts:
                    assert " ".join(answer[2:]) == facts[name]
                    checked["where"] += 1
                case ["is", name, "in" | "at" | "on" as p, "the", spot]:
                    assert (answer[0] == "yes,") == (f"{p} the {spot}" == facts[name])
                    checked["yes or no"] += 1
                case ["who", "is", "in" | "at" | "on" as p, "the", spot]:
                    assert facts[answer[0]] == f"{p} the {spot}"
                    checked["who"] += 1
                case ["what", "colour", "is", "the", thing]:
                    assert answer[-1] == facts["colour", thing]
                    checked["colour"] += 1
                case ["who", "has", "the", thing]:
                    assert answer[0] == facts["owner", thing]
                    checked["owner"] += 1
    assert len(checked) == 10 and min(checked.values()) > 15, checked


def test_words_have_one_meaning():
    nouns = ALL.nouns
    assert len(set(nouns)) == len(nouns) and set(BY_SIZE) == set(KINDS["animal"])
    assert set(PLURALS) == set(KINDS) and a("apple") == "an apple" and a("cup") == "a cup"
    pairs = [word for pair in ALL.opposites for word in pair]
    assert len(set(pairs)) == len(pairs)
    for s in (*ALL.names, *MADE_UP, *nouns, *pairs):
        assert set(s) <= set(LETTERS) and not set(s) & set(MARKS)


# -- pre-training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_pairs_are_asked_for_as_they_were_told(backwards):
    rng = Random(0)
    for gap in (0, 4):
        n = 3
        ids, labels = pretrain.pairs(rng, n, gap, backwards)
        text = [*ids[1:], labels[-1] if labels[-1] != IGNORE else pretrain.STOP]
        sentences = " ".join(map(str, text)).split(f" {pretrain.STOP}")
        said = [[int(w) for w in s.split() if int(w) in pretrain.CONTENT] for s in sentences if s.strip()]
        told, asked = said[:n], said[n:]
        assert sorted(pair[::-1] if backwards else pair for pair in asked) == sorted(told)
        assert [label for label in labels if label != IGNORE] == [pair[1] for pair in asked]


def test_answers_are_true():
    rng, tokenizer, seen = Random(0), Tokenizer(VOCABULARY), Counter()
    for _ in range(300):
        ids, labels = pretrain.questions(rng, 3, freely=False)
        sentences = [s.strip() for s in tokenizer.decode([*ids[1:], labels[-1]]).split(".")[:-1]]
        facts, spots, owners, colours, traits = sentences[:3], {}, {}, {}, {}
        for fact in facts:
            match fact.split():
                case ["the", thing, "is", trait]:
                    traits[thing] = trait
                case [who, "is", *where]:
                    spots[who] = " ".join(where)
                case [who, "has", "a", colour, thing]:
                    owners[thing], colours[thing] = who, colour
        for sentence in sentences[3:]:
            match sentence.split():
                case ["where", "is", asked, who, "is", *where]:
                    assert asked == f"{who}?" and spots[who] == " ".join(where)
                case ["who", "is", *asked, who, "is", p, "the", spot]:
                    assert " ".join(asked) == f"{p} the {spot}?" == f"{spots[who]}?"
                case ["is", "the", thing, asked, verdict, "it", "is", trait]:
                    assert traits[thing] == trait and (asked == f"{trait}?") == (verdict == "yes,")
                case ["is", asked, *claim, verdict, who, "is", p, "the", spot]:
                    assert asked == who and spots[who] == f"{p} the {spot}"
                    assert (" ".join(claim) == f"{p} the {spot}?") == (verdict == "yes,")
                case ["what", "does", asked, "have?", who, "has", "the", thing]:
                    assert asked == who == owners[thing]
                case ["who", "has", "the", asked, who, "has", "the", thing]:
                    assert asked == f"{thing}?" and who == owners[thing]
                case ["what", "colour", "is", "the", asked, "it", "is", colour]:
                    assert colours[asked[:-1]] == colour
                case ["how", "is", "the", asked, "it", "is", trait]:
                    assert traits[asked[:-1]] == trait
                case _:
                    assert sentence in facts
            seen[sentence.split()[0] if "?" in sentence else "fact"] += 1
    assert set(seen) == {"where", "who", "is", "what", "how", "fact"} and min(seen.values()) > 20, seen


def test_free_questions_name_one_part_of_a_fact_for_another():
    rng, words = Random(0), {i: token for token, i in VOCABULARY.items()}
    for _ in range(100):
        ids, labels = pretrain.questions(rng, 3, freely=True)
        text = [*ids[1:], pretrain.STOP]
        cuts = [i for i, token in enumerate(text) if token == pretrain.STOP]
        sentences = [text[a + 1 : b] for a, b in zip([-1, *cuts], cuts, strict=False)]
        facts, asked = sentences[:3], sentences[3:]
        answers = [label for label in labels if label != IGNORE]
        assert len(asked) == 3 and answers == [sentence[-1] for sentence in asked[1:]]
        for sentence in asked:
            named = [token for token in sentence if words[token].removeprefix(SPACE) not in world.FRAME]
            assert len(named) == 2 and sum(set(named) <= set(fact) for fact in facts) == 1
        frames = {tuple(t for t in s[:-1] if words[t].removeprefix(SPACE) in world.FRAME) for s in asked}
        assert len(frames) == 1


@pytest.mark.slow
def test_pretraining_is_bit_identical_and_lowers_the_loss(monkeypatch):
    monkeypatch.setattr(pretrain, "HELD_OUT", 50)
    (one, first), (two, second) = (pretrain.train("mini-llama", steps=20, progress=False) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(one.parameters(), two.parameters(), strict=True))
    assert first.loss == second.loss and first.tokens == second.tokens
    assert first.limit < first.loss < math.log(len(VOCABULARY))
    assert "above it" in str(first)
