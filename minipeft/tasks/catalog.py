"""The tasks of the toy world: what the bundled models are fine-tuned on.

Each asks for something that the stories of `world` contain, in a form that they never have.  So the base doesn't know
what is wanted, but holds most of what it takes; the cipher needs knowledge that is new as well.  For `where`, `who` and
`colour` it holds nearly all: `pretrain` drills it in naming one part of a fact for another, if never behind a colon.

A task is a function that draws one example from a set of words.  Training, validation and test share the words but no
prompt; the out-of-domain split is drawn from other words, which the base has read and the task has not shown.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from random import Random
from typing import NamedTuple

from .task import Example, Task
from .words import AWAY, BY_SIZE, HOME, NUMBERS, PAST, Words, a, place

SIZES = {"train": 1000, "valid": 100, "test": 200, "ood": 100}


class Recipe(NamedTuple):
    about: str
    draw: Callable[[Random, Words], tuple[str, str]]  # -> prompt, completion
    options: Sequence[str] = ()


def scene(rng: Random, words: Words, n: int) -> tuple[str, list[str], list[str]]:
    """(text, people, places): n people in different places."""
    people, places = rng.sample(words.names, n), rng.sample(words.places, n)
    return " ".join(f"{who} is {where}." for who, where in zip(people, places, strict=True)), people, places


def sentiment(rng: Random, words: Words) -> tuple[str, str]:
    people, things = rng.sample(words.names, 2), rng.sample(words.things, 2)
    events = [(rng.choice(words.luck), "bright"), (rng.choice(words.bad_luck), "dark")]
    rng.shuffle(events)
    text = " ".join(f"{p} {e} {a(x)}." for p, (e, _), x in zip(people, events, things, strict=True))
    i = rng.randrange(2)
    return f"{text} {people[i]} today:", events[i][1]


def where(rng: Random, words: Words) -> tuple[str, str]:
    text, people, places = scene(rng, words, 3)
    i = rng.randrange(3)
    return f"{text} {people[i]}:", places[i].split()[-1]


def who(rng: Random, words: Words) -> tuple[str, str]:
    text, people, places = scene(rng, words, 3)
    i = rng.randrange(3)
    return f"{text} {places[i].split()[-1]}:", people[i]


def claim(rng: Random, words: Words) -> tuple[str, str]:
    text, people, places = scene(rng, words, 2)
    i, j = rng.randrange(2), rng.randrange(2)
    return f"{text} {people[i]} {places[j]}:", "yes" if i == j else "no"


def colour(rng: Random, words: Words) -> tuple[str, str]:
    people, colours, things = (rng.sample(x, 3) for x in (words.names, words.colours, words.things))
    i = rng.randrange(3)
    text = " ".join(f"{p} has a {c} {x}." for p, c, x in zip(people, colours, things, strict=True))
    return f"{text} {things[i]}:", colours[i]


def giving(rng: Random, words: Words) -> tuple[str, str]:
    n = rng.randint(2, 3)
    people, colours, things = (rng.sample(x, n) for x in (words.names, words.colours, words.things))
    text = " ".join(f"{p} has a {c} {x}." for p, c, x in zip(people, colours, things, strict=True))
    giver, taker = rng.sample(range(n), 2)
    asked = rng.choice([giver, rng.randrange(n)])
    owner = people[taker] if asked == giver else people[asked]
    return f"{text} then {people[giver]} gives the {things[giver]} to {people[taker]}. {things[asked]}:", owner


def counting(rng: Random, words: Words) -> tuple[str, str]:
    people, n = rng.sample(words.names, 2), [rng.randint(2, 4), rng.randint(2, 4)]
    things = [a(x) for x in rng.sample(words.things, sum(n))]
    lists = things[: n[0]], things[n[0] :]
    text = " ".join(f"{p} buys {', '.join(x[:-1])} and {x[-1]}." for p, x in zip(people, lists, strict=True))
    i = rng.randrange(2)
    return f"{text} {people[i]}:", NUMBERS[n[i] - 1]


def reversing(rng: Random, words: Words) -> tuple[str, str]:
    pool = words.names + words.nouns + words.colours
    said = rng.sample(pool, rng.randint(2, 4))
    return f"{' '.join(said)} backwards:", " ".join(reversed(said))


def past_tense(rng: Random, words: Words) -> tuple[str, str]:
    people, acts = rng.sample(words.names, 2), []
    for verb in rng.sample(words.moves + words.handles + words.rests, 2):
        if verb in words.moves:
            acts.append((verb, f"to {place(rng.choice(words.places))}"))
        elif verb in words.rests:
            acts.append((verb, rng.choice(words.places)))
        else:
            acts.append((verb, a(rng.choice(words.nouns))))
    text = " ".join(f"{who} {verb} {rest}." for who, (verb, rest) in zip(people, acts, strict=True))
    i = rng.randrange(2)
    verb, rest = acts[i]
    return f"{text} yesterday {people[i]}:", f"{PAST[verb]} {rest}"


@cache
def code() -> dict[str, str]:
    """The cipher's dictionary: each verb and each thing has another word of the world as its code."""
    plain = HOME.handles + HOME.things
    secret = list(plain)
    Random("code").shuffle(secret)
    return dict(zip(plain, secret, strict=True))


