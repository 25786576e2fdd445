"""The course's own machinery: exercises and their checks, hints, progress, and how the lessons are built and drawn."""

from .result import ask, check, hint, learner, progress

__all__ = ["ask", "check", "hint", "learner", "progress"]
