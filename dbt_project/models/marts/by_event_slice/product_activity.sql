with

activity as (

    {{ activity_by_event_slice(
        ref('int_activity_by_slice'),
        {'events': 'events', 'views': 'views', 'carts': 'carts'},
        visitor='case when last_event_at is not null then coalesce(visitor_id, customer_id) end',
        item='product_id',
        no_item='(none)'
    ) }}

),

final as (

    select
        event_slice,
        product_id,
        events,
        views,
        carts,
        purchases,
        revenue,
        visitors,
        cast(carts as double) / nullif(views, 0) as cart_rate,
        carts as clicks,
        cast(carts as double) / nullif(views, 0) as click_through

    from activity

)

select * from final
