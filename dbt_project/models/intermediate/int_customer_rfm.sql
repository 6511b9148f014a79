{{ rfm_as_of(ref('int_purchase_lines'), source('ops', 'clock')) }}
