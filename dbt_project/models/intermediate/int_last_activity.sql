{{ last_activity_as_of(
    ref('int_activity_by_slice'), ref('int_visitor_customers'), ref('int_purchase_lines'), source('ops', 'clock')
) }}
