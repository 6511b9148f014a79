"""A first ``shop.yaml`` from a shop's files: tables, options, attributes, categories, windows, and what is missing.

The files are loaded into a scratch place by the rules of the pipeline, so that what is written has read them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from customer360.errors import OperatorError
from customer360.lake.checking.proposal import (
    LOOKED_FOR,
    Proposal,
    folded,
    landed,
    options_yaml,
    propose,
    unrecognised,
)
from customer360.lake.engine import literal
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.landing.detection import detect_dates, detect_numbers
from customer360.lake.landing.reading import ContentError
from customer360.lake.raw.history import history_folder, write_history
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import reference_relation
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.lake.warehouse.cutoffs import cutoffs_needed
from customer360.settings import Place, Settings, Shop, SourceOptions, slug
from customer360.text import many, printable

RECENT_DAYS = 7  # data that end no longer ago are those of a shop that goes on
TOLERATED_SHARE = 0.3  # of rows that would be set aside, above which the options are in doubt
COMMON_SHARE = 0.2  # a product in more orders than this is a charge rather than a product
CONSTANT_SHARE = 0.95
MOST_CUTOFFS = 12  # of a training: each takes time
FEW_VALUES = 100
CHARGE = re.compile(
    r"\b(postage|shipping|shipment|delivery|carriage|freight|versand\w*|porto|livraison|frais|env[ií]o|discount|rabatt|remise|"
    r"descuento|bank charges?|fees?|geb[uü]hr\w*|manual|adjust\w*|samples?|gift ?(card|voucher|certificate)s?|vouchers?|"
    r"gutschein\w*|commission|charges?|misc\w*|deposit|pfand|wrapping|bad debt)\b",
    re.IGNORECASE,
)
PERSONAL = re.compile(r"name|mail|phone|mobile|street|address|birth|age$|gender|sex|income|marital|zip|postcode|postal|city")
DAYS = (1, 3, 7, 10, 14, 21, 28, 30, 60, 90, 120, 180, 270, 365)


class NewShopError(OperatorError, ValueError):
    """A shop.yaml cannot be written from these files. The message says why and what to do."""


@dataclass(frozen=True)
class Answers:
    """What only a person knows.

    ``tables`` names the table of a file whose columns do not tell it, ``columns`` what files call a column of the contracts.
    """

    time_zone: str
    currency: str
    date_format: str | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass
class NewShop:
    """The text of ``shop.yaml``, the tables that each file is, what was seen, what is open, and what missing things cost."""

    text: str
    tables: list[tuple[Path, str]]
    notes: list[str]
    questions: list[str]
    costs: list[str]


@dataclass
class Facts:
    """What the loaded files tell: shares of revenue by category, charges, and days: of data, and between orders."""

    rows: dict[str, int] = field(default_factory=dict)
    shares: list[tuple[str, float]] = field(default_factory=list)
    charges: list[tuple[str, str, str]] = field(default_factory=list)
    last: datetime | None = None
    days: int = 0
    median_gap: float | None = None
    long_gap: float | None = None


def new_shop(name: str, files: Sequence[Path], answers: Answers, now: datetime) -> NewShop:
    """The shop ``name`` as ``files`` show it. ``now`` is the wall clock, UTC.

    Raises ``NewShopError`` where no file is one of purchases, history or clicks, ``ContentError`` where one is no text.
    """
    proposals = [_proposal(path, answers) for path in files]
    _require_named_columns(proposals, answers)
    questions = [f"{p.file.name}: {question}" for p in proposals for question in p.questions]
    sources, attributes, tables = _sources(proposals)
    if not {"purchases", "history"} & sources.keys():
        raise NewShopError(
            "no file has purchases (an order, a customer, a date and an amount) or events (event_name and event_at); name one, "
            "as in --table orders.csv=purchases, and its columns that are called otherwise, as in --column customer_id=Client"
        )
    notes = [f"{p.file.name}: {note}" for p in proposals for note in p.notes]
    channels = ["email", *(["sms"] if any("consent_sms" in p.found for p in proposals) else [])]
    draft: dict[str, Any] = {
        "name": slug(name),
        "title": name.replace("_", " ").replace("-", " ").title(),
        "time_zone": answers.time_zone,
        "currency": answers.currency,
        "slices_start": datetime(2190, 1, 1, tzinfo=UTC),
        "categories": {"top": 10},
        "attributes": attributes,
        "channels": channels,
        "dayparts": {"day": {"from": 8, "to": 20}},
        "sources": {table: options.model_dump(exclude_unset=True) for table, options in sources.items()},
    }
    with TemporaryDirectory(prefix="customer360-init-") as scratch:
        settings = Settings(shop=Shop.model_validate(draft), place=Place(root=Path(scratch)), shop_folder=Path(scratch))
        facts = _load(settings, tables, notes, questions)
    costs = list(_costs(sources, proposals, facts))
    return NewShop(_text(draft, sources, facts, questions, now), tables, notes, questions, costs)


def _proposal(path: Path, answers: Answers) -> Proposal:
    typed = typed_columns(path) if path.name.endswith((".parquet", ".jsonl")) else None
    try:
        table = answers.tables.get(path.name)
        return propose(landed(path), table, answers.time_zone, answers.date_format, typed, named=answers.columns)
    except ContentError as error:
        raise NewShopError(f"{path} {error}") from error


def _require_named_columns(proposals: Sequence[Proposal], answers: Answers) -> None:
    """Raise ``NewShopError`` where a column that a person named is in no file, or a table lacks a required one."""
    for column, name in answers.columns.items():
        if not any(name in proposal.columns for proposal in proposals):
            raise NewShopError(f"--column {column}={name}: no file has a column {name}")
    for proposal in proposals:
        if missing := unrecognised(proposal.table, proposal.found):
            names, lacking = ", ".join(proposal.columns), " and which is ".join(missing)
            raise NewShopError(
                f"{proposal.file.name}: which of its columns ({names}) is {lacking} of {proposal.table}? "
                f"Name each, as in --column {missing[0]}=NAME"
            )


def typed_columns(path: Path, most: int = 20_000) -> dict[str, list[str]]:
    """The first values of a Parquet or JSON Lines file by column, as text."""
    if path.name.endswith(".parquet"):
        try:
            batch = next(pq.ParquetFile(path).iter_batches(most), None)
        except pa.ArrowInvalid as error:
            raise NewShopError(f"{path} is no Parquet file, or is damaged; write it again") from error
        columns: dict[str, list[Any]] = batch.to_pydict() if batch is not None else {}
    else:
        with path.open(encoding="utf-8") as lines:
            rows = [
                _json_object(path, number, line) for number, line in zip(range(1, most), lines, strict=False) if line.strip()
            ]
        columns = {key: [row.get(key) for row in rows] for key in {key: None for row in rows for key in row}}
    return {name: ["" if value is None else str(value) for value in values] for name, values in columns.items()}


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise NewShopError(f"{path} line {number} is not valid JSON; write one JSON object a line") from error
    if not isinstance(found, dict):
        raise NewShopError(f"{path} line {number} is not a JSON object; write one a line")
    return found


def _sources(proposals: Sequence[Proposal]) -> tuple[dict[str, SourceOptions], dict[str, Any], list[tuple[Path, str]]]:
    """Options by table, attributes of customers, and the tables of each file; order lines may hold other tables too."""
    sources: dict[str, SourceOptions] = {}
    attributes: dict[str, Any] = {}
    tables: list[tuple[Path, str]] = []
    own = {proposal.table for proposal in proposals}
    for proposal in [proposal for proposal in proposals if proposal.table]:
        tables.append((proposal.file.path, proposal.table))
        columns = dict(proposal.options.columns)
        if proposal.table == "customers":
            attributes |= _attributes(proposal, columns)
            read = {*columns.values(), *LOOKED_FOR["customers"], *attributes}
            if unread := [name for name in proposal.columns if name not in read]:
                proposal.notes.append(
                    f"no model reads {', '.join(unread)}: texts that tell customers apart, or dates of another form"
                )
        sources[proposal.table] = proposal.options.model_copy(update={"columns": columns})
        if proposal.table != "purchases":
            continue
        if "products" not in own and {"name", "category_id"} & proposal.found.keys() and "product_id" in proposal.found:
            sources["products"] = _derived(proposal, ("product_id", "name", "category_id"))
            tables.append((proposal.file.path, "products"))
        if "customers" not in own:
            options = _derived(proposal, ("customer_id",))
            found = _attributes(proposal, columns := dict(options.columns), only_constant=True)
            if found:
                attributes |= found
                sources["customers"] = options.model_copy(update={"columns": columns})
                tables.append((proposal.file.path, "customers"))
    return sources, attributes, tables


def _derived(proposal: Proposal, columns_used: Sequence[str]) -> SourceOptions:
    columns = {name: proposal.found[name] for name in columns_used if proposal.found.get(name, name) != name}
    if "category_id" in columns_used and "category_id" not in proposal.found:
        columns["category_id"] = {"value": ""}  # type: ignore[assignment]  # a rule, which the settings validate
    values = proposal.options.model_dump(exclude_unset=True) | {"columns": columns, "distinct": True}
    return SourceOptions.model_validate(
        {name: value for name, value in values.items() if name not in {"date_format", "time_zone"}}
    )


def _attributes(proposal: Proposal, columns: dict[str, Any], only_constant: bool = False) -> dict[str, Any]:
    """Attributes of customers in the columns of no other meaning; ``columns`` gets their names in the file."""
    used = set(proposal.found.values())
    customers = proposal.columns[proposal.found["customer_id"]]
    found: dict[str, Any] = {}
    for name, values in proposal.columns.items():
        attribute = re.sub(r"^[^a-z]+", "", slug(name))[:40]
        if name in used or not attribute or (only_constant and not _is_constant(customers, values)):
            continue
        kind = _kind([value.strip() for value in values if value.strip()], proposal.options.date_formats)
        if kind is None:
            continue
        is_personal = bool(PERSONAL.search(folded(name)))
        found[attribute] = {"type": kind, "description": name, **({"personal": True} if is_personal else {})}
        if attribute != name:
            columns[attribute] = name
    return found


def _is_constant(customers: Sequence[str], values: Sequence[str]) -> bool:
    """True where nearly every customer has one value, and there are few values in all."""
    pairs = {(customer, value) for customer, value in zip(customers, values, strict=True) if customer and value}
    names = Counter(customer for customer, _ in pairs)
    distinct = {value for _, value in pairs}
    return 1 < len(distinct) <= FEW_VALUES and sum(count == 1 for count in names.values()) >= CONSTANT_SHARE * len(names)


def _kind(values: Sequence[str], date_formats: Collection[str]) -> str | None:
    """The type of an attribute; None for texts that tell customers apart rather than describe them.

    Dates are read in ISO 8601 and in the file's ``date_formats``.
    """
    distinct = set(values)
    if not distinct:
        return None
    if distinct <= {"true", "false", "True", "False", "yes", "no", "Yes", "No", "TRUE", "FALSE"}:
        return "boolean"
    if all(re.fullmatch(r"-?\d{1,15}", value) for value in distinct):
        return "integer"
    if not detect_numbers(distinct)[1]:
        return "double"
    dates = detect_dates(sorted(distinct))
    if dates is not None and not dates.has_clock and set(dates.formats) <= set(date_formats):
        return "date"
    return "text" if len(distinct) <= min(FEW_VALUES, max(len(values) // 2, 2)) else None


def _load(settings: Settings, tables: Sequence[tuple[Path, str]], notes: list[str], questions: list[str]) -> Facts:
    """Load the files into the scratch place; what cannot be loaded becomes a question."""
    facts = Facts()
    for path, table in tables:
        target = settings.place.root / landing_path(path, table)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
        try:
            if table == "history":
                facts.rows[table] = write_history(settings).counts.good
                continue
            load = load_reference(settings, table, settings.shop.slices_start)
        except BrokenReferenceError as error:
            questions.append(str(error).replace(str(target), path.name))
            continue
        facts.rows[table] = load.rows
        if load.set_aside:
            messages = questions if load.set_aside > TOLERATED_SHARE * (load.rows + load.set_aside) else notes
            messages.append(
                f"{path.name}: {many(load.set_aside, 'row')} of {load.rows + load.set_aside:,} of {table} would be set aside, "
                f"such as {load.faults[0]}; customer360 check shows more"
            )
    with duckdb.connect() as connection:
        _read_facts(connection, settings, facts)
    return facts


def landing_path(path: Path, table: str) -> Path:
    """Where a file belongs below a data folder: ``landing/history`` or ``landing/reference/<table>``, with a known ending."""
    known = path.name.endswith((".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"))
    name = path.name if known else f"{path.stem}.csv"
    return Path("landing") / ("history" if table == "history" else f"reference/{table}") / name


def _read_facts(connection: duckdb.DuckDBPyConnection, settings: Settings, facts: Facts) -> None:
    contracts = reference_tables(settings.shop)
    for table in ("purchases", "products"):
        relation = reference_relation(settings.place, contracts[table])
        connection.execute(f"create table {table} as select * from ({relation}) where valid_to is null")
    first, last = connection.execute("select min(purchased_at), max(purchased_at) from purchases").fetchone() or (None, None)
    facts.days = (last - first).days if last else 0
    index = history_folder(settings.place.raw) / "slices.parquet"
    if index.exists():
        (event,) = connection.execute(f"select max(slice) from read_parquet({literal(str(index))})").fetchone() or (None,)
        last = max(filter(None, (last, event)), default=None)
    facts.last = last.replace(tzinfo=UTC) if last else None
    lines = "purchases left join products using (product_id)"
    facts.shares = connection.execute(
        f"""
        select coalesce(purchases.category_id, products.category_id) as category,
            cast(sum(amount) / (select sum(amount) from purchases) as double) as share
        from {lines} where category is not null group by category having sum(amount) > 0 order by share desc, category
        """
    ).fetchall()
    facts.charges = list(_charges(connection, lines))
    facts.median_gap, facts.long_gap = connection.execute(
        """
        select median(gap), quantile_cont(gap, .9) from (
            select date_diff('day', lag(day) over (partition by customer_id order by day), day) as gap
            from (select distinct customer_id, cast(purchased_at as date) as day from purchases where customer_id is not null)
        ) where gap is not null
        """
    ).fetchone() or (None, None)


def _charges(connection: duckdb.DuckDBPyConnection, lines: str) -> Iterator[tuple[str, str, str]]:
    """Products that look like charges: id, name, and why."""
    products = connection.execute(
        f"""
        select product_id, coalesce(any_value(name), ''),
            count(distinct order_id) / (select count(distinct order_id) from purchases)
        from {lines} group by product_id order by product_id
        """
    ).fetchall()
    with_digits = sum(any(letter.isdigit() for letter in product) for product, _, _ in products)
    for product, name, share in products:
        if CHARGE.search(name):
            yield product, name, "by its name"
        elif not any(letter.isdigit() for letter in product) and with_digits > 0.8 * len(products):
            yield product, name, "its code has no digit"
        elif share > COMMON_SHARE and len(products) > 20:
            yield product, name, f"in {share:.0%} of the orders"


def _costs(sources: Mapping[str, SourceOptions], proposals: Sequence[Proposal], facts: Facts) -> Iterator[str]:
    """What the shop goes without, by what is missing."""
    found = {column for proposal in proposals for column in proposal.found}
    if not {"consent_email", "consent_sms"} & found:
        yield "no consents: nobody may be contacted, so plans stay empty. Bring customers with a column consent_email"
    if "customers" not in sources:
        yield "no customers: no attributes, and no time zones of customers"
    elif "known_since" not in found:
        yield (
            "no known_since (the day of registration): customers count from the first order on, and those without one as of "
            "the load that lists them; models learn from nobody before"
        )
    if not facts.shares:
        yield "no categories: no affinity to categories. Bring products with a column category_id"
    if "history" not in sources:
        yield "no clicks: no browsing in the features, no visits, and no reactions to campaigns but orders"
    if "campaign_touches" not in sources:
        yield "no past contacts: effects of contacts are not known before the first campaign has been measured"


def _nearest(days: float, at_most: int = 365) -> int:
    return min((day for day in DAYS if day <= at_most), key=lambda day: abs(day - days))


def _text(
    draft: Mapping[str, Any], sources: Mapping[str, SourceOptions], facts: Facts, questions: Sequence[str], now: datetime
) -> str:
    """The commented shop.yaml."""
    lines = [f"# {draft['title']}, written by `customer360 init`. Every field is explained in docs/your-data.md."]
    lines += [f"# OPEN: {question}".replace("\n", " ") for question in questions]
    lines += [_yaml({name: draft[name] for name in ("name", "title", "time_zone", "currency")}), ""]
    lines += [*_clock(facts, now), "", *_categories(facts), ""]
    if draft["attributes"]:
        rows = [f"  {name}: {_flow(spec)}" for name, spec in draft["attributes"].items()]
        lines += [
            "# Columns of customers that features may use; feature: false keeps one from the models.",
            "attributes:",
            *rows,
            "",
        ]
    lines += [*_windows(facts), ""]
    lines += [
        "# Ways to contact customers. Each needs a column consent_<channel> in customers; empty means no.",
        f"channels: {_flow(draft['channels'])}",
        "# Local hours in which a contact may be planned.",
        "dayparts:",
        "  day: {from: 8, to: 20}",
    ]
    special = {table: options for table, options in sources.items() if options != SourceOptions()}
    if special:
        lines += ["", "# How the files are written and what their columns are called.", options_yaml(special).rstrip()]
    return "\n".join(lines) + "\n"


def _clock(facts: Facts, now: datetime) -> list[str]:
    last = facts.last or now
    if now - last <= timedelta(days=RECENT_DAYS):
        start = now.replace(minute=0, second=0, microsecond=0)
        return [
            "# The first slice of live clicks; what is older is history.",
            f"slices_start: {start:%Y-%m-%dT%H:%M:%SZ}",
            "live: true",
        ]
    start = last.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return [
        f"# The data end on {last:%Y-%m-%d}: this is a replay of one slice after their last day. For a running shop set",
        "# live: true and slices_start to now, and leave slices_end out.",
        f"slices_start: {start:%Y-%m-%dT%H:%M:%SZ}",
        f"slices_end: {start + timedelta(minutes=15):%Y-%m-%dT%H:%M:%SZ}",
        "live: false",
    ]


def _categories(facts: Facts) -> list[str]:
    excluded = [category for category, _ in facts.shares if CHARGE.search(category.replace("_", " "))]
    shown = [(category, share) for category, share in facts.shares if category not in excluded]
    top = max(1, min(10, sum(share >= 0.01 for _, share in shown)))
    lines = ['# Categories with features and a class of their own: the top K by revenue; the rest is "other".']
    lines += [f"#   {share:6.1%}  {category}" for category, share in shown[:20]]
    lines += [f"#   ... and {len(shown) - 20} more"] * (len(shown) > 20)
    if not shown:
        lines.append('# No file names a category, so all is "other" and no affinity can be learned.')
    if excluded or facts.charges:
        lines.append("# Excluded are charges and the like: revenue of their orders that nobody prefers. Look through the list.")
    lines += ["categories:", f"  top: {top if shown else 10}"]
    lines += [f"  exclude: {_flow(excluded)}"] * bool(excluded)
    if facts.charges:
        rows = (f"    - {_flow(product)}  # {printable(name or product)}: {why}" for product, name, why in facts.charges)
        lines += ["  exclude_products:", *rows]
    return lines


def _windows(facts: Facts) -> list[str]:
    if facts.median_gap is None or facts.long_gap is None:
        return ["# No customer has ordered on two days, so windows and horizons are the defaults.", "windows_days: [3, 10, 30]"]
    longest = max(30, facts.days // 4)  # so that history remains to learn from before and after
    windows = sorted({_nearest(facts.median_gap * times, longest) for times in (1 / 3, 1, 3)})
    label = _nearest(facts.median_gap / 2, 30)
    churn = label + 1
    while churn < min(round(facts.long_gap), longest) and cutoffs_needed(churn + 1, label) <= MOST_CUTOFFS:
        churn += 1
    cutoffs = cutoffs_needed(churn, label)
    training = [f"training: {{cutoffs: {cutoffs}}}  # weeks to learn from, so many that churn can be learned"]
    return [
        f"# Half of all customers who come back do so within {facts.median_gap:.0f} days, 90% within {facts.long_gap:.0f}.",
        f"windows_days: {_flow(windows)}  # of the features: the last so many days",
        f"label_horizon_days: {label}  # what a customer buys in so many days is predicted",
        f"churn_horizon_days: {churn}  # who has not ordered for so long counts as lost",
        *training * (8 < cutoffs <= MOST_CUTOFFS and facts.days > 7 * cutoffs + churn),
    ]


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).rstrip()


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()
    return text.removesuffix("...").strip()


EXAMPLE_CAMPAIGN = """# An example; name it win_back.yaml once the numbers are yours. docs/campaigns.md explains every field.
title: We miss you
kind: reactivation
audience: segment in ('At Risk', 'Cannot Lose Them', 'Need Attention', 'Hibernating', 'About To Sleep')
value_per_conversion: 10  # what an order is worth to you, such as its mean margin
budget: 500
channels:
  email: {cost: 0.02}
"""


def copy_into_landing(tables: Sequence[tuple[Path, str]], root: Path) -> Iterator[Path]:
    """Copy the files to where the pipeline reads them below ``root``; yields each copy. Files there are never overwritten."""
    targets = [(path, root / landing_path(path, table)) for path, table in tables]
    for path, target in targets:
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise NewShopError(f"{target} exists with other content; name another folder by --data-dir, or move it away")
        beside = [other for other in target.parent.glob("*") if other not in {planned for _, planned in targets}]
        if beside:
            raise NewShopError(f"{target.parent} holds {beside[0].name} already; name another folder by --data-dir")
    for path, target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(shutil.SameFileError):
            shutil.copy2(path, target.with_name(f".{target.name}"))
            target.with_name(f".{target.name}").replace(target)
        yield target
