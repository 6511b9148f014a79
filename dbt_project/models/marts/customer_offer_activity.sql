{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

offers as (

    select
        coalesce(activity.customer_id, visitors.customer_id) as customer_id,
        activity.offer_id,
        activity.event_slice,
        activity.shown,
        activity.clicked,
        {{ as_of }} as as_of

    from {{ ref('int_offer_activity_by_slice') }} as activity
    left join {{ ref('int_visitor_customers') }} as visitors on activity.visitor_id = visitors.visitor_id
    where activity.slice < {{ as_of }}
        and activity.event_slice < {{ as_of }}
        and activity.event_slice >= {{ as_of }} - interval '30' day
        and (activity.shown > 0 or activity.clicked > 0)

),

final as (

    select
        customer_id,
        offer_id,
        {%- for suffix, minutes in activity_windows() %}
        {%- for measure in ['shown', 'clicked'] %}
        cast(
            coalesce(sum({{ measure }}) filter (where event_slice >= as_of - interval '{{ minutes }}' minute), 0) as bigint
        ) as {{ measure }}_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        max(as_of) as as_of

    from offers
    where customer_id is not null
    group by customer_id, offer_id

)

select * from final
