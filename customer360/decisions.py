"""A person's decision: why, when and by whom. Kept with what was decided, about model versions and campaigns alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from customer360.errors import OperatorError
from customer360.translation import gettext as _


class DecisionRefused(OperatorError, ValueError):  # noqa: N818 (the field's word: a decision is refused)
    """A decision lacks its reason or its time zone, or is not possible for this version. The message says what would be."""


@dataclass(frozen=True)
class Request:
    """Why something is decided, when, and who asked: a user's name, or a run. ``at`` carries its time zone."""

    reason: str
    at: datetime
    by: str

    def __post_init__(self) -> None:
        """Refuse what could not be kept."""
        if not self.reason.strip():
            raise DecisionRefused(_("a decision needs its reason: whoever is called next reads it. Say why, in a few words"))
        if self.at.tzinfo is None:
            raise DecisionRefused(_("%(time)s has no time zone; pass an aware datetime", time=self.at))

    @property
    def reason_line(self) -> str:
        """The reason on one line."""
        return " ".join(self.reason.split())
