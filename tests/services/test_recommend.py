"""Lists blended at request time of session, affinity and the visit's beginning; what is left out, and each product's reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from customer360.recommendations.recommend import (
    BLEND,
    Product,
    Ranked,
    cold_start_entries,
    recommend,
    referrer_host,
    sellable,
)
from customer360.recommendations.session_model import COMPONENTS, LENGTHS, Rows, SessionModel, SessionModelError, load
from ml.recommendations.sessions import save

NAMES = ("A", "B", "C", "D")
PRODUCTS = {name: Product(f"Product {name}", "food") for name in NAMES}
AFFINITY = [Ranked("C", 0.3, "you buy this every 2 weeks"), Ranked("D", 0.1, "popular in Food")]
ENTRY = [Ranked("D", 0.5, "popular with who came by google.com"), Ranked("A", 0.25, "popular in the shop")]


def rows(matrix: list[list[float]]) -> Rows:
    of, columns = np.nonzero(np.array(matrix))
    values = np.array(matrix)[of, columns].astype(np.float32)
    return Rows(np.searchsorted(of, np.arange(len(matrix) + 1)), columns.astype(np.int32), values)


def model(weights: dict[str, float], affinity: float = 0.5, lists: tuple[str, str] = (BLEND, BLEND)) -> SessionModel:
    """After A come B (3 of 4) and C; B is seen with D. There was one session: A B."""
    nothing = [0.0] * 4
    share = [weights.get(name, 0.0) for name in COMPONENTS]
    return SessionModel(
        products=np.array(NAMES),
        popularity=np.array([0.4, 0.3, 0.2, 0.1]),
        follows=rows([[0, 0.75, 0.25, 0], nothing, nothing, nothing]),
        along=rows([[0, 0.75, 0.25, 0], [0, 0, 0, 1.0], nothing, nothing]),
        session_starts=np.array([0, 2]),
        session_codes=np.array([0, 1], dtype=np.int32),
        newest_starts=np.array([0, 1, 2, 2, 2]),
        newest_sessions=np.array([0, 0], dtype=np.int32),
        half_life_days=30.0,
        weights=np.array([share] * (len(LENGTHS) + 1)),
        affinity_weights=np.full(len(LENGTHS) + 1, affinity),
        lists=np.array(lists),
    )


def test_a_visitor_without_a_session_has_the_beginning_of_the_visit_and_a_customer_the_affinity_first() -> None:
    listed = recommend(3, product_of=PRODUCTS.get, cold_start=ENTRY)
    assert [(r.product_id, r.score, r.source) for r in listed] == [("D", 0.5, "cold_start"), ("A", 0.25, "cold_start")]
    listed = recommend(3, product_of=PRODUCTS.get, cold_start=ENTRY, affinity=AFFINITY)
    assert [(r.product_id, r.source) for r in listed] == [("C", "affinity"), ("D", "affinity"), ("A", "cold_start")]
    assert listed[0].score == pytest.approx(0.75)


def test_the_sources_of_a_customer_in_a_session_are_added_by_their_weights() -> None:
    learned = model({"popularity": 0.2, "follows": 0.8}, affinity=0.25)
    listed = recommend(4, product_of=PRODUCTS.get, session=["A"], model=learned, affinity=AFFINITY)
    expected = {
        "A": 0.75 * 0.2 * 0.4,
        "B": 0.75 * (0.8 * 0.75 + 0.2 * 0.3),
        "C": 0.75 * (0.8 * 0.25 + 0.2 * 0.2) + 0.25 * 0.75,
        "D": 0.75 * 0.2 * 0.1 + 0.25 * 0.25,
    }
    assert {r.product_id: r.score for r in listed} == pytest.approx(expected)
    assert [(r.product_id, r.source, r.reason) for r in listed] == [
        ("B", "session", "often viewed next after Product A"),
        ("C", "affinity", "you buy this every 2 weeks"),
        ("D", "affinity", "popular in Food"),
        ("A", "cold_start", "popular in the shop"),
    ]
    # how the visit began takes the place of popularity
    listed = recommend(4, product_of=PRODUCTS.get, session=["A"], model=learned, cold_start=ENTRY)
    assert {r.product_id: r.score for r in listed} == pytest.approx({"A": 0.05, "B": 0.6, "C": 0.2, "D": 0.1})


def test_a_source_that_was_found_to_be_better_alone_makes_the_list_of_a_session() -> None:
    by_affinity = model({"follows": 1.0}, lists=("affinity", "session"))
    listed = recommend(4, product_of=PRODUCTS.get, session=["A"], model=by_affinity, affinity=AFFINITY, cold_start=ENTRY)
    assert [(r.product_id, r.source) for r in listed[:2]] == [("C", "affinity"), ("D", "affinity")]
    assert listed[0].score == pytest.approx(0.75)
    of_visitor = recommend(4, product_of=PRODUCTS.get, session=["A"], model=by_affinity, cold_start=ENTRY)
    assert [(r.product_id, r.source) for r in of_visitor[:2]] == [("B", "session"), ("C", "session")]
    # without a product in the session the beginning of the visit is all that there is
    first = recommend(4, product_of=PRODUCTS.get, session=[], model=by_affinity, cold_start=ENTRY)
    assert [(r.product_id, r.score) for r in first] == [("D", 0.5), ("A", 0.25)]


@pytest.mark.parametrize(
    ("component", "session", "best"),
    [
        ("repeats", ["B", "A"], ("A", "you viewed this lately")),
        ("along", ["B", "A"], ("D", "viewed together with Product B")),
        ("neighbours", ["A"], ("A", "viewed in visits like yours")),
    ],
)
def test_each_part_of_the_session_has_its_reason(component: str, session: list[str], best: tuple[str, str]) -> None:
    listed = recommend(4, product_of=PRODUCTS.get, session=session, model=model({component: 1.0}))
    assert best in [(r.product_id, r.reason) for r in listed if r.source == "session"]


def test_what_is_viewed_was_bought_or_cannot_be_sold_is_left_out_and_the_list_stays_full() -> None:
    products = {**PRODUCTS, "B": Product("B", "food", is_for_sale=False), "D": Product("D", "food", stock=0)}
    learned = model({"popularity": 0.5, "follows": 0.5})

    def listed(**known: object) -> list[str]:
        found = recommend(2, product_of=products.get, session=["A"], model=learned, **known)  # type: ignore[arg-type]
        return [r.product_id for r in found]

    assert listed() == ["C", "A"]
    assert listed(viewing="A") == ["C"]
    assert listed(bought={"C"}) == ["A"]
    assert recommend(2, product_of={}.get, session=["A"], model=learned) == []
    assert sellable(Product(None, None, None, None))
    assert not sellable(None)


def test_a_long_list_of_products_that_cannot_be_sold_leaves_those_behind_it() -> None:
    many = [Ranked(f"X{number}", 0.01, "") for number in range(200)]
    listed = recommend(1, product_of=PRODUCTS.get, affinity=[*many, Ranked("C", 0.001, "last")])
    assert [r.product_id for r in listed] == ["C"]


@pytest.mark.parametrize(
    ("referrer", "page", "host"),
    [
        ("https://www.Google.com/search?q=x", None, "google.com"),
        ("http://m.example.org:8080/a", "https://shop.example/", "example.org"),
        ("https://shop.example/c/food", "https://www.shop.example/p/1", "(direct)"),
        (None, "https://shop.example/", "(direct)"),
        ("android-app://m.app.example", None, "app.example"),
        ("https://user@www.example.org?q=1", None, "example.org"),
        ("no url", None, "(direct)"),
    ],
)
def test_the_host_of_a_referrer(referrer: str | None, page: str | None, host: str) -> None:
    assert referrer_host(referrer, page) == host


def test_entries_go_from_the_narrowest_to_all_visits() -> None:
    assert cold_start_entries("tea/coffee", "https://t.co/x", "mobile") == (
        "tea|coffee / t.co / mobile",
        "tea|coffee / t.co",
        "tea|coffee",
        "all",
    )
    assert cold_start_entries(None, None, None)[0] == "(none) / (direct) / (none)"


def test_a_file_that_holds_no_model_of_this_release_is_a_clear_error(tmp_path: Path) -> None:
    target = tmp_path / "model.npz"
    save(model({"popularity": 1.0}), target)
    assert load(target).context(["A", "never seen"]) == [0]
    target.write_bytes(target.read_bytes()[:100])
    with pytest.raises(SessionModelError, match="daily_job makes it anew"):
        load(target)
    np.savez(target, products=np.array(NAMES))
    with pytest.raises(SessionModelError, match="follows"):
        load(target)
