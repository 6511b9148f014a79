{#- What was known of customers as of a point; see events.sql for `clock`. -#}

{#- One row per customer in the reference table, in the version that is valid at as_of, with all its columns. -#}
{% macro customers_as_of(customers, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select *
    from {{ customers }}
    where valid_from <= {{ as_of }}
        and (valid_to is null or valid_to > {{ as_of }})
{%- endmacro %}


{#-
    One row per known customer: in the reference table, seen in an event, or in a reference purchase: customer_id.

    `first_listing`: from when the first version of the reference table was known (an SQL expression), which is valid from the
    beginning of time. Where it is later than as_of, being listed makes nobody known. Without it everyone listed is.
-#}
{% macro known_customers_as_of(customers, activity, reference_lines, clock, first_listing=none) -%}
    {%- set as_of = as_of_clock(clock) -%}
    select customer_id
    from ({{ customers_as_of(customers, clock) }}) as profiles
    {%- if first_listing %}
    where known_since is not null
        or {{ first_listing }} <= {{ as_of }}
    {%- endif %}

    union

    select customer_id
    from {{ activity }}
    where customer_id is not null
        and last_event_at is not null
        and slice < {{ as_of }}

    union

    select customer_id
    from {{ reference_lines }}
    where valid_from <= {{ as_of }}
        and (valid_to is null or valid_to > {{ as_of }})
        and purchased_at < {{ as_of }}
        and customer_id is not null
{%- endmacro %}


{#-
    One row per customer whom the shop knew at as_of, a point of the past: customer_id. A customer is known since `known_since`
    where the reference table gives it, whatever else says, because orders may have been matched to a customer later; else since the
    first event, the first order or the load that listed it. Who is known now and was not then came later: to learn from such
    customers is to learn from buyers that they buy.
-#}
{% macro customers_known_then(customers, activity, reference_lines, clock) -%}
    select known.customer_id
    from (
        {{ known_customers_as_of(customers, activity, reference_lines, clock, first_listing()) }}
    ) as known
    left join ({{ customers_as_of(customers, clock) }}) as profiles on known.customer_id = profiles.customer_id
    where profiles.known_since is null
        or profiles.known_since <= {{ as_of_clock(clock) }}
{%- endmacro %}


{#- When customers were first listed in the reference table, an SQL expression; null where they never were. -#}
{% macro first_listing() -%}
    {{ return(control_value(source('ops', 'first_listing'), 'listed_at', 'timestamp')) }}
{%- endmacro %}


{#-
    One row per customer, category and window with views, additions to the cart or orders: customer_id, category_id,
    window_days, views, dwell_seconds, carts, orders, spend. Events and lines without a category are left out.
-#}
{% macro category_activity_as_of(activity_windows, recent_orders) -%}
    with

    category_orders as (

        {%- for days in var('windows_days') %}
        select
            customer_id,
            category_id,
            cast({{ days }} as bigint) as window_days,
            count(*) filter (where purchase_lines_{{ days }}d > 0) as orders,
            cast(sum(spend_{{ days }}d) as decimal(18, 2)) as spend

        from {{ recent_orders }}
        where spend_{{ days }}d is not null
        group by customer_id, category_id
        {% if not loop.last %}
        union all
        {% endif %}
        {%- endfor %}

    ),

    measures as (

        select
            customer_id,
            category_id,
            window_days,
            views,
            dwell_seconds,
            carts,
            cast(0 as bigint) as orders,
            cast(0 as decimal(18, 2)) as spend

        from {{ activity_windows }}

        union all

        select
            customer_id,
            category_id,
            window_days,
            cast(0 as bigint) as views,
            cast(0 as decimal(28, 6)) as dwell_seconds,
            cast(0 as bigint) as carts,
            orders,
            spend

        from category_orders

    )

    select
        customer_id,
        category_id,
        window_days,
        cast(sum(views) as bigint) as views,
        cast(sum(dwell_seconds) as double) as dwell_seconds,
        cast(sum(carts) as bigint) as carts,
        cast(sum(orders) as bigint) as orders,
        cast(sum(spend) as decimal(18, 2)) as spend

    from measures
    where category_id is not null
    group by customer_id, category_id, window_days
{%- endmacro %}


{#-
    The wide features, one row per known customer: customer_id, as_of and the columns of var('features') in their order.
    Everything that a model reads is computed here, for serving and for training alike.

    `parts` maps the names of the macros above (known_customers, customers, activity_windows, offer_windows, last_activity,
    recent_orders, category_activity, rfm, category_history, last_category) to relations as of `clock`.
-#}
{% macro features_as_of(parts, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    {%- set category_features = var('features') | selectattr('category_id') | selectattr('window_days') | list -%}
    {%- set lifetime_features = var('features') | selectattr('measure', 'in', ['lifetime_lines', 'lifetime_spend', 'lifetime_share']) | list -%}
    {%- set total_features = var('features') | selectattr('window_days') | rejectattr('category_id') | list -%}
    {%- set total_measures = {
        'activity_windows': ['views', 'dwell_seconds', 'carts'],
        'offer_windows': ['offers_shown', 'offers_clicked'],
    } -%}
    with

    recent_orders as (

        select
            customer_id,
            order_id
            {%- for days in var('windows_days') %},
            sum(spend_{{ days }}d) as spend_{{ days }}d,
            sum(returned_{{ days }}d) as returned_{{ days }}d,
            sum(purchase_lines_{{ days }}d) as purchase_lines_{{ days }}d
            {%- endfor %}

        from {{ parts['recent_orders'] }}
        group by customer_id, order_id

    ),

    orders_wide as (

        select
            customer_id
            {%- for days in var('windows_days') %},
            sum(spend_{{ days }}d) as spend_{{ days }}d,
            sum(returned_{{ days }}d) as returned_amount_{{ days }}d,
            count(*) filter (where purchase_lines_{{ days }}d > 0) as orders_{{ days }}d
            {%- endfor %}

        from recent_orders
        group by customer_id

    ),

    categories_wide as (

        select
            customer_id
            {%- for feature in category_features %},
            sum({{ feature['measure'] }}) filter (
                where category_id = {{ text_literal(feature['category_id']) }} and window_days = {{ feature['window_days'] }}
            ) as {{ feature['name'] }}
            {%- endfor %}

        from {{ parts['category_activity'] }}
        group by customer_id

    ),

    lifetime_wide as (

        select
            customer_id
            {%- for feature in lifetime_features %},
            {%- set of_category = " filter (where category_id = " ~ text_literal(feature['category_id']) ~ ")" if feature['category_id'] else '' %}
            {%- if feature['measure'] == 'lifetime_share' %}
            cast(coalesce(sum(lines){{ of_category }}, 0) as double)
                / nullif(sum(lines) filter (where category_id is not null), 0) as {{ feature['name'] }}
            {%- else %}
            sum({{ feature['measure'] | replace('lifetime_', '') }}){{ of_category }} as {{ feature['name'] }}
            {%- endif %}
            {%- endfor %}

        from {{ parts['category_history'] }}
        group by customer_id

    ),
    {%- for relation, measures in total_measures.items() %}

    {{ relation }}_wide as (

        select
            customer_id
            {%- for feature in total_features if feature['measure'] in measures %},
            sum({{ feature['measure'] }}) filter (where window_days = {{ feature['window_days'] }}) as {{ feature['name'] }}
            {%- endfor %}

        from {{ parts[relation] }}
        group by customer_id

    ){{ ',' if not loop.last }}
    {%- endfor %}

    select
        u.customer_id,
        {{ as_of }} as as_of
        {%- for feature in var('features') %},
        {% if feature['measure'] == 'recency_days' -%}
            r.recency_days
        {%- elif feature['measure'] == 'days_since_last_activity' -%}
            cast(floor({{ seconds_between('e.last_event_at', as_of) }} / 86400) as bigint)
        {%- elif feature['measure'] == 'frequency' -%}
            cast(coalesce(r.frequency, 0) as bigint)
        {%- elif feature['measure'] == 'monetary' -%}
            cast(coalesce(r.monetary, 0) as decimal(18, 2))
        {%- elif feature['measure'] == 'return_share' -%}
            r.return_share
        {%- elif feature['measure'] == 'last_category_id' -%}
            coalesce(l.last_category_id, 'none')
        {%- elif feature['measure'] == 'lifetime_share' -%}
            h.{{ feature['name'] }}
        {%- elif feature in lifetime_features -%}
            cast(coalesce(h.{{ feature['name'] }}, 0) as {{ feature['type'] }})
        {%- elif feature['category_id'] -%}
            cast(coalesce(c.{{ feature['name'] }}, 0) as {{ feature['type'] }})
        {%- elif feature['measure'] in total_measures['activity_windows'] -%}
            cast(coalesce(a.{{ feature['name'] }}, 0) as {{ feature['type'] }})
        {%- elif feature['measure'] in ['orders', 'spend', 'returned_amount'] -%}
            cast(coalesce(o.{{ feature['name'] }}, 0) as {{ feature['type'] }})
        {%- elif feature['measure'] in total_measures['offer_windows'] -%}
            cast(coalesce(s.{{ feature['name'] }}, 0) as {{ feature['type'] }})
        {%- else -%}
            p.{{ feature['name'] }}
        {%- endif %} as {{ feature['name'] }}
        {%- endfor %}

    from {{ parts['known_customers'] }} as u
    left join {{ parts['customers'] }} as p on u.customer_id = p.customer_id
    left join {{ parts['rfm'] }} as r on u.customer_id = r.customer_id
    left join {{ parts['last_activity'] }} as e on u.customer_id = e.customer_id
    left join {{ parts['last_category'] }} as l on u.customer_id = l.customer_id
    left join activity_windows_wide as a on u.customer_id = a.customer_id
    left join orders_wide as o on u.customer_id = o.customer_id
    left join offer_windows_wide as s on u.customer_id = s.customer_id
    left join categories_wide as c on u.customer_id = c.customer_id
    left join lifetime_wide as h on u.customer_id = h.customer_id
{%- endmacro %}
