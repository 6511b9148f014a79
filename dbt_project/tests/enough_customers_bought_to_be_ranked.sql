{#- Five customers or more have an order in the RFM window, so that scores mean something; without buyers it passes. -#}
{{ config(severity='warn', tags=['daily']) }}
select count(*) as buyers
from {{ ref('rfm_segments') }}
where segment = 'Unranked'
having count(*) > 0
