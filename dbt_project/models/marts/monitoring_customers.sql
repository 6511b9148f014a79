{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

-- By a hash of the id, so that a customer stays in the sample while others come and go.
places as (

    select
        customer_id,
        row_number() over (order by md5(customer_id) asc nulls last, customer_id asc nulls last) as place

    from {{ ref('int_known_customers') }}

),

appearances as (

    select
        customer_id,
        greatest(min(valid_from), {{ first_listing() }}) as known_at

    from {{ ref('stg_customers') }}
    where valid_from <= {{ as_of }}
    group by customer_id

    union all

    select
        customer_id,
        min(slice) + interval '{{ var("slice_minutes") }}' minute as known_at

    from {{ ref('int_activity_by_slice') }}
    where customer_id is not null
        and last_event_at is not null
        and slice < {{ as_of }}
    group by customer_id

    union all

    select
        customer_id,
        min(greatest(valid_from, purchased_at)) as known_at

    from {{ ref('stg_purchases') }}
    where valid_from <= {{ as_of }}
        and purchased_at < {{ as_of }}
    group by customer_id

),

first_appearances as (

    select
        customer_id,
        min(known_at) as known_at

    from appearances
    group by customer_id

),

profiles as (

    {{ customers_as_of(ref('stg_customers'), source('ops', 'clock')) }}

),

final as (

    select
        places.customer_id,
        -- at as_of everyone is known
        least(coalesce(profiles.known_since, first_appearances.known_at), {{ as_of }}) as known_at

    from places
    inner join first_appearances on places.customer_id = first_appearances.customer_id
    left join profiles on places.customer_id = profiles.customer_id
    where places.place <= {{ var('monitored_customers') }}

)

select * from final
