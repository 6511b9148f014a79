"""Audience builder: conditions or text, either of which makes the other; size, consent and value at once; saved audiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from customer360.audiences.columns import QUANTILES, DescribedColumn, Distribution, Distributions, described_columns
from customer360.audiences.forms import (
    ConditionForm,
    ConditionGroup,
    Joined,
    Mode,
    condition_of,
    form_of,
    operators_of,
    value_text,
)
from customer360.audiences.sizes import audience_size, overlap
from customer360.campaigns.audience import AudienceError, audience_columns, audience_tree
from customer360.campaigns.conditions import Condition, conditions_of, text_of
from customer360.services.desk.access import PERSONAL, PLAN, VIEW, DeskRequest, page
from customer360.services.desk.audit import PERSONAL_VIEWED, record
from customer360.services.desk.models import SavedAudience
from customer360.services.desk.personal import personal_columns
from customer360.services.desk.show import show

DISTRIBUTIONS = Distributions()
MOST_GROUPS, LONGEST_NAME = 12, 100
MODES: dict[str, Mode] = {"any": "any", "none": "none"}


@dataclass
class Row:
    """The fields of one condition, with what is known of its column."""

    column: str = ""
    operator: str = "="
    value: str = ""
    operators: tuple[str, ...] = ()
    known: DescribedColumn | None = None
    spread: Distribution | None = None


@dataclass
class Builder:
    """What the page shows: the form's groups of rows (None: the text is nested too deep for them), the text, and what is wrong.

    ``joined`` and each group's mode are as ``ConditionForm`` has them.
    """

    text: str
    joined: str = "and"
    groups: list[tuple[str, list[Row]]] | None = field(default_factory=list)
    error: AudienceError | None = None


@page("audiences/", VIEW, name="audiences", title=gettext_lazy("Audiences"), order=30)
def audiences(request: DeskRequest) -> HttpResponse:
    """The builder. ``?text=`` holds the text, ``?by=form`` says that the fields of the form are meant instead."""
    builder = _by_form(request) if request.GET.get("by") == "form" else _by_text(request, request.GET.get("text", "everyone"))
    size = None
    if builder.error is None:
        try:
            size = audience_size(request.snapshot, builder.text)
        except AudienceError as error:
            builder.error = error
    _describe(request, builder)
    shown = [row.column for _mode, rows in builder.groups or [] for row in rows if row.spread is not None]
    _record_columns(request, [*shown, *(_columns_of(request, builder.text) if size is not None else [])])
    columns = described_columns(request.settings.shop, request.snapshot.version.publication.descriptions)
    context = {
        "builder": builder,
        "size": size,
        "columns": [column for column in columns.values() if _may_ask(request, column.column.name)],
        "saved": _saved(request),
        "may_save": request.may(PLAN),
    }
    return show(request, "desk/audiences.html", context)


@page("audiences/columns/<str:name>/", VIEW, name="audience_column")
def audience_column(request: DeskRequest, name: str) -> HttpResponse:
    """What a column means and how its values are spread."""
    columns = described_columns(request.settings.shop, request.snapshot.version.publication.descriptions)
    if name not in columns:
        raise Http404(_("There is no such column."))
    if not _may_ask(request, name):
        raise PermissionDenied
    _record_columns(request, [name])
    return show(
        request,
        "desk/audience_column.html",
        {
            "known": columns[name],
            "spread": DISTRIBUTIONS.of(request.snapshot, columns[name].column),
            "quantiles": [_("least"), *(f"{share:.0%}" for share in QUANTILES[1:-1]), _("greatest")],
        },
    )


@page("audiences/overlap/", VIEW, name="audience_overlap")
def audience_overlap(request: DeskRequest) -> HttpResponse:
    """How many customers two audiences share."""
    texts = [request.GET.get(name, "").strip() for name in ("first", "second")]
    found, error = None, None
    if all(texts):
        try:
            for text in texts:
                _refuse_personal(request, text)
            _record_columns(request, [column for text in texts for column in _columns_of(request, text)])
            found = overlap(request.snapshot, *texts)
        except AudienceError as wrong:
            error = wrong
    context = {"first": texts[0], "second": texts[1], "found": found, "error": error}
    return show(request, "desk/audience_overlap.html", {**context, "saved": _saved(request)})


@page("audiences/save/", PLAN, name="audience_save", methods=("POST",))
def audience_save(request: DeskRequest) -> HttpResponse:
    """Save an audience under a name; the same name again replaces one's own."""
    name, text = request.POST.get("name", "").strip(), request.POST.get("text", "").strip()
    try:
        audience_tree(text, request.settings.shop)
    except AudienceError as error:
        messages.error(request, _("Not saved: %(error)s.") % {"error": error})
        return redirect(f"/audiences/?{urlencode({'text': text})}")
    if not 0 < len(name) <= LONGEST_NAME:
        messages.error(request, _("Not saved: give it a name of at most 100 characters."))
        return redirect(f"/audiences/?{urlencode({'text': text})}")
    SavedAudience.objects.update_or_create(owner=request.user, name=name, defaults={"text": text})
    record(request, "audience saved", subject=name, details={"text": text})
    messages.success(request, _("%(name)s is saved.") % {"name": name})
    return redirect(f"/audiences/?{urlencode({'text': text})}")


