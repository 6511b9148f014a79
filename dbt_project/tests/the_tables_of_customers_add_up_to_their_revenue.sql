{#-
    The tables of customers have the revenue that orders_daily gives to customers: all of it in customer_orders, that of the RFM
    window in customer_features and rfm_segments. customer_category_activity has that of customer_features but for lines with
    neither a category nor a product, and customer_features that of the lines in each window.
-#}
{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set days, lines = ref('orders_daily'), ref('int_purchase_lines') %}
{%- set rfm_window = days_between('local_date', shop_date(as_of)) ~ ' < ' ~ var('rfm_window_days') %}
{#- Of each sum: table, column and condition; relation, column and condition of what it has to be. -#}
{%- set sums = [
    (ref('customer_orders'), 'amount', 'true', days, 'revenue_of_customers', 'true'),
    (ref('customer_features'), 'monetary', 'true', days, 'revenue_of_customers', rfm_window),
    (ref('rfm_segments'), 'monetary', 'true', days, 'revenue_of_customers', rfm_window),
] %}
{%- for width in var('windows_days') %}
{%- set window = 'purchased_at >= ' ~ as_of ~ " - interval '" ~ width ~ "' day" %}
{%- do sums.append((ref('customer_features'), 'spend_' ~ width ~ 'd', 'true', lines, 'amount', window)) %}
{%- do sums.append((
    ref('customer_category_activity'), 'spend', 'window_days = ' ~ width, lines, 'amount', window ~ ' and category_id is not null'
)) %}
{%- endfor %}

{{ unequal_sums(sums) }}
