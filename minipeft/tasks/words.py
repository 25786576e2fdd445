"""The words of the toy world: what the tokenizer knows, the stories are made of and the tasks ask about."""

from dataclasses import dataclass, fields

SHE = "anna sara lucy mary emma rosa nina ella julia clara grace helen kate lily maria eva".split()
HE = "tom ben paul max leo jack sam john peter mark david luke oscar henry felix adam".split()

PLACES = [  # with the preposition a place asks for
    *("in the " + x for x in "kitchen garden park street library forest house barn field cellar hall office".split()),
    "in the church",
    *("at the " + x for x in "shop school station market beach hotel river farm".split()),
    *("on the " + x for x in "bridge hill roof".split()),
]

KINDS = {  # what there is, by kind
    "animal": "cat dog bird horse cow sheep pig mouse duck fox rabbit hen goat frog bear lion bee wolf".split(),
    "fruit": "apple pear plum lemon banana cherry peach melon orange".split(),
    "dish": "cup plate bowl spoon fork pot pan glass jug".split(),
    "tool": "hammer saw knife spade brush rope needle ladder axe".split(),
    "toy": "ball doll kite puzzle puppet robot marble swing rattle".split(),
    "vehicle": "car bus train boat bike truck plane ship tram".split(),
    "garment": "hat coat shirt scarf dress cap belt skirt sock".split(),
    "instrument": "drum flute violin piano guitar trumpet harp horn bell".split(),
}
PLURALS = {"dish": "dishes"} | {kind: kind + "s" for kind in KINDS if kind != "dish"}
BY_SIZE = "bee mouse frog bird duck hen rabbit cat fox dog goat sheep wolf pig lion bear cow horse".split()

COLOURS = "red blue green yellow black white brown pink grey purple golden silver".split()
OPPOSITES = [
    pair.split("/")
    for pair in (
        "big/small old/new hot/cold wet/dry clean/dirty heavy/light long/short hard/soft thick/thin wide/narrow "
        "strong/weak full/empty fast/slow loud/quiet bright/dark cheap/dear smooth/rough round/square"
    ).split()
]

GLAD = "happy glad cheerful merry pleased proud".split()
SAD = "unhappy sad gloomy upset sorry lonely".split()
LUCK = "found won got caught made saved".split()  # what makes one glad
BAD_LUCK = "lost broke missed dropped tore burnt".split()  # what makes one sad
JOY = "smiles laughs sings dances jumps cheers".split()
GRIEF = "cries sighs weeps frowns moans sobs".split()

TO = "walks/walked runs/ran goes/went drives/drove comes/came rides/rode hurries/hurried travels/travelled".split()
IT = (
    "eats/ate washes/washed uses/used buys/bought sells/sold takes/took brings/brought carries/carried draws/drew "
    "sees/saw hides/hid cleans/cleaned paints/painted holds/held keeps/kept throws/threw wants/wanted likes/liked "
    "loves/loved needs/needed shows/showed hears/heard leaves/left chooses/chose"
).split()
IN = (
    "sleeps/slept waits/waited works/worked sits/sat stands/stood swims/swam falls/fell plays/played stays/stayed "
    "talks/talked"
).split()
PAST = dict(pair.split("/") for pair in TO + IT + IN)
MOVES, HANDLES, RESTS = ([pair.split("/")[0] for pair in pairs] for pairs in (TO, IT, IN))

NUMBERS = "one two three four five".split()


@dataclass(frozen=True)
class Words:
    """A choice of the world's words, by what they are."""

    she: list[str]
    he: list[str]
    places: list[str]
    kinds: dict[str, list[str]]
    colours: list[str]
    opposites: list[list[str]]
    glad: list[str]
    sad: list[str]
    luck: list[str]
    bad_luck: list[str]
    moves: list[str]
    handles: list[str]
    rests: list[str]

    @property
    def names(self) -> list[str]:
        return self.she + self.he

    @property
    def things(self) -> list[str]:
        return [noun for kind, nouns in self.kinds.items() if kind != "animal" for noun in nouns]

    @property
    def nouns(self) -> list[str]:
        return self.kinds["animal"] + self.things

    def keep(self, which) -> "Words":
        """The words whose place in their list passes `which`."""

        def some(words):
            if isinstance(words, dict):
                return {kind: some(nouns) for kind, nouns in words.items()}
            return [word for i, word in enumerate(words) if which(i)]

        return Words(*(some(getattr(self, field.name)) for field in fields(self)))


ALL = Words(SHE, HE, PLACES, KINDS, COLOURS, OPPOSITES, GLAD, SAD, LUCK, BAD_LUCK, MOVES, HANDLES, RESTS)
AWAY = ALL.keep(lambda i: i % 3 == 2)  # a task's out-of-domain split is made of these
HOME = ALL.keep(lambda i: i % 3 != 2)  # and its other splits of these


def a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def place(where: str) -> str:
    """The place alone: place("in the kitchen") is "the kitchen"."""
    return where.split(" ", 1)[1]
