{#-
    What was known of clicks as of a point. `clock` is a relation or subquery of one row with the column as_of, the end of a
    slice; an empty clock gives no rows. Known are rows of arrival slices before as_of; a window of n days holds event times in
    [as_of - n x 24 h, as_of). The current state passes ops.clock, training sets pass each of their cut-offs.
-#}

{#- One row per visitor that was linked to exactly one customer: visitor_id, customer_id. -#}
{% macro visitor_customers_as_of(links, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select
        visitor_id,
        min(customer_id) as customer_id

    from {{ links }}
    where slice < {{ as_of }}
    group by visitor_id
    having min(customer_id) = max(customer_id)
{%- endmacro %}


{#- One row per product, in the version that is valid at as_of: product_id, category_id. -#}
{% macro products_as_of(products, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select
        product_id,
        category_id

    from {{ products }}
    where valid_from <= {{ as_of }}
        and (valid_to is null or valid_to > {{ as_of }})
{%- endmacro %}


{#-
    One row per customer, product, category as the event says it (both null where it names none) and shortest window that holds
    it, with views or additions to the cart: customer_id, product_id, category_id, window_minutes, views, dwell_seconds, carts.
    A window's numbers are the sums over its own rows and those of shorter ones.
-#}
{% macro product_windows_as_of(activity, visitor_customers, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select
        coalesce(a.customer_id, v.customer_id) as customer_id,
        a.product_id,
        a.category_id,
        {{ shortest_window('a.event_slice', as_of) }} as window_minutes,
        cast(sum(a.views) as bigint) as views,
        cast(sum(a.dwell_seconds) as decimal(28, 6)) as dwell_seconds,
        cast(sum(a.carts) as bigint) as carts

    from {{ activity }} as a
    left join {{ visitor_customers }} as v on a.visitor_id = v.visitor_id
    where a.slice < {{ as_of }}
        and a.event_slice < {{ as_of }}
        and a.event_slice >= {{ as_of }} - interval '{{ all_windows() | last }}' minute
        and (a.views > 0 or a.carts > 0)
        and coalesce(a.customer_id, v.customer_id) is not null
    group by 1, 2, 3, 4
{%- endmacro %}


{#-
    One row per customer, category (null where an event has none) and window with views or additions to the cart:
    customer_id, category_id, window_days, views, dwell_seconds, carts.
-#}
{% macro activity_windows_as_of(product_windows, products, clock) -%}
    with

    by_category as (

        select
            w.customer_id,
            {{ shop_category('w.category_id', 'p.category_id', 'w.product_id') }} as category_id,
            {%- for days in var('windows_days') %}
            {%- for measure in ['views', 'dwell_seconds', 'carts'] %}
            sum(w.{{ measure }}) filter (where w.window_minutes <= {{ days * 24 * 60 }}) as {{ measure }}_{{ days }}d,
            {%- endfor %}
            {%- endfor %}
            count(*) as row_count

        from {{ product_windows }} as w
        left join ({{ products_as_of(products, clock) }}) as p on w.product_id = p.product_id
        group by 1, 2

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
    {%- set as_of = as_of_clock(clock) -%}
    with

    recent as (

        select
            coalesce(o.customer_id, v.customer_id) as customer_id,
            o.event_slice,
            o.shown,
            o.clicked,
            {{ as_of }} as as_of

        from {{ offer_activity }} as o
        left join {{ visitor_customers }} as v on o.visitor_id = v.visitor_id
        where o.slice < {{ as_of }}
            and o.event_slice < {{ as_of }}
            and o.event_slice >= {{ as_of }} - interval '{{ var("windows_days") | max }}' day
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


{#- One row per customer with an event or a purchase line before as_of, `lines` known then: customer_id, last_event_at. -#}
{% macro last_activity_as_of(activity, visitor_customers, lines, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    with

    by_raw_ids as (

        select
            customer_id,
            visitor_id,
            max(last_event_at) as last_event_at

        from {{ activity }}
        where slice < {{ as_of }}
            and event_slice < {{ as_of }}
            and last_event_at is not null
        group by customer_id, visitor_id

        union all

        select
            customer_id,
            cast(null as string) as visitor_id,
            max(purchased_at) as last_event_at

        from {{ lines }}
        where is_purchase
        group by customer_id

    )

    select
        coalesce(a.customer_id, v.customer_id) as customer_id,
        max(a.last_event_at) as last_event_at

    from by_raw_ids as a
    left join {{ visitor_customers }} as v on a.visitor_id = v.visitor_id
    where coalesce(a.customer_id, v.customer_id) is not null
    group by 1
{%- endmacro %}
