"""The pages: what a learner wrote stays text, a screen reader finds its way, and nothing is loaded or run."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from minipeft.grading.page import STYLE, class_page, learner_page
from minipeft.grading.result import STATES

from .conftest import HOSTILE, exercise, finished

VOID = {"meta", "rect"}
TAGS = VOID | set(
    "html head title style body header main section footer h1 h2 h3 h4 p b small span bdi time ul li a div article "
    "dl dt dd details summary table caption thead tbody tfoot tr th td svg".split()
)


class Page(HTMLParser):
    """A page as a browser takes it: its elements, and the text in each."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict, list[str]]] = []  # tag, attributes, texts within
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS, f"an element <{tag}>"
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((tag, dict(attributes), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data):
        for i in self.open:
            self.elements[i][2].append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def texts(self, tag: str, kind: str | None = None) -> list[str]:
        return ["".join(texts) for t, a, texts in self.elements if t == tag and kind in (None, a.get("class"))]

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes, _ in self.elements if name in attributes]


@pytest.fixture(params=["ada", "mallory", "unreadable", "class", "nobody"])
def any_page(request) -> str:
    if request.param == "nobody":
        return class_page([])
    if request.param == "class":
        return class_page([request.getfixturevalue(name) for name in ("ada", "mallory", "unreadable")], [1, 2])
    return learner_page(request.getfixturevalue(request.param))


def test_a_page_runs_and_loads_nothing(any_page):
    page = Page(any_page)
    names = {name for _, attributes, _ in page.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("style", "src", "srcset", "action")]
    assert all(re.fullmatch(r"#lesson-\d+|reports/[^/:]+\.html|similarity\.html", to) for to in page.attributes("href"))
    assert "url(" not in STYLE and "@import" not in STYLE


