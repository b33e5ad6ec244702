{#-
    The partition of this build: RCS_ENGAGEMENTS holds engagement keys joined by commas.
    Read at execution only: read while parsing, every new range would be a new parse.
-#}
{% macro engagements_in_run() -%}
    {%- if not execute -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set keys = [] -%}
    {%- for key in env_var('RCS_ENGAGEMENTS', '').split(',') if key | trim -%}
        {%- if not modules.re.fullmatch('[a-z0-9-]+', key | trim) -%}
            {{ exceptions.raise_compiler_error('RCS_ENGAGEMENTS holds something that is no engagement key') }}
        {%- endif -%}
        {%- do keys.append(key | trim) -%}
    {%- endfor -%}
    {%- if not keys -%}
        {{ exceptions.raise_compiler_error('RCS_ENGAGEMENTS is empty: name the engagements to build') }}
    {%- endif -%}
    {{ return(keys) }}
{%- endmacro %}


{#- The keys as an SQL list, for `where engagement in …`. -#}
{% macro engagement_list() -%}
    {%- set keys = engagements_in_run() or ['none'] -%}
    ('{{ keys | join("', '") }}')
{%- endmacro %}


{#-
    Incremental strategy: what the target holds of the engagements in this run is replaced.
    dbt's delete+insert deletes only the keys that come back, so that an engagement whose
    last row was withdrawn would keep its old rows.
-#}
{% macro get_incremental_replace_engagements_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }} where engagement in {{ engagement_list() }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{%- endmacro %}
