"""Campaigns on leads whose truth is known: the response model, and the plan that it leads to."""

from __future__ import annotations

from benchmarks.campaign_response import scored_leads
from benchmarks.measuring import write_result


def main() -> None:
    """Train and score 100,000 leads, and take the best combination of each."""
    scored = scored_leads()
    write_result("campaign", scored.figures)


if __name__ == "__main__":
    main()
