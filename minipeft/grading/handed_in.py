"""What a learner handed in (a file, a notebook, a folder, an archive) as one source of Python for each topic.

    handed_in(path, exercises)  ->  Handed      what counts, and notes that say what does not
    submissions(folder)         ->  [Path]      what is a submission in a class's folder
    names(paths)                ->  {str: Path} a name for each, fit to name a file on every system

Which file counts as the topic's, lora's say, does not depend on chance:

1. Of the Python files, one called lora.py; else one with a likeness, as learning platforms and browsers make them
   ("lora (1).py", "smith_12345_lora.py"); else one called otherwise that defines functions of lora.  Upper and lower
   case are alike.  Of several, one in a folder exercises/, else the one under the fewest folders, else the one all in
   lower case; if that leaves two that differ, none is taken.
2. Of the notebooks, the one that defines most functions of lora (stubs are not counted), else as above.  A lesson's
   notebook, such as 15_lora.ipynb, is for the exercises of this lesson alone.  `notebook.py` says what is taken.
3. The Python file counts, unless the notebook has more of its functions written.

Python files in the course's own folders (OURS: worked answers, tests, the library, ...) never count, nor do hidden
files.  Nothing is executed here, and nothing is written.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipeft.course.exercise import Exercise

from . import notebook as notebooks
from .entries import TOTAL, Entry, Listing, Refused, folder, listed, read_file, shown, size, skipped, tarred, zipped
from .notebook import Drawn
from .source import defined, encoding_fault, written

SOURCE, NOTEBOOK = 2**20, 20 * 2**20  # bytes of one file
LOOKED = 40  # notebooks, and Python files with other names: parsing takes time
NOTES = 30
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
SUFFIXES = (".py", ".ipynb", *ARCHIVES)
PACKED = (*ARCHIVES, ".7z", ".rar", ".gz", ".bz2", ".xz")
OURS = {"solutions", "tests", "lessons", "benchmarks", "additive", "hybrid", "reparametrization", "selective"}
COPY = r"(?:[\W_]+(?:copy|v?\d{1,3}))*\W*"  # " (1)", "-2", " - Copy (2)"


@dataclass(frozen=True)
class Source:
    text: bytes  # Python, as handed in or drawn together from a notebook
    where: str  # the name that the learner knows, such as exercises/lora.py or work.ipynb


@dataclass(frozen=True)
class Handed:
    """One submission.  `reason` says why nothing of it can be graded; it is "" if something can."""

    name: str
    kind: str  # "file", "folder", "zip" (any archive) or "notebook"
    sha256: str  # of the file's content; of a folder: of names and contents of the files that count
    files: dict[str, Source]  # by topic
    notes: tuple[str, ...]  # sentences
    reason: str = ""


def handed_in(path: Path | str, exercises: Sequence[Exercise], name: str | None = None) -> Handed:
    """Read a submission.  Whatever is wrong with it is told in `reason` and `notes`.

    Raises FileNotFoundError if there is nothing at `path`.
    """
    if not os.path.lexists(path):
        raise FileNotFoundError(f"there is no {path}")
    path = Path(os.path.abspath(path))  # "." has no name
    name, kind, data = name or stem(path), kind_of(path), b""
    try:
        if path.is_symlink():
            raise Refused(f"{shown(path.name)} is a link: name the file or folder that it leads to")
        if kind == "folder":
            entries, notes = folder(path)
        else:
            data = whole(path, kind)
            entries, notes = opened(path.name, kind, data)
        desk = Desk(entries, exercises)
        files = desk.files()
        reason = "" if files else desk.why_nothing(path.name, kind)
        if kind in ("folder", "zip"):
            desk.tell_of_others()
    except Refused as e:
        return Handed(name, kind, sha256(data), {}, (), str(e))
    except Exception as e:  # the readers of zlib, zipfile, json and ast have met what nobody thought of
        return Handed(name, kind, sha256(data), {}, (), f"it can't be read ({type(e).__name__}): hand in .py files")
    content = data if kind != "folder" else b"".join(sorted(desk.counted))
    notes = [*desk.notes, *notes]
    if len(notes) > NOTES:
        notes[NOTES - 1 :] = [f"there are {len(notes) - NOTES + 1} more notes of this kind"]
    return Handed(name, kind, sha256(content), files, tuple(notes), reason)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def suffix_of(name: str) -> str:
    """The longest of the known endings, .tar.gz before .gz; or ""."""
    return max((s for s in SUFFIXES if name.casefold().endswith(s)), key=len, default="")


def stem(path: Path) -> str:
    return path.name if path.is_dir() else path.name[: len(path.name) - len(suffix_of(path.name))]


def kind_of(path: Path) -> str:
    if path.is_dir():
        return "folder"
    suffix = suffix_of(path.name)
    return "zip" if suffix in ARCHIVES else "notebook" if suffix == ".ipynb" else "file"


def whole(path: Path, kind: str) -> bytes:
    if not suffix_of(path.name):
        raise Refused(f"{shown(path.name)} is none of {', '.join(SUFFIXES)}, and no folder")
    data = read_file(path, {"zip": TOTAL, "notebook": NOTEBOOK, "file": SOURCE}[kind], path.name)
    if not data:
        raise Refused(f"{shown(path.name)} is empty")
    return data


def opened(name: str, kind: str, data: bytes) -> Listing:
    if kind == "zip":
        return zipped(data) if suffix_of(name) == ".zip" else tarred(data)
    return [Entry(name, lambda limit: data)], []


# -- which file counts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Candidate:
    """A file that may be a topic's; the smallest counts.

    likeness: of a Python file, 0 for lora.py, 1 for smith_lora.py, 2 for another name; of a notebook, minus the number
    of functions written.
    """

    likeness: int
    elsewhere: bool  # not in exercises/
    folders: int
    case: bool  # Lora.py
    name: str
    text: bytes


class Desk:
    """Where the files of one submission are looked through."""

    def __init__(self, entries: Iterable[Entry], exercises: Sequence[Exercise]):
        self.functions: dict[str, list[str]] = {}  # by topic
        for item in exercises:
            self.functions.setdefault(item.topic, []).append(item.name)
        self.lessons = {item.topic: item.lesson for item in exercises}
        self.notes: list[str] = []
        self.faults: list[str] = []  # of files that would have counted
        self.counted: set[bytes] = set()  # name and content of each file that counts
        self._left = TOTAL
        self._used: set[str] = set()  # names of files of which something was said
        entries = sorted((e for e in entries if not any(map(skipped, e.parts))), key=lambda e: (len(e.parts), e.name))
        self.python = [e for e in entries if e.name.casefold().endswith(".py")]
        self.notebooks = [e for e in entries if e.name.casefold().endswith(".ipynb")]
        self.others = [e for e in entries if not e.name.casefold().endswith((".py", ".ipynb"))]

    def files(self) -> dict[str, Source]:
        """The source of each topic that something was handed in for."""
        found, written_up = self.by_name(), self.in_notebooks()
        found |= self.by_function([t for t in self.functions if t not in found])
        files = {}
        for topic in self.functions:
            best = self.better(topic, self.pick(topic, found), self.pick(topic, written_up))
            if best:
                files[topic] = Source(best.text, shown(best.name))
                self.counted.add(f"{best.name}\0{sha256(best.text)}\n".encode("utf-8", "surrogatepass"))
        return files

    def read(self, entry: Entry, limit: int) -> bytes | None:
        """Its bytes; None, and a note, if it can't be read."""
        self._used.add(entry.name)
        try:
            data = entry.read(limit)
        except Refused as e:
            self.fault(str(e))
            return None
        self._left -= len(data)
        if self._left < 0:
            raise Refused(f"it holds more than {size(TOTAL)} of Python and notebooks: hand in the exercises alone")
        return data

    def fault(self, sentence: str) -> None:
        self.faults.append(sentence)
        self.notes.append(sentence)

    def candidate(self, entry: Entry, likeness: int, text: bytes) -> Candidate:
        *folders, name = entry.parts
        in_exercises = bool(folders) and folders[-1].casefold() == "exercises"
        return Candidate(likeness, not in_exercises, len(folders), name != name.casefold(), entry.name, text)

    def by_name(self) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        for entry in self.python:
            topic, likeness = topic_of(entry.parts[-1], self.functions)
            if topic and not ours(entry) and (text := self.read(entry, SOURCE)) is not None:
                found.setdefault(topic, []).append(self.candidate(entry, likeness, text))
        return found

    def by_function(self, topics: list[str]) -> dict[str, list[Candidate]]:
        """Files with other names, for topics of which there is none with the right one."""
        found: dict[str, list[Candidate]] = {}
        wanted = {name: topic for topic in topics for name in self.functions[topic]}
        for entry in [e for e in self.python if e.name not in self._used and not ours(e)][:LOOKED] if topics else ():
            if (text := self.read(entry, SOURCE)) is None:
                continue
            serves = {wanted[name] for name in defined(text, wanted)}
            for topic in serves:
                found.setdefault(topic, []).append(self.candidate(entry, 2, text))
            if not serves:
                self._used.discard(entry.name)
        return found

    def in_notebooks(self) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        for entry in self.notebooks[:LOOKED]:
            if (data := self.read(entry, NOTEBOOK)) is None:
                continue
            try:
                pages = notebooks.read(data, shown(entry.name))
            except Refused as e:
                self.fault(str(e))
                continue
            lesson = re.match(r"(\d\d)_", entry.parts[-1])
            topics = [t for t in self.functions if not lesson or int(lesson[1]) == self.lessons[t]]
            sources = {t: notebooks.drawn(pages, self.functions[t], shown(entry.name)) for t in topics}
            for topic, source in sources.items():
                if source:
                    found.setdefault(topic, []).append(self.candidate(entry, -len(source.written), source.text))
            self.tell_of_notebook(entry, pages.notes, [s for s in sources.values() if s])
        return found

    def pick(self, topic: str, found: dict[str, list[Candidate]]) -> Candidate | None:
        """The one that counts by the rules above; None, and a note, if they can't tell."""
        if not (candidates := sorted(found.get(topic, ()))):
            return None
        first = candidates[0]

        def place(c: Candidate) -> tuple:
            return c.likeness, c.elsewhere, c.folders, c.case

        if rivals := [c.name for c in candidates[1:] if place(c) == place(first) and c.text != first.text]:
            both = listed([first.name, *rivals])
            self.fault(f"{both} could each be the work on {topic}, so none of them counts: hand in one")
            return None
        if rest := [c.name for c in candidates[1:] if c.text != first.text]:
            self.notes.append(f"for {topic}, {shown(first.name)} counts, and not {listed(rest)}")
        return first

    def better(self, topic: str, file: Candidate | None, notebook: Candidate | None) -> Candidate | None:
        """The Python file, unless the notebook has more functions written."""
        if file and notebook:
            best = notebook if -notebook.likeness > len(written(file.text, self.functions[topic])) else file
            other = file if best is notebook else notebook
            why = "more of its functions are written there" if best is notebook else "a Python file goes first"
            self.notes.append(f"for {topic}, {shown(best.name)} counts, and not {shown(other.name)}: {why}")
        else:
            best = file or notebook
        if best is file and file:
            if file.likeness:
                self.notes.append(f"{shown(file.name)} was taken for exercises/{topic}.py")
            if fault := encoding_fault(file.text):
                self.notes.append(f"{shown(file.name)} {fault}")
        return best

    def tell_of_notebook(self, entry: Entry, notes: list[str], sources: list[Drawn]) -> None:
        """Only where it has to do with the exercises: all lessons may have been handed in with one's work."""
        mine = {name for names in self.functions.values() for name in names}
        lost = [note for note in notes if set(re.findall(r"\w+", note)) & mine]
        self.notes += notes if sources else lost
        self.notes += [note for source in sources for note in source.notes]
        self.faults += lost if not sources else []
        if not sources:
            self._used.discard(entry.name)

    def tell_of_others(self) -> None:
        packed = [e.name for e in self.others if e.name.casefold().endswith(PACKED)]
        if packed:
            self.notes.append(f"{listed(packed)} inside was not opened: hand in the files themselves")
        told = {*self._used, *packed}
        rest = [e.name for e in (*self.python, *self.notebooks, *self.others) if e.name not in told]
        if rest:
            self.notes.append(f"{listed(rest)} {'does' if len(rest) == 1 else 'do'} not count")

    def why_nothing(self, name: str, kind: str) -> str:
        if self.faults:
            return "; ".join(self.faults[:3])
        wanted = listed([f"exercises/{topic}.py" for topic in self.functions], 1)
        if kind in ("file", "notebook"):
            some = listed([f for names in self.functions.values() for f in names], 2)
            return f"{shown(name)} defines none of the course's functions ({some})"
        return f"it holds no file of the course ({wanted}), nor a notebook that defines its functions"


