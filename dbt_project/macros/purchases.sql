{#-
    What all tables mean by a line, a repeat, a return and an order.

    line      An order's product by its line number: (order_id, product_id, line_no). An event without a number is a line of its
              own, whatever its amount: (order_id, product_id, 0, its event_key). Lines without a number that are alike are in
              doubt, and counted; the check no_line_in_doubt tells how many and how much.
    repeat    A further event of a line, in whatever slice: the same line_no, or without one the same event_id. The event of the
              lowest (slice, event_key) counts, at its own time. A reference row replaces all events of its order_id, product_id
              and line_no, and one without a number all events without one; it counts at its own time, in the shop's totals too.
    return    A line that is no purchase line, see is_purchase_line. Its amount counts in all sums.
    order     An order_id with a purchase line. It counts once in every window, event slice, product and category that holds one
              of its purchase lines, so a return never adds an order or makes one younger, under whatever order_id it comes. It is of
              the visit of its first event; without an event it has none. It is of the customer that its row or event names, else of
              the only one that the events of the order name, else of a guest, who counts in the shop's totals and products alone.
-#}

{#- True for a line that was bought: it costs something, or it is free and its quantity, where known, is above 0. -#}
{% macro is_purchase_line(amount='amount', quantity='quantity') -%}
    ({{ amount }} > 0 or ({{ amount }} = 0 and coalesce({{ quantity }}, 1) > 0))
{%- endmacro %}


{#- The event_key of an event of int_purchases_by_slice without a line number, which tells it from the order's other lines. -#}
{% macro unnumbered_event_key(events=none) -%}
    {%- set of = events ~ '.' if events else '' -%}
    case when {{ of }}unnumbered_amount is not null then {{ of }}event_key end
{%- endmacro %}


{#- The events of int_purchases_by_slice that meet `condition` without repeats: its columns, and occurrence = 1. -#}
{% macro first_event_of_each_line(events, condition) -%}
    select *
    from (
        select
            *,
            row_number() over (
                partition by order_id, product_id, line_no, {{ unnumbered_event_key() }}
                order by slice asc nulls last, event_key asc nulls last
            ) as occurrence

        from {{ events }}
        where {{ condition }}
    ) as occurrences
    where occurrence = 1
{%- endmacro %}


{#- Whether a row of two relations is of the same line. -#}
{% macro is_same_line(first, second) -%}
    {{ first }}.order_id = {{ second }}.order_id
            and {{ first }}.product_id = {{ second }}.product_id
            and {{ first }}.line_no = {{ second }}.line_no
{%- endmacro %}


{#- The `columns` of lines in two relations of events without repeats and of reference rows, which replace the events of their lines. -#}
{% macro lines_of(event_lines, reference_lines, columns) -%}
    select
        {%- for column in columns %}
        e.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}

    from {{ event_lines }} as e
    left join {{ reference_lines }} as r
        on {{ is_same_line('e', 'r') }}
    where r.order_id is null

    union all

    select {{ columns | join(', ') }}
    from {{ reference_lines }}
{%- endmacro %}
