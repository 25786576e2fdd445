"""What is handed out: the learner's bundle, and the autograder that Gradescope takes.

The bundle is a course of its own: lessons, exercises still to be written, the checks, the library.  It is made of what
is committed, so a teacher's own answers and trial runs can't slip into it, and of what HANDED_OUT names, so a new file
has to be let in.  The worked answers stay behind, the wrong answers with their hints, and all that tests or measures
the library; so do the parts of README.md and Makefile that stand between BEGIN CLONE and END CLONE.
"""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..course import stubs
from ..course.exercise import chosen, exercises

READY = Path(__file__).parent / "ready"

HANDED_OUT = (  # what the learner gets as it is; fresh stubs and the files of `for_learners` join it
    ".gitignore",
    "CITATION.cff",
    "LICENSE",
    "constraints.txt",
    "pyproject.toml",
    "docs/comparison/*",
    "docs/fastfood.md",
    "docs/glossary.md",
    "docs/notation.md",
    "docs/speed.md",
    "docs/stacking.md",
    "docs/tasks.md",
    "lessons/*.ipynb",
    "lessons/data/*",
    "minipeft/**/*",
    "tests/exercises/conftest.py",
    "tests/exercises/test_*.py",
)

GRADED = (  # what the autograder holds of the course, beside fresh stubs
    "LICENSE",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "lessons/data/*",
    "minipeft/**/*",
    "tests/exercises/test_*.py",
    "tests/exercises/wrong/*.py",
)


def release(root: Path, out: Path) -> list[str]:
    """Write the learner's bundle of the course at `root`: a zip if `out` ends in .zip, else a folder.

    Returns what to tell the teacher, in sentences.  Two releases of the same commit are the same, byte for byte.
    Raises FileExistsError if there is something at `out`, FileNotFoundError if the worked answers are missing, and
    ValueError for a notebook that is not as it was built, since it may show answers.
    """
    refuse_to_overwrite(out)
    with committed(root) as course:
        files, version = bundle(course), course_version(course)
    size = write(files, out, top="minipeft/")
    return [
        f"{out}: the learner's bundle, {len(files)} files, {size / 1e6:.1f} MB; its checks are version {version}",
        *left_behind(root),
    ]


def autograder(root: Path, out: Path, seed: str, index: str = "", only: Sequence[str] = ()) -> list[str]:
    """Write the zip that Gradescope takes as autograder for the course at `root`.

    `seed` decides the inputs of every check; `index` is the address of the package index with torch's CPU build, as in
    $PIP_EXTRA_INDEX_URL; `only` names the exercises or lessons to grade, such as 15 and 16.1, instead of all.
    Returns what to tell the teacher, in sentences.
    Raises FileExistsError if there is something at `out`, FileNotFoundError if the course is a learner's bundle, and
    ValueError if `out` is no zip, the seed is no line of text, or there is no exercise of that name.
    """
    if out.suffix != ".zip":
        raise ValueError(f"Gradescope takes a zip: write {out.with_suffix('.zip')}, not {out}")
    if not seed.strip() or len(seed.strip().splitlines()) > 1:
        raise ValueError("the seed is one line of text that no learner can guess")
    refuse_to_overwrite(out)
    with committed(root) as course:
        files = picked(course, GRADED) | {f"exercises/{t}.py": s.encode() for t, s in fresh_stubs(course).items()}
        graded = [item for which in only or [None] for item in chosen(course, which)]
        version = course_version(course)
    files = {f"course/{name}": content for name, content in files.items()}
    files["setup.sh"] = (READY / "setup.sh").read_bytes()
    files["run_autograder"] = (READY / "run_autograder").read_bytes()
    files["seed.txt"] = f"{seed.strip()}\n".encode()
    files["only.txt"] = "".join(f"{which}\n" for which in only).encode()
    files["pip.conf"] = f"[global]\nextra-index-url = {' '.join(index.split())}\n".encode() if index else b""
    size = write(files, out)
    cuda = [
        "torch will be the build that pip takes by itself, 2.7 GB with CUDA: for the CPU build (README, The download), "
        "PIP_EXTRA_INDEX_URL=ADDRESS minipeft autograder ..."
    ]
    return [
        f"{out}: Gradescope's autograder, {size / 1e6:.1f} MB; {sum(item.points for item in graded)} points in "
        f"{len(graded)} exercises, whose checks are version {version}",
        "it holds the seed and the wrong answers: show it to no learner",
        *([] if index else cuda),
        *left_behind(root),
    ]


def course_version(root: Path) -> str:
    """A short name for the checks of a course; the same in a clone and in the bundles made from it."""
    checks = sorted((root / "tests" / "exercises").glob("test_*.py"))
    return stubs.version("".join(f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in checks))


# -- what goes in -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def committed(root: Path) -> Iterator[Path]:
    """The course as it is committed, in a temporary folder; the course itself where there is no git or no commit."""
    archive = git(root, "archive", "--format=zip", "HEAD")
    if archive is None:
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
        yield Path(folder).resolve()


