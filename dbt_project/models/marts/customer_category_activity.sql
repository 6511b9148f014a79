{{ category_activity_as_of(ref('int_activity_windows'), ref('int_recent_orders')) }}
