"""The form of a campaign: its fields from a file's text, and a file's text from its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from customer360.campaigns.definition import Campaign
from customer360.campaigns.files import fields_of
from customer360.definition_files import LONGEST_NAME, NAME
from customer360.settings import Shop

WINDOWS = 3
PLAIN = (
    *("title", "kind", "offer_id", "audience", "starts_on", "ends_on", "value_per_conversion", "budget", "priority"),
    *("holdout_share", "exploration_share", "minimum_gap_days", "message"),
)
DAYS = [
    *[(1, _("Monday")), (2, _("Tuesday")), (3, _("Wednesday")), (4, _("Thursday")), (5, _("Friday")), (6, _("Saturday"))],
    (7, _("Sunday")),
]
HOURS = [(hour, f"{hour:02}:00") for hour in range(25)]


class CampaignForm(forms.Form):
    """What most campaigns need. Further fields of a file, such as caps by channel, stay as they are (``base``).

    Whether the values make a campaign is judged by ``read_campaign``, as of every file.
    """

    campaign_id = forms.RegexField(
        NAME, max_length=LONGEST_NAME, label=_("Name of the file"), help_text=_("Small letters, digits, - and _")
    )
    title = forms.CharField(max_length=200, label=_("Title"))
    kind = forms.CharField(
        max_length=60,
        required=False,
        label=_("Kind"),
        help_text=_("Like campaigns have the same kind: results are learned by it"),
    )
    offer_id = forms.ChoiceField(required=False, label=_("Offer"))
    message = forms.ChoiceField(
        required=False, label=_("Message"), help_text=_("What is sent by e-mail; without one, contacts go out as files")
    )
    audience = forms.CharField(
        max_length=4_000, label=_("Audience"), widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})
    )
    starts_on = forms.DateField(required=False, label=_("First day"), widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    ends_on = forms.DateField(required=False, label=_("Last day"), widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    value_per_conversion = forms.FloatField(
        label=_("Value of an order"), help_text=_("Such as its mean margin, in the shop's currency")
    )
    budget = forms.FloatField(required=False, label=_("Budget"), help_text=_("Empty: no limit"))
    priority = forms.IntegerField(required=False, label=_("Priority"), help_text=_("1 is planned first; empty: 100"))
    holdout_share = forms.FloatField(required=False, label=_("Share held out"), help_text=_("Empty: 0.1"))
    exploration_share = forms.FloatField(required=False, label=_("Share that explores"), help_text=_("Empty: 0.05"))
    minimum_gap_days = forms.IntegerField(required=False, label=_("Days between two contacts"))
    cap_contacts = forms.IntegerField(required=False, label=_("At most so many contacts"))
    cap_days = forms.IntegerField(required=False, label=_("in so many days"))

    def __init__(
        self, shop: Shop, offers: Sequence[tuple[str, str]], letters: Sequence[tuple[str, str]], *args: Any, **options: Any
    ) -> None:
        """With the shop's channels, offers, and messages of its e-mails (``letters``)."""
        super().__init__(*args, **options)
        self.shop = shop
        self.fields["offer_id"].choices = [("", _("none")), *offers]  # type: ignore[attr-defined]
        self.fields["message"].choices = [("", _("none")), *letters]  # type: ignore[attr-defined]
        for channel in shop.channels:
            self.fields[f"uses_{channel}"] = forms.BooleanField(required=False, label=channel)
            self.fields[f"cost_{channel}"] = forms.FloatField(required=False, label=_("Cost of a contact"))
            self.fields[f"capacity_{channel}"] = forms.IntegerField(required=False, label=_("At most a day"))
        for number in range(WINDOWS):
            days = forms.TypedMultipleChoiceField(
                choices=DAYS, coerce=int, required=False, widget=forms.CheckboxSelectMultiple, label=_("Days")
            )
            self.fields[f"days_{number}"] = days
            for name, label in (("from", _("From")), ("to", _("To"))):
                self.fields[f"{name}_{number}"] = forms.TypedChoiceField(
                    choices=[("", ""), *HOURS], coerce=int, empty_value=None, required=False, label=label
                )

    @property
    def channels(self) -> list[tuple[Any, Any, Any]]:
        """The three fields of each channel."""
        return [(self[f"uses_{name}"], self[f"cost_{name}"], self[f"capacity_{name}"]) for name in self.shop.channels]

    @property
    def windows(self) -> list[tuple[Any, Any, Any]]:
        """The three fields of each send window."""
        return [(self[f"days_{number}"], self[f"from_{number}"], self[f"to_{number}"]) for number in range(WINDOWS)]

    @property
    def plain(self) -> list[Any]:
        """The fields that stand alone."""
        return [self[name] for name in PLAIN]


def values_of(campaign: Campaign) -> dict[str, Any]:
    """The values of the form for a campaign."""
    values: dict[str, Any] = {name: getattr(campaign, name) for name in (*PLAIN, "campaign_id")}
    for name, channel in campaign.channels.items():
        values |= {f"uses_{name}": True, f"cost_{name}": channel.cost, f"capacity_{name}": channel.capacity_per_day}
    for number, window in enumerate(campaign.send_windows[:WINDOWS]):
        values |= {f"days_{number}": list(window.days), f"from_{number}": window.start, f"to_{number}": window.end}
    if overall := campaign.frequency_caps.overall:
        values |= {"cap_contacts": overall.contacts, "cap_days": overall.days}
    return values


def fields_from(values: Mapping[str, Any], shop: Shop, base: Campaign | None) -> dict[str, Any]:
    """The fields of a campaign's file for the cleaned values of the form; what the form does not show is of ``base``."""
    kept = fields_of(base) if base else {}
    fields = {name: values.get(name) if values.get(name) != "" else None for name in PLAIN}
    chosen = [name for name in shop.channels if values.get(f"uses_{name}")]
    fields["channels"] = {
        name: _given({"cost": values.get(f"cost_{name}"), "capacity_per_day": values.get(f"capacity_{name}")})
        for name in chosen
    }
    windows = [
        {
            "days": values[f"days_{number}"] or [1, 2, 3, 4, 5, 6, 7],
            "from": values[f"from_{number}"],
            "to": values[f"to_{number}"],
        }
        for number in range(WINDOWS)
        if values.get(f"from_{number}") is not None and values.get(f"to_{number}") is not None
    ]
    fields["send_windows"] = [*windows, *kept.get("send_windows", [])[WINDOWS:]] or None
    cap = _given({"contacts": values.get("cap_contacts"), "days": values.get("cap_days")})
    caps = {"overall": cap or None, "channels": kept.get("frequency_caps", {}).get("channels")}
    fields["frequency_caps"] = _given(caps) or None
    return _given(fields)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
