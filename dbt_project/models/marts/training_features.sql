{{ config(
    tags=['training'],
    post_hook="{{ enforce_feature_contract(
        [('cutoff_no', 'bigint'), ('as_of', 'timestamp'), ('customer_id', 'string')],
        [('label', 'string'), ('weight', 'double'), ('spend', 'decimal(18, 2)'), ('is_churned', 'boolean')]
    ) }}"
) }}

{%- set cutoff_numbers = range(1, var('training_cutoffs') + 1) %}
{%- set known_until = as_of_clock(source('ops', 'clock')) %}

with

purchase_lines as (

    {{ purchase_lines_whenever_known(
        ref('int_visitor_links_by_slice'), ref('int_purchases_by_slice'), ref('stg_purchases'), ref('stg_products')
    ) }}

),
{% for number in cutoff_numbers %}
{%- set clock = '(select as_of from ' ~ source('ops', 'training_cutoffs') ~ ' where cutoff_no = ' ~ number ~ ')' %}
{%- set names = [
    'visitor_customers', 'known_customers', 'customers', 'purchase_lines', 'recent_orders', 'product_windows', 'activity_windows',
    'category_activity', 'offer_windows', 'last_activity', 'rfm', 'category_history', 'last_category',
] %}
{%- set at = {} %}
{%- for name in names %}{% do at.update({name: name ~ '_' ~ number}) %}{% endfor %}
{%- set parts = {
    'visitor_customers': visitor_customers_as_of(ref('int_visitor_links_by_slice'), clock),
    'known_customers': customers_known_then(
        ref('stg_customers'), ref('int_activity_by_slice'), ref('stg_purchases'), clock
    ),
    'customers': customers_as_of(ref('stg_customers'), clock),
    'purchase_lines': purchase_lines_as_of(
        ref('int_purchases_by_slice'), ref('stg_purchases'), ref('stg_products'), at.visitor_customers, clock
    ),
    'recent_orders': recent_orders_as_of(at.purchase_lines, clock),
    'product_windows': product_windows_as_of(ref('int_activity_by_slice'), at.visitor_customers, clock),
    'activity_windows': activity_windows_as_of(at.product_windows, ref('stg_products'), clock),
    'category_activity': category_activity_as_of(at.activity_windows, at.recent_orders),
    'offer_windows': offer_windows_as_of(ref('int_offer_activity_by_slice'), at.visitor_customers, clock),
    'last_activity': last_activity_as_of(ref('int_activity_by_slice'), at.visitor_customers, at.purchase_lines, clock),
    'rfm': rfm_as_of(at.purchase_lines, clock),
    'category_history': category_history_as_of(at.purchase_lines),
    'last_category': last_category_as_of(at.category_history),
    'features': features_as_of(at, clock),
    'labels': labels_as_of('purchase_lines', clock),
} %}
{%- for name, sql in parts.items() %}
{{ name }}_{{ number }} as (

    {{ sql }}

),
{% endfor %}
spend_{{ number }} as (

    select
        customer_id,
        cast(greatest(sum(amount), 0) as decimal(18, 2)) as spend

    from purchase_lines
    where purchased_at >= {{ as_of_clock(clock) }}
        and purchased_at < {{ as_of_clock(clock) }} + interval '{{ var("label_horizon_days") }}' day
    group by customer_id

),

ordered_{{ number }} as (

    select distinct customer_id
    from purchase_lines
    where is_purchase
        and purchased_at >= {{ as_of_clock(clock) }}
        and purchased_at < {{ as_of_clock(clock) }} + interval '{{ var("churn_horizon_days") }}' day

),
{% endfor %}
final as (
    {% for number in cutoff_numbers %}
    {%- set weights = '(select weight from ' ~ source('ops', 'training_cutoffs') ~ ' where cutoff_no = ' ~ number ~ ')' %}
    select
        cast({{ number }} as bigint) as cutoff_no,
        features.as_of,
        features.customer_id,
        {%- for feature in var('features') %}
        features.{{ feature['name'] }},
        {%- endfor %}
        coalesce(labels.label, 'none') as label,
        {{ control_value(weights, 'weight', 'double') }} as weight,
        cast(coalesce(spend.spend, 0) as decimal(18, 2)) as spend,
        case
            when features.as_of + interval '{{ var("churn_horizon_days") }}' day <= {{ known_until }} - interval '2' day
                then ordered.customer_id is null
        end as is_churned

    from features_{{ number }} as features
    left join labels_{{ number }} as labels on features.customer_id = labels.customer_id
    left join spend_{{ number }} as spend on features.customer_id = spend.customer_id
    left join ordered_{{ number }} as ordered on features.customer_id = ordered.customer_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select * from final
