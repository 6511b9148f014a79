{{ activity_windows_as_of(ref('int_product_windows'), ref('stg_products'), source('ops', 'clock')) }}
