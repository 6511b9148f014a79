{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set today = shop_date(as_of) %}
{#- Of each period: its name, its first day as SQL of a moment's date, and the condition that a moment lies in it. -#}
{%- set window_start = as_of ~ " - interval '30' day" %}
{%- set periods = [
    ('month', month_of('local_date'), 'true'),
    ('last 30 days', shop_date(window_start), 'happened_at >= ' ~ window_start),
] %}

with

activity as (

    select
        product_id,
        event_slice as happened_at,
        {{ shop_date('event_slice') }} as local_date,
        views,
        carts

    from {{ ref('product_activity') }}
    where event_slice < {{ as_of }}

),

lines as (

    select
        coalesce(product_id, '(none)') as product_id,
        purchased_at as happened_at,
        {{ shop_date('purchased_at') }} as local_date,
        customer_id,
        order_id,
        category_id,
        amount,
        is_purchase

    from {{ ref('int_purchase_lines_with_guests') }}

),

products as (

    {{ products_as_of(ref('stg_products'), source('ops', 'clock')) }}

),

line_categories as (

    select
        product_id,
        min(category_id) as category_id

    from lines
    group by product_id

),

activity_by_period as (
    {% for period, starts_on, condition in periods %}
    select
        '{{ period }}' as period,
        {{ starts_on }} as starts_on,
        product_id,
        cast(sum(views) as bigint) as views,
        cast(sum(carts) as bigint) as carts

    from activity
    where {{ condition }}
    group by period, starts_on, product_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

),

sales_by_period as (
    {% for period, starts_on, condition in periods %}
    select
        '{{ period }}' as period,
        {{ starts_on }} as starts_on,
        product_id,
        count(distinct case when is_purchase then order_id end) as orders,
        count(distinct case when is_purchase then customer_id end)
        + count(distinct case when is_purchase and customer_id is null then order_id end) as buyers,
        coalesce(sum(amount) filter (where is_purchase), 0) as gross_revenue,
        coalesce(sum(-amount) filter (where not is_purchase), 0) as returned_amount,
        sum(amount) as revenue

    from lines
    where {{ condition }}
    group by period, starts_on, product_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

),

combined as (

    select
        coalesce(activity.period, sales.period) as period,
        coalesce(activity.starts_on, sales.starts_on) as starts_on,
        coalesce(activity.product_id, sales.product_id) as product_id,
        coalesce(activity.views, 0) as views,
        coalesce(activity.carts, 0) as carts,
        coalesce(sales.orders, 0) as orders,
        coalesce(sales.buyers, 0) as buyers,
        coalesce(sales.gross_revenue, 0) as gross_revenue,
        coalesce(sales.returned_amount, 0) as returned_amount,
        coalesce(sales.revenue, 0) as revenue

    from activity_by_period as activity
    full outer join sales_by_period as sales
        on activity.period = sales.period
        and activity.starts_on = sales.starts_on
        and activity.product_id = sales.product_id

),

final as (

    select
        combined.period,
        combined.starts_on,
        combined.product_id,
        case
            when products.product_id is not null
                then {{ shop_category('products.category_id', 'products.category_id', 'combined.product_id') }}
            when combined.product_id <> '(none)'
                then {{ shop_category('line_categories.category_id', 'line_categories.category_id', 'combined.product_id') }}
            else line_categories.category_id
        end as category_id,
        combined.views,
        combined.carts,
        combined.orders,
        combined.buyers,
        cast(combined.gross_revenue as decimal(18, 2)) as gross_revenue,
        cast(combined.returned_amount as decimal(18, 2)) as returned_amount,
        cast(combined.revenue as decimal(18, 2)) as revenue,
        cast(combined.carts as double) / nullif(combined.views, 0) as cart_rate,
        cast(combined.orders as double) / nullif(combined.views, 0) as conversion,
        cast(combined.returned_amount as double) / nullif(cast(combined.gross_revenue as double), 0) as returned_share,
        combined.period <> 'month' or cast(combined.starts_on + interval '1' month as date) <= {{ today }} as is_complete

    from combined
    left join products on combined.product_id = products.product_id
    left join line_categories on combined.product_id = line_categories.product_id
    where combined.views > 0
        or combined.carts > 0
        or combined.orders > 0
        or combined.gross_revenue > 0
        or combined.returned_amount > 0

)

select * from final