@page("audiences/<int:number>/delete/", PLAN, name="audience_delete", methods=("POST",), reads=False)
def audience_delete(request: DeskRequest, number: int) -> HttpResponse:
    """Delete one of one's own saved audiences."""
    audience = SavedAudience.objects.filter(pk=number, owner=request.user).first()
    if audience is None:
        messages.error(request, _("There is no such audience of yours; its owner alone deletes one."))
    else:
        record(request, "audience deleted", subject=audience.name, details={"text": audience.text})
        audience.delete()
    return redirect("audiences")


def _by_text(request: DeskRequest, text: str) -> Builder:
    try:
        tree = audience_tree(text, request.settings.shop)
        _refuse_personal(request, text)
    except AudienceError as error:
        return Builder(text, groups=None, error=error)
    form = form_of(tree)
    if form is None:
        return Builder(text, groups=None)
    groups: list[tuple[str, list[Row]]] = [
        (group.mode, [Row(each.column, each.operator, value_text(each)) for each in group.conditions]) for group in form.groups
    ]
    return Builder(text, form.joined, groups)


def _by_form(request: DeskRequest) -> Builder:
    """The fields of the form: ``mode-1`` of a group, ``column-1-2``, ``operator-1-2`` and ``value-1-2`` of its conditions.

    ``add`` and ``remove`` are buttons: a group's number (or ``group``), and a condition's ``1-2``.
    """
    given = request.GET
    removed, added = given.get("remove", ""), given.get("add", "")
    groups = []
    for number in range(MOST_GROUPS):
        rows = [*_rows(given, number, removed), *([Row()] if added == str(number) else [])]
        if rows:
            groups.append((given.get(f"mode-{number}", "all"), rows))
    groups += [("all", [Row()])] if added == "group" else []
    joined: Joined = "or" if given.get("joined") == "or" else "and"
    builder, columns = Builder(given.get("text", ""), joined, groups), audience_columns(request.settings.shop)
    try:
        form = ConditionForm(joined, tuple(_group(request, mode, rows, columns) for mode, rows in groups))
    except AudienceError as error:
        builder.error = error
        return builder
    builder.text = text_of(form.tree)
    return builder


def _rows(given: QueryDict, group: int, removed: str) -> list[Row]:
    """The conditions of a group, in the order of their numbers, without the one that is removed."""
    start = f"column-{group}-"
    ends = [name.removeprefix(start) for name in given if name.startswith(start)]
    return [
        Row(given.get(f"{start}{end}", ""), given.get(f"operator-{group}-{end}", ""), given.get(f"value-{group}-{end}", ""))
        for end in sorted((end for end in ends if end.isdecimal() and len(end) < 6), key=int)
        if removed != f"{group}-{end}"
    ]


def _group(request: DeskRequest, mode: str, rows: list[Row], columns: Mapping[str, Any]) -> ConditionGroup:
    """Rows without a column, or just given one, are none yet."""
    conditions: list[Condition] = []
    for row in rows:
        if not row.column:
            continue
        _refuse_personal_columns(request, [row.column])
        if row.column in columns and row.operator not in operators_of(columns[row.column]):
            row.operator = "="
        if not row.value.strip() and not row.operator.endswith("empty"):
            continue
        conditions.append(condition_of(row.column, row.operator, row.value, columns))
    return ConditionGroup(MODES.get(mode, "all"), tuple(conditions))


def _describe(request: DeskRequest, builder: Builder) -> None:
    """Give each row what is known of its column."""
    columns = described_columns(request.settings.shop, request.snapshot.version.publication.descriptions)
    for _mode, rows in builder.groups or []:
        for row in rows:
            row.known = columns.get(row.column)
            if row.known is not None:
                row.operators = operators_of(row.known.column)
                row.spread = DISTRIBUTIONS.of(request.snapshot, row.known.column) if _may_ask(request, row.column) else None


def _saved(request: DeskRequest) -> list[SavedAudience]:
    """Everybody's saved audiences; those with conditions on personal columns for those alone who may ask them."""
    saved = list(SavedAudience.objects.select_related("owner"))
    return saved if request.may(PERSONAL) else [each for each in saved if not _is_refused(request, each.text)]


def _is_refused(request: DeskRequest, text: str) -> bool:
    try:
        _refuse_personal(request, text)
    except AudienceError:
        return True
    return False


def _may_ask(request: DeskRequest, column: str) -> bool:
    return request.may(PERSONAL) or column not in personal_columns(request.settings.shop)


def _refuse_personal(request: DeskRequest, text: str) -> None:
    _refuse_personal_columns(request, _columns_of(request, text))


def _columns_of(request: DeskRequest, text: str) -> list[str]:
    return [condition.column for condition in conditions_of(audience_tree(text, request.settings.shop))]


def _record_columns(request: DeskRequest, columns: list[str]) -> None:
    """The personal columns that are asked, or that choose one customer by id; not what is asked of them."""
    if personal := sorted({*columns} & {*personal_columns(request.settings.shop), "customer_id"}):
        record(request, PERSONAL_VIEWED, details={"page": "audiences", "columns": personal})


def _refuse_personal_columns(request: DeskRequest, columns: list[str]) -> None:
    """Sizes would tell a viewer the personal attributes of a single customer."""
    for column in columns:
        if not _may_ask(request, column):
            raise AudienceError(
                _("%(column)s is personal, which your role does not see") % {"column": column},
                _("ask a marketer for this audience"),
            )
