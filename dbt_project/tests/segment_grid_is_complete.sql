{#- The segment grid that shop.yaml names gives exactly one segment to each of the 25 pairs of scores. -#}
select count(*) as cells
from {{ ref('segment_grids') }}
where grid = {{ text_literal(var('segment_grid')) }}
having count(*) <> 25 or count(distinct 10 * recency_score + fm_score) <> 25
