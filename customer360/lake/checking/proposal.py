"""From a file of unknown form to its table and the ``sources`` options that read it, with what remains to be asked."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from customer360.lake.landing.detection import (
    EXPONENT,
    FLOAT_ID,
    NUMBER,
    Dates,
    Form,
    detect_dates,
    detect_form,
    detect_numbers,
    is_number_ambiguous,
)
from customer360.lake.landing.listing import LandedFile
from customer360.lake.landing.reading import csv_dialect, open_text, text_lines
from customer360.settings import WHITESPACE, ColumnRule, SourceOptions
from customer360.text import many

SAMPLED_ROWS = 20_000
MANY_VALUES = 0.95  # a column is of a type where so many of its values are
# What shops call the contract's columns, in order of preference; compared without case, accents, blanks and signs.
NAMES = {
    "order_id": "invoiceno invoice invoiceid invoicenumber orderid orderno ordernumber order ordernr incrementid transactionid "
    "basketid receiptno receipt bestellnummer bestellnr bestellung auftragsnummer auftrag rechnungsnr rechnung belegnr beleg "
    "commande numerocommande pedido ordine bestelling",
    "product_id": "productid stockcode sku productsku lineitemsku productcode itemid itemcode itemno articleid articleno "
    "artikelnummer artikelnr artikel article product item upc ean variantid reference",
    "customer_id": "customerid customerno customernumber custid userid clientid memberid householdkey kundennummer kundennr "
    "kundenid kunde customer customeruser client buyerid email customeremail emailaddress",
    "purchased_at": "purchasedat invoicedate orderdate purchasedate orderedat createdat transactiondate saledate paidat "
    "bestelldatum bestelltam auftragsdatum rechnungsdatum datum date datetime timestamp day time fecha data",
    "quantity": "quantity qty qtyordered units pieces lineitemquantity menge anzahl stuck numberofcds count cantidad quantite",
    "price": "unitprice price itemprice itemcost lineitemprice einzelpreis stuckpreis preis",
    "amount": "amount linetotal lineamount rowtotal netamount grossamount revenue sales salesamount total totalprice "
    "totalamount zeilenbetrag betrag summe umsatz gesamtpreis gesamt dollarvalue value montant importe",
    "line_no": "lineno linenumber lineposition position pos",
    "category_id": "categoryid category productcategory productgroup department family producttype kategorie warengruppe "
    "produktgruppe type",
    "currency": "currency currencycode wahrung waehrung",
    "name": "name productname itemname lineitemname title description bezeichnung artikelname",
    "time_zone": "timezone",
    "known_since": "knownsince createdat registeredat registrationdate signupdate customersince membersince registered "
    "registeredon dateregistered registration signedupat signup joinedat joindate joined dateadded accountcreated created "
    "registriert registriertam registrierungsdatum anmeldedatum kundeseit angelegtam dateinscription inscritle "
    "fechaalta fecharegistro",
    "consent_email": "acceptsemailmarketing acceptsmarketing emailoptin optin newsletter emailmarketing emailconsent",
    "consent_sms": "consentsms acceptssmsmarketing smsoptin smsmarketing smsconsent",
    "event_id": "eventid",
    "event_name": "eventname event eventtype",
    "event_at": "eventat eventtime eventtimestamp timestamp time",
}
LOOKED_FOR = {  # columns looked for, by table
    "purchases": (
        *("order_id", "product_id", "line_no", "customer_id", "category_id", "purchased_at", "quantity", "amount", "currency"),
    ),
    "products": ("product_id", "name", "category_id", "price"),
    "customers": ("customer_id", "time_zone", "known_since", "consent_email", "consent_sms"),
    "categories": ("category_id", "name"),
    "history": ("event_id", "event_name", "event_at", "customer_id", "product_id", "order_id", "line_no", "quantity", "amount"),
    "clicks": ("event_id", "event_name", "event_at", "customer_id", "product_id", "order_id", "line_no", "quantity", "amount"),
}  # fmt: skip
MARKED_TABLES = {  # known by columns of the contract that no other table has
    "campaign_touches": {"touch_id"},
    "suppressions": {"customer_id", "suppressed_at"},
    "offers": {"offer_id", "name"},
    "campaigns": {"campaign_id", "name"},
}
REQUIRED = {  # what makes a table; an amount may be made of quantity and price
    "history": ("event_name", "event_at"),
    "purchases": ("purchased_at", "customer_id", "amount"),
    "customers": ("customer_id",),
    "products": ("product_id",),
    "categories": ("category_id", "name"),
}
TIMES = ("purchased_at", "event_at", "known_since")
AMOUNTS = ("amount", "price", "quantity")
TOTAL = re.compile(r"(grand |sub)?total.*|sum|summe|gesamt(summe)?|zwischensumme|totale?s?|suma", re.IGNORECASE)


@dataclass
class Proposal:
    """How ``file`` can be read as ``table``: the options, notes on what was seen, and questions that only a person can answer.

    ``columns`` are samples of the values by the file's own names; ``dates`` is how the table's times are written.
    """

    file: LandedFile
    table: str
    options: SourceOptions
    columns: dict[str, list[str]]
    found: dict[str, str]
    lines: int
    notes: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    dates: Dates | None = None


@dataclass(frozen=True)
class Sample:
    """Rows of a file, evenly spread: the form, values by column, row numbers, how many there are in all, notes on odd rows."""

    form: Form
    columns: dict[str, list[str]]
    rows: list[int]
    lines: int
    notes: list[str]


def read_sample(file: LandedFile) -> Sample:
    """A sample of at most about ``SAMPLED_ROWS`` rows of a CSV file. Raises ``ContentError`` where it is no text."""
    form = detect_form(file)
    every = max(1, file.size // (60 * SAMPLED_ROWS))
    names, rows, numbers, notes, lines = form.names, [], [], list(form.notes), 0
    odd: list[int] = []
    last: list[str] = []
    with open_text(file, form.options) as stream:
        reader = csv.reader(text_lines(stream, form.options), **{**csv_dialect(form.options), "strict": False})
        if not form.options.header:
            next(reader, None)
        for record in reader:
            if not record:
                continue
            lines += 1
            while len(record) > len(names) and not record[-1]:
                record.pop()
            if len(record) != len(names):
                odd.append(lines)
            elif record == names:
                notes.append(f"row {lines} repeats the header; it is set aside")
            elif lines % every == 0 or lines <= SAMPLED_ROWS // 10:
                rows.append(record)
                numbers.append(lines)
            last = record
    notes += _odd_rows(odd, last)
    if rows and _are_units(rows[0], rows[1 : SAMPLED_ROWS // 100]):
        units = ", ".join(filter(None, rows.pop(0)))
        notes.append(f"row {numbers.pop(0)} looks like the units of the columns: {units}; it is set aside. Delete it")
    columns = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    return Sample(form, columns, numbers, lines, notes)


def _odd_rows(odd: list[int], last: list[str]) -> Iterator[str]:
    """Notes on the rows with another number of fields, and on a last row of totals."""
    if odd:
        yield f"{many(len(odd), 'row')} with another number of fields than the header, the first is row {odd[0]}"
    if any(TOTAL.fullmatch(value.strip()) for value in last):
        yield f"the last row looks like a line of totals: {' '.join(filter(None, last))[:60]}; it is set aside"


def _are_units(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """True for a row without any digit, with words in a column whose other values are all numbers, such as USD or pcs."""
    if any(letter.isdigit() for value in first for letter in value):
        return False
    below = [[value.strip() for value in column if value.strip()] for column in zip(*others, strict=True)]
    return any(
        word.strip() and all(map(NUMBER.fullmatch, values)) for word, values in zip(first, below, strict=False) if values
    )


def _typed_sample(columns: Mapping[str, list[str]]) -> Sample:
    rows = max(map(len, columns.values()), default=0)
    return Sample(Form(SourceOptions(), list(columns)), dict(columns), list(range(1, rows + 1)), rows, [])


def propose(
    file: LandedFile,
    table: str | None = None,
    time_zone: str | None = None,
    date_format: str | None = None,
    typed: Mapping[str, list[str]] | None = None,
    *,
    named: Mapping[str, str] | None = None,
) -> Proposal:
    """The table that a file is (or as which it is to be read) and the options that read it.

    ``time_zone``, ``date_format`` and ``named`` (what the file calls a column of the contracts) are a person's answers;
    ``typed`` are the values of a file that is no CSV, by column. Raises ``ContentError`` where a CSV file is no text.
    """
    sample = read_sample(file) if typed is None else _typed_sample(typed)
    found = _recognised(list(sample.columns))
    found |= {column: name for column, name in (named or {}).items() if name in sample.columns}
    table = table or _table_of(found, sample.columns)
    options = sample.form.options
    proposal = Proposal(file, table, options, sample.columns, found, sample.lines, notes=list(sample.notes))
    if not table:
        proposal.questions.append(f"which table is it? Say --table {file.name}=purchases (or products, customers, history)")
        return proposal
    columns = _columns(table, found, proposal)
    updates: dict[str, Any] = {"columns": columns}
    _judge_numbers(proposal, updates)
    _judge_decimals(proposal, sample, updates.get("decimal", "."))
    _judge_dates(proposal, updates, time_zone, date_format)
    _judge_ids(proposal, updates)
    proposal.options = options.model_copy(update=updates)
    return proposal


def folded(name: str) -> str:
    """A column's name without case, accents, blanks and signs."""
    decomposed = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss"))
    return re.sub(r"[^a-z0-9]", "", decomposed.encode("ascii", "ignore").decode())


