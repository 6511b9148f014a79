{{ config(
    materialized='incremental',
    incremental_strategy='rewrite_slices',
    unique_key='slice',
    full_refresh=false,
    on_schema_change='append_new_columns',
    tags=['slice_grain']
) }}

select distinct
    slice,
    visitor_id,
    customer_id

from {{ ref('stg_clicks') }}
where visitor_id is not null and customer_id is not null and event_name in ({{ quoted_list(var('event_names')) }})
