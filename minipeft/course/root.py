"""Where the course lies: the folder that holds `lessons/` and `exercises/`."""

import os
from pathlib import Path


def is_course(folder: Path) -> bool:
    return (folder / "lessons").is_dir() and (folder / "exercises").is_dir()


def root(given: str | Path | None = None) -> Path:
    """The course's folder: `given`, else $MINIPEFT_COURSE, else the nearest one around the current directory, else the
    checkout that an editable installation points to.

    Raises FileNotFoundError where there is none; a folder that was named and isn't one is an error, never passed over.
    """
    named = given or os.environ.get("MINIPEFT_COURSE")
    if named:
        folder = Path(named).expanduser().resolve()
        if not is_course(folder):
            source = "--course" if given else "$MINIPEFT_COURSE"
            raise FileNotFoundError(f"{source} names {folder}, which is no course: it has no lessons/ and exercises/")
        return folder
    here, checkout = Path.cwd().resolve(), Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, checkout):
        if is_course(folder):
            return folder
    raise FileNotFoundError(
        "no course here: go to a clone of the repository (the folder with lessons/ and exercises/), or name it with "
        "--course DIR or in $MINIPEFT_COURSE"
    )
