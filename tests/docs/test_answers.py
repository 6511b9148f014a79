"""The questions of docs/bi.md run on what is published, and their answers are made by one command."""

from __future__ import annotations

import duckdb
import pytest

from customer360.lake.publishing.version import open_version
from customer360.settings import REPOSITORY
from orchestration.pages import answered, questions, remade
from tests.support.lab import Lab

PAGE = (REPOSITORY / "docs" / "bi.md").read_text(encoding="utf-8")
QUESTION = """Before.

```sql
select 1 as one
```

No answer above.

```sql
{sql}
```

<!-- answer -->
old
<!-- end of answer -->
After.
"""


def test_the_page_asks_at_least_five_questions() -> None:
    assert len(list(questions(PAGE))) >= 5


@pytest.mark.parametrize("number", range(len(list(questions(PAGE)))))
def test_every_question_runs_on_the_published_tables(published: Lab, number: int) -> None:
    with open_version(published.settings.place) as version:
        version.connection.execute(list(questions(PAGE))[number]).fetchall()


def test_every_answer_of_the_page_has_the_columns_of_its_question(published: Lab) -> None:
    with open_version(published.settings.place) as version:
        made = answered(PAGE, version.connection)
    headers = [[line for line in page.splitlines() if line.startswith("| ")][:0] for page in (PAGE, made)]
    for page, found in zip((PAGE, made), headers, strict=True):
        parts = page.split("<!-- answer -->\n\n")[1:]
        found += [part.splitlines()[0] for part in parts]
    assert headers[0] == headers[1], "run: python -m orchestration.pages docs/bi.md"


def test_an_answer_is_replaced_and_the_rest_of_the_page_stays() -> None:
    sql = "select 1200 as n, 'a|b' as t, null as nothing, true as is_so, 1.5::double as d"
    with duckdb.connect() as connection:
        once = answered(QUESTION.format(sql=sql), connection)
        assert answered(once, connection) == once
    before, after = once.split("<!-- answer -->")
    assert before == QUESTION.format(sql=sql).split("<!-- answer -->")[0]
    assert after == (
        "\n\n| n | t | nothing | is_so | d |\n|---:|---|---:|---|---:|\n| 1,200 | a\\|b |  | true | 1.5 |\n\n"
        "<!-- end of answer -->\nAfter.\n"
    )


def test_answers_and_outputs_are_made_in_the_order_of_the_page_with_the_versions_that_were_printed_before(
    published: Lab,
) -> None:
    query = "```sql\nselect count(*) as customers from customer_profiles\n```\n\n<!-- answer -->\n<!-- end of answer -->\n"
    page = (
        f"```console\n$ list\n```\n{query}```console\n$ approve spring-2026-05-01-00000000\n```\n"
        "```console\n$ approve other-2026-05-01-00000000\n```\n"
    )
    asked: list[str] = []

    def run(command: str) -> str:
        asked.append(command)
        return "draft spring-2026-05-01-0123abcd\n" if command == "list" else ""

    made = remade(page, published.settings, run)
    assert asked == ["list", "approve spring-2026-05-01-0123abcd", "approve other-2026-05-01-00000000"]
    assert "$ list\ndraft spring-2026-05-01-0123abcd\n```\n" in made
    assert "| customers |\n|---:|\n| 1 |\n" in made
    assert "$ approve spring-2026-05-01-0123abcd\n" in made
