{{ config(tags=['daily']) }}
{%- set steps = ['view', 'cart', 'checkout', 'order'] %}

with

products as (

    {{ products_as_of(ref('stg_products'), source('ops', 'clock')) }}

),

activity as (

    select
        sessions.session_id,
        {{ shop_category('a.category_id', 'products.category_id', 'a.product_id') }} as category_id,
        sum(a.views) as views,
        sum(a.carts) as carts,
        sum(a.checkouts) as checkouts

    from {{ ref('int_activity_by_slice') }} as a
    inner join {{ ref('int_session_slices') }} as sessions
        on a.slice = sessions.slice
        and a.event_slice = sessions.event_slice
        and {{ visitor_of('a') }} = sessions.visitor
    left join products on a.product_id = products.product_id
    where a.views > 0 or a.carts > 0 or a.checkouts > 0
    group by 1, 2

),

lines as (

    select
        order_id,
        category_id

    from {{ ref('int_purchase_lines_with_guests') }}
    where is_purchase

),

-- how far each session came with each category: 1 viewed to 4 ordered
steps as (

    select
        session_id,
        category_id,
        case
            when checkouts > 0 then 3
            when carts > 0 then 2
            when views > 0 then 1
        end as step

    from activity

    union all

    select
        orders.session_id,
        lines.category_id,
        4 as step

    from lines
    inner join {{ ref('int_order_sessions') }} as orders on lines.order_id = orders.order_id
    where orders.session_id is not null

),

by_category as (

    select
        session_id,
        category_id,
        max(step) as step

    from steps
    group by 1, 2

),

-- a checkout that names no category is one of each category that was put into the cart
checkouts as (

    select session_id
    from by_category
    where category_id is null
        and step = 3

),

reached as (

    select
        c.session_id,
        c.category_id,
        case
            when c.step = 2 and checkouts.session_id is not null then 3
            else c.step
        end as step

    from by_category as c
    left join checkouts on c.session_id = checkouts.session_id
    where c.category_id is not null

    union all

    select
        s.session_id,
        '(all)' as category_id,
        coalesce(max(c.step), 0) as step

    from {{ ref('sessions') }} as s
    left join by_category as c on s.session_id = c.session_id
    group by 1, 2

),

-- free text: what a day has beyond these is named (other)
kept_sources as (

    select
        local_date,
        utm_source,
        utm_medium,
        row_number() over (
            partition by local_date
            order by count(*) desc nulls last, utm_source asc nulls last, utm_medium asc nulls last
        ) as place

    from {{ ref('sessions') }}
    group by 1, 2, 3

),

kept_devices as (

    select
        local_date,
        device,
        row_number() over (
            partition by local_date
            order by count(*) desc nulls last, device asc nulls last
        ) as place

    from {{ ref('sessions') }}
    group by 1, 2

),

named as (

    select
        s.session_id,
        s.local_date,
        s.customer_id,
        case when k.place <= 20 then s.utm_source else '(other)' end as utm_source,
        case when k.place <= 20 then s.utm_medium else '(other)' end as utm_medium,
        case when d.place <= 10 then s.device else '(other)' end as device

    from {{ ref('sessions') }} as s
    inner join kept_sources as k
        on s.local_date = k.local_date
        and s.utm_source = k.utm_source
        and s.utm_medium = k.utm_medium
    inner join kept_devices as d
        on s.local_date = d.local_date
        and s.device = d.device

),

by_customer as (

    select
        n.local_date,
        n.utm_source,
        n.utm_medium,
        n.device,
        reached.category_id,
        n.customer_id,
        count(*) as sessions,
        {%- for name in steps %}
        count(*) filter (where reached.step >= {{ loop.index }}) as sessions_with_{{ name }},
        {%- endfor %}
        max(reached.step) as step

    from reached
    inner join named as n on reached.session_id = n.session_id
    group by 1, 2, 3, 4, 5, 6

),

-- a customer of two sources or devices counts once in the row of all of them
totals as (
    {% for all_sources in [false, true] %}
    {%- for all_devices in [false, true] %}
    select
        local_date,
        {{ "'(all)'" if all_sources else 'utm_source' }} as utm_source,
        {{ "'(all)'" if all_sources else 'utm_medium' }} as utm_medium,
        {{ "'(all)'" if all_devices else 'device' }} as device,
        category_id,
        customer_id,
        sum(sessions) as sessions,
        {%- for name in steps %}
        sum(sessions_with_{{ name }}) as sessions_with_{{ name }},
        {%- endfor %}
        max(step) as step

    from by_customer
    group by 1, 2, 3, 4, 5, 6
    {%- if not (all_sources and all_devices) %}

    union all
    {% endif %}
    {%- endfor %}
    {%- endfor %}

),

final as (

    select
        local_date,
        utm_source,
        utm_medium,
        device,
        category_id,
        {%- for name in steps %}
        cast(sum(sessions_with_{{ name }}) as bigint) as sessions_with_{{ name }},
        count(case when step >= {{ loop.index }} then customer_id end) as customers_with_{{ name }},
        {%- endfor %}
        cast(sum(sessions) as bigint) as sessions,
        count(customer_id) as customers

    from totals
    group by 1, 2, 3, 4, 5

)

select * from final