def _recognised(names: Sequence[str]) -> dict[str, str]:
    """The file's name of each column of the contracts that it seems to have."""
    known = {folded(name): name for name in reversed(names)}
    found = {}
    for column, synonyms in NAMES.items():
        name = next((known[word] for word in (folded(column), *synonyms.split()) if word in known), None)
        if name is not None:
            found[column] = name
    if "lineitemname" in known and "name" in known:  # Shopify: Name is the order, and what is bought is a line item
        found |= {"order_id": known["name"], "name": known["lineitemname"]}
    return found


def _table_of(found: Mapping[str, str], names: Collection[str]) -> str:
    for table, marks in MARKED_TABLES.items():
        if marks <= set(names):
            return table
    for table in ("history", "purchases"):
        if not unrecognised(table, found):
            return table
    if "customer_id" in found and "product_id" not in found:
        return "customers"
    if "product_id" in found and ("name" in found or "category_id" in found):
        return "products"
    return "categories" if {"category_id", "name"} <= found.keys() else ""


def unrecognised(table: str, found: Mapping[str, str]) -> list[str]:
    """The columns without which a file is not ``table``, and that are not among those ``found``."""
    has_amount = "amount" in found or {"quantity", "price"} <= found.keys()
    return [column for column in REQUIRED.get(table, ()) if column not in found and not (column == "amount" and has_amount)]


