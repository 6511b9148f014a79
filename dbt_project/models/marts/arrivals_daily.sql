{{ config(tags=['daily']) }}

with

events as (

    select
        {{ shop_date('event_slice') }} as local_date,
        sum(events) as events,
        sum(case when {{ shop_date('slice') }} > {{ shop_date('event_slice') }} then events else 0 end) as late_events

    from {{ ref('int_activity_by_slice') }}
    group by 1

),

lines as (

    {{ first_event_of_each_line(ref('int_purchases_by_slice'), 'true') }}

),

first_lines as (

    select
        {{ shop_date('purchased_at') }} as local_date,
        count(*) as purchase_lines,
        sum(amount) as amount,
        sum(case when {{ shop_date('slice') }} > {{ shop_date('purchased_at') }} then 1 else 0 end) as late_lines,
        sum(case when {{ shop_date('slice') }} > {{ shop_date('purchased_at') }} then amount else 0 end) as late_amount

    from lines
    group by 1

),

all_lines as (

    select
        {{ shop_date('purchased_at') }} as local_date,
        count(*) as purchase_lines,
        sum(amount) as amount

    from {{ ref('int_purchases_by_slice') }}
    group by 1

),

final as (

    select
        events.local_date,
        cast(events.events as bigint) as events,
        cast(events.late_events as bigint) as late_events,
        coalesce(first_lines.purchase_lines, 0) as purchase_lines,
        cast(coalesce(first_lines.late_lines, 0) as bigint) as late_lines,
        cast(coalesce(first_lines.late_amount, 0) as decimal(18, 2)) as late_amount,
        coalesce(all_lines.purchase_lines, 0) - coalesce(first_lines.purchase_lines, 0) as repeated_lines,
        cast(coalesce(all_lines.amount, 0) - coalesce(first_lines.amount, 0) as decimal(18, 2)) as repeated_amount

    from events
    left join first_lines on events.local_date = first_lines.local_date
    left join all_lines on events.local_date = all_lines.local_date

)

select * from final
