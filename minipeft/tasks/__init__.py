"""Data to fine-tune on: the tasks of the toy world, and a user's own files (`own.read`)."""

from . import own
from .catalog import NAMES, load
from .task import Example, Task

__all__ = ["NAMES", "Example", "Task", "load", "own"]
