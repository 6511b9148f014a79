select
    customer_id,
    time_zone,
    known_since,
    {%- for channel in var('channels') %}
    consent_{{ channel }},
    {%- endfor %}
    {%- for attribute in var('attributes') %}
    cast({{ attribute['name'] }} as {{ attribute['type'] }}) as {{ attribute['name'] }},
    {%- endfor %}
    valid_from,
    valid_to

from {{ source('raw', 'customers') }}
