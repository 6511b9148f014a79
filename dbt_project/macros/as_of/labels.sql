{#-
    The label of a customer who bought in [as_of, as_of + label_horizon_days x 24 h): the category with the highest net spend
    above 0, ties by category id: customer_id, label. `lines` are purchase lines whenever known, not only as of the clock;
    customers without a row have the label "none".
-#}
{% macro labels_as_of(lines, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select
        customer_id,
        category_id as label

    from (
        select
            customer_id,
            category_id,
            row_number() over (partition by customer_id order by sum(amount) desc nulls last, category_id asc nulls last) as place

        from {{ lines }}
        where category_id is not null
            and purchased_at >= {{ as_of }}
            and purchased_at < {{ as_of }} + interval '{{ var("label_horizon_days") }}' day
        group by customer_id, category_id
        having sum(amount) > 0
    ) as ranked_categories
    where place = 1
{%- endmacro %}


{#-
    Purchase lines whenever known, as purchase_lines_as_of gives them: what labels are made of. A line that arrives after the
    horizon counts for its label, and so does one of a visitor who is linked to a customer later.
-#}
{% macro purchase_lines_whenever_known(links, event_lines, reference_lines, products) -%}
    {%- set whenever = "(select cast('9999-12-31 00:00:00' as timestamp) as as_of)" -%}
    {%- set visitor_customers = '(' ~ visitor_customers_as_of(links, whenever) ~ ')' -%}
    {{ purchase_lines_as_of(event_lines, reference_lines, products, visitor_customers, whenever) }}
{%- endmacro %}
