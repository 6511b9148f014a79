{{ rfm_segments_as_of(
    ref('int_known_customers'), ref('int_customer_rfm'), ref('segment_grids'), source('ops', 'clock')
) }}
