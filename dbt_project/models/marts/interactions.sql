{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set gap = visit_gap_minutes() | int %}

with

lines as (

    {{ purchase_lines_as_of(
        ref('int_purchases_by_slice'),
        ref('stg_purchases'),
        ref('stg_products'),
        ref('int_visitor_customers'),
        source('ops', 'clock'),
        with_guests=true
    ) }}

),

-- when the first line of an order's product came in; reference rows of the first load were known whenever they were made
arrivals as (

    select
        order_id,
        product_id,
        min(known_at) as known_at

    from (
        select
            order_id,
            product_id,
            slice + interval '{{ var("slice_minutes") }}' minute as known_at

        from {{ ref('int_purchases_by_slice') }}
        where slice < {{ as_of }}

        union all

        select
            order_id,
            product_id,
            valid_from as known_at

        from {{ ref('stg_purchases') }}
        where valid_from <= {{ as_of }}
    ) as every_arrival
    group by order_id, product_id

),

purchases as (

    select
        l.customer_id,
        cast(null as string) as visitor_id,
        l.order_id as session_id,
        l.product_id,
        'purchase' as kind,
        min(l.purchased_at) as happened_at,
        greatest(min(l.purchased_at), min(a.known_at)) as known_at,
        coalesce(sum(l.quantity), cast(count(*) as double)) as quantity

    from lines as l
    inner join arrivals as a
        on l.order_id = a.order_id
        and l.product_id = a.product_id
    where l.is_purchase
        and l.purchased_at >= {{ as_of }} - interval '{{ var("rfm_window_days") }}' day
    group by l.customer_id, l.order_id, l.product_id

),

linked_slices as (

    select
        visitor_id,
        min(slice) as linked_slice

    from {{ ref('int_visitor_links_by_slice') }}
    where slice < {{ as_of }}
    group by visitor_id

),

known_activity as (

    select
        coalesce(a.customer_id, v.customer_id) as customer_id,
        case when a.customer_id is null and v.customer_id is null then a.visitor_id end as visitor_id,
        a.product_id,
        a.event_slice,
        -- null in the rows of slices that a version before 0.1.0 wrote and whose raw files retention has removed
        coalesce(a.first_event_at, a.event_slice) as happened_at,
        coalesce(a.last_event_at, a.event_slice) as last_event_at,
        case when a.customer_id is null and v.customer_id is not null then greatest(a.slice, l.linked_slice) else a.slice end
        + interval '{{ var("slice_minutes") }}' minute as known_at,
        a.views,
        a.carts

    from {{ ref('int_activity_by_slice') }} as a
    left join {{ ref('int_visitor_customers') }} as v on a.visitor_id = v.visitor_id
    left join linked_slices as l on a.visitor_id = l.visitor_id
    where a.slice < {{ as_of }}
        and a.event_slice < {{ as_of }}
        and a.event_slice >= {{ as_of }} - interval '90' day
        and a.product_id is not null
        and (a.views > 0 or a.carts > 0)

),

activity as (

    select
        customer_id,
        visitor_id,
        product_id,
        min(happened_at) as happened_at,
        max(last_event_at) as last_event_at,
        min(known_at) as known_at,
        sum(views) as views,
        sum(carts) as carts

    from known_activity
    group by customer_id, visitor_id, product_id, event_slice

),

ordered as (

    select
        *,
        max(last_event_at) over (
            partition by customer_id, visitor_id
            order by happened_at asc nulls last, product_id asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as previous_event_at

    from activity

),

visits as (

    select
        *,
        sum(case when happened_at < previous_event_at + interval '{{ gap }}' minute then 0 else 1 end) over (
            partition by customer_id, visitor_id
            order by happened_at asc nulls last, product_id asc nulls last
            rows between unbounded preceding and current row
        ) as visit_no

    from ordered

),

named_visits as (

    select
        customer_id,
        visitor_id,
        product_id,
        happened_at,
        known_at,
        views,
        carts,
        min(happened_at) over (partition by customer_id, visitor_id, visit_no) as visit_started_at,
        count(*) over (partition by customer_id, visitor_id, visit_no) as visit_rows

    from visits

),

-- a person sees fewer products in a visit: what sees more is a robot, and would be seen along with everything
seen as (

    select
        *,
        coalesce(customer_id, visitor_id) || '/' || cast(visit_started_at as string) as session_id

    from named_visits
    where visit_rows <= 300

),

final as (

    select
        customer_id,
        visitor_id,
        session_id,
        product_id,
        kind,
        happened_at,
        known_at,
        cast(quantity as double) as quantity

    from (
        select *
        from purchases
        {%- for kind, times in {'view': 'views', 'cart': 'carts'}.items() %}

        union all

        select
            customer_id,
            visitor_id,
            session_id,
            product_id,
            '{{ kind }}' as kind,
            happened_at,
            known_at,
            cast({{ times }} as double) as quantity

        from seen
        where {{ times }} > 0
        {%- endfor %}
    ) as every_kind

)

select * from final
