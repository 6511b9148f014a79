{#- Five customers or more have an order in the RFM window, so that their scores mean something; of a shop without buyers it passes. -#}
{{ config(severity='warn', tags=['daily']) }}
select count(*) as buyers
from {{ ref('rfm_segments') }}
where segment = 'Unranked'
having count(*) > 0