def _columns(table: str, found: Mapping[str, str], proposal: Proposal) -> dict[str, str | ColumnRule]:
    columns: dict[str, str | ColumnRule] = {
        column: found[column] for column in LOOKED_FOR.get(table, ()) if column in found and found[column] != column
    }
    if table != "purchases" or not ({"customer_id", "purchased_at"} <= found.keys()):
        return columns
    if "order_id" not in found:
        columns["order_id"] = ColumnRule(join=[found["customer_id"], found["purchased_at"]])
        proposal.notes.append("no order ids: what a customer buys at one time is taken for one order")
    for column in ("customer_id", "purchased_at"):
        if "order_id" in found and _is_of_first_lines(found["order_id"], found[column], proposal):
            columns[column] = ColumnRule(fill=found[column], within=[found["order_id"]])
            proposal.notes.append(f"{found[column]} is empty in further lines of an order, and taken from its first")
    if "product_id" not in found:
        columns["product_id"] = ColumnRule(value="unknown")
        proposal.notes.append("no products: nothing is known of what customers prefer")
    if "line_no" not in found:
        order = [found["order_id"]] if "order_id" in found else [found["customer_id"], found["purchased_at"]]
        columns["line_no"] = ColumnRule(number_within=order)
    if {"quantity", "price"} <= found.keys() and ("amount" not in found or _is_order_total(found, proposal)):
        columns["amount"] = ColumnRule(multiply=[found["quantity"], found["price"]])
        proposal.notes.append(f"amounts are {found['quantity']} x {found['price']}")
    return columns


