{{ config(tags=['daily']) }}

with

customers as (

    select customer_id
    from {{ ref('int_known_customers') }}

),

profiles as (

    select
        customer_id,
        time_zone

    from {{ ref('int_customers') }}

),

known_zones as (

    select name
    from {{ known_time_zones() }}

),

final as (

    select
        customers.customer_id,
        coalesce(known_zones.name, {{ text_literal(var('time_zone')) }}) as time_zone

    from customers
    left join profiles on customers.customer_id = profiles.customer_id
    left join known_zones on profiles.time_zone = known_zones.name

)

select * from final
