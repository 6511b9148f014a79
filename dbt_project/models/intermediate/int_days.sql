{{ config(tags=['daily']) }}

select cast(date_day as date) as local_date
from (
    {{ dbt.date_spine('day', "cast('1990-01-01' as date)", "cast('2051-01-01' as date)") }}
) as days