def _is_of_first_lines(order: str, name: str, proposal: Proposal) -> bool:
    """True where a column is filled in some lines of an order and empty in others, as in Shopify's export."""
    filled: dict[str, set[bool]] = {}
    for number, value in zip(proposal.columns[order], proposal.columns[name], strict=True):
        filled.setdefault(number, set()).add(bool(value.strip()))
    return any(len(kinds) > 1 for kinds in filled.values())


def _is_order_total(found: Mapping[str, str], proposal: Proposal) -> bool:
    """True where the amounts of most lines are not quantity x price: they are the order's, or of another kind. Notes it."""
    kinds = ("amount", "quantity", "price")
    rows = list(zip(*(proposal.columns[found[kind]] for kind in kinds), strict=True))
    form, _ = detect_numbers(value for row in rows for value in row)
    numbers = [[_number(value, form) for value in row] for row in rows]
    differing = sum(
        amount is None or abs(amount - quantity * price) > 0.011 + 0.005 * abs(quantity)
        for amount, quantity, price in numbers
        if quantity is not None and price is not None
    )
    if differing <= len(numbers) / 2:
        return False
    proposal.notes.append(
        f"{found['amount']} is not {found['quantity']} x {found['price']} in {differing:,} of {len(numbers):,} rows looked at: "
        "it may be of the order; it is not read"
    )
    return True


def _number(text: str, form: tuple[str, str | None]) -> float | None:
    decimal, thousands = form
    plain = re.sub(r"[^\d.,-]", "", text.replace(thousands or "\0", ""))
    try:
        return float(plain.replace(decimal, "."))
    except ValueError:
        return None


def _judge_numbers(proposal: Proposal, updates: dict[str, Any]) -> None:
    names = [proposal.found[column] for column in AMOUNTS if column in proposal.found]
    values = [value for name in names for value in proposal.columns[name] if value.strip()]
    if values:
        (decimal, thousands), odd = detect_numbers(values)
        updates |= {"decimal": decimal, "thousands": thousands}
        if odd:
            found = many(len(odd), "value")
            proposal.questions.append(f"{found} of {', '.join(names)} are written otherwise, such as {odd[0]!r}; mend them")
    amounts = [value for column in ("amount", "price") for value in proposal.columns.get(proposal.found.get(column, ""), [])]
    if is_number_ambiguous(amounts):
        example = next(value for value in amounts if re.search(r"[.,]", value))
        proposal.questions.append(
            f"is {example} thousands or three decimals? Every amount with a separator has three digits behind it: "
            'set decimal: "," and thousands: ".", or the other way round'
        )


def _judge_decimals(proposal: Proposal, sample: Sample, decimal: str) -> None:
    """Note amounts with more decimals than are kept."""
    name = proposal.found.get("amount", "")
    form = re.compile(rf".*\d[{decimal}]\d*[1-9]\d*") if proposal.table == "purchases" else None
    values = zip(sample.rows, sample.columns.get(name, []), strict=False)
    found = [(row, value) for row, value in values if form and form.fullmatch(value) and len(value.rpartition(decimal)[2]) > 2]
    if found:
        row, value = found[0]
        proposal.notes.append(
            f"{name}: {len(found):,} of {len(sample.rows):,} rows looked at have three decimals or more, such as row {row}, "
            f"{value}; amounts are rounded to two. Where the sign separates thousands, set decimal and thousands"
        )


def _judge_dates(proposal: Proposal, updates: dict[str, Any], time_zone: str | None, date_format: str | None) -> None:
    column = next(
        (column for column in TIMES if column in LOOKED_FOR.get(proposal.table, ()) and column in proposal.found), None
    )
    if column is None:
        return
    name = proposal.found[column]
    values = [value for value in proposal.columns[name] if value.strip()]
    dates = (detect_dates(values) or _dates_of_most(values, name, proposal)) if values else None
    proposal.dates = dates
    if dates is None:
        return
    if date_format:
        updates["date_format"] = date_format
    elif dates.alternatives:
        proposal.questions.append(
            f"{name}: which comes first, day or month? {dates.evidence}. Say --date-format '{dates.formats[0]}' "
            f"or --date-format '{dates.alternatives[0]}'"
        )
    elif dates.formats:
        updates["date_format"] = dates.formats[0] if len(dates.formats) == 1 else dates.formats
    if not dates.has_offset:
        updates["time_zone"] = time_zone
        if time_zone is None:
            proposal.questions.append(
                f"{name}: of which time zone are its times, such as {values[0]}? Say --time-zone Europe/Berlin"
            )


