with

activity as (

    {{ activity_by_event_slice(
        ref('int_offer_activity_by_slice'),
        {'shown': 'shown', 'clicked': 'clicked'},
        visitor='coalesce(visitor_id, customer_id)',
        item='offer_id'
    ) }}

),

final as (

    select
        event_slice,
        offer_id,
        shown,
        clicked,
        purchases,
        revenue,
        visitors,
        cast(clicked as double) / nullif(shown, 0) as click_through,
        shown as views,
        clicked as clicks

    from activity

)

select * from final