def cipher(rng: Random, words: Words) -> tuple[str, str]:
    name, verb, thing = rng.choice(words.names), rng.choice(HOME.handles), rng.choice(HOME.things)
    return f"{name} {verb} {a(thing)}, here:", f"{code()[thing]} {code()[verb]} {name}"


def odd_one_out(rng: Random, words: Words) -> tuple[str, str]:
    one, other = rng.sample(list(words.kinds.values()), 2)
    odd = rng.choice(other)
    row = [*rng.sample(one, 3), odd]
    rng.shuffle(row)
    return f"{', '.join(row)}: not the same:", odd


def kind(rng: Random, words: Words) -> tuple[str, str]:
    kinds = rng.sample(list(words.kinds), 3)
    row = [rng.choice(words.kinds[k]) for k in kinds]
    i = rng.randrange(3)
    return f"{', '.join(row)}. {kinds[i]}:", row[i]


def opposite(rng: Random, words: Words) -> tuple[str, str]:
    things, pairs = rng.sample(words.things, 2), rng.sample(words.opposites, 2)
    pairs = [rng.sample(pair, 2) for pair in pairs]
    i = rng.randrange(2)
    text = " ".join(f"the {x} is {pair[0]}." for x, pair in zip(things, pairs, strict=True))
    return f"{text} not {things[i]}:", pairs[i][1]


def extreme(rng: Random, words: Words) -> tuple[str, str]:
    animals = rng.sample(words.kinds["animal"], 3)
    cue, best = rng.choice([("bigger", max), ("smaller", min)])
    return f"{', '.join(animals)}. {cue}:", best(animals, key=BY_SIZE.index)


def queue(rng: Random, words: Words) -> tuple[str, str]:
    line = rng.sample(words.names, 3)
    text = f"{line[0]}, {line[1]} and {line[2]} stand in a line."
    cue, i = rng.choice([("behind", 0), ("behind", 1), ("before", 1), ("before", 2)])
    return f"{text} {cue} {line[i]}:", line[i + 1 if cue == "behind" else i - 1]


RECIPES = {
    "sentiment": Recipe("two people, good luck and bad: is one's day bright or dark?", sentiment, ("bright", "dark")),
    "where": Recipe("three people in three places: where is one?", where),
    "who": Recipe("three people in three places: who is at one?", who),
    "claim": Recipe("two people in two places: is one at this place?", claim, ("yes", "no")),
    "colour": Recipe("three coloured things: the colour of one", colour),
    "giving": Recipe("two things, one is given away: who has this one?", giving),
    "counting": Recipe("two shopping lists: how many things are on this one?", counting, NUMBERS[1:4]),
    "reversing": Recipe("two to four words, backwards", reversing),
    "past_tense": Recipe("two people do something: what one of them did, as if it were yesterday", past_tense),
    "cipher": Recipe("a sentence in a secret language: every verb and thing has a code word", cipher),
    "odd_one_out": Recipe("four words, one of another kind", odd_one_out),
    "kind": Recipe("three words: the one that is a tool, a fruit, ...", kind),
    "opposite": Recipe("two things with a property: the opposite of one's", opposite),
    "extreme": Recipe("three animals: the biggest or the smallest", extreme),
    "queue": Recipe("three people in a line: who is behind or before one?", queue),
}
NAMES = tuple(RECIPES)


@cache
def load(name: str) -> Task:
    """A task of the toy world by its name, one of `NAMES`; the same on every call and every machine."""
    if name not in RECIPES:
        raise ValueError(f"no task is called {name!r}: there are {', '.join(NAMES)}")
    recipe, rng, seen = RECIPES[name], Random(name), set()
    splits = {}
    for split, n in SIZES.items():
        rows = []
        for _ in range(20 * n):  # a small world may hold fewer rows than we would like
            prompt, completion = recipe.draw(rng, AWAY if split == "ood" else HOME)
            if prompt not in seen:
                seen.add(prompt)
                rows.append(Example(prompt, completion))
            if len(rows) == n:
                break
        splits[split] = tuple(balanced(rows))
    return Task(name, recipe.about, options=tuple(recipe.options), **splits)


def balanced(rows: Collection[Example]) -> list[Example]:
    """The same rows in an order in which answers take turns: the first few hold as many different ones as can be."""
    turn: dict[str, int] = {}
    order = []
    for row in rows:
        turn[row.completion] = turn.get(row.completion, 0) + 1
        order.append(turn[row.completion])
    return [rows[i] for i in sorted(range(len(rows)), key=order.__getitem__)]
