with

events as (

    select
        slice,
        event_slice,
        event_name,
        coalesce(visitor_id, customer_id) as visitor,
        product_id,
        category_id,
        {{ referrer_host('referrer', 'page_url') }} as referrer,
        substring(coalesce(device, '(none)'), 1, 100) as device,
        row_number() over (
            partition by slice, event_slice, coalesce(visitor_id, customer_id)
            order by event_at asc nulls last, event_key asc nulls last
        ) as place

    from {{ ref('stg_clicks') }}
    where event_name in ({{ quoted_list(var('event_names')) }})

),

starts as (

    select *
    from events
    where place = 1

),

-- a person sees fewer products in a quarter of an hour: what sees more is a robot
seen as (

    select
        slice,
        event_slice,
        visitor,
        product_id,
        count(*) over (partition by slice, event_slice, visitor) as products

    from (
        select distinct
            slice,
            event_slice,
            visitor,
            product_id

        from events
        where product_id is not null and event_name in ('view_item', 'add_to_cart', 'purchase')
    ) as distinct_products

),

final as (

    select
        starts.slice,
        starts.event_slice,
        starts.category_id,
        starts.product_id as first_product_id,
        starts.referrer,
        starts.device,
        seen.product_id,
        count(*) as visitors

    from starts
    inner join seen
        on starts.slice = seen.slice
        and starts.event_slice = seen.event_slice
        and starts.visitor = seen.visitor
    where seen.products <= 100
        and (starts.product_id is null or starts.product_id <> seen.product_id)
    group by 1, 2, 3, 4, 5, 6, 7

)

select * from final
