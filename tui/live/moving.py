"""Whether a guest's screen shows a video. Pure: the time is told.

What changes everywhere all the time is gone before anybody has seen its single pixels, so a few of
them say enough of each place; what stays is made of all of them.
"""

from __future__ import annotations

import math
from typing import Final

from broker.view import Frame

FRAMES: Final = 4
"""So many pictures that change everywhere, one soon after the other, are no video yet."""
RESTS_SECONDS: Final = 0.3
"""What has shown no more of a video for so long has come to rest."""


class Moving:
    """What is known of one guest's screen."""

    def __init__(self) -> None:
        self._count = 0
        self._at = -math.inf
        self._video_at = -math.inf

    def saw(self, frame: Frame, now: float) -> bool:
        """There is another picture; whether it is one of a video."""
        if frame.changed is None:
            return False
        left, top, right, bottom = frame.changed
        if 2 * (right - left) * (bottom - top) < frame.width * frame.height:
            return False
        self._count = self._count + 1 if now - self._at < RESTS_SECONDS else 1
        self._at = now
        if self._count <= FRAMES:
            return False
        self._video_at = now
        return True

    def rests_in(self, now: float) -> float:
        """Seconds until it has come to rest, if no more of a video comes."""
        return max(0.0, self._video_at + RESTS_SECONDS - now)
