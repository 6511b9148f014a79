{{ customers_as_of(ref('stg_customers'), source('ops', 'clock')) }}
