"""The categories of a shop that asks for its top K: chosen once by revenue, then frozen, since they name feature columns."""

from __future__ import annotations

import json

from customer360.lake.atomic import write_text
from customer360.lake.engine import connect, file_list
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.raw.history import history_folder
from customer360.lake.raw.raw_clicks import PART
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import NONE, OTHER, Settings, TopCategories, slug


def resolve_categories(settings: Settings, again: bool = False) -> list[str]:
    """The shop's categories; "top K by revenue" is worked out from history and reference purchases and frozen.

    Categories and products that shop.yaml excludes are left out of it. So are categories whose column name (``slug``) is that
    of one with more revenue, or of "other": they count as "other".

    With ``again`` it is worked out anew: the champion model then no longer fits and has to be trained again.
    """
    shop, place = settings.shop, settings.place
    if not isinstance(shop.categories, TopCategories) or not (again or shop.needs_categories):
        return shop.category_ids
    tables = reference_tables(shop)
    sources = [
        f"select product_id, category_id, amount from ({reference_relation(place, tables['purchases'])}) where valid_to is null"
    ]
    if days := sorted(history_folder(place.raw).glob(f"day_key=*/{PART}")):
        sources.append(
            "select product_id, category_id, amount "
            f"from read_parquet({file_list(days)}, hive_partitioning = false) where event_name = 'purchase'"
        )
    with connect(place.scratch) as connection:
        found = connection.execute(
            f"""
            with purchases as ({" union all ".join(sources)}),
            products as (
                select product_id, category_id from ({reference_relation(place, tables["products"])}) where valid_to is null
            )
            select coalesce(purchases.category_id, products.category_id) as category
            from purchases left join products using (product_id)
            where category is not null and not list_contains(?, category)
                and not list_contains(?, coalesce(purchases.product_id, ''))
            group by category
            having sum(amount) > 0
            order by sum(amount) desc, category
            """,
            [[OTHER, *shop.categories.exclude], shop.categories.exclude_products],
        ).fetchall()
    by_column = {slug(reserved): reserved for reserved in (OTHER, NONE)}
    for (category,) in found:
        by_column.setdefault(slug(category), category)
    categories = sorted(list(by_column.values())[2:][: shop.categories.top])
    if categories:
        write_text(place.categories_file, json.dumps({"categories": categories}, indent=2) + "\n")
    return [*categories, OTHER]
