{{ visitor_customers_as_of(ref('int_visitor_links_by_slice'), source('ops', 'clock')) }}
