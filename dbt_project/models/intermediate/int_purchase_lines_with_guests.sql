{{ config(tags=['daily']) }}

{{ purchase_lines_as_of(
    ref('int_purchases_by_slice'),
    ref('stg_purchases'),
    ref('stg_products'),
    ref('int_visitor_customers'),
    source('ops', 'clock'),
    with_guests=true
) }}