def topic_of(name: str, topics: Iterable[str]) -> tuple[str | None, int]:
    """The topic that a file's name is for, and 0 if it is just so, 1 if by a likeness."""
    own = name.casefold().removesuffix(".py")
    for topic in sorted(topics, key=len, reverse=True):  # krona_res before krona
        if own == topic:
            return topic, 0
    for topic in sorted(topics, key=len, reverse=True):
        if len(own) < 255 and not own.startswith("test_") and re.fullmatch(rf"(?:.*[\W_])?{topic}{COPY}", own):
            return topic, 1
    return None, 2


def ours(entry: Entry) -> bool:
    return any(part.casefold() in OURS for part in entry.parts[:-1])


# -- a class ----------------------------------------------------------------------------------------------------------


def submissions(folder: Path) -> list[Path]:
    """Folders, archives, Python files and notebooks in a class's folder, in natural order: ada2 before ada10.

    Hidden ones and what systems leave behind are none.  Raises OSError if the folder can't be read.
    """

    def natural(path: Path) -> tuple:
        parts = re.split("([0-9]+)", path.name.casefold())
        return [(int(p), "") if i % 2 else (0, p) for i, p in enumerate(parts)], path.name

    found = [p for p in folder.iterdir() if not skipped(p.name) and (p.is_dir() or suffix_of(p.name))]
    return sorted(found, key=natural)


def names(paths: Sequence[Path]) -> dict[str, Path]:
    """A name for each submission, of which files can be named on every system; distinct also where case is ignored.

    It is the stem; where several have the same (ada.zip and ada/), the whole name; and a number where that is the same.
    """
    stems = [file_name(stem(path)) for path in paths]
    folded = [s.casefold() for s in stems]
    named: dict[str, Path] = {}
    taken: set[str] = set()
    for path, own in zip(paths, stems, strict=True):
        start = own if folded.count(own.casefold()) == 1 else file_name(path.name)
        name, n = start, 1
        while name.casefold() in taken:
            n += 1
            name = f"{start}-{n}"
        taken.add(name.casefold())
        named[name] = path
    return named


def file_name(text: str) -> str:
    """Letters, digits and harmless signs, at most 100 bytes, and no name that Windows keeps for itself."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(c if c.isalnum() or c in "-_.+@=, ()" else "_" for c in text)
    text = text.encode("utf-8", "replace")[:100].decode("utf-8", "ignore").strip(" .") or "_"
    reserved = re.match(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\.|$)", text.casefold())
    return f"_{text}" if reserved else text
