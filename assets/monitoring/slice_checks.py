"""Checks of what is published: is the last slice there, and is its volume usual. Read from the published slice log."""

import dagster as dg

from customer360.lake.operations.slice_health import FEWEST_DAYS, freshness, volume
from orchestration.resources import Platform

PUBLISHED = dg.AssetKey(["publishing", "published"])


@dg.asset_check(
    asset=PUBLISHED,
    description="The newest closed slice is published: by the clock for a live shop, by its own last slice for a replay.",
)
def last_slice_is_fresh(platform: Platform) -> dg.AssetCheckResult:
    """Warn from the first missing slice on; fail from the fifth."""
    settings = platform.settings()
    health = freshness(settings, platform.now())
    severity = dg.AssetCheckSeverity.WARN if health.missing_slices < 5 else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        passed=health.missing_slices == 0,
        severity=severity,
        metadata={
            "published_until": str(health.as_of),
            "closed_until": str(health.closed_until),
            "missing_slices": health.missing_slices,
        },
    )


@dg.asset_check(
    asset=PUBLISHED,
    description=(
        "The last slice's lines are usual for its time of day on the last 14 days, or of the week in the last 8 weeks: between "
        "a fifth and five times the median, or within chance for so few lines. Where one slice has too few lines to tell, the "
        "slices before it are added."
    ),
)
def last_slice_has_usual_volume(platform: Platform) -> dg.AssetCheckResult:
    """Warn when far fewer or more lines came than usual; with fewer than three days to compare with it passes."""
    health = volume(platform.settings())
    compared: dict[str, float | str] = {
        "usual_lines": health.usual_lines,
        "dispersion": health.dispersion,
        "surprise": health.surprise,
    }
    if health.days < FEWEST_DAYS:
        compared = dict.fromkeys(compared, f"none: {FEWEST_DAYS} days are needed")
    return dg.AssetCheckResult(
        passed=health.is_usual,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "lines": health.lines,
            "slices": health.slices,
            "compared_days": health.days,
            **compared,
        },
    )
