{{ config(tags=['daily'], meta={'personal_data': false}) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

placed as (

    select
        case when kind = 'purchase' then 'also_bought' else 'also_viewed' end as relation,
        -- a guest's order is a buyer of its own
        coalesce(customer_id, visitor_id, session_id) as person,
        session_id,
        product_id,
        dense_rank() over (
            partition by customer_id, visitor_id, session_id, case when kind = 'purchase' then 1 else 0 end
            order by happened_at desc nulls last, product_id asc nulls last
        ) as place

    from {{ ref('interactions') }}

),

-- of a long visit or a wholesale order the newest 30 products: pairs grow with their square
items as (

    select distinct
        relation,
        person,
        session_id,
        product_id

    from placed
    where place <= 30

),

persons as (

    select
        relation,
        product_id,
        count(distinct person) as persons

    from items
    group by relation, product_id

),

everyone as (

    select
        relation,
        count(distinct person) as persons

    from items
    group by relation

),

-- whoever has a pair counts once for it, in however many orders: a wholesale buyer is one customer
pairs as (

    select
        relation,
        product_id,
        related_product_id,
        count(*) as support

    from (
        select distinct
            a.relation,
            a.person,
            a.product_id,
            b.product_id as related_product_id

        from items as a
        inner join items as b
            on a.relation = b.relation
            and a.person = b.person
            and a.session_id = b.session_id
        where a.product_id < b.product_id
    ) as pairs_of_persons
    group by relation, product_id, related_product_id
    having count(*) >= 3

),

both_ways as (

    select *
    from pairs

    union all

    select
        relation,
        related_product_id as product_id,
        product_id as related_product_id,
        support

    from pairs

),

counted as (

    select
        p.*,
        a.persons as product_persons,
        b.persons as related_persons,
        everyone.persons as all_persons,
        cast(least(a.persons, b.persons) as double) as fewer,
        cast(greatest(a.persons, b.persons) as double) / everyone.persons as share_of_other

    from both_ways as p
    inner join persons as a
        on p.relation = a.relation
        and p.product_id = a.product_id
    inner join persons as b
        on p.relation = b.relation
        and p.related_product_id = b.product_id
    inner join everyone on p.relation = everyone.relation

),

-- who has the one product is likelier than anybody to have the other, beyond chance: the lower end of the 95% interval of their
-- share (Wilson, Probable inference, 1927) is above that of all, so that a few pairs of popular products say nothing
lifted as (

    select *
    from counted
    where (
        support / fewer + 1.96 * 1.96 / (2 * fewer)
        - 1.96 * sqrt((support / fewer) * (1 - support / fewer) / fewer + 1.96 * 1.96 / (4 * fewer * fewer))
    ) / (1 + 1.96 * 1.96 / fewer) > share_of_other

),

measured as (

    select
        product_id,
        related_product_id,
        relation,
        support,
        -- cosine, shrunk towards 0 where few have the pair
        (support / sqrt(cast(product_persons as double) * related_persons)) * (support / (support + 5.0)) as score,
        cast(support as double) / product_persons as confidence,
        (cast(support as double) / product_persons) / (cast(related_persons as double) / all_persons) as lift

    from lifted

),

ranked as (

    select
        *,
        row_number() over (
            partition by relation, product_id
            order by score desc nulls last, related_product_id asc nulls last
        ) as place

    from measured

),

final as (

    select
        product_id,
        related_product_id,
        relation,
        cast(place as bigint) as rank,
        score,
        support,
        confidence,
        lift,
        case
            when relation = 'also_bought' then 'bought together by ' || cast(support as string) || ' customers'
            else 'viewed in the same visit by ' || cast(support as string) || ' visitors'
        end as reason,
        {{ as_of }} as as_of

    from ranked
    where place <= 20

)

select * from final
