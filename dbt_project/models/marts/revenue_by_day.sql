{{ config(tags=['daily']) }}

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

by_day as (

    select
        {{ shop_date('purchased_at') }} as local_date,
        customer_id is not null as is_of_customer,
        case when is_purchase then order_id end as order_id,
        case when is_purchase then 0 else amount end as returned_amount,
        amount

    from lines

),

final as (

    select
        local_date,
        count(distinct order_id) as orders,
        count(distinct case when is_of_customer then order_id end) as orders_of_customers,
        count(distinct case when not is_of_customer then order_id end) as orders_of_guests,
        cast(sum(amount) as decimal(18, 2)) as revenue,
        cast(sum(case when is_of_customer then amount else 0 end) as decimal(18, 2)) as revenue_of_customers,
        cast(sum(case when is_of_customer then 0 else amount end) as decimal(18, 2)) as revenue_of_guests,
        cast(-sum(returned_amount) as decimal(18, 2)) as returned_amount

    from by_day
    group by local_date

)

select * from final
