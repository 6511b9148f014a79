{{ known_customers_as_of(
    ref('stg_customers'), ref('int_activity_by_slice'), ref('stg_purchases'), source('ops', 'clock')
) }}
