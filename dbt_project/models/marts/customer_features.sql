{{ config(post_hook="{{ enforce_feature_contract([('customer_id', 'string'), ('as_of', 'timestamp')]) }}") }}

with

offer_windows as (

    {{ offer_windows_as_of(ref('int_offer_activity_by_slice'), ref('int_visitor_customers'), source('ops', 'clock')) }}

),

category_history as (

    {{ category_history_as_of(ref('int_purchase_lines')) }}

),

last_category as (

    {{ last_category_as_of('category_history') }}

),

final as (

    {{ features_as_of({
        'known_customers': ref('int_known_customers'),
        'customers': ref('int_customers'),
        'activity_windows': ref('int_activity_windows'),
        'category_activity': ref('customer_category_activity'),
        'recent_orders': ref('int_recent_orders'),
        'offer_windows': 'offer_windows',
        'rfm': ref('int_customer_rfm'),
        'last_activity': ref('int_last_activity'),
        'category_history': 'category_history',
        'last_category': 'last_category',
    }, source('ops', 'clock')) }}

)

select * from final
