"""Does the interval of ``campaign_results`` hold the true lift? 400 simulated campaigns with known effect.

Each seed draws 3,000 customers anew, holds a tenth of them out, and suppresses 3% of the contacts before they are sent, who
count all the same. Customers order of their own accord with a probability that differs between them (4% on average, gamma), and
what they spent before goes with it; a contact that is sent adds a visit with an order, 3% on average and more for those who
order anyway. ``coverage``: how often the 95% interval holds the true lift. ``width_ratio``: its mean width beside the analytic
width for the true shares. Beside it the usual (Wald) interval on the same counts, the coverage of both with a tenth of the
customers, and how much of the width of the revenue's interval CUPED leaves: little goes with spend in so rare an outcome.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.measuring import write_result
from customer360.campaigns.ledger import APPROVED, CONTACT, HOLDOUT, LEDGER, SENT, SUPPRESSED
from customer360.campaigns.standing import standing
from customer360.settings import REPOSITORY, Shop, load_shop
from ml.effects.lift import Z
from ml.effects.results import results

SEEDS = 400
CUSTOMERS, FEW = 3_000, 300
HELD_OUT, SUPPRESSED_SHARE = 0.1, 0.03
BASE_RATE, ADDED_RATE, SHAPE = 0.04, 0.03, 4.0
SPEND_BEFORE = 300.0  # euros a unit of probability: 12 on average
APPROVED_AT = pd.Timestamp("2026-05-04 12:00")
SEND_AT = pd.Timestamp("2026-05-05 07:00")
AS_OF = pd.Timestamp("2026-06-01")
CAMPAIGN = {"campaign_id": "c", "plan_version": "v", "channel": "email", "cost": 0.1}


@dataclass(frozen=True)
class Drawn:
    """One campaign: its ledger and the orders of its customers."""

    ledger: pd.DataFrame
    orders: pd.DataFrame


def main() -> None:
    """Judge both sizes; the figures are over all seeds."""
    shop = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")
    contacted, held = true_rates()
    large, few = (judged(shop, customers, contacted, held) for customers in (CUSTOMERS, FEW))
    figures = {
        "coverage": large["coverage"],
        "width_ratio": large["width_ratio"],
        "wald_coverage": large["wald_coverage"],
        "wald_width_ratio": large["wald_width_ratio"],
        "cuped_width_ratio": large["cuped_width_ratio"],
        "few_coverage": few["coverage"],
        "few_wald_coverage": few["wald_coverage"],
    }
    write_result("lift", figures)


def true_rates() -> tuple[float, float]:
    """P(an order | to be contacted) and P(an order | held out), over all customers that could be drawn."""
    own = probabilities(np.random.default_rng(0), 4_000_000)
    added = 1 - (1 - own) * (1 - own * ADDED_RATE / BASE_RATE)
    return float(((1 - SUPPRESSED_SHARE) * added + SUPPRESSED_SHARE * own).mean()), float(own.mean())


def probabilities(chance: np.random.Generator, customers: int) -> np.ndarray:
    """How probably each customer orders of their own accord within the window; at most .5."""
    return np.minimum(chance.gamma(SHAPE, BASE_RATE / SHAPE, customers), 0.5)


def judged(shop: Shop, customers: int, contacted: float, held: float) -> dict[str, float]:
    """Coverage and width of our interval and of Wald's, over all seeds."""
    truth = contacted - held
    sizes = int(customers * (1 - HELD_OUT)), customers - int(customers * (1 - HELD_OUT))
    analytic = 2 * Z * math.sqrt(contacted * (1 - contacted) / sizes[0] + held * (1 - held) / sizes[1])
    runs = []
    for seed in range(SEEDS):
        population = drawn(np.random.default_rng([seed, customers]), customers, sizes[0])
        rows = results(standing(population.ledger), population.orders, shop, AS_OF, {"v": 20.0}).campaigns.set_index("arm")
        contact = rows.loc[CONTACT]
        cuped, plain = (contact[f"{name}_high"] - contact[f"{name}_low"] for name in ("cuped_revenue_lift", "revenue_lift"))
        rates, counts = rows["conversion_rate"].astype("float64"), rows["customers"]
        wald = Z * math.sqrt(float((rates * (1 - rates) / counts).sum()))
        runs.append(
            {
                "coverage": float(contact["lift_low"] <= truth <= contact["lift_high"]),
                "width_ratio": float(contact["lift_high"] - contact["lift_low"]) / analytic,
                "wald_coverage": float(abs(contact["lift"] - truth) <= wald),
                "wald_width_ratio": 2 * wald / analytic,
                # Unknown where nobody of an arm bought: seeds of the small size only.
                "cuped_width_ratio": math.nan if pd.isna(plain) else float(cuped) / float(plain),
            }
        )
    return {name: float(np.nanmean([run[name] for run in runs])) for name in runs[0]}


def drawn(chance: np.random.Generator, customers: int, contacts: int) -> Drawn:
    """The ledger of an approved and sent campaign, and what its customers ordered before and after."""
    own = probabilities(chance, customers)
    is_contact = np.arange(customers) < contacts
    is_suppressed = is_contact & (chance.random(customers) < SUPPRESSED_SHARE)
    is_sent = is_contact & ~is_suppressed
    orders_by_self = chance.random(customers) < own
    orders_by_contact = is_sent & (chance.random(customers) < own * ADDED_RATE / BASE_RATE)
    ids = np.array([f"c{number}" for number in range(customers)], dtype=object)
    approved = pd.DataFrame({"event": APPROVED, "customer_id": ids, "arm": np.where(is_contact, CONTACT, HOLDOUT)})
    sent = approved[is_sent].assign(event=SENT)
    left = approved[is_suppressed].assign(event=SUPPRESSED, detail="no consent for email")
    ledger = pd.concat([approved, sent, left], ignore_index=True).assign(**CAMPAIGN, event_at=APPROVED_AT, send_at=SEND_AT)
    typed = LEDGER.typed(ledger)
    bought = ids[orders_by_self | orders_by_contact]
    after = pd.DataFrame({"customer_id": bought, "amount": chance.gamma(2, 15, len(bought)), "ordered_at": SEND_AT})
    before = pd.DataFrame({"customer_id": ids, "amount": SPEND_BEFORE * own, "ordered_at": APPROVED_AT - pd.Timedelta(days=2)})
    orders = pd.concat([after, before], ignore_index=True).assign(lines=1)
    return Drawn(typed, orders)


if __name__ == "__main__":
    main()
