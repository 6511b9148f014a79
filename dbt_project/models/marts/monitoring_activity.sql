{{ config(tags=['daily']) }}
{%- set end_of_time = "cast('9999-12-31 00:00:00' as timestamp)" %}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{#- What happened, with the columns of each source; the others are null. Reference rows have a validity instead of a slice. -#}
{%- set types = {
    'slice': 'timestamp', 'valid_from': 'timestamp', 'valid_to': 'timestamp',
    'customer_id': 'string', 'visitor_id': 'string', 'product_id': 'string', 'category_id': 'string',
    'order_id': 'string', 'line_no': 'bigint', 'is_purchase': 'boolean', 'amount': 'decimal(18, 2)',
    'views': 'bigint', 'dwell_seconds': 'decimal(28, 6)', 'carts': 'bigint', 'shown': 'bigint', 'clicked': 'bigint',
} %}
{%- set of_event = ['slice', 'customer_id', 'visitor_id'] %}
{%- set of_line = ['customer_id', 'product_id', 'category_id', 'order_id', 'line_no', 'amount'] %}
{%- set line = {'happened_at': 'purchased_at', 'is_purchase': is_purchase_line()} %}
{%- set sources = [
    (
        ref('int_activity_by_slice'),
        of_event + ['product_id', 'category_id', 'views', 'dwell_seconds', 'carts'],
        {'happened_at': 'event_slice'},
    ),
    (ref('int_offer_activity_by_slice'), of_event + ['shown', 'clicked'], {'happened_at': 'event_slice'}),
    ('event_lines', of_event + of_line, line),
    (ref('stg_purchases'), ['valid_from', 'valid_to'] + of_line, line),
] %}

with

customers as (

    select customer_id
    from {{ ref('monitoring_customers') }}

),

-- A visitor belongs to its first customer, from the slice that linked them until a slice links it to a second one.
visitor_links as (

    select
        visitor_id,
        customer_id,
        linked_slice,
        lead(linked_slice) over (
            partition by visitor_id
            order by linked_slice asc nulls last, customer_id asc nulls last
        ) as second_slice,
        row_number() over (
            partition by visitor_id
            order by linked_slice asc nulls last, customer_id asc nulls last
        ) as place

    from (
        select
            visitor_id,
            customer_id,
            min(slice) as linked_slice

        from {{ ref('int_visitor_links_by_slice') }}
        where slice < {{ as_of }}
        group by visitor_id, customer_id
    ) as links

),

visitor_customers as (

    select
        visitor_id,
        customer_id,
        linked_slice,
        -- no null, and no `or` in the joins below: DuckDB 1.5 then compares every row with every other
        coalesce(second_slice, {{ end_of_time }}) as second_slice

    from visitor_links
    where place = 1

),

event_lines as (

    {{ first_event_of_each_line(ref('int_purchases_by_slice'), 'slice < ' ~ as_of) }}

),

happenings as (
    {% for relation, same, others in sources %}
    select
        {%- for name, type in types.items() %}
        cast({{ name if name in same else others.get(name, 'null') }} as {{ type }}) as {{ name }},
        {%- endfor %}
        {{ others['happened_at'] }} as happened_at

    from {{ relation }}
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

),

-- Day 0 is [as_of - 24 h, as_of), day 1 the 24 hours before it. A day includes its start.
by_day as (

    select
        *,
        cast(ceil({{ seconds_between('happened_at', as_of) }} / 86400) as bigint) - 1 as day_no

    from happenings
    where happened_at < {{ as_of }}
        and happened_at >= {{ as_of }} - interval '{{ var("monitored_days") }}' day

),

by_day_end as (

    select
        *,
        {{ as_of }} - day_no * interval '24' hour as day_end

    from by_day

),

-- What the end of the day knew: arrival slices before it, reference rows in force at it.
known_then as (

    select *
    from by_day_end
    where slice < day_end
        or (valid_from <= day_end and (valid_to is null or valid_to > day_end))

),

-- As in purchase_lines_as_of: a reference row without a customer is of the only one that the events of its order name.
guest_orders as (

    select
        g.day_no,
        g.order_id,
        min(coalesce(e.customer_id, v.customer_id)) as customer_id

    from (
        select distinct
            day_no,
            day_end,
            order_id

        from known_then
        where slice is null
            and customer_id is null
    ) as g
    inner join event_lines as e
        on g.order_id = e.order_id
        and g.day_end > e.slice
    left join visitor_customers as v
        on e.visitor_id = v.visitor_id
        and g.day_end > v.linked_slice
        and g.day_end <= v.second_slice
    group by g.day_no, g.order_id
    having min(coalesce(e.customer_id, v.customer_id)) = max(coalesce(e.customer_id, v.customer_id))

),

-- The visitor's customer is that of the end of the day too. A reference row replaces the events of its line; that only events
-- are replaced is part of the key: of a left join with a condition on the left side alone DuckDB makes a nested loop.
of_customers as (

    select
        k.day_no,
        k.day_end,
        c.customer_id,
        k.product_id,
        k.category_id,
        k.order_id,
        k.is_purchase,
        sum(k.views) as views,
        sum(k.dwell_seconds) as dwell_seconds,
        sum(k.carts) as carts,
        sum(k.shown) as offers_shown,
        sum(k.clicked) as offers_clicked,
        sum(k.amount) as amount

    from known_then as k
    left join visitor_customers as v
        on k.visitor_id = v.visitor_id
        and k.day_end > v.linked_slice
        and k.day_end <= v.second_slice
    left join guest_orders as g
        on case when k.slice is null then k.order_id end = g.order_id
        and k.day_no = g.day_no
    inner join customers as c on coalesce(k.customer_id, v.customer_id, g.customer_id) = c.customer_id
    left join {{ ref('stg_purchases') }} as r
        on case when k.slice is not null then k.order_id end = r.order_id
        and k.product_id = r.product_id
        and k.line_no = r.line_no
        and k.day_end >= r.valid_from
        and k.day_end < coalesce(r.valid_to, {{ end_of_time }})
    where r.order_id is null
    group by k.day_no, k.day_end, c.customer_id, k.product_id, k.category_id, k.order_id, k.is_purchase

),

with_category as (

    select
        a.*,
        coalesce({{ shop_category('a.category_id', 'p.category_id', 'a.product_id') }}, '(none)') as shop_category_id

    from of_customers as a
    left join {{ ref('stg_products') }} as p
        on a.product_id = p.product_id
        and a.day_end >= p.valid_from
        and a.day_end < coalesce(p.valid_to, {{ end_of_time }})

),

final as (

    select
        day_no,
        day_end,
        customer_id,
        shop_category_id as category_id,
        cast(coalesce(sum(views), 0) as bigint) as views,
        cast(coalesce(sum(dwell_seconds), 0) as double) as dwell_seconds,
        cast(coalesce(sum(carts), 0) as bigint) as carts,
        count(distinct case when is_purchase then order_id end) as orders,
        cast(coalesce(sum(amount), 0) as decimal(18, 2)) as spend,
        cast(coalesce(sum(case when not is_purchase then -amount end), 0) as decimal(18, 2)) as returned_amount,
        cast(coalesce(sum(offers_shown), 0) as bigint) as offers_shown,
        cast(coalesce(sum(offers_clicked), 0) as bigint) as offers_clicked

    from with_category
    group by day_no, day_end, customer_id, shop_category_id

)

select *
from final
where views > 0 or carts > 0 or orders > 0 or spend <> 0 or returned_amount <> 0 or offers_shown > 0 or offers_clicked > 0
