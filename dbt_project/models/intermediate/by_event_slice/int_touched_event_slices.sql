with

arrived_lines as (

    select distinct
        order_id,
        product_id,
        line_no,
        {{ unnumbered_event_key() }} as unnumbered_event_key

    from {{ ref('int_purchases_by_slice') }}
    where slice in (select slice from {{ source('ops', 'pending_slices') }})

)

select event_slice
from {{ source('ops', 'touched_event_slices') }}

union

select event_slice
from {{ ref('stg_clicks') }}

union

-- of two events of a line only one counts, and which of them may have changed
select purchases.event_slice
from {{ ref('int_purchases_by_slice') }} as purchases
inner join arrived_lines
    on purchases.order_id = arrived_lines.order_id
    and purchases.line_no = arrived_lines.line_no
    and purchases.product_id is not distinct from arrived_lines.product_id
    and {{ unnumbered_event_key('purchases') }} is not distinct from arrived_lines.unnumbered_event_key
