"""Campaigns on leads whose truth is known: the response model, and the plans that it leads to."""

from __future__ import annotations

from benchmarks.campaign_plan import constrained_figures
from benchmarks.campaign_response import scored_leads
from benchmarks.measuring import write_result


def main() -> None:
    """Train and score 100,000 leads, take the best combination of each, then plan them under limits."""
    scored = scored_leads()
    write_result("campaign", {**scored.figures, **constrained_figures(scored.leads, scored.conversion)})


if __name__ == "__main__":
    main()