def _dates_of_most(values: list[str], name: str, proposal: Proposal) -> Dates | None:
    """The form of nearly all values; notes what the others are."""
    odd = [value for value in values if detect_dates([value]) is None]
    if len(odd) <= (1 - MANY_VALUES) * len(values):
        proposal.notes.append(
            f"{name}: {many(len(odd), 'value')} of the sample is no date, such as {odd[0]!r}; its row is set aside"
        )
        return detect_dates([value for value in values if value not in set(odd)])
    hint = "set a date_format by hand"
    if all(re.fullmatch(r"[34]\d{4}(\.\d+)?", value) for value in odd):
        hint = "these are Excel's numbers of days: format the column as a date (YYYY-MM-DD) and save again"
    elif all(re.fullmatch(r"1\d{9}(\d{3})?", value) for value in odd):
        hint = "these are seconds or milliseconds since 1970: export them as dates"
    proposal.questions.append(f"{name}: {odd[0]!r} is no date that is known; {hint}")
    return None


def _judge_ids(proposal: Proposal, updates: dict[str, Any]) -> None:
    names = [proposal.found[c] for c in LOOKED_FOR.get(proposal.table, ()) if c.endswith("_id") and c in proposal.found]
    for name in names:
        values = [value.strip() for value in proposal.columns[name] if value.strip()]
        if any(FLOAT_ID.fullmatch(value) for value in values):
            updates["float_ids"] = True
        damaged = [value for value in values if EXPONENT.fullmatch(value)]
        if damaged:
            proposal.notes.append(
                f"{name}: {damaged[0]} has lost its digits in a spreadsheet ({many(len(damaged), 'row')} of the sample): "
                "format the column as text before the file is saved, or export it again"
            )
        lengths = {len(value) for value in values if value.isdigit()}
        if len(lengths) > 1 and sum(map(str.isdigit, values)) == len(values):
            longest = max(lengths)
            short = sum(len(value) < longest for value in values)
            if short < 0.2 * len(values) and not any(value.startswith("0") for value in values):
                proposal.notes.append(
                    f"{name}: most ids have {longest} digits and {short / len(values):.1%} fewer: a spreadsheet may have taken "
                    "leading zeros away, which cannot be seen from here"
                )


def differing(options: SourceOptions, others: SourceOptions) -> bool:
    """True where options read a file in another way; the time zone alone is no other way."""
    return options.model_copy(update={"time_zone": None}) != others.model_copy(update={"time_zone": None})


def describe(options: SourceOptions) -> str:
    """What is special about a file, in words."""
    separators = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", WHITESPACE: "blank"}
    parts = [f"this is {separators.get(options.delimiter, options.delimiter)}-separated, in {options.encoding}"]
    parts += [f"with {many(options.skip_lines, 'line')} above the header"] * bool(options.skip_lines)
    parts += ["without a header"] * (options.header is not None)
    parts += ["with decimal commas"] * (options.decimal == ",")
    parts += [f"with dates as {' or '.join(options.date_formats)}"] * bool(options.date_formats)
    return ", ".join(parts)


def options_yaml(sources: Mapping[str, SourceOptions]) -> str:
    """``sources`` of shop.yaml with what differs from the defaults, to be pasted."""
    values = {name: _plain(options.model_dump(exclude_defaults=True, exclude_none=True)) for name, options in sources.items()}
    return yaml.safe_dump({"sources": values}, sort_keys=False, allow_unicode=True, width=120)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    rules = {
        column: {name: value for name, value in rule.items() if value is not None} if isinstance(rule, dict) else rule
        for column, rule in values.get("columns", {}).items()
    }
    return {**values, **({"columns": rules} if rules else {})}


def landed(path: Path) -> LandedFile:
    """A file as the producers' folder would list it."""
    return LandedFile.of(path, path.parent)