def test_its_policy_allows_its_own_style_and_nothing_else(any_page):
    (style,) = re.findall("<style>(.*?)</style>", any_page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert any_page.count("Content-Security-Policy") == 1
    assert (
        f"content=\"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\"" in any_page
    )
    assert any_page.index("Content-Security-Policy") < any_page.index("<style>")


def test_a_screen_reader_finds_its_way(any_page):
    page = Page(any_page)
    tags = [tag for tag, _, _ in page.elements]
    assert page.elements[0][:2] == ("html", {"lang": "en"})
    assert [tags.count(tag) for tag in ("title", "h1", "main", "header", "footer")] == [1] * 5
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert set(page.attributes("aria-labelledby")) <= set(ids)
    assert {to for to in page.attributes("href") if to.startswith("#")} <= {f"#{name}" for name in ids}
    assert all(
        text.strip() for tag in ("title", "h1", "h2", "h3", "h4", "caption", "th", "a") for text in page.texts(tag)
    )
    assert tags.count("caption") == tags.count("table") == tags.count("thead")
    scopes = [attributes.get("scope") for tag, attributes, _ in page.elements if tag == "th"]
    assert set(scopes) <= {"row", "col"}
    assert all(attributes["aria-hidden"] == "true" for tag, attributes, _ in page.elements if tag == "svg")


def test_what_a_learner_wrote_stays_text(mallory):
    page = Page(learner_page(mallory))
    shown = page.texts("dd") + page.texts("bdi")
    for text in HOSTILE.values():
        assert text in shown
    assert page.texts("h1") == [mallory["name"]]
    assert page.texts("title") == [f"{mallory['name']}: 7.25 of 32.75 points"]
    assert not any(tag in learner_page(mallory).lower() for tag in ("<script", "<img", "<b>bold", "<details open"))


def test_a_name_in_another_script_does_not_turn_what_follows(ada):
    ada["name"] = "محمد"
    assert "<h1><bdi>محمد</bdi></h1>" in learner_page(ada)
    assert ">محمد</bdi></a>" in class_page([ada])
    dds = [attributes["dir"] for tag, attributes, _ in Page(learner_page(ada)).elements if tag == "dd"]
    assert set(dds) == {"ltr", "auto"}


def test_every_state_is_said_in_words(ada):
    page = Page(learner_page(ada))
    told = [f"{STATES[item['state']]}, " for item in ada["exercises"]]
    states = [text for kind in STATES for text in page.texts("p", f"state {kind}")]
    assert len(states) == 9
    for heading, item, words in zip(page.texts("h4"), ada["exercises"], told, strict=True):
        assert heading == f"{item['id']} {item['title']}"
        assert any(text.startswith(words) for text in states)
    assert "not right yet, 0.75 of 2.25 points" in states


def test_a_learner_reads_what_came_back_and_the_points_of_each_lesson(ada):
    page = Page(learner_page(ada))
    assert page.texts("p", "sum") == ["7.25 of 32.75 points, 2 of 9 exercises passed"]
    assert "Lesson 15 lora1 of 76 of 30" in [text.strip() for text in page.texts("tr")]
    assert "Together2 of 97.25 of 32.75" in [text.strip() for text in page.texts("tr")]
    assert "alpha / r scales the frozen path too: it belongs to the change alone" in page.texts("dd")
    assert "loss 3.2\nloss 2.1\n" in page.texts("dd", "code")
    assert "minipeft check 15.2 --seed 123456" in page.texts("dd", "code")
    assert "conftest.py was not looked at." in page.texts("p")
    (folded,) = page.texts("details")
    for text in ("no network, Landlock", "another uid (the grader does not run as root)", "2,048 MiB", "torch 2.13.0"):
        assert text in folded
    assert "Graded on 31 January 2026, 12:00 UTC" in page.texts("p", "quiet")


def test_the_page_of_what_could_not_be_read_says_so_once(unreadable):
    page = Page(learner_page(unreadable))
    assert page.texts("p", "warning") == ["It could not be read: work.zip is damaged: hand it in again"]
    assert page.texts("dd") == [] and len(page.texts("h4")) == 9
    assert len(re.findall("work.zip is damaged", learner_page(unreadable))) == 1


def test_the_class_sees_everyone_and_how_each_exercise_went(ada, mallory, unreadable):
    page = Page(class_page([ada, mallory, unreadable], ["a pair"]))
    rows = [text.strip() for text in page.texts("tr")]
    assert page.texts("h1") == ["3 submissions"]
    assert page.texts("p", "sum") == ["Median 7.25 of 32.75 points, from 0 to 7.25"]
    assert rows[0] == "NamePointsLesson 15Lesson 16"
    assert rows[1] == "ada7.2561.25"
    assert rows[3] == "=cmd|' /C calc'!A0 could not be read000"
    assert rows[4] == "Could be had32.75302.75"
    assert "15.1 The layer2 of 301" in rows  # passed, not right, not there
    assert "15.3 Folded in0 of 303" in rows
    nobody = next(text for text in page.texts("p") if text.startswith("Tried"))
    assert "15.2 First values" in nobody and "16.2" in nobody
    assert "15.1" not in nobody and "15.3" not in nobody and "15.4" not in nobody  # passed; never tried
    assert any(text.startswith("1 pair of submissions share") for text in page.texts("p"))


@pytest.mark.parametrize(
    "name", ["javascript:alert(1)", "../../x", "a b#c?d%41", '"onclick=x', "C:\\x", "é محمد", "&amp;"]
)
def test_a_link_leads_to_the_learners_page_and_nowhere_else(ada, name):
    ada["name"] = name
    link = next(to for to in Page(class_page([ada])).attributes("href") if to.startswith("reports/"))
    assert re.fullmatch(r"reports/[A-Za-z0-9%._~-]+\.html", link)
    assert unquote(link) == f"reports/{name}.html"


def test_lessons_that_not_all_were_asked_have_empty_cells(ada):
    other = finished("bob", [exercise(1, "passed", lesson=3)])
    rows = [text.strip() for text in Page(class_page([ada, other])).texts("tr")]
    assert rows[0] == "NamePointsLesson 3Lesson 15Lesson 16"
    assert rows[2] == "bob66"


def test_the_share_that_passed_is_drawn(ada, mallory):
    widths = Page(class_page([ada, mallory])).attributes("width")
    assert widths.count("100.0") == 2 and widths.count("0.0") == 7 and widths.count("100") == 9


# -- colours ----------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["light", "dark", "print"])
def test_every_text_can_be_read(number):
    """WCAG's contrast of 4.5 for text, on the page and on the ground of code; 3 for what is drawn."""
    colours = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", rule)) for rule in re.findall(r":root \{(.*?)\}", STYLE)][
        number
    ]
    for text in ("ink", "quiet", "link", "good", "fair"):
        for ground in ("paper", "code"):
            dark, light = sorted((luminance(colours[text]), luminance(colours[ground])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
    dark, light = sorted((luminance(colours["good"]), luminance(colours["rule"])))
    assert (light + 0.05) / (dark + 0.05) >= 3
