{#-
    What was known of purchases as of a point; see events.sql for `clock`. A purchase is known when its event arrived in a slice
    before as_of or the reference table held it at as_of, and it was made before as_of.
-#}

{#-
    One row per line of an order, of known customers: order_id, product_id, line_no, customer_id, category_id, purchased_at,
    quantity, amount. Of several events of a line the first counts (lowest slice, event_key); a reference row wins over events.
-#}
{% macro purchase_lines_as_of(event_lines, reference_lines, products, visitor_customers, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    with

    event_lines as (

        select
            order_id,
            product_id,
            line_no,
            customer_id,
            visitor_id,
            category_id,
            purchased_at,
            quantity,
            amount,
            row_number() over (partition by order_id, product_id, line_no order by slice, event_key) as occurrence

        from {{ event_lines }}
        where slice < {{ as_of }}

    ),

    reference_lines as (

        select
            order_id,
            product_id,
            line_no,
            customer_id,
            category_id,
            purchased_at,
            quantity,
            amount

        from {{ reference_lines }}
        where valid_from <= {{ as_of }}
            and (valid_to is null or valid_to > {{ as_of }})

    ),

    known_lines as (

        select
            e.order_id,
            e.product_id,
            e.line_no,
            coalesce(e.customer_id, v.customer_id) as customer_id,
            e.category_id,
            e.purchased_at,
            e.quantity,
            e.amount

        from event_lines as e
        left join {{ visitor_customers }} as v on e.visitor_id = v.visitor_id
        left join reference_lines as r
            on e.order_id = r.order_id
            and e.product_id = r.product_id
            and e.line_no = r.line_no
        where e.occurrence = 1
            and r.order_id is null
            and coalesce(e.customer_id, v.customer_id) is not null

        union all

        select
            order_id,
            product_id,
            line_no,
            customer_id,
            category_id,
            purchased_at,
            quantity,
            amount

        from reference_lines

    )

    select
        l.order_id,
        l.product_id,
        l.line_no,
        l.customer_id,
        {{ shop_category('l.category_id', 'p.category_id', 'l.product_id') }} as category_id,
        l.purchased_at,
        l.quantity,
        l.amount

    from known_lines as l
    left join ({{ products_as_of(products, clock) }}) as p on l.product_id = p.product_id
    where l.purchased_at < {{ as_of }}
{%- endmacro %}


{#-
    One row per customer, order and category (null where a line has none) with lines in the longest window:
    customer_id, order_id, category_id, last_purchased_at, and spend_<n>d per window (null without lines in it).
-#}
{% macro recent_orders_as_of(lines, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select
        customer_id,
        order_id,
        category_id,
        {%- for days in var('windows_days') %}
        sum(amount) filter (where purchased_at >= as_of - interval '{{ days }}' day) as spend_{{ days }}d,
        {%- endfor %}
        max(purchased_at) as last_purchased_at

    from (
        select
            customer_id,
            order_id,
            category_id,
            purchased_at,
            amount,
            {{ as_of }} as as_of

        from {{ lines }}
        where purchased_at < {{ as_of }}
            and purchased_at >= {{ as_of }} - interval '{{ var("windows_days") | max }}' day
    ) as recent_lines
    group by customer_id, order_id, category_id
{%- endmacro %}


{#- One row per customer, category and window with orders: customer_id, category_id, window_days, orders, spend. -#}
{% macro category_orders_as_of(recent_orders) -%}
    {%- for days in var('windows_days') %}
    select
        customer_id,
        category_id,
        cast({{ days }} as bigint) as window_days,
        count(*) as orders,
        cast(sum(spend_{{ days }}d) as decimal(18, 2)) as spend

    from {{ recent_orders }}
    where spend_{{ days }}d is not null
    group by customer_id, category_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}
{%- endmacro %}


{#- One row per customer and window with orders, over all categories: customer_id, window_days, orders, spend. -#}
{% macro order_totals_as_of(recent_orders) -%}
    {%- for days in var('windows_days') %}
    select
        customer_id,
        cast({{ days }} as bigint) as window_days,
        count(*) as orders,
        cast(sum(spend) as decimal(18, 2)) as spend

    from (
        select
            customer_id,
            order_id,
            sum(spend_{{ days }}d) as spend

        from {{ recent_orders }}
        where spend_{{ days }}d is not null
        group by customer_id, order_id
    ) as orders_{{ days }}d
    group by customer_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}
{%- endmacro %}


{#-
    One row per customer who ever bought: customer_id, recency_days (shop-local days from the last order's date to as_of's),
    frequency (orders) and monetary (net spend) of the RFM window, the shop-local dates that lie 0 to rfm_window_days - 1 days
    back. Lines outside the window count for recency only.
-#}
{% macro rfm_as_of(lines, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    with

    recency as (

        select
            customer_id,
            order_id,
            amount,
            {{ days_between(
                shop_date('purchased_at'),
                shop_date(as_of)
            ) }} as days_ago

        from {{ lines }}
        where purchased_at < {{ as_of }}

    ),

    by_order as (

        select
            customer_id,
            order_id,
            min(days_ago) as days_ago,
            sum(amount) filter (where days_ago < {{ var('rfm_window_days') }}) as spend

        from recency
        group by customer_id, order_id

    )

    select
        customer_id,
        min(days_ago) as recency_days,
        count(*) filter (where days_ago < {{ var('rfm_window_days') }}) as frequency,
        cast(coalesce(sum(spend), 0) as decimal(18, 2)) as monetary

    from by_order
    group by customer_id
{%- endmacro %}


{#- One row per customer with a purchase in a category: customer_id, last_category_id; ties by category id. -#}
{% macro last_category_as_of(lines) -%}
    select
        l.customer_id,
        min(l.category_id) as last_category_id

    from {{ lines }} as l
    inner join (
        select
            customer_id,
            max(purchased_at) as purchased_at

        from {{ lines }}
        where category_id is not null
        group by customer_id
    ) as last_line
        on l.customer_id = last_line.customer_id
        and l.purchased_at = last_line.purchased_at
    where l.category_id is not null
    group by l.customer_id
{%- endmacro %}
