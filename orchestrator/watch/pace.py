"""How fast attempts advance, by the observer's own clock: clocks of two machines are never compared."""

from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 120.0
"""How far back steps count."""


@dataclass
class Pace:
    """Steps of attempts as they were seen."""

    _seen: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)

    def note(self, attempt: str, step: int, now: float) -> None:
        """Note that `attempt` (a token) was at `step` at the moment `now`, in seconds of the observer's clock."""
        seen = self._seen.setdefault(attempt, deque())
        seen.append((now, step))
        while len(seen) > 2 and now - seen[1][0] > WINDOW_SECONDS:
            seen.popleft()

    def rate(self, attempt: str) -> float | None:
        """Steps a second over the window; None until the attempt was seen to advance or to stand for a while."""
        seen = self._seen.get(attempt)
        if seen is None or len(seen) < 2:
            return None
        seconds, steps = seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]
        if seconds <= 0 or (steps == 0 and seconds < WINDOW_SECONDS / 2):
            return None
        return max(steps / seconds, 0.0)

    def forget_others(self, attempts: set[str]) -> None:
        """Keep what is known of `attempts` only."""
        for gone in self._seen.keys() - attempts:
            del self._seen[gone]
