"""A progress bar for a notebook or a terminal; nothing where nobody looks.

In a notebook the bar is one output that is rewritten in place, so a saved notebook holds its last line and no more.
"""

import sys
import time


class Progress:
    """One bar of `total` steps: `step(note)` after each, `close(summary)` at the end."""

    def __init__(self, total: int, label: str, show: bool = True):
        self.total, self.label, self.done, self.began, self.drawn = total, label, 0, time.monotonic(), 0.0
        self.handle = None
        self.notebook = show and "ipykernel" in sys.modules
        self.terminal = show and not self.notebook and sys.stderr.isatty()

    def step(self, note: str = "") -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.drawn < 0.1 and self.done < self.total:
            return  # ten times a second is enough for the eye
        self.drawn = now
        left = (now - self.began) / self.done * (self.total - self.done)
        wait = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
        self._draw(f"{self.label} {self.done}/{self.total} · {wait} left{' · ' + note if note else ''}")

    def close(self, summary: str) -> None:
        """Replace the bar by one line."""
        self.total = 0
        self._draw(summary)
        if self.terminal:
            print(file=sys.stderr)

    def _draw(self, line: str) -> None:
        if self.terminal:
            share = f"{'━' * round(20 * self.done / self.total):╌<20} " if self.total else ""
            print(f"\r\033[K{share}{line}", end="", file=sys.stderr, flush=True)
        if self.notebook:
            from IPython.display import display

            bar = f"<progress value={self.done} max={self.total}></progress> " if self.total else ""
            shown = {"text/html": f"<div>{bar}{line}</div>", "text/plain": line}
            if self.handle is None:
                self.handle = display(shown, raw=True, display_id=True)
            else:
                self.handle.update(shown, raw=True)
