{#-
    What all tables mean by a line, a repeat, a return and an order.

    line      An order's product by its line number; without a number, by its amount: (order_id, product_id, line_no,
              unnumbered_amount). Two lines without a number and with different amounts are two lines.
    repeat    A further event of a line, in whatever slice. The event of the lowest (slice, event_key) counts, at its own time.
              In tables of customers a reference row replaces all events of its order_id, product_id and line_no.
    return    A line that is no purchase line, see is_purchase_line. Its amount counts in all sums.
    order     An order_id with a purchase line. It counts once in every window, event slice, product and category that holds one
              of its purchase lines, so a return never adds an order or makes one younger, under whatever order_id it comes.
-#}

{#- True for a line that was bought: it costs something, or it is free and its quantity, where known, is above 0. -#}
{% macro is_purchase_line(amount='amount', quantity='quantity') -%}
    ({{ amount }} > 0 or ({{ amount }} = 0 and coalesce({{ quantity }}, 1) > 0))
{%- endmacro %}


{#- The events of int_purchases_by_slice that meet `condition` without repeats: its columns, and occurrence = 1. -#}
{% macro first_event_of_each_line(events, condition) -%}
    select *
    from (
        select
            *,
            row_number() over (
                partition by order_id, product_id, line_no, unnumbered_amount
                order by slice asc nulls last, event_key asc nulls last
            ) as occurrence

        from {{ events }}
        where {{ condition }}
    ) as occurrences
    where occurrence = 1
{%- endmacro %}