def git(root: Path, *arguments: str) -> bytes | None:
    """What git says, or None where it can't."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def left_behind(root: Path) -> list[str]:
    """A sentence about changes that are not committed, and so not in what was made, where it would hold their like."""
    changed = git(root, "diff", "-z", "--name-only", "--relative", "HEAD") or b""
    new = git(root, "ls-files", "-z", "--others", "--exclude-standard") or b""
    tops = {pattern.split("/")[0] for pattern in HANDED_OUT} | {"Makefile", "README.md", "solutions"}
    names = [name for name in os.fsdecode(changed + new).split("\0") if name.split("/")[0] in tops]
    return [f"not committed, and so not in it: {', '.join(sorted(names))}"] if names else []


def bundle(course: Path) -> dict[str, bytes]:
    """The files of the learner's bundle by their names in it.  Raises what `release` raises."""
    files = picked(course, HANDED_OUT)
    if trodden := [name for name in files if name.endswith(".ipynb") and not as_built(course / name)]:
        raise ValueError(
            f"{', '.join(trodden)} may show answers: edited, run again, or not made by the builder; "
            "put back what was committed, or build it anew with python -m minipeft.course.build --all"
        )
    for name in ("Makefile", "README.md"):
        files[name] = for_learners((course / name).read_text(encoding="utf-8")).encode()
    files[".github/workflows/classroom.yml"] = (READY / "classroom.yml").read_bytes()
    for topic, stub in fresh_stubs(course).items():
        files[f"exercises/{topic}.py"] = files[f"tests/exercises/stubs/{topic}.py"] = stub.encode()
    return files


def picked(course: Path, patterns: tuple[str, ...]) -> dict[str, bytes]:
    """The files that the patterns name, without what Python, Jupyter and the system leave between them."""
    found = {}
    for pattern in patterns:
        for path in sorted(course.glob(pattern)):
            name = path.relative_to(course).as_posix()
            left = "__pycache__" in path.parts or any(part[0] == "." for part in name.split("/"))
            if path.is_file() and (name == pattern or not left):
                found[name] = path.read_bytes()
    return found


def fresh_stubs(course: Path) -> dict[str, str]:
    """Every exercise file as it is before anything is written in it, by topic."""
    if not (course / "solutions").is_dir():
        raise FileNotFoundError(
            "there is no solutions/, from which the exercises are made: nothing can be made from a learner's bundle, "
            "go to a clone of the repository"
        )
    items = exercises(course)
    topics = {item.topic: (course / "solutions" / f"{item.topic}.py").read_text(encoding="utf-8") for item in items}
    return {topic: stubs.stub(text, [i for i in items if i.topic == topic]) for topic, text in topics.items()}


def as_built(notebook: Path) -> bool:
    """Whether nobody has edited or run a notebook since the builder made it."""
    try:
        from ..course import build
    except ImportError as e:
        raise ImportError(f'to look at the notebooks, {e.name} is needed: pip install "minipeft[test]"') from None
    nb = build.read(notebook)
    return nb.metadata.get("minipeft", {}).get("built") == build.fingerprint(nb)


def for_learners(text: str) -> str:
    """A file as it stands in the bundle.

    What is between BEGIN CLONE and END CLONE is left out, and what stands there as a comment after BUNDLE takes its
    place.  Raises ValueError where an END CLONE is missing.

        # BEGIN CLONE
        test: lint unit checks notebooks
        # BUNDLE
        # test: check                           test: check
        # END CLONE
    """
    kept, part, comment = [], "both", ""
    for line in text.splitlines(keepends=True):
        match line.strip("<!-># \n"):
            case "BEGIN CLONE":
                part = "clone"
            case "BUNDLE":
                part, comment = "bundle", line[: line.index("BUNDLE")]
            case "END CLONE":
                part = "both"
            case _ if part == "both":
                kept.append(line)
            case _ if part == "bundle" and line != "-->\n":
                kept.append(line.removeprefix(comment))
    if part != "both":
        raise ValueError("BEGIN CLONE without END CLONE")
    return "".join(kept)


# -- writing ----------------------------------------------------------------------------------------------------------


def refuse_to_overwrite(out: Path) -> None:
    if out.exists() and not (out.is_dir() and out.suffix != ".zip" and not any(out.iterdir())):
        raise FileExistsError(f"{out} is there already: nothing is overwritten, so name another place or remove it")


def write(files: Mapping[str, bytes], out: Path, top: str = "") -> int:
    """All of the files or none: a zip, its names after `top`, or a folder.  Returns the bytes of the zip, or of all
    files."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        made = beside / "made"
        if out.suffix == ".zip":
            made.write_bytes(zipped({top + name: content for name, content in files.items()}))
        else:
            for name, content in files.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if out.exists():
                out.rmdir()  # Windows moves nothing onto an empty folder
        size = made.stat().st_size if made.is_file() else sum(map(len, files.values()))
        os.replace(made, out)
        return size
    finally:
        shutil.rmtree(beside)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The same bytes each time: names in order, no times; what starts with #! can be run."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose modes these are
            entry.external_attr = (0o755 if files[name].startswith(b"#!") else 0o644) << 16
            z.writestr(entry, files[name])
    return archive.getvalue()
