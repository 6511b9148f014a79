"""The policy that serves: what was learned and judged last, as plain data that batch and service read alike.

``predictions/offer_results`` writes the state; ``policy_of`` makes the policy of it. shop.yaml's ``offers.policy:
priority_list`` takes what was learned out of service with the next slice, whatever the evidence.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from customer360.lake.atomic import write_text
from customer360.offers.decisions import PRIORITY_LIST, Policy, PriorityList
from customer360.offers.thompson import Shown, sample
from customer360.settings import OfferRules, Place

SEED = 1  # of the draws of the posterior


class PolicyState(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of ``decisions`` until ``made_at`` (aware, UTC), and whether it serves, with the verdict in words."""

    made_at: datetime
    decisions: int
    thompson_serves: bool
    verdict: str
    counts: tuple[Shown, ...]
    seed: int = SEED


def policy_of(state: PolicyState | None, rules: OfferRules) -> Policy:
    """Thompson sampling where it has won its place and the shop allows it, else the priority list."""
    if state is None or not state.thompson_serves or rules.policy == PRIORITY_LIST:
        return PriorityList()
    return sample(state.counts, state.seed)


def state_file(place: Place) -> Path:
    """Where the state lies; it is replaced by rename."""
    return place.offers / "policy.json"


def read_state(place: Place) -> PolicyState | None:
    """The state of now; None before the first. Where it cannot be read, the list serves, and the verdict says so."""
    file = state_file(place)
    if not file.exists():
        return None
    try:
        return decode(file.read_bytes())
    except msgspec.DecodeError as error:
        verdict = f"{file} cannot be read ({error}): the priority list serves until daily_job writes it again"
        return PolicyState(
            made_at=datetime.fromtimestamp(0, UTC), decisions=0, thompson_serves=False, verdict=verdict, counts=()
        )


def write_state(place: Place, state: PolicyState) -> None:
    """Replace the state."""
    write_text(state_file(place), encode(state).decode())


def encode(state: PolicyState) -> bytes:
    """The state as JSON."""
    return msgspec.json.encode(state)


def decode(text: bytes) -> PolicyState:
    """The state of its JSON. Raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(text, type=PolicyState)
