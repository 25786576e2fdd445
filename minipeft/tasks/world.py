"""The toy world: little stories whose facts stay consistent, and the exact probability of every word in them.

    anna is in the kitchen. tom is in the garden. where is tom? he is in the garden.
    every day lucy rides to the shop. yesterday she rode to the shop.
    here are a cat, a drum and a dog. two are animals. the drum is an instrument.

A story is told from left to right by random choices, and each choice shows in the text as soon as it is made: what is
still open after some words is exactly what the reader doesn't know either.  So log p(token | the tokens before) is the
log of the chosen share among the options that fit so far, zero wherever the story leaves no choice, and the mean over
many stories is the limit: no model can have a lower loss.

Two options may begin with the same tokens ("in the kitchen", "in the garden").  Which of them was chosen is then summed
out, token by token: see `spread`.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache
from itertools import product
from random import Random

from ..tokenizer import END, MARKS, SPACE, split, vocabulary
from .words import ALL, BY_SIZE, GRIEF, JOY, KINDS, NUMBERS, PAST, PLURALS, a, place

FRAME = """
a an the is are not it she he and in at on to than then here who what where which how does have has things colour every
day yesterday today same backwards yes no gives says line first last before behind bigger smaller stand
""".split()


TRAITS = [trait for pair in ALL.opposites for trait in pair]
SAYABLE = [*ALL.names, *ALL.nouns, *ALL.colours, *TRAITS, *ALL.glad, *ALL.sad, *PAST]


def every_word() -> list[str]:
    """All words of the world, each once, in alphabetical order."""
    spoken = [*ALL.names, *(where.split()[-1] for where in ALL.places), *ALL.nouns, *ALL.colours]
    spoken += [*TRAITS, *ALL.glad, *ALL.sad, *ALL.luck, *ALL.bad_luck]
    spoken += [*JOY, *GRIEF, *PAST, *PAST.values(), *NUMBERS, *KINDS, *PLURALS.values(), *FRAME]
    return sorted(set(spoken))


def but(options: Collection[str], *gone: str) -> list[str]:
    return [option for option in options if option not in gone]


def share(weight: float, options: Collection[str]) -> dict[str, float]:
    """The weight, in equal parts to the options."""
    return {option: weight / len(options) for option in options}


ANIMALS, THINGS = [a(x) for x in BY_SIZE], [a(x) for x in ALL.things]
VOCABULARY = vocabulary(every_word())
SOUNDS = ("".join(sounds) for sounds in product("bcdfghjklmnpqrstvwxyz", "aeiou", "bcdfghjklmnpqrstvwxyz"))
STRANGERS = [name for name in SOUNDS if SPACE + name not in VOCABULARY]  # made-up names, spelt: zob, kif
MADE_UP = STRANGERS[::20]  # those that live in the stories
PEOPLE = share(0.92, ALL.names) | share(0.08, MADE_UP)


@cache
def tokens(phrase: str) -> tuple[str, ...]:
    """The tokens of a phrase in the middle of a text; a phrase may begin with a mark: ". where is"."""
    if phrase == END:
        return (END,)
    pieces = split(phrase)
    if phrase[0] in MARKS:
        pieces = pieces[1:]  # no space before it
    return tuple(t for piece in pieces for t in ([piece] if piece in VOCABULARY else piece))


def spread(options: Sequence[tuple[str, ...]], weights: Sequence[float], chosen: int) -> list[float]:
    """log p of each token of the chosen option, given those before it.

    The options that still fit share the probability; a token's is the share of those it leaves.  Raises ValueError if
    one option is the beginning of another: the reader could not tell which was meant.
    """
    fit, logp = range(len(options)), []
    for i, token in enumerate(options[chosen]):
        if any(len(options[j]) == i for j in fit):
            raise ValueError(f"one option is the beginning of another: {' '.join(options[chosen])}")
        left = [j for j in fit if options[j][i] == token]
        logp.append(math.log(sum(weights[j] for j in left) / sum(weights[j] for j in fit)))
        fit = left
    if len(fit) > 1:
        raise ValueError(f"one option is the beginning of another: {' '.join(options[chosen])}")
    return logp


class Story:
    """A text in the making: its tokens, and log p of each.  `rng` draws what is to happen."""

    def __init__(self, rng: Random):
        self.rng = rng
        self.tokens: list[str] = []
        self.choices: list[tuple[int, Sequence[tuple[str, ...]], Sequence[float], int]] = []  # where, of what
        self.pronouns = dict.fromkeys(ALL.she, "she") | dict.fromkeys(ALL.he, "he")

    @property
    def text(self) -> str:
        return "".join(self.tokens).removesuffix(END).replace(SPACE, " ").removeprefix(" ")

    @property
    def logp(self) -> list[float]:
        """log p of each token given those before it: 0 unless it shows a choice."""
        logp = [0.0] * len(self.tokens)
        for i, options, weights, chosen in self.choices:
            logp[i : i + len(options[chosen])] = spread(options, weights, chosen)
        return logp

    def say(self, *phrases: str) -> None:
        """What follows for certain."""
        for phrase in phrases:
            self.tokens += tokens(phrase)

    def draw(self, options: Sequence[tuple[str, ...]], weights: Sequence[float] | None = None) -> int:
        """Say one of the options, given as tokens; all are as likely if there are no weights.  Returns its index."""
        weights = weights or [1.0] * len(options)
        chosen = self.rng.choices(range(len(options)), weights)[0]
        self.choices.append((len(self.tokens), options, weights, chosen))
        self.tokens += options[chosen]
        return chosen

    def pick(self, options: Collection[str] | dict[str, float]) -> str:
        """Say one of the options, given as phrases or {phrase: weight}, and return it."""
        weights = list(options.values()) if isinstance(options, dict) else None
        return list(options)[self.draw([tokens(option) for option in options], weights)]

    def next(self, options: dict[str, float], known: Collection[str] = (), people: float = 1.0) -> str:
        """One of the options or, with the weight `people`, somebody not yet known."""
        new = {name: people * p for name, p in PEOPLE.items() if name not in known} if people else {}
        return self.pick(options | new)

    def again(self, name: str) -> None:
        """The name once more, or he or she; nobody knows which for a made-up name, until it is said."""
        he_or_she = [self.pronouns[name]] if name in self.pronouns else ["she", "he"]
        said = self.pick(share(0.5, [name]) | share(0.5, he_or_she))
        if said != name:
            self.pronouns[name] = said

    def several(self, draw: Callable[[list[str]], str], most: int) -> list[str]:
        """x, y and z: two to `most` of what `draw` says when given what it has said before."""
        said, link = [draw([])], ","
        while link == ",":
            link = self.pick([",", "and"]) if len(said) < most - 1 else "and"
            if len(said) == most - 1:
                self.say("and")
            said.append(draw(said))
        return said


def owned(owner: dict[str, str], name: str) -> list[str]:
    return [thing for thing in owner if owner[thing] == name]


# -- the kinds of story, each from the point where its first words (before the |) are said ----------------------------


def whereabouts(s: Story, name: str) -> None:
    """anna is | in the kitchen. tom is in the garden. then tom goes to the shop. where is tom? he is at the shop."""
    closings = {"where is": 0.3, "who is": 0.2, "is": 0.2, END: 0.05}
    where = {name: s.pick(ALL.places)}
    s.say(".")
    while True:
        more = (1, 0.4, 0)[len(where) - 1]
        said = s.next(closings | {"then": 0.3} if len(where) > 1 else {}, where, more)
        if said in closings or said == "then":
            break
        s.say("is")
        where[said] = s.pick(but(ALL.places, *where.values()))
        s.say(".")
    if said == "then":
        name = s.pick(list(where))
        if s.pick(["goes to", "stays"]) == "goes to":
            free = {place(x): x for x in but(ALL.places, *where.values())}
            where[name] = free[s.pick(list(free))]
        else:
            s.say(where[name])
        s.say(".")
        said = s.pick(closings)
    for last in (False, True):
        if said == "who is":
            asked = s.pick(list(where.values()))
            s.say("?", *(name for name in where if where[name] == asked), "is", asked, ".")
        elif said != END:
            name = s.pick(list(where))
            if said == "is":
                maybe = s.pick(share(0.5, [where[name]]) | share(0.5, but(where.values(), where[name])))
                s.say("?", "yes," if maybe == where[name] else "no,")
            else:
                s.say("?")
            s.again(name)
            s.say("is", where[name], ".")
        if last or said == END:
            break
        said = s.pick(closings | {END: 0.5})


def possession(s: Story, name: str) -> None:
    """anna has a | red hat. tom has a blue cup. then tom gives the cup to anna. who has the cup? anna has the cup."""
    closings = {"what colour is the": 0.3, "who has the": 0.2, "what does": 0.2, END: 0.05}
    colour, owner = {}, {}
    while True:
        new = s.pick(but(ALL.colours, *colour.values()))
        thing = s.pick(but(ALL.things, *colour))
        colour[thing], owner[thing] = new, name
        s.say(".")
        more = (1, 0.4, 0)[len(owner) - 1]
        name = s.next(closings | {"then": 0.4} if len(owner) > 1 else {}, owner.values(), more)
        if name in closings or name == "then":
            break
        s.say("has a")
    if name == "then":
        people = list(owner.values())
        giver = s.pick(people)
        thing = owned(owner, giver)[0]
        s.say("gives the", thing, "to")
        owner[thing] = s.pick(but(people, giver))
        s.say(".")
        if all(len(owned(owner, name)) != 1 for name in people):
            del closings["what does"]
        name = s.pick(closings)
    for last in (False, True):
        if name == "what colour is the":
            thing = s.pick(list(colour))
            s.say("?")
            s.pick(["it", f"the {thing}"])
            s.say("is", colour[thing], ".")
        elif name == "who has the":
            thing = s.pick(list(owner))
            s.say("?", owner[thing], "has the", thing, ".")
        elif name == "what does":
            name = s.pick([x for x in owner.values() if len(owned(owner, x)) == 1])
            s.say("have?")
            s.again(name)
            s.say("has the", *owned(owner, name), ".")
        if last or name == END:
            break
        name = s.pick(closings | {END: 0.5})


def feelings(s: Story, name: str, event: str) -> None:
    """anna lost | a hat. tom found a ball. anna is sad and cries. how is tom? he is glad."""
    lucky = {}
    while True:
        lucky[name] = event in ALL.luck
        s.pick(THINGS)
        s.say(".")
        name = s.next(share(0.5, lucky) | {"how is": 0.5}, lucky, 1.5 if len(lucky) == 1 else 0)
        if name in lucky or name == "how is":
            break
        event = s.pick(ALL.luck + ALL.bad_luck)
    waiting = list(lucky)
    while name != END:
        asked = name == "how is"
        if asked:
            name = s.pick(waiting)
            s.say("?")
            s.again(name)
        moods, acts = (ALL.glad, JOY) if lucky[name] else (ALL.sad, GRIEF)
        plain = share(0.4, [f"is {mood}." for mood in moods])
        lively = share(0.3, [f"is {mood} and {act}." for mood in moods for act in acts])
        s.pick(plain if asked else plain | lively | share(0.3, [f"{act}." for act in acts]))
        waiting.remove(name)
        name = s.pick(share(0.4, waiting) | {"how is": 0.2, END: 0.2}) if waiting else END


def shopping(s: Story, name: str) -> None:
    """anna buys | a cup, a hat and an apple. anna buys three things. the first is the cup."""
    things = s.several(lambda so_far: s.pick(but(THINGS, *so_far)), most=5)
    s.say(".")
    said = s.pick({"the first is": 0.2, "the last is": 0.2, name: 0.6})
    if said == name:
        s.say("buys", NUMBERS[len(things) - 1], "things.")
        said = s.pick({"the first is": 0.25, "the last is": 0.25, END: 0.5})
    if said != END:
        s.say("the", things[0 if said == "the first is" else -1].split()[1], ".")


def echo(s: Story, name: str) -> None:
    """anna says: | red cat walks. tom says it backwards: walks cat red."""
    words = [s.pick(SAYABLE)]
    for stop in (0, 0.2, 0.25, 0.33, 0.5, 1):
        said = s.pick({".": stop} | share(1 - stop, but(SAYABLE, *words)))
        if said == ".":
            break
        words.append(said)
    s.next({}, [name])
    s.say("says")
    if s.pick(["the same:", "it backwards:"]) == "it backwards:":
        words.reverse()
    s.say(*words, ".")


def queue(s: Story, name: str) -> None:
    """anna, | tom and lucy stand in a line. tom is behind anna. who is last? lucy is last."""
    line = [name, s.next({}, [name])]
    s.say("and")
    line.append(s.next({}, line))
    s.say("stand in a line.")
    true = {  # what can be said of each
        line[0]: ["first", f"before {line[1]}"],
        line[1]: [f"behind {line[0]}", f"before {line[2]}"],
        line[2]: [f"behind {line[1]}", "last"],
    }
    said = s.pick(share(0.6, line) | {"who is": 0.4})
    if said != "who is":
        s.say("is")
        s.pick(true[said])
        s.say(".")
        said = s.pick(["who is", END])
    if said == "who is":
        fact = s.pick([fact for facts in true.values() for fact in facts])
        s.say("?", *(name for name in line if fact in true[name]), "is", fact, ".")


def habit(s: Story, day: str) -> None:
    """every day | anna walks to the shop. yesterday she walked to the shop."""
    name = s.next({})
    verb = s.pick([*PAST] if day == "every day" else [*PAST.values()])
    now = verb if day == "every day" else next(x for x in PAST if PAST[x] == verb)
    if now in ALL.moves:
        where = s.pick([f"to {place(x)}" for x in ALL.places])
    elif now in ALL.rests:
        where = s.pick(ALL.places)
    else:
        where = s.pick(ANIMALS + THINGS)
    s.say(".", "yesterday" if day == "every day" else "today")
    s.again(name)
    s.say(PAST[now] if day == "every day" else now, where, ".")


def traits(s: Story) -> None:
    """the | hat is not big. it is small. the cup is old. how is the hat? it is small."""
    opposite = {x: y for pair in ALL.opposites for x, y in (pair, pair[::-1])}
    trait = {}
    while len(trait) < 3:
        thing = s.pick(but(ALL.things, *trait))
        s.say("is")
        said = s.pick(share(0.7, opposite) | share(0.3, [f"not {x}" for x in opposite]))
        trait[thing] = opposite[said[4:]] if said.startswith("not ") else said
        s.say(".")
        if said != trait[thing]:
            s.say("it is", trait[thing], ".")
        said = s.pick({"the": (0.6, 0.3, 0)[len(trait) - 1], "how is the": 0.2, "is the": 0.2, END: 0.1})
        if said != "the":
            break
    if said == "how is the":
        s.say("? it is", trait[s.pick(list(trait))], ".")
    elif said == "is the":
        thing = s.pick(list(trait))
        asked = s.pick([trait[thing], opposite[trait[thing]]])
        s.say("?", "yes," if asked == trait[thing] else "no,", "it is", trait[thing], ".")


def nature(s: Story, noun: str) -> None:
    """a cat | is an animal. a cat is bigger than a mouse."""
    for sentence in range(3):
        noun = noun.split()[1]
        kind = next(kind for kind, nouns in KINDS.items() if noun in nouns)
        if kind == "animal":
            i = BY_SIZE.index(noun)
            smaller, bigger = BY_SIZE[:i], BY_SIZE[i + 1 :]
            compared = [f"is bigger than {a(x)}" for x in smaller] + [f"is smaller than {a(x)}" for x in bigger]
            s.pick({"is an animal": 0.3} | share(0.7, compared))
        else:
            s.say("is", a(kind))
        s.say(".")
        if sentence == 2 or (noun := s.pick({END: 0.4} | share(0.3, ANIMALS) | share(0.3, THINGS))) == END:
            return


def shelf(s: Story) -> None:
    """here are | a cat, a drum and a dog. two are animals. which is the instrument? the drum is the instrument."""
    kind = {a(noun): kind for kind, nouns in KINDS.items() for noun in nouns}

    def draw(so_far: list[str]) -> str:
        free = but(ANIMALS + THINGS, *so_far)
        alike = [x for x in free if kind[x] in [kind[y] for y in so_far]]
        extra = 0.5 / len(alike) if alike else 0
        return s.pick({x: 0.5 / len(free) + extra * (x in alike) for x in free})

    nouns = s.several(draw, most=4)
    s.say(".")
    count = Counter(kind[x] for x in nouns)
    sums = [f"{NUMBERS[n - 1]} are {PLURALS[k]}" if n > 1 else f"one is {a(k)}" for k, n in count.items()]
    lone = [k for k, n in count.items() if n == 1]
    said = s.pick({"the": 0.3} | share(0.4, sums) | ({"which is the": 0.3} if lone else {}))
    if said in sums:
        s.say(".")
        said = s.pick(["the", "which is the", END] if lone else ["the", END])
    if said == "the":
        noun = s.pick([x.split()[1] for x in nouns])
        s.say("is", a(kind[a(noun)]), ".")
    elif said == "which is the":
        k = s.pick(lone)
        s.say("? the", *(x.split()[1] for x in nouns if kind[x] == k), "is the", k, ".")


def tell(rng: Random) -> Story:
    """One story, from its first word to its end token."""
    s = Story(rng)
    said = s.next(
        {"every day": 0.08, "yesterday": 0.04, "the": 0.1, "here are": 0.1}
        | share(0.04, ANIMALS)
        | share(0.04, THINGS),
        people=0.6,
    )
    if said in ("every day", "yesterday"):
        habit(s, said)
    elif said == "the":
        traits(s)
    elif said == "here are":
        shelf(s)
    elif " " in said:
        nature(s, said)
    else:
        events = share(0.12, ALL.luck + ALL.bad_luck)
        kinds = {"is": whereabouts, "has a": possession, "buys": shopping, "says:": echo, ",": queue}
        verb = s.pick(events | {"is": 0.3, "has a": 0.3, "buys": 0.1, "says:": 0.14, ",": 0.08})
        if verb in kinds:
            kinds[verb](s, said)
        else:
            feelings(s, said, verb)
    if s.tokens[-1] != END:
        s.say(END)
    return s
