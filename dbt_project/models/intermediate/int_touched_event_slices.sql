select event_slice
from {{ source('ops', 'touched_event_slices') }}

union

select event_slice
from {{ ref('stg_clicks') }}
