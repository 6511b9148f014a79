{#-
    What was known of purchases as of a point; see events.sql for `clock`. A purchase is known when its event arrived in a slice
    before as_of or the reference table held it at as_of, and it was made before as_of. Lines, repeats, returns and orders are those
    of macros/purchases.sql.
-#}

{#-
    One row per line of an order: order_id, product_id, line_no, unnumbered_event_key, customer_id, category_id, purchased_at,
    quantity, amount, is_purchase. A repeat counts once; a reference row replaces the events of its line. A reference row without a
    customer is of the one customer that the order's events name, else of a guest. Lines of guests are left out unless `with_guests`.
-#}
{% macro purchase_lines_as_of(event_lines, reference_lines, products, visitor_customers, clock, with_guests=false) -%}
    {%- set as_of = as_of_clock(clock) -%}
    with

    event_lines as (

        select
            e.order_id,
            e.product_id,
            e.line_no,
            {{ unnumbered_event_key('e') }} as unnumbered_event_key,
            coalesce(e.customer_id, v.customer_id) as customer_id,
            e.category_id,
            e.purchased_at,
            e.quantity,
            e.amount

        from (
            {{ first_event_of_each_line(event_lines, 'slice < ' ~ as_of) }}
        ) as e
        left join {{ visitor_customers }} as v on e.visitor_id = v.visitor_id

    ),

    reference_rows as (

        select *
        from {{ reference_lines }}
        where valid_from <= {{ as_of }}
            and (valid_to is null or valid_to > {{ as_of }})

    ),

    guest_orders as (

        select
            order_id,
            min(customer_id) as customer_id

        from event_lines
        where order_id in (select order_id from reference_rows where customer_id is null)
        group by order_id
        having min(customer_id) = max(customer_id)

    ),

    reference_lines as (

        select
            r.order_id,
            r.product_id,
            r.line_no,
            cast(null as bigint) as unnumbered_event_key,
            coalesce(r.customer_id, g.customer_id) as customer_id,
            r.category_id,
            r.purchased_at,
            r.quantity,
            r.amount

        from reference_rows as r
        left join guest_orders as g on r.order_id = g.order_id

    ),

    known_lines as (

        {{ lines_of('event_lines', 'reference_lines', [
            'order_id', 'product_id', 'line_no', 'unnumbered_event_key', 'customer_id', 'category_id', 'purchased_at', 'quantity',
            'amount'
        ]) }}

    )

    select
        l.order_id,
        l.product_id,
        l.line_no,
        l.unnumbered_event_key,
        l.customer_id,
        {{ shop_category('l.category_id', 'p.category_id', 'l.product_id') }} as category_id,
        l.purchased_at,
        l.quantity,
        l.amount,
        {{ is_purchase_line('l.amount', 'l.quantity') }} as is_purchase

    from known_lines as l
    left join ({{ products_as_of(products, clock) }}) as p on l.product_id = p.product_id
    where l.purchased_at < {{ as_of }}
        {%- if not with_guests %}
        and l.customer_id is not null
        {%- endif %}
{%- endmacro %}


{#-
    One row per customer, order_id and category (null where a line has none) with lines in the longest window: customer_id,
    order_id, category_id and per window spend_<n>d (net of returns; null without lines in it), returned_<n>d (the amount of the
    returns among them, at least 0; null without one) and purchase_lines_<n>d.
-#}
{% macro recent_orders_as_of(lines, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select
        customer_id,
        order_id,
        category_id
        {%- for days in var('windows_days') %},
        sum(amount) filter (where purchased_at >= as_of - interval '{{ days }}' day) as spend_{{ days }}d,
        sum(-amount) filter (
            where not is_purchase and purchased_at >= as_of - interval '{{ days }}' day
        ) as returned_{{ days }}d,
        count(*) filter (where is_purchase and purchased_at >= as_of - interval '{{ days }}' day) as purchase_lines_{{ days }}d
        {%- endfor %}

    from (
        select
            customer_id,
            order_id,
            category_id,
            purchased_at,
            amount,
            is_purchase,
            {{ as_of }} as as_of

        from {{ lines }}
        where purchased_at < {{ as_of }}
            and purchased_at >= {{ as_of }} - interval '{{ var("windows_days") | max }}' day
    ) as recent_lines
    group by customer_id, order_id, category_id
{%- endmacro %}


{#-
    One row per customer with purchase lines or returns: customer_id, recency_days (shop-local days from the date of the last
    purchase line to as_of's, null where there are only returns), and of the RFM window, the shop-local dates that lie 0 to
    rfm_window_days - 1 days back: frequency (orders), monetary (spend net of returns) and return_share (the amount of the returns
    as a share of the gross amount of the purchase lines, whenever the returned goods were bought; at most 1, null where nothing
    was paid for). Lines outside the window count for recency only.
-#}
{% macro rfm_as_of(lines, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    with

    recency as (

        select
            customer_id,
            order_id,
            amount,
            is_purchase,
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
            min(days_ago) filter (where is_purchase) as days_ago,
            sum(amount) filter (where days_ago < {{ var('rfm_window_days') }}) as spend,
            sum(amount) filter (where is_purchase and days_ago < {{ var('rfm_window_days') }}) as bought

        from recency
        group by customer_id, order_id

    )

    select
        customer_id,
        min(days_ago) as recency_days,
        count(*) filter (where days_ago < {{ var('rfm_window_days') }}) as frequency,
        cast(coalesce(sum(spend), 0) as decimal(18, 2)) as monetary,
        case
            when sum(bought) > 0
                then least(cast(1 as double), cast(sum(bought) - sum(spend) as double) / cast(sum(bought) as double))
        end as return_share

    from by_order
    group by customer_id
{%- endmacro %}


{#-
    One row per customer and category (null where a line has none) with lines ever: customer_id, category_id, lines (purchase
    lines), spend (net) and last_purchased_at (of the last purchase line, null where there are only returns).
-#}
{% macro category_history_as_of(lines) -%}
    select
        customer_id,
        category_id,
        count(*) filter (where is_purchase) as lines,
        sum(amount) as spend,
        max(purchased_at) filter (where is_purchase) as last_purchased_at

    from {{ lines }}
    group by customer_id, category_id
{%- endmacro %}


{#- The category of the last purchase line that has one, one row per customer: customer_id, last_category_id; ties by category id. -#}
{% macro last_category_as_of(category_history) -%}
    select
        customer_id,
        category_id as last_category_id

    from (
        select
            customer_id,
            category_id,
            row_number() over (partition by customer_id order by last_purchased_at desc nulls last, category_id asc nulls last) as place

        from {{ category_history }}
        where category_id is not null
            and last_purchased_at is not null
    ) as ranked_categories
    where place = 1
{%- endmacro %}
