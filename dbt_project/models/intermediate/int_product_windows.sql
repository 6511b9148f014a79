{{ product_windows_as_of(ref('int_activity_by_slice'), ref('int_visitor_customers'), source('ops', 'clock')) }}
