{{ activity_windows_as_of(
    ref('int_activity_by_slice'), ref('int_visitor_customers'), ref('stg_products'), source('ops', 'clock')
) }}
