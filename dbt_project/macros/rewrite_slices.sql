{#-
    The incremental strategy `rewrite_slices`: the slices that are to be written again are deleted and what the model
    selects is inserted, in one transaction. A slice that became empty loses its rows, a rerun changes nothing, and the
    first run just fills the table.

    `unique_key` names the column that says which slice a row belongs to:
      slice        arrival slices, those of ops.pending_slices
      event_slice  slices of the event's own time, those of int_touched_event_slices, and with the model's meta
                   `carries_minutes` those up to so many minutes after them
-#}
{% macro get_incremental_rewrite_slices_sql(arg_dict) -%}
    {{ return(adapter.dispatch('rewrite_slices', 'customer360')(
        arg_dict['target_relation'], arg_dict['temp_relation'], arg_dict['unique_key'], arg_dict['dest_columns']
    )) }}
{%- endmacro %}


{#- The relation that lists the slices to be written again. -#}
{% macro slices_to_rewrite(slice_column) -%}
    {%- if slice_column == 'slice' -%}
        {{ return(source('ops', 'pending_slices')) }}
    {%- elif slice_column == 'event_slice' -%}
        {{ return(touched_event_slices(after=model['config']['meta'].get('carries_minutes', 0))) }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error("rewrite_slices needs unique_key 'slice' or 'event_slice', got " ~ slice_column) }}
{%- endmacro %}


{% macro default__rewrite_slices(target, source_relation, slice_column, columns) -%}
    {%- set names = columns | map(attribute='quoted') | join(', ') -%}
    delete from {{ target }}
    where {{ slice_column }} in (select {{ slice_column }} from {{ slices_to_rewrite(slice_column) }} as rewritten);

    insert into {{ target }} ({{ names }})
    select {{ names }} from {{ source_relation }};
{%- endmacro %}


{#-
    Spark on Parquet cannot delete rows: the model has partition_by on its slice column, `insert overwrite` replaces the
    partitions that have rows (spark.sql.sources.partitionOverwriteMode=dynamic), and those that became empty are dropped.
    Written against dbt-spark's documentation; not run by the tests here.
-#}
{% macro spark__rewrite_slices(target, source_relation, slice_column, columns) -%}
    {%- set empty -%}
        select r.{{ slice_column }}
        from {{ slices_to_rewrite(slice_column) }} as r
        left anti join {{ source_relation }} as s on r.{{ slice_column }} = s.{{ slice_column }}
    {%- endset -%}
    {%- if execute -%}
        {%- for row in run_query(empty) -%}
            {%- do run_query("alter table " ~ target ~ " drop if exists partition (" ~ slice_column ~ " = timestamp '" ~ row[0] ~ "')") -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set last = columns | selectattr('name', 'equalto', slice_column) | map(attribute='quoted') | list -%}
    {%- set others = columns | rejectattr('name', 'equalto', slice_column) | map(attribute='quoted') | list -%}
    insert overwrite table {{ target }} partition ({{ slice_column }})
    select {{ (others + last) | join(', ') }} from {{ source_relation }}
{%- endmacro %}
