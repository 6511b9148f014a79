with

activity as (

    {{ activity_by_event_slice(
        ref('int_activity_by_slice'),
        {
            'events': 'events',
            'page_and_product_views': 'page_views + views',
            'offers_shown': 'offers_shown',
            'offers_clicked': 'offers_clicked',
        },
        visitor='case when last_event_at is not null then coalesce(visitor_id, customer_id) end'
    ) }}

),

final as (

    select
        event_slice,
        events,
        page_and_product_views,
        offers_shown,
        offers_clicked,
        purchases,
        purchases_in_visits,
        revenue,
        visitors,
        cast(offers_clicked as double) / nullif(offers_shown, 0) as click_through,
        page_and_product_views as views,
        offers_clicked as clicks

    from activity

)

select * from final
