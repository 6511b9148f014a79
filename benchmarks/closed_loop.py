"""Eight simulated weeks of campaigns, several seeds: what is earned by our plans, by none, by mailing everyone, by an argmax.

Every policy meets the same customers, who order the same by themselves and answer equal contacts equally. All have the same means:
a budget for the week, and so many calls and SMS a day. Profit is the margin of all orders less what the contacts cost.

- ``none``: nobody is contacted.
- ``everyone``: everybody with consent gets an e-mail on Tuesday morning.
- ``argmax``: of each customer the channel, day and daypart with the highest predicted response (Microsoft's Campaign Optimization),
  the best scores first until the means are used up.
- ``plan``: the product's own planning, with its holdouts and its exploration, which cost it something here.

The models are trained on the past before the first week, and again after the fourth on what each policy has seen since.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.measuring import write_result
from customer360.campaigns.definition import Campaign
from customer360.settings import REPOSITORY, Shop, load_shop
from customer360.simulation.campaign_world import CampaignWorld

SEEDS = (1, 2, 3, 4, 5)
CUSTOMERS, WEEKS, RETRAINED_AFTER = 6_000, 8, 4
MARGIN = 0.15
BUDGET = 250.0  # a week
CHANNELS = {"email": {"cost": 0.02}, "sms": {"cost": 0.09, "capacity_per_day": 150}, "call": {"cost": 2.4, "capacity_per_day": 25}}
