{#-
    What was known of clicks as of a point. `clock` is a relation of one row with the column as_of, the end of a slice; an
    empty clock gives no rows. Known are rows of arrival slices before as_of; a window of n days holds event times in
    [as_of - n x 24 h, as_of). The current state passes ops.clock, training sets pass each of their cut-offs.
-#}

{#- One row per visitor that was linked to exactly one customer: visitor_id, customer_id. -#}
{% macro visitor_customers_as_of(links, clock) -%}
    select
        visitor_id,
        min(customer_id) as customer_id

    from {{ links }}
    where slice < (select as_of from {{ clock }})
    group by visitor_id
    having min(customer_id) = max(customer_id)
{%- endmacro %}


{#- One row per product, in the version that is valid at as_of: product_id, category_id. -#}
{% macro products_as_of(products, clock) -%}
    select
        product_id,
        category_id

    from {{ products }}
    where valid_from <= (select as_of from {{ clock }})
        and (valid_to is null or valid_to > (select as_of from {{ clock }}))
{%- endmacro %}


{#-
    One row per customer, category (null where an event has none) and window with views or additions to the cart:
    customer_id, category_id, window_days, views, dwell_seconds, carts.
-#}
{% macro activity_windows_as_of(activity, visitor_customers, products, clock) -%}
    {%- set windows = var('windows_days') | sort -%}
    with

    recent as (

        select
            coalesce(a.customer_id, v.customer_id) as customer_id,
            {{ shop_category('a.category_id', 'p.category_id', 'a.product_id') }} as category_id,
            case
                {%- for days in windows[:-1] %}
                when a.event_slice >= (select as_of - interval '{{ days }}' day from {{ clock }}) then {{ days }}
                {%- endfor %}
                else {{ windows[-1] }}
            end as shortest_window,
            a.views,
            a.dwell_seconds,
            a.carts

        from {{ activity }} as a
        left join {{ visitor_customers }} as v on a.visitor_id = v.visitor_id
        left join ({{ products_as_of(products, clock) }}) as p on a.product_id = p.product_id
        where a.slice < (select as_of from {{ clock }})
            and a.event_slice < (select as_of from {{ clock }})
            and a.event_slice >= (select as_of - interval '{{ windows[-1] }}' day from {{ clock }})
            and (a.views > 0 or a.carts > 0)
            and coalesce(a.customer_id, v.customer_id) is not null

    ),

    by_shortest_window as (

        select
            customer_id,
            category_id,
            shortest_window,
            sum(views) as views,
            sum(dwell_seconds) as dwell_seconds,
            sum(carts) as carts

        from recent
        group by customer_id, category_id, shortest_window

    ),

    by_category as (

        select
            customer_id,
            category_id,
            {%- for days in windows %}
            {%- for measure in ['views', 'dwell_seconds', 'carts'] %}
            sum({{ measure }}) filter (where shortest_window <= {{ days }}) as {{ measure }}_{{ days }}d,
            {%- endfor %}
            {%- endfor %}
            count(*) as row_count

        from by_shortest_window
        group by customer_id, category_id

    )
    {% for days in var('windows_days') %}
    select
        customer_id,
        category_id,
        cast({{ days }} as bigint) as window_days,
        cast(views_{{ days }}d as bigint) as views,
        cast(dwell_seconds_{{ days }}d as decimal(28, 6)) as dwell_seconds,
        cast(carts_{{ days }}d as bigint) as carts

    from by_category
    where views_{{ days }}d > 0 or carts_{{ days }}d > 0
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}
{%- endmacro %}


{#- One row per customer and window with offers: customer_id, window_days, offers_shown, offers_clicked. -#}
{% macro offer_windows_as_of(offer_activity, visitor_customers, clock) -%}
    with

    recent as (

        select
            coalesce(o.customer_id, v.customer_id) as customer_id,
            o.event_slice,
            o.shown,
            o.clicked,
            (select as_of from {{ clock }}) as as_of

        from {{ offer_activity }} as o
        left join {{ visitor_customers }} as v on o.visitor_id = v.visitor_id
        where o.slice < (select as_of from {{ clock }})
            and o.event_slice < (select as_of from {{ clock }})
            and o.event_slice >= (select as_of - interval '{{ var("windows_days") | max }}' day from {{ clock }})
            and coalesce(o.customer_id, v.customer_id) is not null

    )
    {% for days in var('windows_days') %}
    select
        customer_id,
        cast({{ days }} as bigint) as window_days,
        cast(sum(shown) as bigint) as offers_shown,
        cast(sum(clicked) as bigint) as offers_clicked

    from recent
    where event_slice >= as_of - interval '{{ days }}' day
    group by customer_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}
{%- endmacro %}


{#- One row per customer with events before as_of: customer_id, last_event_at. -#}
{% macro last_activity_as_of(activity, visitor_customers, clock) -%}
    with

    by_raw_ids as (

        select
            customer_id,
            visitor_id,
            max(last_event_at) as last_event_at

        from {{ activity }}
        where slice < (select as_of from {{ clock }})
            and event_slice < (select as_of from {{ clock }})
            and last_event_at is not null
        group by customer_id, visitor_id

    )

    select
        coalesce(a.customer_id, v.customer_id) as customer_id,
        max(a.last_event_at) as last_event_at

    from by_raw_ids as a
    left join {{ visitor_customers }} as v on a.visitor_id = v.visitor_id
    where coalesce(a.customer_id, v.customer_id) is not null
    group by 1
{%- endmacro %}
